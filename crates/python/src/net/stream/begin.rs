//! The beginning of a transport: taking the descriptor over, then `connection_made`, then reading, in asyncio's order.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use ferrio_engine::backend::Usage;
use ferrio_engine::flow::Interest as ReadChange;
use ferrio_engine::sys::socket_name::{self, SocketName};
use ferrio_engine::sys::stream_socket;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::class::Stream;
use super::descriptor::Descriptor;
use super::part::StreamPart;
use super::read::on_ready;
use super::state::start_over;
use super::{StreamTransport, close, server};
use crate::core::{Entry, Exit, LoopCore, Operations, Source, settle};
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::descriptor::borrow;
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::handle::{context, schedule};
use crate::net::transport::{
    Callback, Transport, apply_interest, event_loop, fatal, report_failed_callback, with, with_common,
};

/// TCP, as `socket.proto` shows it.
pub(crate) const IPPROTO_TCP: u16 = 6;

/// A connection that the loop has opened itself.
pub(crate) struct Opened {
    pub(crate) descriptor: OwnedFd,
    pub(crate) peer: SocketName,
    /// As `socket.proto` shows it.
    pub(crate) proto: u16,
    /// Whether the socket has the options of another one, its listener's.
    pub(crate) is_accepted: bool,
}

/// Who takes part in a connection.
pub(crate) struct Parties {
    /// `ferrio.Loop`'s class of transports.
    pub(crate) class: Object,
    pub(crate) protocol: Object,
    pub(crate) server: Option<Object>,
    /// Woken when `connection_made` has been called.
    pub(crate) waiter: Option<Object>,
    /// The connection's own context (3.15); without one each callback has a copy of the present one.
    pub(crate) context: Option<Object>,
}

/// Makes a transport of a connection, and schedules its beginning.
///
/// # Errors
/// The server has been closed, the protocol has no `connection_made`; the connection is closed then.
pub(crate) fn begin(py: Python<'_>, event_loop: &Object, opened: Opened, parties: Parties) -> PyResult<Object> {
    let Opened { descriptor, peer, proto, is_accepted } = opened;
    let Parties { class, protocol, server, waiter, context } = parties;
    let local = socket_name::local(descriptor.as_fd()).ok().flatten().unwrap_or_default();
    // As asyncio does; a socket that is no TCP socket answers with an error.
    let takes_option = matches!(local, SocketName::V4(_) | SocketName::V6(_))
        && stream_socket::send_at_once(descriptor.as_fd()).is_ok();
    // Python says what `proto` is, the kernel what it takes: together they need not be checked.
    let usage = if takes_option && proto == IPPROTO_TCP { Usage::TcpStream } else { Usage::Stream };
    let transport = Stream::create_of(py, class.bind(py).cast::<PyType>()?)?;
    with(py, &transport, |inner| {
        inner.local = local;
        inner.peer = peer;
        inner.proto = proto;
    });
    let number = descriptor.as_raw_fd();
    let descriptor = Descriptor::Native { descriptor, may_linger: is_accepted };
    take(py, event_loop, &transport, (number, usage), descriptor, context.as_ref())?;
    StreamTransport::set_protocol(py, &transport, protocol)?;
    if let Some(server) = server {
        if let Err(error) = server::attach(py, &server, transport.object()) {
            drop(close::release(py, &transport));
            return Err(error);
        }
        with(py, &transport, |inner| inner.server = Some(server));
    }
    schedule_beginning(py, event_loop_of(event_loop)?, &transport, waiter)?;
    Ok(transport.into_object())
}

fn event_loop_of(object: &Object) -> PyResult<&Instance<LoopCore>> {
    Instance::of(object).ok_or_else(|| PyTypeError::new_err("a loop of Ferrio's is required here"))
}

/// Attaches a descriptor, by its number and the usage that it is attached for, and stores it with its loop. A transport that
/// has been opened before releases what it had.
///
/// # Errors
/// The number is not open, memory has run out, or the transport is being opened by somebody else.
pub(super) fn take(
    py: Python<'_>,
    event_loop: &Object,
    transport: &Stream,
    (number, usage): (RawFd, Usage),
    descriptor: Descriptor,
    context: Option<&Object>,
) -> PyResult<()> {
    // Its owner is stored below, and keeps it open until the key is detached.
    let Some(borrowed) = borrow(number) else {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {number}")));
    };
    let event_loop = event_loop_of(event_loop)?;
    event_loop.check_closed()?;
    event_loop.forget_watch(py, number)?;
    // From here to the end no Python runs, so nothing opens it in between.
    start_over(py, transport)?;
    let key = event_loop.attach(py, Source::Object { run: on_ready, object: None }, borrowed, usage)?;
    if let Err(error) =
        event_loop.part::<StreamPart>().transports.with(py, |transports| transports.give(borrowed, transport))
    {
        event_loop.detach(py, key);
        return Err(os_error(py, error));
    }
    let (event_loop, context) = (event_loop.clone(), context.cloned());
    with(py, transport, |inner| {
        inner.common.event_loop = Some(event_loop);
        inner.common.is_opened = true;
        inner.common.number = number;
        inner.common.key = Some(key);
        inner.descriptor = descriptor;
        inner.context = context;
    });
    Ok(())
}

/// A transport that is to begin to read.
static START_READING: Operations = Operations {
    run: |py, core, transport, _| start_reading(py, core, &transport),
    handle: None,
    on_stop: None,
    context: None,
    coroutine: None,
};

/// The future that waits for a connection, which is made.
static CONNECTED: Operations = Operations {
    run: |py, _, waiter, _| tell_connected(py, &waiter),
    handle: None,
    on_stop: None,
    context: None,
    coroutine: None,
};

/// Schedules `connection_made`, the start of reading, and the waking of the waiter, each after the one before.
pub(super) fn schedule_beginning(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    transport: &Stream,
    waiter: Option<Object>,
) -> PyResult<()> {
    let (protocol, given) = with(py, transport, |inner| (inner.common.protocol.clone(), inner.context.clone()));
    let Some(protocol) = protocol else { return Ok(()) };
    let connection_made = protocol.bind(py).getattr(&names(py).connection_made)?;
    schedule(py, event_loop.object(), &connection_made, core::slice::from_ref(transport.object()), given.as_ref())?;
    let io_context = given.map_or_else(|| context::copy_current(py), Ok)?;
    let before = with(py, transport, |inner| inner.io_context.replace(io_context));
    drop(before);
    event_loop.push_ready(py, Entry::call(&START_READING, transport.object().clone()));
    if let Some(waiter) = waiter {
        event_loop.push_ready(py, Entry::call(&CONNECTED, waiter));
    }
    Ok(())
}

/// Gives the future that waits for a connection its result, unless it was cancelled.
///
/// # Errors
/// What leaves the loop; a waiter that takes no result is reported to the loop's exception handler.
fn tell_connected(py: Python<'_>, waiter: &Object) -> Result<(), Exit> {
    let outcome = call_method(py, &names(py).cancelled, [waiter]).and_then(|cancelled| {
        if !cancelled.bind(py).is_truthy()? {
            call_method(py, &names(py).set_result, [waiter, &Object::none(py)])?;
        }
        Ok(())
    });
    settle(py, outcome, |exception| report_failed_waiter(py, waiter, exception))
}

/// Tells the exception handler of a future's loop that the future takes no result.
///
/// # Errors
/// Those of the exception handler.
#[cold]
pub(crate) fn report_failed_waiter(py: Python<'_>, waiter: &Object, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let arguments = (waiter.bind(py), exception);
    OBJECTS.ferrio_event_loop.bind(py)?.call_method1("report_failed_waiter", arguments).map(drop)
}

/// Starts to read: `connection_made` has been called.
///
/// # Errors
/// What leaves the loop, of what is called for a descriptor that cannot be watched.
fn start_reading(py: Python<'_>, core: &LoopCore, object: &Object) -> Result<(), Exit> {
    let Some(transport) = Stream::of(object) else { return Ok(()) };
    if with_common(py, transport, |common| common.reading.start()) == ReadChange::Unchanged {
        return Ok(());
    }
    let Err(error) = apply_interest(py, core, transport) else { return Ok(()) };
    let event_loop = event_loop(py, transport);
    let outcome = fatal(py, object, os_error(py, error), "Fatal error on transport");
    settle(py, outcome, |exception| match &event_loop {
        Some(event_loop) => report_failed_callback(py, event_loop.object(), object, Callback::Read, false, exception),
        None => Err(PyErr::from_value(exception.clone())),
    })
}

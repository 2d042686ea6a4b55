//! The beginning of a transport: taking the descriptor over, then `connection_made`, then reading, in asyncio's order.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use ferrio_engine::backend::Usage;
use ferrio_engine::sys::socket_name::{self, SocketName};
use ferrio_engine::sys::stream_socket;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::ctype;
use super::descriptor::Descriptor;
use super::on_ready;
use super::part::StreamPart;
use super::read::fatal;
use super::server;
use super::state::{Delivery, State};
use super::{Callback, report_failed_callback};
use crate::core::{Entry, Exit, LoopCore, Operations, Source, settle};
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::context;
use crate::handle::schedule;

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
pub(crate) fn begin(py: Python<'_>, event_loop: &Object, opened: Opened, parties: &Parties) -> PyResult<Object> {
    let Opened { descriptor, peer, proto, is_accepted } = opened;
    let local = socket_name::local(descriptor.as_fd()).ok().flatten().unwrap_or_default();
    // As asyncio does; a socket that is no TCP socket answers with an error.
    let takes_option = matches!(local, SocketName::V4(_) | SocketName::V6(_))
        && stream_socket::send_at_once(descriptor.as_fd()).is_ok();
    // Python says what `proto` is, the kernel what it takes: together they need not be checked.
    let usage = if takes_option && proto == IPPROTO_TCP { Usage::TcpStream } else { Usage::Stream };
    let class = parties.class.bind(py).cast::<PyType>()?;
    let transport = ctype::make(py, class)?;
    // SAFETY: a new instance of the type.
    let state = unsafe { State::of(transport.as_ptr()) };
    state.with(py, |inner| {
        inner.local = local;
        inner.peer = peer;
        inner.proto = proto;
    });
    let number = descriptor.as_raw_fd();
    take(
        py,
        event_loop,
        &transport,
        (number, usage),
        Descriptor::Native { descriptor, may_linger: is_accepted },
        parties.context.as_ref(),
    )?;
    set_protocol(py, state, parties.protocol.clone())?;
    if let Some(server) = &parties.server {
        if let Err(error) = server::attach(py, server, &transport) {
            drop(super::close::release(py, transport.as_ptr()));
            return Err(error);
        }
        state.with(py, |inner| inner.server = Some(server.clone()));
    }
    schedule_beginning(py, event_loop, &transport, parties.waiter.as_ref())?;
    Ok(transport)
}

fn core_of<'a>(py: Python<'a>, event_loop: &'a Object) -> PyResult<&'a LoopCore> {
    LoopCore::find(py, event_loop.as_ptr()).ok_or_else(|| PyTypeError::new_err("a loop of Ferrio's is required here"))
}

/// Attaches a descriptor, by its number and the usage that it is attached for, and stores it with its loop. A transport that
/// has been opened before lets go of what it had.
pub(super) fn take(
    py: Python<'_>,
    event_loop: &Object,
    transport: &Object,
    (number, usage): (RawFd, Usage),
    descriptor: Descriptor,
    context: Option<&Object>,
) -> PyResult<()> {
    if number < 0 {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {number}")));
    }
    let core = core_of(py, event_loop)?;
    core.check_closed()?;
    core.forget_watch(py, number)?;
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(transport.as_ptr()) };
    // From here to the end no Python runs, so nothing opens it in between.
    state.start_over(py, transport.as_ptr())?;
    // SAFETY: its owner is stored below, and keeps it open until the key is detached.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let key = core.attach(py, Source::Object { run: on_ready, object: None }, borrowed, usage)?;
    if let Err(error) = core.part::<StreamPart>().holders.with(py, |holders| holders.give(borrowed, transport)) {
        core.detach(py, key);
        return Err(os_error(py, error));
    }
    state.with(py, |inner| {
        inner.event_loop = Some(event_loop.clone());
        inner.descriptor = descriptor;
        inner.fd = number;
        inner.context = context.cloned();
        inner.key = Some(key);
    });
    Ok(())
}

/// A transport that is to begin to read.
static START_READING: Operations =
    Operations { run: |py, core, transport, _| start_reading(py, core, &transport), handle: None, on_stop: None };

/// The future that waits for a connection, which is made.
static CONNECTED: Operations =
    Operations { run: |py, _, waiter, _| tell_connected(py, &waiter), handle: None, on_stop: None };

static BUFFERED_PROTOCOL: PyOnceLock<Object> = PyOnceLock::new();

pub(super) fn set_protocol(py: Python<'_>, state: &State, protocol: Object) -> PyResult<()> {
    let buffered = BUFFERED_PROTOCOL
        .get_or_try_init(py, || py.import("asyncio.protocols")?.getattr("BufferedProtocol").map(Object::new))?;
    let delivery = if protocol.bind(py).is_instance(buffered.bind(py))? { Delivery::Buffer } else { Delivery::Bytes };
    let before = state.with(py, |inner| {
        inner.delivery = delivery;
        inner.protocol.replace(protocol)
    });
    drop(before);
    Ok(())
}

/// Schedules `connection_made`, the start of reading, and the waking of the waiter, each after the one before.
pub(super) fn schedule_beginning(
    py: Python<'_>,
    event_loop: &Object,
    transport: &Object,
    waiter: Option<&Object>,
) -> PyResult<()> {
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(transport.as_ptr()) };
    let (protocol, given) = state.with(py, |inner| (inner.protocol.clone(), inner.context.clone()));
    let Some(protocol) = protocol else { return Ok(()) };
    let connection_made = protocol.bind(py).getattr(&names(py).connection_made)?;
    schedule(py, event_loop, &connection_made, core::slice::from_ref(transport), given.as_ref())?;
    let io_context = match &given {
        Some(context) => context.clone(),
        None => context::copy_current(py)?,
    };
    let before = state.with(py, |inner| inner.io_context.replace(io_context));
    drop(before);
    let core = core_of(py, event_loop)?;
    core.push_ready(py, Entry::call(&START_READING, transport.clone()));
    if let Some(waiter) = waiter {
        core.push_ready(py, Entry::call(&CONNECTED, waiter.clone()));
    }
    Ok(())
}

/// Gives the future that waits for a connection its result, unless it was cancelled.
///
/// # Errors
/// What leaves the loop; its exception handler hears of a waiter that takes no result.
pub(crate) fn tell_connected(py: Python<'_>, waiter: &Object) -> Result<(), Exit> {
    let outcome = waiter.bind(py).call_method0(&names(py).cancelled).and_then(|cancelled| {
        if !cancelled.is_truthy()? {
            waiter.bind(py).call_method1(&names(py).set_result, (py.None(),))?;
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
    py.import("ferrio._event_loop")?.call_method1("report_failed_waiter", arguments).map(drop)
}

/// Starts to read: `connection_made` has been called.
///
/// # Errors
/// What leaves the loop, of what is called for a descriptor that cannot be watched.
pub(crate) fn start_reading(py: Python<'_>, core: &LoopCore, transport: &Object) -> Result<(), Exit> {
    // SAFETY: entries of this kind hold transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    if state.with(py, |inner| inner.reading.start()) == ferrio_engine::flow::Interest::Unchanged {
        return Ok(());
    }
    let Err(error) = state.apply_interest(py, core, transport.as_ptr()) else { return Ok(()) };
    let event_loop = state.event_loop(py);
    let outcome = fatal(py, transport, os_error(py, error), "Fatal error on transport");
    settle(py, outcome, |exception| match &event_loop {
        Some(event_loop) => report_failed_callback(py, event_loop, transport, Callback::Read, false, exception),
        None => Err(PyErr::from_value(exception.clone())),
    })
}

//! Accepting: from a listening socket to a transport.
//!
//! asyncio makes a task for each connection, which calls the protocol factory in the next turn and makes the transport.
//! Here the task is an entry of the ready queue that does the same at the same moment; connections that need more than
//! that (TLS, a task factory, debug mode) take asyncio's way, which `ferrio.Loop` decides.
//!
//! # Context
//! As a task would, each entry has a copy of the listener's context, so that what a factory sets is seen by the connection's
//! callbacks and by no other connection.

#![forbid(unsafe_code)]

use std::os::fd::RawFd;

use ferrio_engine::sys::{Error, stream_socket};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use rustix::io::Errno;

use crate::core::{Deferred, Entry, Exit, LoopBuilder, LoopCore, settle};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::{call, call_method, call_named};
use crate::ffi::class::Instance;
use crate::ffi::descriptor::borrow;
use crate::ffi::errors::os_error;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::method::Method;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::context;
use crate::net::stream::{Opened, Parties, StreamPart, abandon, begin, open_connections};

/// An accepted connection that has no transport yet.
struct Accepted {
    /// Taken when the transport is made; closed with the entry if that never happens.
    opened: Guarded<Option<Opened>>,
    event_loop: Object,
    class: Object,
    protocol_factory: Object,
    server: Option<Object>,
    /// What the factory runs in.
    context: Object,
    /// The context is the connection's own, for all its callbacks (3.15).
    has_own_context: bool,
}

impl Accepted {
    /// Every Python object that the entry holds.
    fn objects(&self) -> impl Iterator<Item = &Object> {
        [&self.event_loop, &self.class, &self.protocol_factory, &self.context].into_iter().chain(&self.server)
    }
}

impl Deferred for Accepted {
    fn run(self: Box<Self>, py: Python<'_>, core: &LoopCore) -> Result<(), Exit> {
        accept_connection(py, core, &self)
    }

    fn visit(&self, collector: &Collector) -> Visited {
        self.objects().try_for_each(|object| object.visit(collector))
    }
}

/// Whether an error says that the process or the kernel has run out of something: the connection goes on waiting.
fn is_out_of_resources(error: Error) -> bool {
    matches!(error.errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// `_accept(class, protocol_factory, sock, server, backlog, handshake_timeout, shutdown_timeout, context)`: accepts what
/// waits at a listening socket and schedules the beginnings.
///
/// A resource that has run out goes to `_accept_later`; in debug mode, and with a task factory, asyncio's way is taken.
fn accept(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<()> {
    let [class, protocol_factory, sock, server, backlog, handshake_timeout, shutdown_timeout, context] =
        arguments.positional()
    else {
        return Err(PyTypeError::new_err("_accept() takes what _start_serving() passes"));
    };
    let core: &LoopCore = event_loop;
    core.check_closed()?;
    let event_loop = event_loop.object();
    let accepting = || {
        let ssl = Object::none(py);
        let all = [protocol_factory, sock, &ssl, server, backlog, handshake_timeout, shutdown_timeout, context];
        all.map(|value| value.bind(py).clone())
    };
    if core.is_debug() || !event_loop.bind(py).getattr(&names(py)._task_factory)?.is_none() {
        call_named(event_loop.bind(py), &names(py)._accept_connection, PyTuple::new(py, accepting())?)?;
        return Ok(());
    }
    let number: RawFd = call_method(py, &names(py).fileno, [sock])?.bind(py).extract()?;
    let proto: u16 = sock.bind(py).getattr(&names(py).proto)?.extract()?;
    let limit = backlog.bind(py).extract::<usize>()? + 1;
    // That it is a listening socket is its owner's business; any other file answers with an error.
    let Some(listener) = borrow(number) else { return Err(os_error(py, Error::new("accept", Errno::BADF))) };
    let (server, context) = (server.unless_none(), context.unless_none());
    // Somebody who shares the listener may have made it so. What waits is then looked at before it is accepted, and the
    // interpreter is detached all the same: another process may accept it in between.
    let is_blocking = stream_socket::is_blocking(listener);
    for count in 0..limit {
        // Mostly one connection waits, and a look costs less than an accept that finds nothing.
        if (count == 1 || is_blocking) && !stream_socket::is_readable(listener) {
            break;
        }
        let accepted =
            if is_blocking { py.detach(|| stream_socket::accept(listener)) } else { stream_socket::accept(listener) };
        let (descriptor, peer) = match accepted {
            Ok(Some(accepted)) => accepted,
            Ok(None) => break,
            // The peer has given up; others may be waiting.
            Err(error) if error.errno == Errno::CONNABORTED => continue,
            Err(error) if is_out_of_resources(error) => {
                let mut arguments = vec![os_error(py, error).into_value(py).into_bound(py).into_any()];
                arguments.extend(accepting());
                call_named(event_loop.bind(py), &names(py)._accept_later, PyTuple::new(py, arguments)?)?;
                break;
            }
            Err(error) => return Err(os_error(py, error)),
        };
        let own_context = context.as_ref().map(|context| call_method(py, &names(py).copy, [context])).transpose()?;
        let has_own_context = own_context.is_some();
        let accepted = Accepted {
            opened: Guarded::new(Some(Opened { descriptor, peer, proto, is_accepted: true })),
            event_loop: event_loop.clone(),
            class: class.clone(),
            protocol_factory: protocol_factory.clone(),
            server: server.clone(),
            context: own_context.map_or_else(|| context::copy_current(py), Ok)?,
            has_own_context,
        };
        core.push_ready(py, Entry::deferred(accepted));
    }
    Ok(())
}

/// `_stream_transport(number)`.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a method")]
fn stream_transport(py: Python<'_>, core: &Instance<LoopCore>, number: &Object) -> PyResult<Option<Object>> {
    // What is no number of a descriptor is nobody's.
    let Ok(number) = number.bind(py).extract::<RawFd>() else { return Ok(None) };
    Ok(core.part::<StreamPart>().transports.with(py, |transports| transports.get(number)))
}

/// `_stream_numbers()`.
fn stream_numbers(py: Python<'_>, core: &Instance<LoopCore>) -> PyResult<Object> {
    let numbers = core.part::<StreamPart>().transports.with(py, |transports| transports.numbers());
    PyList::new(py, numbers).map(Object::new)
}

/// Adds the methods to the core's class.
pub(crate) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(Method::any_arguments(c"_accept", accept, c"Accept what waits at a listening socket."))
        .method(Method::one_argument(
            c"_stream_transport",
            stream_transport,
            c"The stream transport that has a descriptor's number.",
        ))
        .method(Method::no_arguments(
            c"_stream_numbers",
            stream_numbers,
            c"The numbers of the descriptors that stream transports have.",
        ))
        .method(Method::no_arguments(
            c"_open_connections",
            |py, core: &Instance<LoopCore>| open_connections(py, core).into_pyobject(py).map(Object::new),
            c"How many stream transports are open, and the bytes that wait in all of them.",
        ))
}

/// Makes the protocol and the transport of an accepted connection.
///
/// # Errors
/// What leaves the loop. Any other failure closes the connection, and is reported in debug mode only, as in asyncio.
fn accept_connection(py: Python<'_>, core: &LoopCore, accepted: &Accepted) -> Result<(), Exit> {
    let mut protocol = None;
    let outcome = context::run_in(py, &accepted.context, || {
        let made = call(py, &accepted.protocol_factory, [])?;
        protocol = Some(made.clone());
        let Some(opened) = accepted.opened.with(py, Option::take) else { return Ok(()) };
        let parties = Parties {
            class: accepted.class.clone(),
            protocol: made,
            server: accepted.server.clone(),
            waiter: None,
            context: accepted.has_own_context.then(|| accepted.context.clone()),
        };
        begin(py, &accepted.event_loop, opened, parties).map(drop)
    });
    let Err(error) = outcome else { return Ok(()) };
    let error = Exit::sort(py, error)?;
    let report = |exception: &Bound<'_, PyAny>| {
        let arguments = (accepted.event_loop.bind(py), exception, protocol.as_ref().map(|made| made.bind(py)));
        call_named(core.python(py)?, "report_failed_accept", arguments).map(drop)
    };
    let abandoned = accepted.opened.with(py, Option::take).map_or(Ok(()), |opened| abandon(py, opened));
    settle(py, abandoned, report)?;
    if core.is_debug() { settle(py, Err(error), report) } else { Ok(()) }
}

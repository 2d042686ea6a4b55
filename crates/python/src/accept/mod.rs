//! Accepting: from a listening socket to a transport.
//!
//! asyncio makes a task for each connection, which calls the protocol factory in the next turn and makes the transport.
//! Here the task is an entry of the ready queue that does the same at the same moment; connections that need more than
//! that (TLS, a task factory, debug mode) take asyncio's way, which `ferrio.Loop` decides.
//!
//! # Context
//! As a task would, each entry has a copy of the listener's context, so that what a factory sets is seen by the connection's
//! callbacks and by no other connection.

use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::sys::{Error, stream_socket};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;
use rustix::io::Errno;

use crate::convert::errors::os_error;
use crate::event_loop::{Entry, LoopCore};
use crate::guarded::Guarded;
use crate::handle::context;
use crate::object::Object;
use crate::transport::{Opened, Parties, abandon, begin};

/// An accepted connection that has no transport yet.
pub(crate) struct Accepted {
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
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        [&self.event_loop, &self.class, &self.protocol_factory, &self.context].into_iter().chain(&self.server)
    }
}

/// Whether an error says that the process or the kernel has run out of something: the connection goes on waiting.
fn is_out_of_resources(error: Error) -> bool {
    matches!(error.errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

#[pymethods]
impl LoopCore {
    /// Accepts what waits at a listening socket, at most `limit` connections, and schedules their beginnings.
    ///
    /// Returns the `OSError` that says that a resource has run out, for the caller to report. Raises any other.
    #[expect(clippy::too_many_arguments, reason = "what asyncio passes to `_accept_connection`")]
    #[pyo3(signature = (class, protocol_factory, number, proto, server, limit, context, /))]
    fn _accept(
        slf: &Bound<'_, Self>,
        class: &Bound<'_, PyAny>,
        protocol_factory: &Bound<'_, PyAny>,
        number: RawFd,
        proto: u16,
        server: Option<Bound<'_, PyAny>>,
        limit: usize,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let core = slf.get();
        core.check_closed()?;
        if number < 0 {
            return Err(os_error(py, Error::new("accept", Errno::BADF)));
        }
        for _ in 0..limit {
            // SAFETY: no negative number. That it is a listening socket is its owner's business; any other file answers
            // with an error.
            let listener = unsafe { BorrowedFd::borrow_raw(number) };
            let (descriptor, peer) = match stream_socket::accept(listener) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => break,
                // The peer has given up; others may be waiting.
                Err(error) if error.errno == Errno::CONNABORTED => continue,
                Err(error) if is_out_of_resources(error) => {
                    return Ok(Some(os_error(py, error).into_value(py).into_any()));
                }
                Err(error) => return Err(os_error(py, error)),
            };
            let own_context = context.as_ref().map(|context| context.call_method0("copy")).transpose()?;
            let has_own_context = own_context.is_some();
            let accepted = Accepted {
                opened: Guarded::new(Some(Opened { descriptor, peer, proto })),
                event_loop: Object::new(slf.clone()),
                class: Object::new(class.clone()),
                protocol_factory: Object::new(protocol_factory.clone()),
                server: server.clone().map(Object::new),
                context: match own_context {
                    Some(context) => Object::new(context),
                    None => context::copy_current(py)?,
                },
                has_own_context,
            };
            core.push_ready(py, Entry::Accepted(Box::new(accepted)));
        }
        Ok(None)
    }

    /// The stream transport that holds a descriptor's number.
    fn _stream_transport(&self, py: Python<'_>, number: &Bound<'_, PyAny>) -> Option<Py<PyAny>> {
        // What is no number of a descriptor is held by nobody.
        let number: RawFd = number.extract().ok()?;
        self.holders.with(py, |holders| holders.holder(number)).map(|transport| transport.into_bound(py).unbind())
    }

    /// The numbers of the descriptors that stream transports hold.
    fn _stream_numbers(&self, py: Python<'_>) -> Vec<RawFd> {
        self.holders.with(py, |holders| holders.numbers())
    }
}

/// Makes the protocol and the transport of an accepted connection.
///
/// # Errors
/// `SystemExit` and `KeyboardInterrupt` leave the loop. Any other failure closes the connection, and is reported in debug
/// mode only, as in asyncio.
pub(crate) fn welcome(py: Python<'_>, core: &LoopCore, accepted: &Accepted) -> PyResult<()> {
    let mut protocol = None;
    let outcome = context::run_in(py, &accepted.context, || {
        // SAFETY: a live callable; errors come back as null.
        let made = unsafe { ffi::PyObject_CallNoArgs(accepted.protocol_factory.as_ptr()) };
        // SAFETY: a new reference, or null with an exception.
        let made = unsafe { Object::from_owned(made) }.ok_or_else(|| PyErr::fetch(py))?;
        protocol = Some(made.clone());
        let Some(opened) = accepted.opened.with(py, Option::take) else { return Ok(()) };
        let parties = Parties {
            class: accepted.class.clone(),
            protocol: made,
            server: accepted.server.clone(),
            waiter: None,
            context: accepted.has_own_context.then(|| accepted.context.clone()),
        };
        begin(py, &accepted.event_loop, opened, &parties).map(drop)
    });
    let Err(error) = outcome else { return Ok(()) };
    if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return Err(error);
    }
    if let Some(opened) = accepted.opened.with(py, Option::take) {
        abandon(py, opened)?;
    }
    if core.is_debug() {
        let arguments = (accepted.event_loop.bind(py), error.value(py), protocol.as_ref().map(|made| made.bind(py)));
        core.python(py)?.call_method1("report_failed_welcome", arguments)?;
    }
    Ok(())
}

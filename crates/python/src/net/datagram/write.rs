//! Sending: `sendto` sends at once while nothing waits; what finds no room is queued and leaves in order.
//!
//! Writes are not held back until the callback ends, as a stream's are: a datagram is a system call's worth by itself, and
//! several with one call are no faster.
//!
//! A destination that only the `socket` module understands is sent to by the Python socket itself; so is everything while
//! the descriptor is not attached, which is between the end of sending and `connection_lost`.

#![forbid(unsafe_code)]

use ferrio_engine::flow::{DrainedStep, GateSignal, WriteVerdict};
use ferrio_engine::reactor::{Datagram, Destination, Progress};
use ferrio_engine::sys::Error;
use ferrio_engine::sys::address::SocketAddress;
use ferrio_engine::sys::message;
use pyo3::exceptions::{
    PyAttributeError, PyBlockingIOError, PyBufferError, PyInterruptedError, PyOSError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::class::Endpoint;
use super::state::{Known, detach};
use super::{address, error_received};
use crate::core::LoopCore;
use crate::ffi::audit;
use crate::ffi::buffer::Exported;
use crate::ffi::bytes::{Bytes, chunk_of};
use crate::ffi::call::call_method;
use crate::ffi::errors::{made, os_error};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::context;
use crate::net::transport::{apply_interest, event_loop, fatal, opened, tell, warn_lost, with, with_common};

const WRITE_FAILED: &str = "Fatal write error on datagram transport";

/// The bytes of one `sendto`, for as long as it lasts.
enum Data<'a> {
    Bytes(&'a Bytes),
    Buffer(Exported),
}

impl<'a> Data<'a> {
    /// The bytes of a bytes-like object, with the `socket` module's error for one that is not contiguous.
    fn of(py: Python<'_>, object: &'a Object) -> PyResult<Self> {
        match Bytes::of(object) {
            Some(bytes) => Ok(Self::Bytes(bytes)),
            None => Exported::of(py, object).map(Self::Buffer),
        }
    }

    fn with<R>(&self, section: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes(bytes) => section(bytes.as_slice()),
            Self::Buffer(buffer) => buffer.with(section),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Buffer(buffer) => buffer.len(),
        }
    }
}

/// What became of an attempt to send at once.
enum Attempt {
    Sent,
    NoRoom,
    Failed(PyErr),
}

impl Attempt {
    fn from_kernel(py: Python<'_>, outcome: Result<Option<()>, Error>) -> Self {
        match outcome {
            Ok(Some(())) => Self::Sent,
            Ok(None) => Self::NoRoom,
            Err(error) => Self::Failed(os_error(py, error)),
        }
    }
}

/// `sendto(data, addr)`.
pub(super) fn sendto(py: Python<'_>, transport: &Endpoint, given: &Object, addr: &Object) -> PyResult<()> {
    if !is_bytes_like(given.bind(py)) {
        // asyncio checks the type before anything else, in the words of its version.
        return call_method(py, &names(py)._raise_type_error, [transport.object(), given]).map(drop);
    }
    if !with(py, transport, |inner| inner.sends_empty) && !given.bind(py).is_truthy()? {
        return Ok(());
    }
    let mut destination = addr;
    // Held until the end: what runs meanwhile may open the transport anew.
    let remote = opened(py, transport, |inner| inner.remote.as_ref().map(|remote| remote.object.clone()))?;
    if let Some(remote) = &remote {
        if !addr.is_none() && !addr.is(remote) && !addr.bind(py).eq(remote.bind(py))? {
            return Err(PyValueError::new_err(format!("Invalid address: must be None or {}", remote.bind(py).str()?)));
        }
        destination = remote;
        match with_common(py, transport, |common| common.life.on_write()) {
            WriteVerdict::Accept => {}
            WriteVerdict::Discard => return Ok(()),
            WriteVerdict::DiscardAndWarn => return warn_lost(py),
        }
    }
    let outcome = if with(py, transport, |inner| inner.outgoing.is_empty()) {
        let data = match Data::of(py, given) {
            Ok(data) => data,
            Err(error) => return fatal(py, transport.object(), error, WRITE_FAILED),
        };
        match attempt(py, transport, &data, given, destination)? {
            Attempt::Sent => return Ok(()),
            Attempt::Failed(error) => return failed(py, transport, error),
            Attempt::NoRoom => wait_for_room(py, transport).map(|()| data),
        }
    } else {
        Data::of(py, given)
    };
    match outcome {
        Ok(data) => drop(data),
        // A view that is not contiguous can wait, as its copy, though it cannot be sent at once.
        Err(error) if error.is_instance_of::<PyBufferError>(py) => {}
        Err(error) => return Err(error),
    }
    let data = chunk_of(py, given)?;
    let to = queued_destination(py, transport, destination);
    match with(py, transport, |inner| inner.outgoing.push(Datagram { data, to })) {
        GateSignal::Pause => tell(py, transport.object(), &names(py)._pause_writing),
        GateSignal::Keep | GateSignal::Resume => Ok(()),
    }
}

fn is_bytes_like(data: &Bound<'_, PyAny>) -> bool {
    data.is_instance_of::<PyBytes>() || data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>()
}

/// The kernel's form of a destination, for now or for the queue; `None` when it is the `socket` module's to understand.
fn translate(py: Python<'_>, transport: &Endpoint, destination: &Object) -> Option<SocketAddress> {
    let (known, family) = with(py, transport, |inner| {
        let remote = inner.remote.as_ref().filter(|remote| remote.object.is(destination));
        match remote {
            Some(remote) => (Some(remote.address), inner.family),
            None => (inner.known(destination).copied().map(Some), inner.family),
        }
    });
    if let Some(known) = known {
        return known;
    }
    let address = address::from_python(destination.bind(py), family)?;
    let known = Known { object: destination.clone(), address };
    let before = with(py, transport, |inner| inner.destination.replace(known));
    drop(before);
    Some(address)
}

/// Where a datagram goes that has to wait.
fn queued_destination(py: Python<'_>, transport: &Endpoint, destination: &Object) -> Destination<Object> {
    if with(py, transport, |inner| inner.is_connected) {
        return Destination::Peer;
    }
    match translate(py, transport, destination) {
        Some(address) => Destination::To(address),
        None => Destination::Foreign(destination.clone()),
    }
}

/// Tries to send at once.
///
/// # Errors
/// asyncio's, when the transport has ended.
fn attempt(
    py: Python<'_>,
    transport: &Endpoint,
    data: &Data<'_>,
    given: &Object,
    destination: &Object,
) -> PyResult<Attempt> {
    let (socket, event_loop, is_attached, is_connected) = with(py, transport, |inner| {
        let common = &inner.common;
        (inner.socket.clone(), common.event_loop.clone(), common.key.is_some(), inner.is_connected)
    });
    let (Some(socket), Some(event_loop)) = (socket, event_loop) else {
        // What asyncio's transport comes to when it has ended.
        return Err(PyAttributeError::new_err("'NoneType' object has no attribute 'call_exception_handler'"));
    };
    let core: &LoopCore = &event_loop;
    let address = if is_connected { None } else { translate(py, transport, destination) };
    if !is_attached || core.check_closed().is_err() || (address.is_none() && !is_connected) {
        return Ok(through_socket(py, &socket, given, (!is_connected).then_some(destination)));
    }
    if !is_connected && let Err(error) = audit::send_to(py, &socket, destination) {
        return Ok(Attempt::Failed(error));
    }
    let sent = with(py, transport, |inner| {
        let fd = core.with_reactor(py, |reactor| inner.descriptor(&mut reactor.backend))?;
        data.with(|bytes| match &address {
            None => message::send(fd, bytes),
            Some(address) => message::send_to(fd, bytes, address),
        })
    });
    if let Ok(Some(())) = sent {
        core.counters.sent.add(data.len());
    }
    Ok(Attempt::from_kernel(py, sent))
}

/// Sends by means of the Python socket.
#[cold]
fn through_socket(py: Python<'_>, socket: &Object, data: &Object, destination: Option<&Object>) -> Attempt {
    let sent = match destination {
        None => call_method(py, &names(py).send, [socket, data]),
        Some(to) => call_method(py, &names(py).sendto, [socket, data, to]),
    };
    match sent {
        Ok(_) => Attempt::Sent,
        Err(error) if error.is_instance_of::<PyBlockingIOError>(py) => Attempt::NoRoom,
        Err(error) if error.is_instance_of::<PyInterruptedError>(py) => Attempt::NoRoom,
        Err(error) => Attempt::Failed(error),
    }
}

/// An attempt has failed: the socket's errors are the protocol's, anything else ends the transport.
#[cold]
fn failed(py: Python<'_>, transport: &Endpoint, error: PyErr) -> PyResult<()> {
    let error = made(py, error);
    if error.is_instance_of::<PyOSError>(py) {
        error_received(py, transport, error)
    } else {
        fatal(py, transport.object(), error, WRITE_FAILED)
    }
}

/// Has the kernel tell when there is room; the rest of this happens in the present context.
#[cold]
fn wait_for_room(py: Python<'_>, transport: &Endpoint) -> PyResult<()> {
    let Some(core) = event_loop(py, transport) else { return Ok(()) };
    core.check_closed()?;
    let ctx = context::copy_current(py)?;
    let before = with(py, transport, |inner| inner.write_context.replace(ctx));
    drop(before);
    let watching = apply_interest(py, &core, transport);
    if watching.is_err() {
        let before = with(py, transport, |inner| inner.write_context.take());
        drop(before);
    }
    watching.map_err(|error| os_error(py, error))
}

/// There is room to send more.
///
/// # Errors
/// The exception of `error_received`, or what must leave the loop.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Endpoint) -> PyResult<()> {
    loop {
        let (progress, lost) = with(py, transport, |inner| {
            match core.with_reactor(py, |reactor| inner.descriptor(&mut reactor.backend)) {
                Ok(fd) => (inner.outgoing.flush(fd), None),
                Err(error) => (Progress::Failed(error), inner.outgoing.take()),
            }
        });
        drop(lost);
        core.counters.sent.add(with(py, transport, |inner| inner.outgoing.take_sent()));
        match progress {
            Progress::Empty | Progress::Blocked => break,
            // The rest goes on when the kernel says again that there is room, as in asyncio.
            Progress::Failed(error) => return error_received(py, transport, os_error(py, error)),
            Progress::Foreign => match send_foreign(py, transport) {
                Attempt::Sent => {}
                Attempt::NoRoom => break,
                Attempt::Failed(error) => return failed(py, transport, error),
            },
        }
    }
    if with(py, transport, |inner| inner.outgoing.after_progress()) == GateSignal::Resume {
        // The protocol may send more, or close.
        tell(py, transport.object(), &names(py)._resume_writing)?;
    }
    let (is_drained, before) = with(py, transport, |inner| {
        let is_drained = inner.outgoing.is_empty();
        (is_drained, if is_drained { inner.write_context.take() } else { None })
    });
    drop(before);
    if !is_drained || with_common(py, transport, |common| common.key.is_none()) {
        return Ok(());
    }
    apply_interest(py, core, transport).map_err(|error| os_error(py, error))?;
    if with_common(py, transport, |common| common.life.drained()) == DrainedStep::LoseNow {
        detach(py, transport);
        call_method(py, &names(py)._call_connection_lost, [transport.object(), &Object::none(py)])?;
    }
    Ok(())
}

/// Sends the foreign datagram that is next.
#[cold]
fn send_foreign(py: Python<'_>, transport: &Endpoint) -> Attempt {
    let (next, socket) = with(py, transport, |inner| (inner.outgoing.take(), inner.socket.clone()));
    let (Some(next), Some(socket)) = (next, socket) else { return Attempt::NoRoom };
    let Destination::Foreign(to) = &next.to else {
        with(py, transport, |inner| inner.outgoing.put_back(next));
        return Attempt::Sent;
    };
    let data = Object::new(PyBytes::new(py, next.data.as_slice()));
    let attempt = through_socket(py, &socket, &data, Some(to));
    if matches!(attempt, Attempt::NoRoom) {
        with(py, transport, |inner| inner.outgoing.put_back(next));
    }
    attempt
}

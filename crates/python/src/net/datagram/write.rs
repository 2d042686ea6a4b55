//! Sending: `sendto` sends at once while nothing waits; what finds no room is queued and leaves in order.
//!
//! Writes are not held back until the callback ends, as a stream's are: a datagram is a system call's worth by itself, and
//! several with one call are no faster.
//!
//! A destination that only the `socket` module understands is sent to by the Python socket itself; so is everything while
//! the descriptor is not attached, which is between the end of sending and `connection_lost`.

use core::ffi::{CStr, c_char, c_int};

use ferrio_engine::flow::{DrainedStep, GateSignal, WriteVerdict};
use ferrio_engine::reactor::{Datagram, Destination, Progress};
use ferrio_engine::sys::Error;
use ferrio_engine::sys::address::SocketAddress;
use ferrio_engine::sys::message;
use pyo3::exceptions::{PyAttributeError, PyBlockingIOError, PyInterruptedError, PyOSError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::state::{Known, State};
use super::{address, error_received, fatal};
use crate::core::LoopCore;
use crate::ffi::bytes::chunk_of;
use crate::ffi::errors::{made, os_error};
use crate::ffi::object::Object;
use crate::handle::context;

const WRITE_FAILED: &str = "Fatal write error on datagram transport";

unsafe extern "C" {
    // Public since 3.8; pyo3-ffi has no variadic functions.
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// The bytes of one `sendto`, for as long as it lasts.
enum Data {
    /// Exact `bytes`.
    Shared(*mut ffi::PyObject),
    Buffer(Lent),
}

/// A readable buffer that an object lends.
struct Lent(ffi::Py_buffer);

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: filled by `PyObject_GetBuffer`, released once.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
    }
}

impl Data {
    /// The bytes of a bytes-like object, with the `socket` module's error for one that is not contiguous.
    fn of(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Self> {
        if is_exact_bytes(object) {
            return Ok(Self::Shared(object));
        }
        let mut view = ffi::Py_buffer::new();
        // SAFETY: a live object; the view is filled or an exception set.
        if unsafe { ffi::PyObject_GetBuffer(object, &raw mut view, ffi::PyBUF_SIMPLE) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Self::Buffer(Lent(view)))
    }

    fn as_slice(&self) -> &[u8] {
        let (start, length) = match self {
            Self::Shared(bytes) => {
                // SAFETY: exact `bytes`, alive during the call of `sendto`.
                let start = unsafe { ffi::PyBytes_AsString(*bytes) };
                // SAFETY: as above.
                (start.cast::<u8>(), unsafe { ffi::Py_SIZE(*bytes) })
            }
            Self::Buffer(Lent(view)) => (view.buf.cast(), view.len),
        };
        if length == 0 {
            return &[];
        }
        // SAFETY: so many bytes, which the `bytes` or the exported buffer keep in place.
        unsafe { core::slice::from_raw_parts(start, length.unsigned_abs()) }
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
pub(super) fn sendto(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    data: *mut ffi::PyObject,
    addr: *mut ffi::PyObject,
) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    // SAFETY: the object of the method call.
    let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
    // SAFETY: an argument of the call.
    let given = unsafe { Bound::from_borrowed_ptr(py, data) };
    if !is_bytes_like(&given) {
        // asyncio checks the type before anything else, in the words of its version.
        transport.call_method1(intern!(py, "_refuse"), (given,))?;
        return Ok(());
    }
    if !state.with(py, |inner| inner.sends_empty) && !given.is_truthy()? {
        return Ok(());
    }
    let mut destination = addr;
    // Held until the end: what runs meanwhile may open the transport anew.
    let remote = state.opened(py, |inner| inner.remote.as_ref().map(|remote| remote.object.clone()))?;
    if let Some(remote) = &remote {
        // SAFETY: an argument of the call.
        let addr = unsafe { Bound::from_borrowed_ptr(py, addr) };
        if !addr.is_none() && !addr.is(remote.bind(py)) && !addr.eq(remote.bind(py))? {
            return Err(PyValueError::new_err(format!("Invalid address: must be None or {}", remote.bind(py).str()?)));
        }
        destination = remote.as_ptr();
        match state.with(py, |inner| inner.life.on_write()) {
            WriteVerdict::Accept => {}
            WriteVerdict::Discard => return Ok(()),
            WriteVerdict::DiscardAndWarn => return warn_lost(py),
        }
    }
    let outcome = if state.with(py, |inner| inner.outgoing.is_empty()) {
        let data = match Data::of(py, data) {
            Ok(data) => data,
            Err(error) => return fatal(py, &transport, error, WRITE_FAILED),
        };
        match attempt(py, state, &data, &given, destination)? {
            Attempt::Sent => return Ok(()),
            Attempt::Failed(error) => return failed(py, &transport, state, error),
            Attempt::NoRoom => wait_for_room(py, &transport, state).map(|()| data),
        }
    } else {
        Data::of(py, data)
    };
    match outcome {
        Ok(data) => drop(data),
        // A view that is not contiguous can wait, as its copy, though it cannot be sent at once.
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyBufferError>(py) => {}
        Err(error) => return Err(error),
    }
    let data = chunk_of(py, Object::of(&given))?;
    let to = queued_destination(py, state, destination);
    match state.with(py, |inner| inner.outgoing.push(Datagram { data, to })) {
        GateSignal::Pause => transport.call_method0(intern!(py, "_pause_writing")).map(drop),
        GateSignal::Keep | GateSignal::Resume => Ok(()),
    }
}

fn is_exact_bytes(data: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller shows a live object.
    unsafe { ffi::PyBytes_CheckExact(data) != 0 }
}

fn is_bytes_like(data: &Bound<'_, PyAny>) -> bool {
    data.is_instance_of::<PyBytes>() || data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>()
}

/// The kernel's form of a destination, for now or for the queue; `None` when it is the `socket` module's to understand.
fn translate(py: Python<'_>, state: &State, destination: *mut ffi::PyObject) -> Option<SocketAddress> {
    let (known, family) = state.with(py, |inner| {
        let remote = inner.remote.as_ref().filter(|remote| remote.object.as_ptr() == destination);
        match remote {
            Some(remote) => (Some(remote.address), inner.family),
            None => (inner.known(destination).copied().map(Some), inner.family),
        }
    });
    if let Some(known) = known {
        return known;
    }
    // SAFETY: a live object: an argument of the call.
    let object = unsafe { Bound::from_borrowed_ptr(py, destination) };
    let address = address::from_python(&object, family)?;
    let known = Known { object: Object::new(object), address };
    let before = state.with(py, |inner| inner.destination.replace(known));
    drop(before);
    Some(address)
}

/// Where a datagram goes that has to wait.
fn queued_destination(py: Python<'_>, state: &State, destination: *mut ffi::PyObject) -> Destination<Object> {
    if state.with(py, |inner| inner.is_connected) {
        return Destination::Peer;
    }
    match translate(py, state, destination) {
        Some(address) => Destination::To(address),
        // SAFETY: a live object: an argument of the call.
        None => Destination::Foreign(unsafe { Object::from_borrowed(destination) }),
    }
}

/// Tries to send at once.
///
/// # Errors
/// asyncio's, when the transport has ended.
fn attempt(
    py: Python<'_>,
    state: &State,
    data: &Data,
    given: &Bound<'_, PyAny>,
    destination: *mut ffi::PyObject,
) -> PyResult<Attempt> {
    let (socket, event_loop, is_attached, is_connected) = state
        .with(py, |inner| (inner.socket.clone(), inner.event_loop.clone(), inner.key.is_some(), inner.is_connected));
    let (Some(socket), Some(event_loop)) = (socket, event_loop) else {
        // What asyncio's transport comes to when it has ended.
        return Err(PyAttributeError::new_err("'NoneType' object has no attribute 'call_exception_handler'"));
    };
    // SAFETY: whoever stores a loop has checked its type.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    let address = if is_connected { None } else { translate(py, state, destination) };
    if !is_attached || core.check_closed().is_err() || (address.is_none() && !is_connected) {
        return Ok(through_socket(py, &socket, given, (!is_connected).then_some(destination)));
    }
    if !is_connected {
        if let Err(error) = audit(py, &socket, destination) {
            return Ok(Attempt::Failed(error));
        }
    }
    let sent = state.with(py, |inner| {
        core.with_reactor(py, |reactor| inner.ensure_number(&mut reactor.backend))?;
        match &address {
            None => message::send(inner.borrow_fd(), data.as_slice()),
            Some(address) => message::send_to(inner.borrow_fd(), data.as_slice(), address),
        }
    });
    if let Ok(Some(())) = sent {
        core.counters.sent.add(data.as_slice().len());
    }
    Ok(Attempt::from_kernel(py, sent))
}

/// Raises the `socket` module's audit event.
fn audit(py: Python<'_>, socket: &Object, destination: *mut ffi::PyObject) -> PyResult<()> {
    const EVENT: &CStr = c"socket.sendto";
    // SAFETY: two live objects, as the format says.
    let failed = unsafe { PySys_Audit(EVENT.as_ptr(), c"OO".as_ptr(), socket.as_ptr(), destination) } != 0;
    if failed { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// Sends by means of the Python socket.
#[cold]
fn through_socket(
    py: Python<'_>,
    socket: &Object,
    data: &Bound<'_, PyAny>,
    destination: Option<*mut ffi::PyObject>,
) -> Attempt {
    let socket = socket.bind(py);
    let sent = match destination {
        None => socket.call_method1("send", (data,)),
        // SAFETY: a live object: an argument of the call, or what the queue held.
        Some(to) => socket.call_method1("sendto", (data, unsafe { Bound::from_borrowed_ptr(py, to) })),
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
fn failed(py: Python<'_>, transport: &Bound<'_, PyAny>, state: &State, error: PyErr) -> PyResult<()> {
    let error = made(py, error);
    if error.is_instance_of::<PyOSError>(py) {
        error_received(py, state, error)
    } else {
        fatal(py, transport, error, WRITE_FAILED)
    }
}

/// Has the kernel tell when there is room; the rest of this happens in the present context.
#[cold]
fn wait_for_room(py: Python<'_>, transport: &Bound<'_, PyAny>, state: &State) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: whoever stores a loop has checked its type.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    core.check_closed()?;
    let ctx = context::copy_current(py)?;
    let before = state.with(py, |inner| inner.write_context.replace(ctx));
    drop(before);
    let watching = state.apply_interest(py, core, transport.as_ptr());
    if watching.is_err() {
        let before = state.with(py, |inner| inner.write_context.take());
        drop(before);
    }
    watching.map_err(|error| os_error(py, error))
}

#[cold]
fn warn_lost(py: Python<'_>) -> PyResult<()> {
    py.import("asyncio.log")?.getattr("logger")?.call_method1("warning", ("socket.send() raised exception.",))?;
    Ok(())
}

/// There is room to send more.
///
/// # Errors
/// The exception of `error_received`, or what must leave the loop.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Object, state: &State) -> PyResult<()> {
    loop {
        let (progress, lost) =
            state.with(py, |inner| match core.with_reactor(py, |reactor| inner.ensure_number(&mut reactor.backend)) {
                Ok(()) => {
                    let fd = inner.borrow_fd();
                    (inner.outgoing.flush(fd), None)
                }
                Err(error) => (Progress::Failed(error), inner.outgoing.take()),
            });
        drop(lost);
        core.counters.sent.add(state.with(py, |inner| inner.outgoing.take_sent()));
        match progress {
            Progress::Empty | Progress::Blocked => break,
            // The rest goes on when the kernel says again that there is room, as in asyncio.
            Progress::Failed(error) => return error_received(py, state, os_error(py, error)),
            Progress::Foreign => match send_foreign(py, state) {
                Attempt::Sent => {}
                Attempt::NoRoom => break,
                Attempt::Failed(error) => return failed(py, transport.bind(py), state, error),
            },
        }
    }
    if state.with(py, |inner| inner.outgoing.after_progress()) == GateSignal::Resume {
        // The protocol may send more, or close.
        transport.bind(py).call_method0(intern!(py, "_resume_writing"))?;
    }
    let (is_drained, before) = state.with(py, |inner| {
        let is_drained = inner.outgoing.is_empty();
        (is_drained, if is_drained { inner.write_context.take() } else { None })
    });
    drop(before);
    if !is_drained || state.with(py, |inner| inner.key.is_none()) {
        return Ok(());
    }
    state.apply_interest(py, core, transport.as_ptr()).map_err(|error| os_error(py, error))?;
    if state.with(py, |inner| inner.life.drained()) == DrainedStep::LoseNow {
        state.detach(py, core);
        transport.bind(py).call_method1(intern!(py, "_call_connection_lost"), (py.None(),))?;
    }
    Ok(())
}

/// Sends the foreign datagram that is next.
#[cold]
fn send_foreign(py: Python<'_>, state: &State) -> Attempt {
    let (next, socket) = state.with(py, |inner| (inner.outgoing.take(), inner.socket.clone()));
    let (Some(next), Some(socket)) = (next, socket) else { return Attempt::NoRoom };
    let Destination::Foreign(to) = &next.to else {
        state.with(py, |inner| inner.outgoing.put_back(next));
        return Attempt::Sent;
    };
    let data = PyBytes::new(py, next.data.as_slice()).into_any();
    let attempt = through_socket(py, &socket, &data, Some(to.as_ptr()));
    if matches!(attempt, Attempt::NoRoom) {
        state.with(py, |inner| inner.outgoing.put_back(next));
    }
    attempt
}

//! One attempt of an operation on a socket: the system call, without waiting.
//!
//! Receiving and sending are made here, with the interpreter attached and without an exception for "not yet". What has an
//! address goes through the socket's own methods, which know every address family.

use core::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::sys::Error;
use ferrio_engine::sys::socket;
use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};

use super::buffer::Buffer;
use super::layout::is_blocking;
use crate::core::{Direction, LoopCore, RECEIVE_BYTES};
use crate::ffi::errors::{made, os_error};
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;

unsafe extern "C" {
    // Public in `bytesobject.h`; pyo3-ffi keeps it to itself.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> core::ffi::c_int;
}

/// A receive of at most so many bytes goes through the loop's buffer and is copied; a larger one may bring more than a copy
/// is worth.
const SMALL_RECEIVE_BYTES: usize = 64 * 1024;

/// What an operation does.
#[derive(Default)]
pub(super) enum Call {
    /// Nothing: the operation has ended.
    #[default]
    Ended,
    /// `sock_recv`
    Receive { size: Held },
    /// `sock_recv_into`
    ReceiveInto { buffer: Held },
    /// `sock_sendall`; the buffer is exported from the first attempt on.
    Send { data: Held, view: Option<Buffer>, sent: usize },
    /// `sock_recvfrom`, `sock_recvfrom_into`, `sock_sendto`: a method of the socket.
    Method { method: Method, first: Held, second: Option<Held> },
    /// Only waits.
    Wait { direction: Direction, has_waited: bool },
}

/// A method that is called for each attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    ReceiveFrom,
    ReceiveFromInto,
    SendTo,
}

/// What came of it.
pub(super) enum Outcome {
    /// The operation's result.
    Done(Object),
    /// The same, of a receive that brought something, and less than there was room for.
    Short(Object),
    /// Refused (`EAGAIN`): to be tried again when the descriptor can make progress.
    NotYet(Direction),
}

impl Call {
    /// Every Python object that it holds.
    pub(super) fn each(&self, see: &mut dyn FnMut(*mut ffi::PyObject)) {
        match self {
            Self::Ended | Self::Wait { .. } => {}
            Self::Receive { size } => see(size.as_ptr()),
            Self::ReceiveInto { buffer } => see(buffer.as_ptr()),
            Self::Send { data, view, .. } => {
                see(data.as_ptr());
                if let Some(view) = view {
                    see(view.as_ptr());
                }
            }
            Self::Method { first, second, .. } => {
                see(first.as_ptr());
                if let Some(second) = second {
                    see(second.as_ptr());
                }
            }
        }
    }

    /// Whether it takes bytes of a stream.
    pub(super) const fn takes_stream(&self) -> bool {
        matches!(self, Self::Receive { .. } | Self::ReceiveInto { .. })
    }

    /// Tries on the socket whose number is `fd`. If it `is_emptied`, nothing is there to be received, and it is not asked.
    pub(super) fn attempt(
        &mut self,
        py: Python<'_>,
        core: &LoopCore,
        socket: &Bound<'_, PyAny>,
        fd: RawFd,
        is_emptied: bool,
    ) -> PyResult<Outcome> {
        match self {
            Self::Ended => Ok(Outcome::Done(none(py))),
            Self::Receive { size } => {
                let received = receive(py, core, fd, size.bind(py), is_emptied)?;
                done_or(py, received, Direction::Read, socket, |socket| socket.call_method1("recv", (size.bind(py),)))
            }
            Self::ReceiveInto { buffer } => {
                let mut view = Buffer::writable(buffer.bind(py))?;
                // As `socket.recv_into`: no room, no system call.
                let received = if view.is_empty() {
                    Some(0)
                } else if is_emptied {
                    None
                } else {
                    socket::receive(borrow(fd), view.uninit()).map_err(|error| os_error(py, error))?
                };
                let room = view.len();
                drop(view);
                let received = received.map(|count| Received::of(Object::new(PyInt::new(py, count)), count, room));
                done_or(py, received, Direction::Read, socket, |socket| {
                    socket.call_method1("recv_into", (buffer.bind(py),))
                })
            }
            Self::Send { data, view, sent } => send(py, socket, fd, data, view, sent),
            Self::Method { method, first, second } => method.call(py, socket, first, second.as_deref()),
            Self::Wait { direction, has_waited } => {
                if core::mem::replace(has_waited, true) {
                    return Ok(Outcome::Done(none(py)));
                }
                Ok(Outcome::NotYet(*direction))
            }
        }
    }
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // What `fileno()` says of a closed socket is no number that may be borrowed; this one is not open either.
    let fd = if fd < 0 { RawFd::MAX } else { fd };
    // SAFETY: not negative. The socket object has said that it has it open; a number that is not is answered `EBADF`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// What a receive has brought.
struct Received {
    data: Object,
    is_short: bool,
}

impl Received {
    /// `count` bytes where there was `room` for so many.
    fn of(data: Object, count: usize, room: usize) -> Self {
        Self { data, is_short: 0 < count && count < room }
    }
}

/// The result if there is one. A socket that blocks, or has a timeout, does so in its own method, as in asyncio.
fn done_or<'py>(
    py: Python<'py>,
    received: Option<Received>,
    direction: Direction,
    socket: &Bound<'py, PyAny>,
    blocking: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Outcome> {
    match received {
        Some(Received { data, is_short: true }) => Ok(Outcome::Short(data)),
        Some(Received { data, .. }) => Ok(Outcome::Done(data)),
        None if is_blocking(socket)? => match not_yet(py, blocking(socket))? {
            Some(result) => Ok(Outcome::Done(Object::new(result))),
            None => Ok(Outcome::NotYet(direction)),
        },
        None => Ok(Outcome::NotYet(direction)),
    }
}

/// `None` for the exceptions that asyncio takes for "not yet". A socket object that says it blocks raises them when its
/// descriptor does not.
fn not_yet<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<Option<T>> {
    match result.map_err(|error| made(py, error)) {
        Err(error)
            if error.is_instance_of::<PyBlockingIOError>(py) || error.is_instance_of::<PyInterruptedError>(py) =>
        {
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Receives at most `size` bytes; `None` for "not yet".
fn receive(
    py: Python<'_>,
    core: &LoopCore,
    fd: RawFd,
    size: &Bound<'_, PyAny>,
    is_emptied: bool,
) -> PyResult<Option<Received>> {
    let size = byte_count(py, size)?;
    if size == 0 {
        // As `socket.recv`: no room, no system call.
        return Ok(Some(Received::of(Object::new(pyo3::types::PyBytes::new(py, &[])), 0, 0)));
    }
    if is_emptied {
        return Ok(None);
    }
    let is_large = size > RECEIVE_BYTES || (size > SMALL_RECEIVE_BYTES && core.receives_large());
    let received = if is_large { receive_large(py, fd, size)? } else { receive_small(py, core, fd, size) };
    let received = received.map_err(|error| os_error(py, error))?;
    if size > SMALL_RECEIVE_BYTES {
        if let Some((_, count)) = &received {
            core.set_receives_large(*count > SMALL_RECEIVE_BYTES);
        }
    }
    Ok(received.map(|(data, count)| Received::of(data, count, size)))
}

type Bytes = Option<(Object, usize)>;

/// Receives through the loop's buffer and copies into a `bytes` of the exact size.
fn receive_small(py: Python<'_>, core: &LoopCore, fd: RawFd, size: usize) -> Result<Bytes, Error> {
    let mut scratch = core.take_scratch(py);
    let received = socket::receive(borrow(fd), &mut scratch[..size]).map(|count| {
        count.map(|count| {
            let filled = &scratch[..count];
            // SAFETY: the kernel has filled the first `count` bytes.
            let filled = unsafe { &*(&raw const *filled as *const [u8]) };
            (core.received_bytes(py, filled), count)
        })
    });
    core.return_scratch(py, scratch);
    received
}

/// Receives straight into a `bytes`, which is then shortened.
fn receive_large(py: Python<'_>, fd: RawFd, size: usize) -> PyResult<Result<Bytes, Error>> {
    // SAFETY: a positive size that came from a `Py_ssize_t`; null is an exception.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(core::ptr::null(), isize::try_from(size)?) };
    // SAFETY: a new reference, or null with an exception.
    let Some(object) = (unsafe { Object::from_owned(object) }) else { return Err(PyErr::fetch(py)) };
    // SAFETY: a new `bytes`.
    let data: *mut MaybeUninit<u8> = unsafe { ffi::PyBytes_AsString(object.as_ptr()) }.cast();
    // SAFETY: `size` bytes that nobody else has seen.
    let buffer = unsafe { core::slice::from_raw_parts_mut(data, size) };
    Ok(match socket::receive(borrow(fd), buffer) {
        Ok(Some(count)) => {
            let mut object = object.into_ptr();
            // SAFETY: the only reference to a `bytes` that nobody has hashed; on failure it is gone and null is left.
            unsafe { _PyBytes_Resize(&raw mut object, isize::try_from(count)?) };
            // SAFETY: the resized object's reference, or null with an exception.
            let data = unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))?;
            Ok(Some((data, count)))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    })
}

/// The argument of `recv`, with the errors of `socket.recv`.
fn byte_count(py: Python<'_>, size: &Bound<'_, PyAny>) -> PyResult<usize> {
    // SAFETY: a live object; null is an exception.
    let index = unsafe { ffi::PyNumber_Index(size.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    let Some(index) = (unsafe { Object::from_owned(index) }) else { return Err(PyErr::fetch(py)) };
    // SAFETY: an integer; -1 may be an exception.
    let count = unsafe { ffi::PyLong_AsSsize_t(index.as_ptr()) };
    if count == -1 {
        if let Some(error) = PyErr::take(py) {
            return Err(error);
        }
    }
    usize::try_from(count).map_err(|_| PyValueError::new_err("negative buffersize in recv"))
}

/// Sends once, as asyncio does for each time that there is room: what a fast reader takes must not keep others waiting.
fn send(
    py: Python<'_>,
    socket: &Bound<'_, PyAny>,
    fd: RawFd,
    data: &Object,
    view: &mut Option<Buffer>,
    sent: &mut usize,
) -> PyResult<Outcome> {
    let view = match view {
        Some(view) => view,
        None => view.insert(Buffer::readable(data.bind(py))?),
    };
    // An empty message is sent too; over a stream that asks whether the connection lives.
    let taken = socket::send(borrow(fd), &view.bytes()[*sent..]).map_err(|error| os_error(py, error))?;
    *sent += taken.unwrap_or(0);
    let mut is_taken = taken.is_some();
    if (!is_taken || *sent < view.len()) && is_blocking(socket)? {
        if let Some(count) = not_yet(py, socket.call_method1("send", (view.rest(py, *sent)?,)))? {
            *sent += count.extract::<usize>()?;
            is_taken = true;
        }
    }
    Ok(if is_taken && *sent >= view.len() { Outcome::Done(none(py)) } else { Outcome::NotYet(Direction::Write) })
}

impl Method {
    fn call(
        self,
        py: Python<'_>,
        socket: &Bound<'_, PyAny>,
        first: &Object,
        second: Option<&Object>,
    ) -> PyResult<Outcome> {
        let first = first.bind(py);
        let second = second.map(|second| second.bind(py));
        let result = match (self, second) {
            (Self::ReceiveFrom, _) => socket.call_method1(pyo3::intern!(py, "recvfrom"), (first,)),
            (Self::ReceiveFromInto, Some(size)) if size.is_truthy()? => {
                socket.call_method1(pyo3::intern!(py, "recvfrom_into"), (first, size))
            }
            (Self::ReceiveFromInto, _) => {
                socket.call_method1(pyo3::intern!(py, "recvfrom_into"), (first, first.len()?))
            }
            (Self::SendTo, second) => {
                let arguments: Vec<_> = [Some(first), second].into_iter().flatten().collect();
                socket.call_method1(pyo3::intern!(py, "sendto"), PyTuple::new(py, arguments)?)
            }
        };
        Ok(match not_yet(py, result)? {
            Some(result) => Outcome::Done(Object::new(result)),
            None => Outcome::NotYet(if self == Self::SendTo { Direction::Write } else { Direction::Read }),
        })
    }
}

//! One attempt of an operation on a socket: the system call, without waiting.
//!
//! Receiving and sending are made here, with the interpreter attached and without an exception for "not yet". What has an
//! address goes through the socket's own methods, which know every address family.

#![forbid(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::sys::Error;
use ferrio_engine::sys::socket;
use pyo3::exceptions::{PyBlockingIOError, PyBufferError, PyInterruptedError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyMemoryView, PySlice};
use rustix::io::Errno;

use crate::core::{Direction, LoopCore, RECEIVE_BYTES};
use crate::ffi::buffer::{self, Exported};
use crate::ffi::bytes::Blank;
use crate::ffi::call::call_method;
use crate::ffi::descriptor;
use crate::ffi::errors::{made, os_error};
use crate::ffi::fields::{Collector, Field, Visited};
use crate::ffi::names::names;
use crate::ffi::nesting::Held;
use crate::ffi::number::size;
use crate::ffi::object::Object;
use crate::ffi::socket::is_blocking;

/// A receive of so many bytes makes the loop ask how many are there before the next that may bring as many: they then go
/// straight into the final object, and a copy would cost more than the question.
const LARGE_RECEIVE_BYTES: usize = 16 * 1024;

/// Who asks for more gets room for all of it first, or the `MemoryError` that `socket.recv` raises.
const COMMON_RECEIVE_BYTES: usize = 64 * 1024 * 1024;

/// What an operation does.
pub(super) enum Call {
    /// `sock_recv`
    Receive { size: Held },
    /// `sock_recv_into`
    ReceiveInto { buffer: Held },
    /// `sock_sendall`; the buffer is exported from the first attempt on.
    Send { data: Held, view: Option<Exported>, sent: usize },
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

impl Field for Call {
    fn visit_field(&self, collector: &Collector) -> Visited {
        match self {
            Self::Wait { .. } => Ok(()),
            Self::Receive { size: only } | Self::ReceiveInto { buffer: only } => only.visit_field(collector),
            Self::Send { data, view, .. } => {
                data.visit_field(collector)?;
                view.as_ref().map_or(Ok(()), |view| view.visit_field(collector))
            }
            Self::Method { first, second, .. } => {
                first.visit_field(collector)?;
                second.as_ref().map_or(Ok(()), |second| second.visit_field(collector))
            }
        }
    }

    /// What it holds stays to its end.
    fn clear_field(&self) {}
}

impl Call {
    /// Whether it takes bytes of a stream.
    pub(super) const fn takes_stream(&self) -> bool {
        matches!(self, Self::Receive { .. } | Self::ReceiveInto { .. })
    }

    /// Tries on the socket whose number is `fd`. If it `is_emptied`, nothing is there to be received, and it is not asked.
    pub(super) fn attempt(
        &mut self,
        py: Python<'_>,
        core: &LoopCore,
        socket: &Object,
        fd: RawFd,
        is_emptied: bool,
    ) -> PyResult<Outcome> {
        match self {
            Self::Receive { size } => {
                let received = receive(py, core, fd, size, is_emptied)?;
                let blocking = || call_method(py, &names(py).recv, [socket, size]);
                done_or(py, received, Direction::Read, socket, blocking)
            }
            Self::ReceiveInto { buffer } => {
                let received = receive_into(py, fd, buffer, is_emptied)?;
                let blocking = || call_method(py, &names(py).recv_into, [socket, buffer]);
                done_or(py, received, Direction::Read, socket, blocking)
            }
            Self::Send { data, view, sent } => send(py, socket, fd, data, view, sent),
            Self::Method { method, first, second } => method.call(py, socket, first, second.as_deref()),
            Self::Wait { direction, has_waited } => {
                if core::mem::replace(has_waited, true) {
                    return Ok(Outcome::Done(Object::none(py)));
                }
                Ok(Outcome::NotYet(*direction))
            }
        }
    }
}

/// The descriptor of a socket object that has said it has it open.
fn open<'a>(fd: RawFd) -> Result<BorrowedFd<'a>, Error> {
    descriptor::borrow(fd).ok_or(Error::new("recv", Errno::BADF))
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
fn done_or(
    py: Python<'_>,
    received: Option<Received>,
    direction: Direction,
    socket: &Object,
    blocking: impl FnOnce() -> PyResult<Object>,
) -> PyResult<Outcome> {
    match received {
        Some(Received { data, is_short: true }) => Ok(Outcome::Short(data)),
        Some(Received { data, .. }) => Ok(Outcome::Done(data)),
        None if is_blocking(py, socket)? => match not_yet(py, blocking())? {
            Some(result) => Ok(Outcome::Done(result)),
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
fn receive(py: Python<'_>, core: &LoopCore, fd: RawFd, size: &Object, is_emptied: bool) -> PyResult<Option<Received>> {
    let size = byte_count(py, size)?;
    if size == 0 {
        // As `socket.recv`: no room, no system call.
        return Ok(Some(Received::of(empty(py), 0, 0)));
    }
    if is_emptied {
        return Ok(None);
    }
    let may_be_large = size >= LARGE_RECEIVE_BYTES;
    let is_asked = size > RECEIVE_BYTES || (may_be_large && core.receives_large());
    let waiting = if is_asked { open(fd).map_or(0, socket::waiting_bytes) } else { 0 };
    let (received, room) = if size > COMMON_RECEIVE_BYTES {
        (receive_large(py, fd, size)?, size)
    } else if waiting >= LARGE_RECEIVE_BYTES {
        // There is room for one byte more than is there: what comes short of it shows that nothing is left.
        let room = size.min(waiting.saturating_add(1));
        (receive_large(py, fd, room)?, room)
    } else {
        let room = size.min(RECEIVE_BYTES);
        (receive_small(py, core, fd, room)?, room)
    };
    let received = received.map_err(|error| os_error(py, error))?;
    if may_be_large && let Some((_, count)) = &received {
        core.set_receives_large(*count >= LARGE_RECEIVE_BYTES);
    }
    Ok(received.map(|(data, count)| Received::of(data, count, room)))
}

type Bytes = Option<(Object, usize)>;

fn empty(py: Python<'_>) -> Object {
    Object::new(PyBytes::new(py, &[]))
}

/// Receives through the loop's buffer and copies into a `bytes` of the exact size.
fn receive_small(py: Python<'_>, core: &LoopCore, fd: RawFd, size: usize) -> PyResult<Result<Bytes, Error>> {
    let mut scratch = core.take_scratch(py);
    let received = open(fd).and_then(|fd| socket::receive(fd, &mut scratch[..size]));
    let data = match received {
        Ok(Some(count)) => core.received_bytes(py, scratch.filled(count)).map(|data| Ok(Some((data, count)))),
        Ok(None) => Ok(Ok(None)),
        Err(error) => Ok(Err(error)),
    };
    core.return_scratch(py, scratch);
    data
}

/// Receives straight into a `bytes`, which is then shortened.
fn receive_large(py: Python<'_>, fd: RawFd, size: usize) -> PyResult<Result<Bytes, Error>> {
    let mut received = Ok(None);
    let data = Blank::new(py, size)?.fill(py, |room| {
        received = open(fd).and_then(|fd| socket::receive(fd, room));
        received.as_ref().ok().copied().flatten().unwrap_or(0)
    })?;
    Ok(received.map(|count| count.map(|count| (data.unwrap_or_else(|| empty(py)), count))))
}

/// Receives into a buffer of the caller's; `None` for "not yet".
fn receive_into(py: Python<'_>, fd: RawFd, buffer: &Object, is_emptied: bool) -> PyResult<Option<Received>> {
    let outcome = buffer::with_writable(py, buffer, |room| {
        let received = match room.len() {
            // As `socket.recv_into`: no room, no system call.
            0 => Ok(Some(0)),
            _ if is_emptied => Ok(None),
            _ => open(fd).and_then(|fd| socket::receive(fd, room)),
        };
        (received, room.len())
    });
    let (received, room) = outcome.map_err(|error| not_writable(py, buffer, error))?;
    let received = received.map_err(|error| os_error(py, error))?;
    Ok(received.map(|count| Received::of(Object::new(PyInt::new(py, count)), count, room)))
}

/// The error of `socket.recv_into` for an object that exports no writable buffer.
#[cold]
fn not_writable(py: Python<'_>, buffer: &Object, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyTypeError>(py) && !error.is_instance_of::<PyBufferError>(py) {
        return error;
    }
    let name = if buffer.is_none() {
        Ok("None".to_owned())
    } else {
        buffer.bind(py).get_type().name().map(|name| name.to_string())
    };
    match name {
        Ok(name) => {
            PyTypeError::new_err(format!("recv_into() argument 1 must be read-write bytes-like object, not {name}"))
        }
        Err(error) => error,
    }
}

/// The argument of `recv`, with the errors of `socket.recv`.
fn byte_count(py: Python<'_>, value: &Object) -> PyResult<usize> {
    usize::try_from(size(py, value)?).map_err(|_| PyValueError::new_err("negative buffersize in recv"))
}

/// Sends once, as asyncio does for each time that there is room: what a fast reader takes must not keep others waiting.
fn send(
    py: Python<'_>,
    socket: &Object,
    fd: RawFd,
    data: &Object,
    view: &mut Option<Exported>,
    sent: &mut usize,
) -> PyResult<Outcome> {
    let view = match view {
        Some(view) => view,
        None => view.insert(Exported::of(py, data)?),
    };
    // An empty message is sent too; over a stream that asks whether the connection lives.
    let taken = open(fd).and_then(|fd| view.with(|bytes| socket::send(fd, &bytes[*sent..])));
    let taken = taken.map_err(|error| os_error(py, error))?;
    *sent += taken.unwrap_or(0);
    let mut is_taken = taken.is_some();
    if (!is_taken || *sent < view.len()) && is_blocking(py, socket)? {
        let rest = PyMemoryView::from(data.bind(py))?.call_method1("cast", ("B",))?;
        let rest = Object::new(rest.get_item(PySlice::new(py, isize::try_from(*sent)?, isize::MAX, 1))?);
        if let Some(count) = not_yet(py, call_method(py, &names(py).send, [socket, &rest]))? {
            *sent += count.bind(py).extract::<usize>()?;
            is_taken = true;
        }
    }
    let is_done = is_taken && *sent >= view.len();
    Ok(if is_done { Outcome::Done(Object::none(py)) } else { Outcome::NotYet(Direction::Write) })
}

impl Method {
    fn call(self, py: Python<'_>, socket: &Object, first: &Object, second: Option<&Object>) -> PyResult<Outcome> {
        let names = names(py);
        let result = match (self, second) {
            (Self::ReceiveFrom, _) => call_method(py, &names.recvfrom, [socket, first]),
            (Self::ReceiveFromInto, Some(size)) if size.bind(py).is_truthy()? => {
                call_method(py, &names.recvfrom_into, [socket, first, size])
            }
            (Self::ReceiveFromInto, _) => {
                let size = Object::new(PyInt::new(py, first.bind(py).len()?));
                call_method(py, &names.recvfrom_into, [socket, first, &size])
            }
            (Self::SendTo, Some(address)) => call_method(py, &names.sendto, [socket, first, address]),
            (Self::SendTo, None) => call_method(py, &names.sendto, [socket, first]),
        };
        Ok(match not_yet(py, result)? {
            Some(result) => Outcome::Done(result),
            None => Outcome::NotYet(if self == Self::SendTo { Direction::Write } else { Direction::Read }),
        })
    }
}

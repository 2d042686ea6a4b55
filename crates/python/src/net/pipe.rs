//! The hot methods of the pipe transports: `_read_ready` and `write`.
//!
//! The transports are `ferrio._pipe`'s classes over asyncio's own, whose state is in attributes of the instance. Here is what
//! runs for each block: reading one and handing it to the protocol, and writing one that there is room for. Everything else
//! (the end, errors, what does not fit, data that is no `bytes`) is asyncio's method of the same name, which is called
//! in its place and makes the system call again. One thing is not: a file that was closed from outside is not written to,
//! since its number may be another's by now; that is an `EBADF`.
//!
//! asyncio reads into a new object of 256 KiB each time and shrinks it. Here small blocks go through the loop's buffer, and
//! large ones straight into an object of their size.

#![forbid(unsafe_code)]

use core::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::sys::pipe::{self, Attempt};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyType};

use crate::core::{LoopCore, RECEIVE_BYTES};
use crate::ffi::arguments::Arguments;
use crate::ffi::builder::add_function;
use crate::ffi::bytes::{Bytes, filled};
use crate::ffi::call::call_method;
use crate::ffi::class::{Instance, add_method_to};
use crate::ffi::descriptor;
use crate::ffi::method::{AnyObject, Method};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::net::transport::fatal;

const READ_FAILED: &str = "Fatal read error on pipe transport";

/// After a read of so many bytes the next one goes straight into its object, of the size that is there.
const LARGE_READ_BYTES: usize = 16 * 1024;

/// An attribute of the transport.
#[inline]
fn attribute<'py>(py: Python<'py>, transport: &Object, name: &Py<PyString>) -> PyResult<Bound<'py, PyAny>> {
    transport.bind(py).getattr(name.bind(py))
}

/// The descriptor of a transport whose file is still open and has the number that it had.
///
/// A file that was closed behind the transport's back must not be written to or read from: its number may be another's.
fn open_descriptor<'a>(py: Python<'_>, transport: &'a Object) -> PyResult<Option<BorrowedFd<'a>>> {
    let names = names(py);
    let Ok(number) = attribute(py, transport, &names._fileno)?.extract::<RawFd>() else { return Ok(None) };
    let now = attribute(py, transport, &names._pipe)?.call_method0(names.fileno.bind(py));
    // A closed file's `fileno` raises ValueError, a closed socket's returns -1.
    let now = now.and_then(|now| now.extract::<RawFd>()).ok().filter(|&now| now == number);
    Ok(now.and_then(descriptor::borrow))
}

/// Reads one block; without data, what became of the attempt.
fn read(py: Python<'_>, core: &LoopCore, transport: &Object, fd: BorrowedFd<'_>) -> PyResult<Result<Object, Missing>> {
    let mut missing = Missing::Other;
    let mut fill = |buffer: &mut [MaybeUninit<u8>]| match pipe::read(fd, buffer) {
        Ok(Attempt::Done(count)) => count,
        Ok(Attempt::WouldBlock) => {
            missing = Missing::Nothing;
            0
        }
        Ok(Attempt::Unsupported) | Err(_) => 0,
    };
    let names = names(py);
    let was_large = attribute(py, transport, &names._reads_large)?.is_truthy()?;
    let size = if was_large { pipe::readable_bytes(fd).min(RECEIVE_BYTES) } else { 0 };
    let data = if size >= LARGE_READ_BYTES {
        let data = filled(py, size, fill);
        if let Some(data) = &data {
            core.counters.received.add(data.bind(py).len()?);
        }
        data
    } else {
        let mut scratch = core.take_scratch(py);
        let count = fill(&mut scratch);
        let data = (count > 0).then(|| {
            core.counters.received.add(count);
            core.received_bytes(py, scratch.filled(count))
        });
        core.return_scratch(py, scratch);
        let data = match data.transpose() {
            Ok(data) => data,
            // What has been read is lost, and the connection with it.
            Err(error) => return fatal(py, transport, error, READ_FAILED).map(|()| Err(Missing::Nothing)),
        };
        if was_large != (count >= LARGE_READ_BYTES) {
            transport.bind(py).setattr(&names._reads_large, !was_large)?;
        }
        data
    };
    Ok(data.ok_or(missing))
}

/// Why a read brought nothing.
enum Missing {
    /// There was nothing after all.
    Nothing,
    /// The end, an error, or a kind of file that may make a reader wait.
    Other,
}

/// `_read_ready()`: reads one block and hands it to the protocol.
fn read_ready(py: Python<'_>, transport: &Object) -> PyResult<()> {
    let names = names(py);
    let event_loop = attribute(py, transport, &names._loop)?;
    if let (Some(event_loop), Some(fd)) =
        (Instance::<LoopCore>::of(Object::of(&event_loop)), open_descriptor(py, transport)?)
    {
        match read(py, event_loop, transport, fd)? {
            Ok(data) => {
                let protocol = attribute(py, transport, &names._protocol)?;
                return call_method(py, &names.data_received, [Object::of(&protocol), &data]).map(drop);
            }
            Err(Missing::Nothing) => return Ok(()),
            Err(Missing::Other) => {}
        }
    }
    call_method(py, &names._read_as_asyncio, [transport]).map(drop)
}

/// What a write to an open, idle transport came to; `None` when it is not that, or has failed.
fn write_now(py: Python<'_>, transport: &Object, fd: BorrowedFd<'_>, data: &[u8]) -> PyResult<Option<usize>> {
    let names = names(py);
    if attribute(py, transport, &names._buffer)?.is_truthy()? {
        return Ok(None);
    }
    let event_loop = attribute(py, transport, &names._loop)?;
    let Some(event_loop) = Instance::<LoopCore>::of(Object::of(&event_loop)) else { return Ok(None) };
    Ok(match pipe::write(fd, data) {
        Ok(Attempt::Done(count)) => {
            event_loop.counters.sent.add(count);
            Some(count)
        }
        Ok(Attempt::WouldBlock) => Some(0),
        Ok(Attempt::Unsupported) | Err(_) => None,
    })
}

/// `write(data)`: at once, as far as there is room.
fn write(py: Python<'_>, transport: &Object, arguments: Arguments<'_>) -> PyResult<Object> {
    let names = names(py);
    for name in [&names._conn_lost, &names._closing] {
        if attribute(py, transport, name)?.is_truthy()? {
            return write_as_asyncio(py, transport, arguments);
        }
    }
    let Some(fd) = open_descriptor(py, transport)? else {
        call_method(py, &names._lose_closed_file, [transport])?;
        return Ok(Object::none(py));
    };
    let Some([data]) = arguments.only::<1>() else { return write_as_asyncio(py, transport, arguments) };
    let Some(bytes) = Bytes::of(data) else { return write_as_asyncio(py, transport, arguments) };
    if bytes.len() == 0 {
        return Ok(Object::none(py));
    }
    match write_now(py, transport, fd, bytes.as_slice())? {
        Some(count) if count == bytes.len() => {}
        Some(count) => {
            let count = Object::new(PyInt::new(py, count));
            call_method(py, &names._keep_rest, [transport, data, &count])?;
        }
        None => return write_as_asyncio(py, transport, arguments),
    }
    Ok(Object::none(py))
}

#[cold]
fn write_as_asyncio(py: Python<'_>, transport: &Object, arguments: Arguments<'_>) -> PyResult<Object> {
    let method = attribute(py, transport, &names(py)._write_as_asyncio)?;
    arguments.pass_to(py, Object::of(&method))
}

/// Gives `ferrio._pipe`'s two classes their native methods.
fn add_pipe_methods(py: Python<'_>, _module: &Object, arguments: Arguments<'_>) -> PyResult<()> {
    let Some([reading, writing]) = arguments.only() else {
        return Err(PyTypeError::new_err("add_pipe_methods() takes two classes"));
    };
    let (reading, writing) = (reading.bind(py).cast::<PyType>()?, writing.bind(py).cast::<PyType>()?);
    let read_ready =
        Method::<AnyObject>::no_arguments(c"_read_ready", read_ready, c"Read one block and hand it to the protocol.");
    let write = Method::<AnyObject>::any_arguments(
        c"write",
        write,
        c"write($self, data)\n--\n\nSend bytes; never blocks. What does not fit is kept and sent later.\n\nLoop thread \
          only. Follows asyncio.WriteTransport.write.",
    );
    add_method_to(reading, read_ready)?;
    add_method_to(writing, write)
}

/// Adds the function to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let add_pipe_methods = Method::any_arguments(
        c"add_pipe_methods",
        add_pipe_methods,
        c"add_pipe_methods(reading, writing, /)\n--\n\nGive ferrio._pipe's two classes their native methods.",
    );
    add_function(module, add_pipe_methods)
}

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

use core::ffi::c_int;
use core::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use ferrio_engine::sys::pipe::{self, Attempt};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::core::{LoopCore, RECEIVE_BYTES};
use crate::ffi::arguments::Arguments;
use crate::ffi::bytes::filled;
use crate::ffi::heap_type::{add_method, fast, fast_def, no_arguments, no_arguments_def};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;

/// After a read of so many bytes the next one goes straight into its object, of the size that is there.
const LARGE_READ_BYTES: usize = 16 * 1024;

/// An attribute of the transport.
#[inline]
fn attribute<'py>(transport: &Bound<'py, PyAny>, name: &Py<PyString>) -> PyResult<Bound<'py, PyAny>> {
    transport.getattr(name.bind(transport.py()))
}

/// The descriptor of a transport whose file is still open and has the number that it had.
///
/// A file that was closed behind the transport's back must not be written to or read from: its number may be another's.
fn open_number(transport: &Bound<'_, PyAny>) -> PyResult<Option<c_int>> {
    let names = names(transport.py());
    let Ok(number) = attribute(transport, &names._fileno)?.extract::<c_int>() else { return Ok(None) };
    let now = attribute(transport, &names._pipe)?.call_method0(names.fileno.bind(transport.py()));
    // A closed file's `fileno` raises ValueError, a closed socket's returns -1.
    Ok(now.and_then(|now| now.extract::<c_int>()).ok().filter(|&now| now == number && number >= 0))
}

/// Reads one block; without data, what became of the attempt.
fn read(
    py: Python<'_>,
    core: &LoopCore,
    transport: &Bound<'_, PyAny>,
    number: c_int,
) -> PyResult<Result<Object, Missing>> {
    // SAFETY: not negative, and the transport's file has it open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
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
    let was_large = attribute(transport, &names._reads_large)?.is_truthy()?;
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
        let received = &raw const scratch[..count];
        // SAFETY: `fill` has initialised the first `count` bytes.
        let received = unsafe { &*(received as *const [u8]) };
        core.counters.received.add(count);
        let data = (count > 0).then(|| core.received_bytes(py, received));
        core.return_scratch(py, scratch);
        if was_large != (count >= LARGE_READ_BYTES) {
            transport.setattr(names._reads_large.bind(py), !was_large)?;
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

// `_read_ready()`: reads one block and hands it to the protocol.
no_arguments!(read_ready, |py, object| {
    // SAFETY: the object of the method call.
    let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
    let event_loop = attribute(&transport, &names(py)._loop)?;
    if let (Ok(event_loop), Some(number)) = (event_loop.cast::<LoopCore>(), open_number(&transport)?) {
        match read(py, event_loop.get(), &transport, number)? {
            Ok(data) => {
                let protocol = attribute(&transport, &names(py)._protocol)?;
                protocol.call_method1(names(py).data_received.bind(py), (data.bind(py),))?;
                return Ok(none(py));
            }
            Err(Missing::Nothing) => return Ok(none(py)),
            Err(Missing::Other) => {}
        }
    }
    transport.call_method0("_read_as_asyncio")?;
    Ok(none(py))
});

/// What a write of exact `bytes` to an open, idle transport came to; `None` when it is not that, or has failed.
fn write_now(py: Python<'_>, transport: &Bound<'_, PyAny>, number: c_int, data: &[u8]) -> PyResult<Option<usize>> {
    let names = names(py);
    if attribute(transport, &names._buffer)?.is_truthy()? {
        return Ok(None);
    }
    let event_loop = attribute(transport, &names._loop)?;
    let Ok(event_loop) = event_loop.cast::<LoopCore>() else { return Ok(None) };
    // SAFETY: not negative, and the transport's file has it open.
    let attempt = pipe::write(unsafe { BorrowedFd::borrow_raw(number) }, data);
    Ok(match attempt {
        Ok(Attempt::Done(count)) => {
            event_loop.get().counters.sent.add(count);
            Some(count)
        }
        Ok(Attempt::WouldBlock) => Some(0),
        Ok(Attempt::Unsupported) | Err(_) => None,
    })
}

// `write(data)`: at once, as far as there is room.
fast!(write, |py, object, arguments| {
    // SAFETY: the object of the method call.
    let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
    let names = names(py);
    for name in [&names._conn_lost, &names._closing] {
        if attribute(&transport, name)?.is_truthy()? {
            return call_asyncios(py, &transport, arguments);
        }
    }
    let Some(number) = open_number(&transport)? else {
        transport.call_method0("_lose_closed_file")?;
        return Ok(none(py));
    };
    if let ([data], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) {
        // SAFETY: an argument of the call.
        let data = unsafe { Bound::from_borrowed_ptr(py, *data) };
        if let Ok(bytes) = data.cast_exact::<pyo3::types::PyBytes>() {
            let bytes = bytes.as_bytes();
            if bytes.is_empty() {
                return Ok(none(py));
            }
            match write_now(py, &transport, number, bytes)? {
                Some(count) if count == bytes.len() => return Ok(none(py)),
                Some(count) => {
                    transport.call_method1("_keep_rest", (data, count))?;
                    return Ok(none(py));
                }
                None => {}
            }
        }
    }
    call_asyncios(py, &transport, arguments)
});

#[cold]
fn call_asyncios(py: Python<'_>, transport: &Bound<'_, PyAny>, arguments: Arguments<'_>) -> PyResult<Object> {
    // SAFETY: arguments of the call.
    let positional =
        arguments.positional_addresses().iter().map(|&value| unsafe { Bound::from_borrowed_ptr(py, value) });
    let positional = PyTuple::new(py, positional.collect::<Vec<_>>())?;
    let keywords = PyDict::new(py);
    for (name, value) in arguments.keywords(py) {
        // SAFETY: an argument of the call.
        keywords.set_item(name, unsafe { Bound::from_borrowed_ptr(py, value) })?;
    }
    transport.call_method("_write_as_asyncio", positional, Some(&keywords)).map(Object::new)
}

/// Gives `ferrio._pipe`'s two classes their native methods.
#[pyfunction]
#[pyo3(signature = (reading, writing, /))]
fn add_pipe_methods(reading: &Bound<'_, PyType>, writing: &Bound<'_, PyType>) -> PyResult<()> {
    add_method(reading, no_arguments_def(c"_read_ready", read_ready, c"Read one block and hand it to the protocol."))?;
    add_method(
        writing,
        fast_def(
            c"write",
            write,
            c"write($self, data)\n--\n\nSend bytes; never blocks. What does not fit is kept and sent later.\n\nLoop thread \
              only. Follows asyncio.WriteTransport.write.",
        ),
    )
}

/// Adds the function to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(add_pipe_methods, module)?)
}

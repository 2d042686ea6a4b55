//! Sending: from the program to the socket.
//!
//! Written bytes wait for the end of the callback that writes them, so that a header and a body leave with one system call
//! ("corking"). They leave earlier when there are many, when somebody asks how many are waiting, and when the transport
//! closes; outside a callback of the loop they leave at once. So nobody in the process can tell the difference.

use core::ptr::NonNull;

use ferrio_engine::backend::Key;
use ferrio_engine::buf::Chunk;
use ferrio_engine::flow::{DrainedStep, GateSignal, WriteVerdict};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::read::fatal;
use super::state::State;
use crate::convert::errors::os_error;
use crate::event_loop::LoopCore;
use crate::object::Object;

const WRITE_FAILED: &str = "Fatal write error on socket transport";

/// Bytes that are worth a system call of their own, however many more the callback may write.
const CORK_BYTES: usize = 64 * 1024;

/// A chunk that shares the memory of exact `bytes`, and copies anything else.
fn chunk_of(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Chunk> {
    // SAFETY: a live object.
    if unsafe { ffi::PyBytes_CheckExact(data.as_ptr()) } != 0 {
        let object = Object::new(data.clone());
        // SAFETY: exact `bytes`.
        let length = unsafe { ffi::PyBytes_Size(object.as_ptr()) }.unsigned_abs();
        // SAFETY: as above.
        let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) }.cast();
        // SAFETY: the data of a `bytes` follows its head, so it is never at null.
        let start = unsafe { NonNull::new_unchecked(start) };
        // SAFETY: `bytes` never change, and the reference given to the chunk keeps these alive until `release_bytes`.
        return Ok(unsafe { Chunk::from_foreign(start, length, object.into_ptr().cast(), release_bytes) });
    }
    let buffer = pyo3::buffer::PyBuffer::<u8>::get(data);
    match buffer {
        Ok(buffer) => Ok(Chunk::from_vec(buffer.to_vec(py)?)),
        // A memoryview of another item type: its bytes are what counts.
        Err(_) => {
            let copy = py.get_type::<pyo3::types::PyBytes>().call1((data,))?;
            Ok(Chunk::from_vec(copy.extract::<Vec<u8>>()?))
        }
    }
}

/// Gives back the reference to a `bytes`; freeing one runs no Python.
///
/// # Safety
/// `object` is the reference that [`chunk_of`] gave away, and the thread is attached.
unsafe fn release_bytes(object: *mut ()) {
    // SAFETY: passed on to the caller.
    unsafe { ffi::Py_DECREF(object.cast()) }
}

fn is_bytes_like(data: &Bound<'_, PyAny>) -> bool {
    data.is_instance_of::<pyo3::types::PyBytes>()
        || data.is_instance_of::<pyo3::types::PyByteArray>()
        || data.is_instance_of::<pyo3::types::PyMemoryView>()
}

/// `write(data)`.
pub(super) fn write(py: Python<'_>, object: *mut ffi::PyObject, data: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: an argument of the call.
    let data = unsafe { Bound::from_borrowed_ptr(py, data) };
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    if !is_bytes_like(&data) {
        return refuse(py, object, data);
    }
    let refusal = state.with(py, |inner| {
        if inner.is_eof_written {
            Some("Cannot call write() after write_eof()")
        } else if inner.empty_waiter.is_some() {
            Some("unable to write; sendfile is in progress")
        } else {
            None
        }
    });
    if let Some(text) = refusal {
        return Err(PyRuntimeError::new_err(text));
    }
    if !data.is_truthy()? {
        return Ok(());
    }
    match state.with(py, |inner| inner.life.on_write()) {
        WriteVerdict::Accept => {}
        WriteVerdict::Discard => return Ok(()),
        WriteVerdict::DiscardAndWarn => return warn_lost(py),
    }
    let chunk = chunk_of(py, &data)?;
    let refused = state.with(py, |inner| inner.stream.queue(chunk));
    drop(refused);
    after_queueing(py, object, state)
}

/// `writelines(list_of_data)`.
pub(super) fn write_lines(py: Python<'_>, object: *mut ffi::PyObject, lines: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: an argument of the call.
    let lines = unsafe { Bound::from_borrowed_ptr(py, lines) };
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let refusal = state.with(py, |inner| {
        if inner.is_eof_written {
            Some("Cannot call writelines() after write_eof()")
        } else if inner.empty_waiter.is_some() {
            Some("unable to writelines; sendfile is in progress")
        } else {
            None
        }
    });
    if let Some(text) = refusal {
        return Err(PyRuntimeError::new_err(text));
    }
    // All or nothing: a line that is no bytes is found before anything is queued.
    let mut chunks = Vec::new();
    for line in lines.try_iter()? {
        let line = line?;
        if !is_bytes_like(&line) {
            return refuse(py, object, line);
        }
        chunks.push(chunk_of(py, &line)?);
    }
    if chunks.iter().all(Chunk::is_empty) {
        return Ok(());
    }
    match state.with(py, |inner| inner.life.on_write()) {
        WriteVerdict::Accept => {}
        WriteVerdict::Discard => return Ok(()),
        WriteVerdict::DiscardAndWarn => return warn_lost(py),
    }
    let empty = state.with(py, |inner| {
        let queued = chunks.into_iter().filter_map(|chunk| inner.stream.queue(chunk));
        queued.collect::<Vec<_>>()
    });
    drop(empty);
    after_queueing(py, object, state)
}

/// asyncio's `TypeError` for data that is no bytes, in the words of this interpreter's version.
#[cold]
fn refuse(py: Python<'_>, object: *mut ffi::PyObject, data: Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the object of the method call.
    let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
    transport.call_method1("_refuse", (data,))?;
    Ok(())
}

#[cold]
fn warn_lost(py: Python<'_>) -> PyResult<()> {
    py.import("asyncio.log")?.getattr("logger")?.call_method1("warning", ("socket.send() raised exception.",))?;
    Ok(())
}

/// Sends now or when the callback ends, and tells the protocol to pause when too much is waiting.
fn after_queueing(py: Python<'_>, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: whoever stores a loop has checked its type.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    let (may_wait, is_corked) = state.with(py, |inner| {
        // Whether the protocol must pause is decided by what the kernel leaves, so it is asked first.
        let (_, high) = inner.stream.gate.limits();
        let is_small = inner.stream.queued_bytes() < CORK_BYTES && inner.stream.pending_bytes() <= high;
        (is_small, inner.is_corked)
    });
    if may_wait && core.is_in_entry() {
        if !is_corked {
            state.with(py, |inner| inner.is_corked = true);
            // SAFETY: the object of the method call.
            core.cork(py, unsafe { Object::from_borrowed(object) });
        }
    } else {
        flush(py, core, object, state)?;
    }
    match state.with(py, |inner| inner.stream.after_write()) {
        GateSignal::Pause => tell(py, object, "_pause_writing"),
        GateSignal::Keep | GateSignal::Resume => Ok(()),
    }
}

fn tell(py: Python<'_>, object: *mut ffi::PyObject, method: &str) -> PyResult<()> {
    // SAFETY: the transport, kept alive by the caller.
    unsafe { Bound::from_borrowed_ptr(py, object) }.call_method0(method)?;
    Ok(())
}

/// Hands what is queued to the kernel.
pub(super) fn flush(py: Python<'_>, core: &LoopCore, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    let outcome = state.with(py, |inner| {
        let key = inner.key?;
        if inner.stream.queued_bytes() == 0 || inner.stream.is_sending() {
            return None;
        }
        Some(core.with_reactor(py, |reactor| inner.stream.flush(&mut reactor.backend, key)))
    });
    match outcome {
        None => Ok(()),
        Some(Ok(flushed)) => {
            if !flushed.is_empty {
                // The loop holds the transport from now on. A send under way is watched already.
                hold(py, core, object, state)?;
            }
            Ok(())
        }
        Some(Err(error)) => {
            state.with(py, |inner| inner.stream.discard());
            // SAFETY: the transport, kept alive by the caller.
            let transport = unsafe { Object::from_borrowed(object) };
            fatal(py, &transport, os_error(py, error), WRITE_FAILED)
        }
    }
}

fn hold(py: Python<'_>, core: &LoopCore, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    state.apply_interest(py, core, object).map_err(|error| os_error(py, error))
}

/// Flushes a transport that was corked; the loop calls it when the entry under way has run.
pub(crate) fn flush_corked(py: Python<'_>, core: &LoopCore, transport: &Object) -> PyResult<()> {
    // SAFETY: the corked list holds transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    state.with(py, |inner| inner.is_corked = false);
    flush(py, core, transport.as_ptr(), state)
}

/// There is room to send more.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Object, state: &State, key: Key) -> PyResult<()> {
    let object = transport.as_ptr();
    let outcome = state.with(py, |inner| {
        core.with_reactor(py, |reactor| inner.stream.progress(&mut reactor.backend, key))
    });
    if let Err(error) = outcome {
        state.with(py, |inner| inner.stream.discard());
        let exception = os_error(py, error);
        let waiter = state.with(py, |inner| inner.empty_waiter.clone());
        let value = exception.value(py).clone();
        fatal(py, transport, exception, WRITE_FAILED)?;
        if let Some(waiter) = waiter {
            waiter.bind(py).call_method1("set_exception", (value,))?;
        }
        return Ok(());
    }
    if state.with(py, |inner| inner.stream.after_progress()) == GateSignal::Resume {
        // The protocol may write more.
        tell(py, object, "_resume_writing")?;
        flush(py, core, object, state)?;
    }
    let (drained, waiter, is_eof_written) = state.with(py, |inner| {
        let is_drained = inner.stream.pending_bytes() == 0;
        (is_drained, inner.empty_waiter.clone(), inner.is_eof_written)
    });
    if !drained {
        return Ok(());
    }
    if state.with(py, |inner| inner.key.is_none()) {
        // The protocol, or a failed write, has ended the transport.
        return Ok(());
    }
    hold(py, core, object, state)?;
    if let Some(waiter) = waiter {
        waiter.bind(py).call_method1("set_result", (py.None(),))?;
    }
    match state.with(py, |inner| inner.life.drained()) {
        DrainedStep::LoseNow => {
            state.detach(py, core);
            transport.bind(py).call_method1("_call_connection_lost", (py.None(),))?;
        }
        DrainedStep::Nothing if is_eof_written => super::close::shut_down(py, state)?,
        DrainedStep::Nothing => {}
    }
    Ok(())
}

//! Receiving: from the socket to the protocol.

use core::mem::MaybeUninit;

use ferrio_engine::backend::{Backend, Key, Received};
use ferrio_engine::sys::Error;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use super::part::StreamPart;
use super::recycled;
use super::state::{Delivery, State};
use crate::core::{LoopCore, RECEIVE_BYTES, leaves_loop};
use crate::ffi::errors::{os_error, while_handling};
use crate::ffi::names::names;
use crate::ffi::object::Object;

unsafe extern "C" {
    // Public in `bytesobject.h`; pyo3-ffi keeps it to itself.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> core::ffi::c_int;
}

const READ_FAILED: &str = "Fatal read error on socket transport";

/// A receive of so many bytes makes the next one go straight into the final object: from here on the copy costs more than
/// a large allocation that is then shortened.
const LARGE_RECEIVE_BYTES: usize = 64 * 1024;

/// Something can be read.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Object, state: &State, key: Key) -> PyResult<()> {
    let (protocol, delivery, large) =
        state.with(py, |inner| (inner.protocol.clone(), inner.delivery, inner.receives_large));
    let Some(protocol) = protocol else { return Ok(()) };
    match delivery {
        Delivery::Buffer => into_protocol_buffer(py, core, transport, &protocol, key),
        Delivery::Bytes => {
            let received = if large { receive_large(py, core, key) } else { receive_small(py, core, key) };
            match received {
                Err(error) => fatal(py, transport, os_error(py, error), READ_FAILED),
                Ok(Incoming::Nothing) => Ok(()),
                Ok(Incoming::End) => end_of_stream(py, core, transport, &protocol),
                Ok(Incoming::Bytes(data, count)) => {
                    core.counters.received.add(count);
                    let is_large = count >= LARGE_RECEIVE_BYTES;
                    if is_large != large {
                        state.with(py, |inner| inner.receives_large = is_large);
                    }
                    let call = [protocol.as_ptr(), data.as_ptr()];
                    call_protocol(py, transport, &names(py).data_received, &call, "data_received")?;
                    Ok(())
                }
            }
        }
    }
}

/// A `bytes` with a copy of what was received, counted.
pub(crate) fn received_bytes(py: Python<'_>, core: &LoopCore, data: &[u8]) -> Object {
    core.counters.received.add(data.len());
    recycled::bytes(py, &core.part::<StreamPart>().recycled, data)
}

enum Incoming {
    Nothing,
    End,
    Bytes(Object, usize),
}

/// Receives through the loop's buffer and copies into a `bytes` of the exact size.
fn receive_small(py: Python<'_>, core: &LoopCore, key: Key) -> Result<Incoming, Error> {
    let mut scratch = core.take_scratch(py);
    let received = core.with_reactor(py, |reactor| reactor.backend.receive(key, &mut scratch));
    let incoming = received.map(|received| match received {
        Received::Nothing => Incoming::Nothing,
        Received::End => Incoming::End,
        Received::Bytes(count) => {
            let filled = &scratch[..count];
            // SAFETY: the backend has initialised the first `count` bytes.
            let filled = unsafe { &*(&raw const *filled as *const [u8]) };
            Incoming::Bytes(recycled::bytes(py, &core.part::<StreamPart>().recycled, filled), count)
        }
    });
    core.return_scratch(py, scratch);
    incoming
}

/// Receives straight into a `bytes`, which is then shortened.
fn receive_large(py: Python<'_>, core: &LoopCore, key: Key) -> Result<Incoming, Error> {
    #[expect(clippy::cast_possible_wrap, reason = "a quarter of a mebibyte")]
    // SAFETY: a positive size; null is looked at below.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(core::ptr::null(), RECEIVE_BYTES as ffi::Py_ssize_t) };
    if object.is_null() {
        drop(PyErr::take(py));
        return receive_small(py, core, key);
    }
    // SAFETY: a new `bytes`.
    let data: *mut MaybeUninit<u8> = unsafe { ffi::PyBytes_AsString(object) }.cast();
    // SAFETY: `RECEIVE_BYTES` bytes that nobody else has seen.
    let buffer = unsafe { core::slice::from_raw_parts_mut(data, RECEIVE_BYTES) };
    let received = core.with_reactor(py, |reactor| reactor.backend.receive(key, buffer));
    let count = match received {
        Ok(Received::Bytes(count)) => count,
        Ok(Received::Nothing | Received::End) | Err(_) => {
            // SAFETY: the only reference.
            unsafe { ffi::Py_DECREF(object) };
            return received.map(|received| match received {
                Received::End => Incoming::End,
                _ => Incoming::Nothing,
            });
        }
    };
    let mut object = object;
    #[expect(clippy::cast_possible_wrap, reason = "at most RECEIVE_BYTES")]
    // SAFETY: the only reference to a `bytes` that nobody has hashed; on failure it is gone and null is left.
    let resized = unsafe { _PyBytes_Resize(&raw mut object, count as ffi::Py_ssize_t) };
    debug_assert_eq!(resized, 0, "shortening in place");
    // SAFETY: the resized object's reference.
    Ok(unsafe { Object::from_owned(object) }.map_or(Incoming::Nothing, |data| Incoming::Bytes(data, count)))
}

/// A writable buffer that the protocol lent.
struct Lent(ffi::Py_buffer);

impl Lent {
    fn of(py: Python<'_>, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: a live object; the view is filled or an exception set.
        let failed = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view, ffi::PyBUF_WRITABLE) } != 0;
        if failed {
            drop(PyErr::take(py));
            // What `socket.recv_into` says.
            let text = format!(
                "recv_into() argument 1 must be read-write bytes-like object, not {}",
                object.get_type().name()?
            );
            return Err(PyTypeError::new_err(text));
        }
        Ok(Self(view))
    }

    fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        let length = self.0.len.unsigned_abs();
        if length == 0 {
            return &mut [];
        }
        // SAFETY: a contiguous writable buffer of that length, exported until the view is released.
        unsafe { core::slice::from_raw_parts_mut(self.0.buf.cast(), length) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: filled by `PyObject_GetBuffer`, released once.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
    }
}

/// Receives into the buffer that `get_buffer` lends.
fn into_protocol_buffer(
    py: Python<'_>,
    core: &LoopCore,
    transport: &Object,
    protocol: &Object,
    key: Key,
) -> PyResult<()> {
    let hint = PyInt::new(py, -1);
    let call = [protocol.as_ptr(), hint.as_ptr()];
    let Some(buffer) = call_protocol(py, transport, &names(py).get_buffer, &call, "get_buffer")? else { return Ok(()) };
    let buffer = buffer.into_bound(py);
    let lent = match buffer.len() {
        Ok(0) => Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer")),
        Ok(_) => Ok(Lent::of(py, &buffer)),
        Err(error) => Err(error),
    };
    let mut lent = match lent {
        Ok(Ok(lent)) => lent,
        Ok(Err(error)) => return fatal(py, transport, error, READ_FAILED),
        Err(error) => return fatal(py, transport, error, &failed_call("get_buffer")),
    };
    let received = core.with_reactor(py, |reactor| reactor.backend.receive(key, lent.bytes()));
    drop(lent);
    drop(buffer);
    match received {
        Err(error) => fatal(py, transport, os_error(py, error), READ_FAILED),
        Ok(Received::Nothing) => Ok(()),
        Ok(Received::End) => end_of_stream(py, core, transport, protocol),
        Ok(Received::Bytes(count)) => {
            core.counters.received.add(count);
            let count = PyInt::new(py, count);
            let call = [protocol.as_ptr(), count.as_ptr()];
            call_protocol(py, transport, &names(py).buffer_updated, &call, "buffer_updated")?;
            Ok(())
        }
    }
}

fn failed_call(method: &str) -> String {
    format!("Fatal error: protocol.{method}() call failed.")
}

/// Calls a method of the protocol, `call[0]`; `None` when it failed and the transport has been told.
fn call_protocol(
    py: Python<'_>,
    transport: &Object,
    name: &Py<pyo3::types::PyString>,
    call: &[*mut ffi::PyObject; 2],
    method: &str,
) -> PyResult<Option<Object>> {
    // SAFETY: two live objects, the receiver first; no keywords.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name.as_ptr(), call.as_ptr(), 2, core::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    if let Some(result) = unsafe { Object::from_owned(result) } {
        return Ok(Some(result));
    }
    fatal(py, transport, PyErr::fetch(py), &failed_call(method))?;
    Ok(None)
}

/// The peer has ended its side: the protocol says whether ours stays open.
fn end_of_stream(py: Python<'_>, core: &LoopCore, transport: &Object, protocol: &Object) -> PyResult<()> {
    if core.is_debug() {
        transport.bind(py).call_method1("_log_debug", ("%r received EOF",))?;
    }
    let call = [protocol.as_ptr()];
    let name = names(py).eof_received.as_ptr();
    // SAFETY: a live object, the receiver; no keywords.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name, call.as_ptr(), 1, core::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    let keeps_open = match unsafe { Object::from_owned(result) } {
        Some(result) => result.bind(py).is_truthy(),
        None => Err(PyErr::fetch(py)),
    };
    match keeps_open {
        Err(error) => fatal(py, transport, error, &failed_call("eof_received")),
        // The protocol may still write; nothing more can be received.
        Ok(true) => transport.bind(py).call_method0(intern!(py, "_end_reading")).map(drop),
        Ok(false) => transport.bind(py).call_method0(intern!(py, "close")).map(drop),
    }
}

/// Ends the transport for an error; what must leave the loop leaves it.
#[cold]
pub(super) fn fatal(py: Python<'_>, transport: &Object, error: PyErr, message: &str) -> PyResult<()> {
    if leaves_loop(py, &error) {
        return Err(error);
    }
    let exception = error.into_value(py).into_bound(py).into_any();
    while_handling(py, &exception, || {
        transport.bind(py).call_method1(intern!(py, "_fatal_error"), (&exception, message))
    })?;
    Ok(())
}

//! A buffer that a Python object exports, until it is dropped.

use core::mem::MaybeUninit;

use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ffi::object::Object;

/// Bytes of a Python object: contiguous, of one size and in one place for as long as this lives.
///
pub(super) enum Buffer {
    /// Of an exact `bytes`, which never change.
    Bytes(Object),
    /// Boxed because CPython's view may not be moved: exporters may keep its address.
    View(Box<ffi::Py_buffer>),
}

impl Buffer {
    /// For reading, with the errors of `socket.send`.
    pub(super) fn readable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if object.is_exact_instance_of::<PyBytes>() {
            return Ok(Self::Bytes(Object::new(object.clone())));
        }
        Self::export(object, ffi::PyBUF_SIMPLE)
    }

    /// For writing, with the errors of `socket.recv_into`.
    pub(super) fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::export(object, ffi::PyBUF_WRITABLE).map_err(|error| {
            let py = object.py();
            if !error.is_instance_of::<PyTypeError>(py) && !error.is_instance_of::<PyBufferError>(py) {
                return error;
            }
            let name = if object.is_none() {
                Ok("None".to_owned())
            } else {
                object.get_type().name().map(|name| name.to_string())
            };
            match name {
                Ok(name) => PyTypeError::new_err(format!(
                    "recv_into() argument 1 must be read-write bytes-like object, not {name}"
                )),
                Err(error) => error,
            }
        })
    }

    fn export(object: &Bound<'_, PyAny>, flags: core::ffi::c_int) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: a live object, and a view to be filled.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) } != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self::View(view))
    }

    /// The object whose reference this owns: the one that exports the bytes. Null when the exporter gives none.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        match self {
            Self::Bytes(object) => object.as_ptr(),
            Self::View(view) => view.obj,
        }
    }

    /// Where the bytes are, and how many.
    fn parts(&self) -> (*mut u8, usize) {
        match self {
            Self::Bytes(object) => {
                // SAFETY: an exact `bytes`.
                let data = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
                // SAFETY: as above.
                (data.cast(), unsafe { ffi::PyBytes_Size(object.as_ptr()) }.unsigned_abs())
            }
            Self::View(view) => (view.buf.cast(), view.len.unsigned_abs()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts().1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes. They may change between two calls: the object is somebody else's.
    pub(super) fn bytes(&self) -> &[u8] {
        let (data, length) = self.parts();
        if length == 0 {
            return &[];
        }
        // SAFETY: a contiguous buffer of that length, exported until the view is released. The result is used within one
        // system call, in which no Python code runs.
        unsafe { core::slice::from_raw_parts(data, length) }
    }

    /// The room of a writable buffer.
    pub(super) fn uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let (data, length) = self.parts();
        if length == 0 {
            return &mut [];
        }
        // SAFETY: as above, and writable: only `writable` makes a buffer that is asked for room.
        unsafe { core::slice::from_raw_parts_mut(data.cast(), length) }
    }

    /// A `memoryview` of the bytes from `start` on.
    pub(super) fn rest<'py>(&self, py: Python<'py>, start: usize) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a live object that exports a buffer.
        let view = unsafe { ffi::PyMemoryView_FromObject(self.as_ptr()) };
        // SAFETY: a new reference, or null with an exception.
        let view = unsafe { Bound::from_owned_ptr_or_err(py, view) }?;
        let bytes = view.call_method1("cast", ("B",))?;
        bytes.get_item(pyo3::types::PySlice::new(py, isize::try_from(start)?, isize::MAX, 1))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Self::View(view) = self {
            // SAFETY: filled by `PyObject_GetBuffer`, released once; buffers are dropped by attached threads.
            unsafe { ffi::PyBuffer_Release(&raw mut **view) };
        }
    }
}

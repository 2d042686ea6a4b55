//! Buffers that programs lend: `bytearray`, `memoryview` and whatever else exports one.
//!
//! Their bytes are lent to sections that come to no Python code, which could change them, and are released afterwards.

use core::mem::MaybeUninit;

use ferrio_engine::buf::Chunk;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::bytes::Bytes;
use super::c_api;
use super::fields::{Collector, Field, Visited};
use super::guarded;
use super::object::Object;
use super::trampoline::fetched;

/// Runs `section` with the writable buffer that `object` exports.
///
/// # Errors
/// The object exports none.
pub(crate) fn with_writable<R>(
    py: Python<'_>,
    object: &Object,
    section: impl FnOnce(&mut [MaybeUninit<u8>]) -> R,
) -> PyResult<R> {
    let mut view = View::writable(py, object)?;
    Ok(guarded::section(|| section(view.bytes())))
}

/// An exported buffer, released when it is dropped.
pub(crate) struct View(ffi::Py_buffer);

impl View {
    /// The writable buffer of an object.
    ///
    /// # Errors
    /// The object exports none.
    pub(in crate::ffi) fn writable(py: Python<'_>, object: &Object) -> PyResult<Self> {
        Self::exported(py, object, ffi::PyBUF_WRITABLE)
    }

    /// The contiguous buffer of an object.
    ///
    /// # Errors
    /// The object exports none.
    pub(in crate::ffi) fn contiguous(py: Python<'_>, object: &Object) -> PyResult<Self> {
        Self::exported(py, object, ffi::PyBUF_SIMPLE)
    }

    fn exported(py: Python<'_>, object: &Object, flags: core::ffi::c_int) -> PyResult<Self> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: a live object; the view is filled or an exception set.
        if unsafe { c_api::PyObject_GetBuffer(object.lend(py), &raw mut view, flags) } != 0 {
            return Err(fetched(py));
        }
        Ok(Self(view))
    }

    /// Where the buffer is, and how long. It stays there while the view lives, and whoever else has it may change the bytes.
    pub(in crate::ffi) const fn memory(&self) -> (*mut u8, usize) {
        (self.0.buf.cast(), self.0.len.unsigned_abs())
    }

    fn readable(&self) -> &[u8] {
        let length = self.0.len.unsigned_abs();
        if length == 0 {
            return &[];
        }
        // SAFETY: a contiguous buffer of that length, exported until the view is released; what borrows it runs no Python.
        unsafe { core::slice::from_raw_parts(self.0.buf.cast(), length) }
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

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: filled by `PyObject_GetBuffer`, or without an exporter, and released once.
        unsafe { c_api::PyBuffer_Release(&raw mut self.0) };
    }
}

/// A contiguous buffer of bytes, exported for as long as this lives.
pub(crate) struct Readable(PyBuffer<u8>);

impl Readable {
    /// `None` for an object that exports no such buffer.
    pub(crate) fn of(data: &Bound<'_, PyAny>) -> Option<Self> {
        let buffer = PyBuffer::<u8>::get(data).ok()?;
        buffer.is_c_contiguous().then_some(Self(buffer))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len_bytes()
    }

    /// A copy of the bytes, in memory of the allocator's, which may refuse it.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn copy(&self) -> PyResult<Chunk> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.len()).map_err(|_| PyMemoryError::new_err(()))?;
        self.with(|bytes| copy.extend_from_slice(bytes));
        Ok(Chunk::from_vec(copy))
    }

    /// Runs `section` with the bytes.
    pub(crate) fn with<R>(&self, section: impl FnOnce(&[u8]) -> R) -> R {
        let start = self.0.buf_ptr().cast::<u8>();
        let bytes = if self.len() == 0 {
            &[]
        } else {
            // SAFETY: a contiguous buffer of that length, exported for as long as `self` lives.
            unsafe { core::slice::from_raw_parts(start, self.len()) }
        };
        guarded::section(|| section(bytes))
    }
}

/// What an object that is to be sent exports, for as long as this lives.
pub(crate) enum Exported {
    /// Exact `bytes` never change, and are not asked.
    Bytes(Object),
    /// Boxed because CPython's view may not be moved: exporters may keep its address.
    View(Box<View>),
}

impl Exported {
    /// # Errors
    /// Those of `socket.send`: the object exports no buffer.
    pub(crate) fn of(py: Python<'_>, object: &Object) -> PyResult<Self> {
        if Bytes::of(object).is_some() {
            return Ok(Self::Bytes(object.clone()));
        }
        let mut view = Box::new(View(ffi::Py_buffer::new()));
        // SAFETY: a live object; the view is filled or an exception set.
        if unsafe { c_api::PyObject_GetBuffer(object.lend(py), &raw mut view.0, ffi::PyBUF_SIMPLE) } != 0 {
            return Err(fetched(py));
        }
        Ok(Self::View(view))
    }

    /// Runs `section` with the bytes. They may change between two calls: the object is somebody else's.
    #[inline]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&[u8]) -> R) -> R {
        let bytes = match self {
            Self::Bytes(object) => Bytes::of(object).map_or(&[][..], Bytes::as_slice),
            Self::View(view) => view.readable(),
        };
        guarded::section(|| section(bytes))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(object) => Bytes::of(object).map_or(0, Bytes::len),
            Self::View(view) => view.0.len.unsigned_abs(),
        }
    }
}

impl Field for Exported {
    fn visit_field(&self, collector: &Collector) -> Visited {
        match self {
            Self::Bytes(object) => collector.object(object),
            // SAFETY: the exporter's own reference, or null when it gives none.
            Self::View(view) if !view.0.obj.is_null() => collector.object(unsafe { Object::view(&view.0.obj) }),
            Self::View(_) => Ok(()),
        }
    }

    /// It stays to the end of the state.
    fn clear_field(&self) {}
}

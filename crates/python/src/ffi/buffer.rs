//! Buffers that programs lend: `bytearray`, `memoryview` and whatever else exports one.
//!
//! Their bytes are lent to sections that come to no Python code, which could change them, and are released afterwards.

use core::mem::MaybeUninit;

use ferrio_engine::buf::Chunk;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

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
    let mut view = ffi::Py_buffer::new();
    // SAFETY: a live object; the view is filled or an exception set.
    if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view, ffi::PyBUF_WRITABLE) } != 0 {
        return Err(fetched(py));
    }
    let mut view = View(view);
    Ok(guarded::section(|| section(view.bytes())))
}

/// An exported buffer, released when it is dropped.
struct View(ffi::Py_buffer);

impl View {
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
        // SAFETY: filled by `PyObject_GetBuffer`, released once.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
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

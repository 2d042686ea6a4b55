//! Exact `bytearray` objects that native code appends to.

use core::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

use super::buffer::with_writable;
use super::object::Object;
use super::trampoline::fetched;

/// An exact `bytearray`, and nothing derived.
#[repr(transparent)]
pub(crate) struct ByteArray(Object);

impl ByteArray {
    /// The object as an exact `bytearray`; `None` if it is anything else.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<&Self> {
        let is_exact = object.has_class(&raw const ffi::PyByteArray_Type);
        // SAFETY: laid out as the reference itself.
        is_exact.then(|| unsafe { &*(&raw const *object).cast() })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: a live `bytearray`.
        unsafe { ffi::Py_SIZE(self.0.as_ptr()) }.unsigned_abs()
    }

    /// `self.extend(data)`, of bytes that are no part of it. Runs no Python.
    ///
    /// # Errors
    /// `BufferError`: somebody has a view of it; `MemoryError`. It is unchanged then.
    #[inline]
    pub(crate) fn extend(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let (address, before) = (self.0.as_ptr(), self.len());
        self.resize(py, before.saturating_add(data.len()))?;
        // SAFETY: a live `bytearray`.
        let start: *mut u8 = unsafe { ffi::PyByteArray_AsString(address) }.cast();
        // SAFETY: it now has room for `data` behind what it had.
        let end = unsafe { start.add(before) };
        // SAFETY: as above. `data` lies elsewhere: memory of a `bytearray` is lent only by its views, and there are none.
        unsafe { end.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        Ok(())
    }

    /// Appends what `fill` puts into `room` bytes: it returns how many it has initialised. Runs no Python, and nobody can
    /// change the size meanwhile.
    ///
    /// # Errors
    /// `BufferError`: somebody has a view of it; `MemoryError`. It is unchanged then, and `fill` was not called.
    pub(crate) fn extend_with(
        &self,
        py: Python<'_>,
        room: usize,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
    ) -> PyResult<()> {
        let mut growth = Growth { array: self, size: self.len() };
        let before = growth.size;
        self.resize(py, before.saturating_add(room))?;
        with_writable(py, &self.0, |bytes| {
            let room = &mut bytes[before..];
            let most = room.len();
            let count = fill(room);
            assert!(count <= most, "more than there was room for");
            growth.size = before + count;
        })
    }

    #[inline]
    fn resize(&self, py: Python<'_>, size: usize) -> PyResult<()> {
        let size = ffi::Py_ssize_t::try_from(size)?;
        // SAFETY: a live `bytearray`, and a size that is not negative.
        if unsafe { ffi::PyByteArray_Resize(self.0.as_ptr(), size) } == 0 { Ok(()) } else { Err(fetched(py)) }
    }
}

/// A `bytearray` with room behind its bytes, which ends behind `size` of them when this is dropped, a panic included.
struct Growth<'a> {
    array: &'a ByteArray,
    size: usize,
}

impl Drop for Growth<'_> {
    /// As `PyByteArray_Resize` where the memory stays. That may also move the bytes, for which there may be no memory, and would
    /// then leave room that nobody has filled for bytes.
    fn drop(&mut self) {
        let address = self.array.0.as_ptr();
        if self.array.len() <= self.size {
            return;
        }
        // SAFETY: a live `bytearray`.
        let start: *mut u8 = unsafe { ffi::PyByteArray_AsString(address) }.cast();
        // SAFETY: less than the length, which the memory holds.
        let end = unsafe { start.add(self.size) };
        // SAFETY: as above. Behind the bytes is a zero.
        unsafe { end.write(0) };
        let object: *mut ffi::PyVarObject = address.cast();
        #[expect(clippy::cast_possible_wrap, reason = "less than the length")]
        // SAFETY: a live object of variable size. What a smaller one lays out is there.
        unsafe {
            (*object).ob_size = self.size as ffi::Py_ssize_t;
        };
    }
}

//! Exact `bytearray` objects that native code appends to.

use pyo3::ffi;
use pyo3::prelude::*;

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
        let size = ffi::Py_ssize_t::try_from(before.saturating_add(data.len()))?;
        // SAFETY: a live `bytearray`, and a size that is not negative.
        if unsafe { ffi::PyByteArray_Resize(address, size) } != 0 {
            return Err(fetched(py));
        }
        // SAFETY: a live `bytearray`.
        let start: *mut u8 = unsafe { ffi::PyByteArray_AsString(address) }.cast();
        // SAFETY: it now has room for `data` behind what it had.
        let end = unsafe { start.add(before) };
        // SAFETY: as above. `data` lies elsewhere: memory of a `bytearray` is lent only by its views, and there are none.
        unsafe { end.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        Ok(())
    }
}

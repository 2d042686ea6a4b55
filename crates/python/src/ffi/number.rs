//! Numbers: what calls of the C API do with less than PyO3's conversions.

use pyo3::ffi;
use pyo3::prelude::*;

use super::object::Object;

/// The value of a `float` or an `int`; `None` for what is of another type, or of one derived from them.
///
/// # Errors
/// `OverflowError`: the integer is too large for a float.
#[inline]
pub(crate) fn exact(py: Python<'_>, value: &Object) -> PyResult<Option<f64>> {
    let address = value.as_ptr();
    // SAFETY: a live object.
    if unsafe { ffi::PyFloat_CheckExact(address) } != 0 {
        // SAFETY: a float.
        return Ok(Some(unsafe { ffi::PyFloat_AS_DOUBLE(address) }));
    }
    // SAFETY: a live object.
    if unsafe { ffi::PyLong_CheckExact(address) } == 0 {
        return Ok(None);
    }
    // SAFETY: an integer; one too large for a float is an exception.
    let number = unsafe { ffi::PyLong_AsDouble(address) };
    #[expect(clippy::float_cmp, reason = "exactly -1 stands for an error, and for -1")]
    if number == -1.0 { PyErr::take(py).map_or(Ok(Some(number)), Err) } else { Ok(Some(number)) }
}

/// The value of an index as a size, which may be negative.
///
/// # Errors
/// `TypeError`: it is no integer and has no `__index__`; `OverflowError`: it is too large.
pub(crate) fn size(py: Python<'_>, value: &Object) -> PyResult<isize> {
    // SAFETY: a live object.
    let index = unsafe { ffi::PyNumber_Index(value.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    let index = unsafe { Object::from_result(py, index) }?;
    // SAFETY: an integer; -1 may be an exception.
    let size = unsafe { ffi::PyLong_AsSsize_t(index.as_ptr()) };
    if size == -1 { PyErr::take(py).map_or(Ok(size), Err) } else { Ok(size) }
}

/// The value of an `int` and nothing derived, if it is that small.
#[inline]
pub(crate) fn exact_integer(value: &Object) -> Option<isize> {
    let address = value.as_ptr();
    // SAFETY: a live object.
    if unsafe { ffi::PyLong_CheckExact(address) } == 0 {
        return None;
    }
    let mut overflow = 0;
    // SAFETY: an integer, and a place for the direction in which it is too large.
    let number = unsafe { ffi::PyLong_AsLongAndOverflow(address, &raw mut overflow) };
    (overflow == 0).then(|| isize::try_from(number).ok())?
}

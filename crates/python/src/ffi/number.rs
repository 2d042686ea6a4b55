//! Numbers: what calls of the C API do with less than PyO3's conversions.

use pyo3::ffi;
use pyo3::prelude::*;

use super::c_api;
use super::object::Object;

/// The value of a `float` or an `int`; `None` for what is of another type, or of one derived from them.
///
/// # Errors
/// `OverflowError`: the integer is too large for a float.
#[inline]
pub(crate) fn exact(py: Python<'_>, value: &Object) -> PyResult<Option<f64>> {
    if value.has_class(&raw const ffi::PyFloat_Type) {
        // SAFETY: a float.
        return Ok(Some(unsafe { ffi::PyFloat_AS_DOUBLE(value.as_ptr()) }));
    }
    if !value.has_class(&raw const ffi::PyLong_Type) {
        return Ok(None);
    }
    let number = c_api::PyLong_AsDouble(value.lend(py));
    #[expect(clippy::float_cmp, reason = "exactly -1 stands for an error, and for -1")]
    if number == -1.0 { PyErr::take(py).map_or(Ok(Some(number)), Err) } else { Ok(Some(number)) }
}

/// The value of an index as a size, which may be negative.
///
/// # Errors
/// `TypeError`: it is no integer and has no `__index__`; `OverflowError`: it is too large.
pub(crate) fn size(py: Python<'_>, value: &Object) -> PyResult<isize> {
    let index = c_api::object(py, c_api::PyNumber_Index(value.lend(py)))?;
    let size = c_api::PyLong_AsSsize_t(index.lend(py));
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

//! What ends an `async with` block, as `__aexit__` is told.
#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::ffi::object::Object;

/// Class, exception and traceback, for a coroutine to keep; `None` if the block raised nothing.
#[inline]
pub(super) fn raised(py: Python<'_>, given: &[Object]) -> PyResult<Option<Object>> {
    match given.first() {
        Some(class) if !class.is_none() => {
            PyTuple::new(py, given.iter().map(|value| value.bind(py))).map(|given| Some(Object::new(given)))
        }
        _ => Ok(None),
    }
}

/// The three arguments of `__aexit__` that [`raised`] gave.
///
/// # Errors
/// `TypeError`: they are not three.
pub(super) fn arguments(py: Python<'_>, raised: Option<&Object>) -> PyResult<[Object; 3]> {
    let Some(raised) = raised else { return Ok(core::array::from_fn(|_| Object::none(py))) };
    let (class, error, traceback) =
        raised.bind(py).extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
    Ok([class, error, traceback].map(Object::new))
}

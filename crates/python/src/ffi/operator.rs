//! Python's operators on objects of any class.
//!
//! What a class has in an operator's place may be a native function, which is called without a frame and may lead back to its
//! caller: each of these is a level of [`nesting`], as a [call](super::call) is.

use pyo3::prelude::*;
use pyo3::types::PyIterator;
use pyo3::{BoundObject, ffi};

use super::c_api::{self, Any};
use super::nesting;
use super::object::Object;
use super::trampoline::fetched;

/// `bool(object)`, by what its class says.
fn is_truthy(py: Python<'_>, object: Any<'_>) -> PyResult<bool> {
    match c_api::PyObject_IsTrue(object) {
        -1 => Err(fetched(py)),
        answer => Ok(answer != 0),
    }
}

/// `bool(object)`.
///
/// # Errors
/// `RecursionError`; those of the object.
#[inline]
pub(crate) fn is_true(py: Python<'_>, object: &Object) -> PyResult<bool> {
    if object.is_true() || object.is_false() {
        return Ok(object.is_true());
    }
    let _level = nesting::enter(py)?;
    is_truthy(py, object.lend(py))
}

/// `left == right`.
///
/// # Errors
/// `RecursionError`; those of the objects.
pub(crate) fn equals<'py>(py: Python<'py>, left: &Object, right: impl IntoPyObject<'py>) -> PyResult<bool> {
    let _level = nesting::enter(py)?;
    let right = right.into_pyobject(py).map_err(Into::into)?.into_any();
    let answer = c_api::PyObject_RichCompare(left.lend(py), right.as_borrowed(), ffi::Py_EQ);
    is_truthy(py, c_api::object(py, answer)?.lend(py))
}

/// `len(object)`.
///
/// # Errors
/// `RecursionError`; those of the object.
pub(crate) fn length(py: Python<'_>, object: &Object) -> PyResult<usize> {
    let _level = nesting::enter(py)?;
    usize::try_from(c_api::PyObject_Size(object.lend(py))).map_err(|_| fetched(py))
}

/// `for item in object`.
///
/// # Errors
/// `RecursionError`; those of the object.
pub(crate) fn items<'py>(py: Python<'py>, object: &Object) -> PyResult<Items<'py>> {
    let _level = nesting::enter(py)?;
    let iterator = c_api::object(py, c_api::PyObject_GetIter(object.lend(py)))?;
    Ok(Items(iterator.into_bound(py).cast_into()?))
}

/// What is left of an iteration.
pub(crate) struct Items<'py>(Bound<'py, PyIterator>);

impl Iterator for Items<'_> {
    type Item = PyResult<Object>;

    fn next(&mut self) -> Option<PyResult<Object>> {
        match nesting::enter(self.0.py()) {
            Ok(_level) => match c_api::PyIter_Next(self.0.as_borrowed()) {
                Some(item) => Some(Ok(item)),
                None => PyErr::take(self.0.py()).map(Err),
            },
            Err(error) => Some(Err(error)),
        }
    }
}

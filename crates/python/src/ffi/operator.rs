//! Python's operators on objects of any class.
//!
//! What a class has in an operator's place may be a native function, which is called without a frame and may lead back to its
//! caller: each of these is a level of [`nesting`], as a [call](super::call) is.

use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::nesting;
use super::object::Object;

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
    object.bind(py).is_truthy()
}

/// `left == right`.
///
/// # Errors
/// `RecursionError`; those of the objects.
pub(crate) fn equals<'py>(py: Python<'py>, left: &Object, right: impl IntoPyObject<'py>) -> PyResult<bool> {
    let _level = nesting::enter(py)?;
    left.bind(py).eq(right)
}

/// `len(object)`.
///
/// # Errors
/// `RecursionError`; those of the object.
pub(crate) fn length(py: Python<'_>, object: &Object) -> PyResult<usize> {
    let _level = nesting::enter(py)?;
    object.bind(py).len()
}

/// `for item in object`.
///
/// # Errors
/// `RecursionError`; those of the object.
pub(crate) fn items<'py>(py: Python<'py>, object: &Object) -> PyResult<Items<'py>> {
    let _level = nesting::enter(py)?;
    object.bind(py).try_iter().map(Items)
}

/// What is left of an iteration.
pub(crate) struct Items<'py>(Bound<'py, PyIterator>);

impl Iterator for Items<'_> {
    type Item = PyResult<Object>;

    fn next(&mut self) -> Option<PyResult<Object>> {
        match nesting::enter(self.0.py()) {
            Ok(_level) => self.0.next().map(|item| item.map(Object::new)),
            Err(error) => Some(Err(error)),
        }
    }
}

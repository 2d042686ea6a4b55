//! What `object.__setattr__` and `object.__delattr__` do.

use pyo3::prelude::*;

use super::c_api;
use super::object::Object;

/// `object.__setattr__(object, name, value)`; without a value, `object.__delattr__(object, name)`.
///
/// # Errors
/// Those of descriptors; `AttributeError`: there is nothing to delete; `TypeError`: the name is no string.
pub(crate) fn set(py: Python<'_>, object: &Object, name: &Object, value: Option<&Object>) -> PyResult<()> {
    let value = value.map(|value| value.lend(py));
    c_api::status(py, c_api::PyObject_GenericSetAttr(object.lend(py), name.lend(py), value))
}

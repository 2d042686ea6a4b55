//! Entries of dictionaries that are looked at often, and the dictionary of an instance's attributes.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::c_api;
use super::object::Object;

/// A name in a dictionary.
pub(crate) struct Entry {
    dictionary: Object,
    name: Object,
}

impl Entry {
    pub(crate) fn new(dictionary: Bound<'_, PyDict>, name: Bound<'_, PyString>) -> Self {
        Self { dictionary: Object::new(dictionary), name: Object::new(name) }
    }

    /// Whether the name shows `value`.
    #[inline]
    pub(crate) fn shows(&self, _py: Python<'_>, value: &Object) -> bool {
        // SAFETY: a dictionary and a string.
        let found = unsafe { ffi::PyDict_GetItemWithError(self.dictionary.as_ptr(), self.name.as_ptr()) };
        found == value.as_ptr()
    }
}

/// The attributes that an instance of a Python class itself has: its `__dict__`.
///
/// It is the truth of an instance with more attributes than CPython keeps outside of dictionaries. An instance that has no
/// dictionary yet gets one.
pub(crate) struct InstanceAttributes(Object);

impl InstanceAttributes {
    /// `None` for an object that can have none, and where there is no memory for it.
    #[inline]
    pub(crate) fn of(py: Python<'_>, object: &Object) -> Option<Self> {
        let dictionary = c_api::PyObject_GenericGetDict(object.lend(py), None);
        if dictionary.is_none() {
            drop(PyErr::take(py));
        }
        dictionary.filter(|dictionary| dictionary.bind(py).is_instance_of::<PyDict>()).map(Self)
    }

    /// The attribute of that name; `None` if the instance itself has none.
    ///
    /// # Errors
    /// Those of comparing keys, which are strings unless a program has put others there.
    #[inline]
    pub(crate) fn get(&self, py: Python<'_>, name: &Py<PyString>) -> PyResult<Option<Object>> {
        // SAFETY: a dictionary and a string.
        let found = unsafe { ffi::PyDict_GetItemWithError(self.0.as_ptr(), name.as_ptr()) };
        if found.is_null() {
            return PyErr::take(py).map_or(Ok(None), Err);
        }
        // SAFETY: a reference that the dictionary has; nothing has run since.
        Ok(Some(unsafe { Object::from_borrowed(found) }))
    }
}

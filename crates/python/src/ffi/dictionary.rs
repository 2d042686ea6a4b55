//! Entries of dictionaries that are looked at often.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

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

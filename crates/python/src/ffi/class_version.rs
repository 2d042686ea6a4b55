//! Whether a Python class is still what it was.
//!
//! The interpreter numbers the states of classes (`tp_version_tag`): it takes the number away when the class, or one that it
//! is derived from, is changed, and gives no number twice. Its own caches of attributes rely on that.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// The number of a state of a class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClassVersion(u32);

impl ClassVersion {
    /// The state that `class` is in; `None` if it has no number.
    #[inline]
    pub(crate) fn of(class: &Bound<'_, PyType>) -> Option<Self> {
        let class: *const ffi::PyTypeObject = class.as_type_ptr();
        // SAFETY: a live type.
        let version = unsafe { (*class).tp_version_tag };
        (version != 0).then_some(Self(version))
    }

    /// [`Self::of`], of a class that is given a number if it has none. There are no more numbers for one that has been changed
    /// very often.
    pub(crate) fn assigned(class: &Bound<'_, PyType>) -> Option<Self> {
        #[cfg(Py_3_12)]
        // SAFETY: a live type.
        unsafe {
            PyUnstable_Type_AssignVersionTag(class.as_type_ptr())
        };
        Self::of(class)
    }
}

#[cfg(Py_3_12)]
unsafe extern "C" {
    // Public in `cpython/object.h`; pyo3-ffi leaves it out.
    fn PyUnstable_Type_AssignVersionTag(class: *mut ffi::PyTypeObject) -> core::ffi::c_int;
}

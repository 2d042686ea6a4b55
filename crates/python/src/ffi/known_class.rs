//! A class that native code knows, once it is there: kept for ever, so that its address stands for no other.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{Borrowed, ffi};

use super::object::Object;

/// See the module. Attached threads alone set it; the atomic exists only to make the static `Sync`.
pub(in crate::ffi) struct KnownClass(AtomicPtr<ffi::PyTypeObject>);

impl KnownClass {
    /// None yet.
    pub(in crate::ffi) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    pub(in crate::ffi) fn set(&self, class: Bound<'_, PyType>) {
        self.0.store(class.into_ptr().cast(), Ordering::Relaxed);
    }

    #[inline]
    pub(in crate::ffi) fn is_known(&self) -> bool {
        !self.address().is_null()
    }

    /// The class; null before it is known.
    #[inline]
    pub(in crate::ffi) fn address(&self) -> *mut ffi::PyTypeObject {
        self.0.load(Ordering::Relaxed)
    }

    /// The class; `None` before it is known.
    #[inline]
    pub(in crate::ffi) fn get<'py>(&self, py: Python<'py>) -> Option<Borrowed<'static, 'py, PyType>> {
        // SAFETY: null, or a class to which `set` has given away a reference, so that it lives for ever.
        let class = unsafe { Borrowed::from_ptr_or_opt(py, self.address().cast()) };
        // SAFETY: it was set as a type.
        class.map(|class| unsafe { class.cast_unchecked() })
    }

    /// Whether it is the class of `object`, and not a base of that.
    #[inline]
    pub(in crate::ffi) fn is_class_of(&self, object: &Object) -> bool {
        object.has_class(self.address())
    }

    /// Whether it is the class of `object`, or a base of that.
    pub(in crate::ffi) fn is_base_of(&self, object: &Object) -> bool {
        let class = self.address();
        // SAFETY: a live object and a class that lives for ever.
        !class.is_null() && unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class) } != 0
    }
}

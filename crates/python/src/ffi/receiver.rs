//! The native half of a primitive, found behind the object that a method was called on.
//!
//! Nearly all objects of a program are of one class for each core, Ferrio's own: that class is remembered when it is first
//! seen, and an object of exactly that class needs no look at its bases.

use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::{PyClass, ffi};

use crate::ffi::object::Object;

/// The native half of a kind of primitive.
pub(crate) trait Core: PyClass<Frozen = True> + Sync {
    /// Where the class that was seen first is remembered.
    fn first_class() -> &'static AtomicPtr<ffi::PyTypeObject>;
}

/// `impl_core!(LockCore)`
macro_rules! impl_core {
    ($core:ty) => {
        impl $crate::ffi::receiver::Core for $core {
            fn first_class() -> &'static ::core::sync::atomic::AtomicPtr<::pyo3::ffi::PyTypeObject> {
                static CLASS: ::core::sync::atomic::AtomicPtr<::pyo3::ffi::PyTypeObject> =
                    ::core::sync::atomic::AtomicPtr::new(::core::ptr::null_mut());
                &CLASS
            }
        }
    };
}

pub(crate) use impl_core;

/// The core of `object`.
///
/// # Errors
/// `TypeError`: it has none of this kind.
#[expect(clippy::inline_always, reason = "a comparison, in front of every use")]
#[inline(always)]
pub(crate) fn core_of<'a, T: Core>(py: Python<'a>, object: &'a Object) -> PyResult<&'a T> {
    // SAFETY: a live object.
    let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    if class != T::first_class().load(Ordering::Relaxed) {
        check::<T>(py, object, class)?;
    }
    // SAFETY: its class is one that has this core: just seen, or remembered.
    Ok(unsafe { object.bind(py).cast_unchecked::<T>() }.get())
}

#[cold]
fn check<T: Core>(py: Python<'_>, object: &Object, class: *mut ffi::PyTypeObject) -> PyResult<()> {
    object.bind(py).cast::<T>()?;
    if T::first_class().load(Ordering::Relaxed).is_null() {
        // SAFETY: a live type. It is kept for ever, so that its address stands for no other.
        unsafe { ffi::Py_INCREF(class.cast()) };
        T::first_class().store(class, Ordering::Relaxed);
    }
    Ok(())
}

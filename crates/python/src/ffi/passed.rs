//! What CPython passes to the C functions of methods and slots, as the types of their parameters.
//!
//! The object of the call is a [`This`], which says of which class it is; any other object is an [`Any`]. Both are laid out as
//! the address, and prove that the thread is attached: CPython calls such functions on attached threads only.

use core::marker::PhantomData;

use pyo3::prelude::*;
use pyo3::{Borrowed, ffi};

use super::c_api::Any;
use super::method::Receiver;
use super::object::Object;

/// The object that a function of the receiver's class is called on. It is live, but in `tp_dealloc`, where its parts are whole
/// and nobody refers to it.
#[repr(transparent)]
pub(in crate::ffi) struct This<'a, R>(Any<'a>, PhantomData<fn(R)>);

impl<'a, R: Receiver> This<'a, R> {
    /// The object of a function that CPython declares with addresses.
    ///
    /// # Safety
    /// CPython passes it to a function of the receiver's class.
    #[inline]
    pub(in crate::ffi) unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: passed on to the caller.
        Self(unsafe { any(object) }, PhantomData)
    }

    #[inline]
    pub(in crate::ffi) fn py(&self) -> Python<'a> {
        self.0.py()
    }

    #[inline]
    pub(in crate::ffi) const fn any(&self) -> Any<'a> {
        self.0
    }

    #[inline]
    pub(in crate::ffi) fn object(&self) -> &Object {
        Object::of(&self.0)
    }

    #[inline]
    pub(in crate::ffi) fn view(&self) -> R::View<'_> {
        // SAFETY: one is made by CPython, for functions of the receiver's class, and by `new`.
        unsafe { R::view(self.py(), self.object()) }
    }
}

/// [`any`], or `None` for null.
///
/// # Safety
/// As for [`any`], unless null.
#[inline]
pub(in crate::ffi) unsafe fn any_or_null<'a>(object: *mut ffi::PyObject) -> Option<Any<'a>> {
    // SAFETY: passed on to the caller.
    (!object.is_null()).then(|| unsafe { any(object) })
}

/// An object that CPython passes to a function which it declares with addresses.
///
/// # Safety
/// The object is live during the call, and the thread is attached.
#[inline]
pub(in crate::ffi) unsafe fn any<'a>(object: *mut ffi::PyObject) -> Any<'a> {
    // SAFETY: passed on to the caller.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: passed on to the caller.
    unsafe { Borrowed::from_ptr(py, object) }
}

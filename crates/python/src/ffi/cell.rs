//! Fields that attached threads share: each access is one move in or out, so nothing is borrowed while Python runs.

use core::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::ffi::nesting;
use crate::ffi::object::Object;

/// A plain value, laid out as such.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Plain<T: Copy>(Cell<T>);

impl<T: Copy> Plain<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> T {
        self.0.get()
    }

    #[inline]
    pub(crate) fn set(&self, value: T) {
        self.0.set(value);
    }

    /// Puts `value` in; the result is what was there.
    pub(crate) fn replace(&self, value: T) -> T {
        self.0.replace(value)
    }
}

/// A reference, or none; laid out as the object's address, or null.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Slot(Cell<Option<Object>>);

impl Slot {
    /// A new reference to what is in it.
    #[inline]
    pub(crate) fn get(&self) -> Option<Object> {
        // SAFETY: counting a reference runs no Python, so nobody comes to the slot in between.
        unsafe { self.peek() }.cloned()
    }

    /// What is in it, without a reference of its own.
    ///
    /// # Safety
    /// Nobody puts anything in or takes it out while the result is used.
    #[inline]
    pub(crate) unsafe fn peek(&self) -> Option<&Object> {
        // SAFETY: as the caller says, nobody changes what the result shows.
        let content = unsafe { &*self.0.as_ptr() };
        content.as_ref()
    }

    /// A new reference to what is in it; `None` of Python's for nothing.
    #[inline]
    pub(crate) fn get_or_none(&self, py: Python<'_>) -> Object {
        self.get().unwrap_or_else(|| Object::none(py))
    }

    /// Whether `object` is in it.
    #[inline]
    pub(crate) fn is(&self, object: &Object) -> bool {
        self.as_ptr() == object.as_ptr()
    }

    /// Whether the class of `object`, itself and no base of it, is in it.
    #[inline]
    pub(crate) fn is_class_of(&self, object: &Object) -> bool {
        object.has_class(self.as_ptr().cast())
    }

    /// Whether there is nothing in it, or `None` of Python's.
    #[inline]
    pub(crate) fn is_nothing(&self) -> bool {
        // SAFETY: looking at the address runs no Python, so nobody comes to the slot in between.
        unsafe { self.peek() }.is_none_or(Object::is_none)
    }

    /// Whether there is nothing in it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.as_ptr().is_null()
    }

    /// Whether the object `True` is in it.
    #[inline]
    pub(crate) fn is_true(&self) -> bool {
        // SAFETY: looking at the address runs no Python, so nobody comes to the slot in between.
        unsafe { self.peek() }.is_some_and(Object::is_true)
    }

    /// Whether the object `False` is in it.
    #[inline]
    pub(crate) fn is_false(&self) -> bool {
        // SAFETY: looking at the address runs no Python, so nobody comes to the slot in between.
        unsafe { self.peek() }.is_some_and(Object::is_false)
    }

    /// Moves the reference out.
    #[inline]
    pub(crate) fn take(&self) -> Option<Object> {
        self.0.take()
    }

    /// Puts a reference in; what was there is dropped after that.
    #[inline]
    pub(crate) fn set(&self, object: Object) {
        drop(self.0.replace(Some(object)));
    }

    /// Puts a reference in; what was there comes back.
    #[inline]
    #[must_use = "dropping what was there may run Python"]
    pub(crate) fn replace(&self, object: Option<Object>) -> Option<Object> {
        self.0.replace(object)
    }

    /// Puts `True` or `False` in. What was there comes back, unless it was `True`: giving that back runs nothing.
    #[inline]
    #[must_use = "dropping what was there may run Python"]
    pub(crate) fn replace_by_bool(&self, value: bool) -> Option<Object> {
        // SAFETY: slots are used by attached threads only.
        let py = unsafe { Python::assume_attached() };
        let before = self.replace(Some(Object::bool(py, value)))?;
        if !before.is_true() {
            return Some(before);
        }
        // SAFETY: the reference that the slot owned, not the last one to the singleton.
        unsafe { ffi::Py_DECREF(before.into_ptr()) };
        None
    }

    /// The address of what is in it; null for nothing.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        // SAFETY: looking at the address runs no Python, so nobody comes to the slot in between.
        unsafe { self.peek() }.map_or(core::ptr::null_mut(), Object::as_ptr)
    }
}

impl From<Object> for Slot {
    #[inline]
    fn from(object: Object) -> Self {
        Self(Cell::new(Some(object)))
    }
}

impl From<Option<Object>> for Slot {
    fn from(object: Option<Object>) -> Self {
        Self(Cell::new(object))
    }
}

/// With the object whose field it is.
impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(object) = self.take() {
            nesting::release(object);
        }
    }
}

/// A value that is taken out while it is in use, or none.
pub(crate) struct Takeable<T>(Cell<Option<T>>);

impl<T> Default for Takeable<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T> Takeable<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Cell::new(Some(value)))
    }

    pub(crate) const fn empty() -> Self {
        Self(Cell::new(None))
    }

    /// Takes the value out.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }

    /// Puts a value in; what was there is dropped after that.
    #[inline]
    pub(crate) fn put(&self, value: T) {
        drop(self.0.replace(Some(value)));
    }

    /// Runs `section` with the value, which must not come back here.
    ///
    /// # Safety
    /// `section` runs no Python, and drops no object.
    #[inline]
    pub(in crate::ffi) unsafe fn peek<R>(&self, section: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: as the caller says, nobody changes the content in the meantime.
        let content = unsafe { &*self.0.as_ptr() };
        content.as_ref().map(section)
    }
}

#[cfg(not(Py_GIL_DISABLED))]
// SAFETY: attached threads alone use it, with the GIL one at a time, and no access lasts while another begins.
unsafe impl<T: Copy> Sync for Plain<T> {}
#[cfg(not(Py_GIL_DISABLED))]
// SAFETY: as above.
unsafe impl Sync for Slot {}
#[cfg(not(Py_GIL_DISABLED))]
// SAFETY: as above: each access is one move.
unsafe impl<T: Send> Sync for Takeable<T> {}

//! A counted reference to a Python object, for the loop's own tables.
//!
//! PyO3's `Py` looks up at each drop whether its thread is attached, and defers the drop when PyO3 itself has not attached
//! it, which is so in every function that CPython calls through a raw slot. All of the loop's state is touched by
//! attached threads only, so an [`Object`] gives its reference back at once.
//!
//! # Invariants
//! 1. An `Object` is made, used and dropped by an attached thread.
//! 2. Dropping one may run any Python code: never inside [`Guarded::with`](crate::ffi::guarded::Guarded::with). Builds with debug
//!    assertions check it, and that nobody gets at the object there to call it.

use core::mem::ManuallyDrop;

use pyo3::prelude::*;
use pyo3::types::PyBool;
use pyo3::{Borrowed, ffi};

use super::c_api::{self, Any};
use super::fields::{Collector, Visited};
use super::guarded::assert_outside;
use super::trampoline::fetched;

/// See the module. Laid out as the address of the object, so that an address that somebody else keeps alive can be viewed as
/// a borrowed `&Object` ([`Object::view`]).
#[repr(transparent)]
pub(crate) struct Object(ManuallyDrop<Py<PyAny>>);

impl Object {
    /// Views an address as the object at it, without a reference of its own.
    ///
    /// # Safety
    /// The address is of a live object, which somebody keeps alive while the result is used.
    #[inline]
    pub(in crate::ffi) const unsafe fn view(address: &*mut ffi::PyObject) -> &Self {
        // SAFETY: an `Object` is laid out as the address; the caller sees to its life.
        unsafe { &*(&raw const *address).cast() }
    }

    /// Views a bound reference as one of the loop's.
    #[inline]
    pub(crate) fn of<'a, T>(bound: &'a Bound<'_, T>) -> &'a Self {
        // SAFETY: a bound reference is laid out as the object's address, and keeps it alive.
        unsafe { &*(&raw const *bound).cast() }
    }

    /// Python's `None`.
    #[inline]
    pub(crate) fn none(py: Python<'_>) -> Self {
        Self::new(py.None().into_bound(py))
    }

    /// Python's `True` or `False`.
    #[inline]
    pub(crate) fn bool(py: Python<'_>, value: bool) -> Self {
        Self::new(PyBool::new(py, value).to_owned())
    }

    /// Whether both are the same object.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.as_ptr() == other.as_ptr()
    }

    /// Whether it is `None`.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        // SAFETY: the address of a singleton, which is not read.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// Whether it is the object `True`, as opposed to something truthy.
    #[inline]
    pub(crate) fn is_true(&self) -> bool {
        // SAFETY: the address of a singleton, which is not read.
        self.as_ptr() == unsafe { ffi::Py_True() }
    }

    /// Whether it is the object `False`, as opposed to something falsy.
    #[inline]
    pub(crate) fn is_false(&self) -> bool {
        // SAFETY: the address of a singleton, which is not read.
        self.as_ptr() == unsafe { ffi::Py_False() }
    }

    /// A reference to it, unless it is `None`.
    #[inline]
    pub(crate) fn unless_none(&self) -> Option<Self> {
        (!self.is_none()).then(|| self.clone())
    }

    /// Whether its class is exactly `class`.
    #[inline]
    pub(crate) fn has_class(&self, class: *const ffi::PyTypeObject) -> bool {
        core::ptr::eq(self.class(), class)
    }

    /// The address of its class.
    #[inline]
    pub(in crate::ffi) fn class(&self) -> *mut ffi::PyTypeObject {
        // SAFETY: a live object.
        unsafe { ffi::Py_TYPE(self.as_ptr()) }
    }

    /// Has the processor load the beginning of the object, which will be used soon.
    #[inline]
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..2 {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint: it reads nothing, at whatever address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.as_ptr().cast::<i8>().wrapping_add(64 * line)) };
        }
    }

    /// How many references there are to it.
    #[inline]
    pub(crate) fn reference_count(&self) -> isize {
        // SAFETY: a live object.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) }
    }

    /// A new reference to what `pointer` shows, which must not be null.
    ///
    /// # Safety
    /// `pointer` is a live object, and the thread is attached.
    pub(crate) unsafe fn from_borrowed(pointer: *mut ffi::PyObject) -> Self {
        // SAFETY: passed on to the caller.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: passed on to the caller.
        let object = unsafe { Borrowed::from_ptr(py, pointer) };
        Self::new(object.to_owned())
    }

    /// Takes over the reference that `pointer` stands for; `None` for null.
    ///
    /// # Safety
    /// The caller owns the reference, and the thread is attached.
    pub(crate) unsafe fn from_owned(pointer: *mut ffi::PyObject) -> Option<Self> {
        // SAFETY: passed on to the caller.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: passed on to the caller.
        unsafe { Bound::from_owned_ptr_or_opt(py, pointer) }.map(Self::new)
    }

    /// Takes over a bound reference.
    pub(crate) fn new<T>(object: Bound<'_, T>) -> Self {
        Self(ManuallyDrop::new(object.into_any().unbind()))
    }

    /// The object that a call of the C API gave.
    ///
    /// # Errors
    /// The exception that the call has set, when it gave null.
    ///
    /// # Safety
    /// `pointer` is a new reference, or null.
    #[inline]
    pub(in crate::ffi) unsafe fn from_result(py: Python<'_>, pointer: *mut ffi::PyObject) -> PyResult<Self> {
        // SAFETY: passed on to the caller.
        unsafe { Self::from_owned(pointer) }.ok_or_else(|| fetched(py))
    }

    /// The object, for as long as this reference lives.
    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        assert_outside("an object is used");
        self.0.bind(py)
    }

    /// The object's address; the reference stays here.
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// The object's address as a number, to compare it: it says nothing of the object's life.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.as_ptr() as usize
    }

    /// The token of the thread that uses this.
    #[inline]
    #[expect(clippy::unused_self, reason = "an object in use proves that the thread is attached")]
    pub(in crate::ffi) fn py(&self) -> Python<'_> {
        // SAFETY: it is attached (invariant 1).
        unsafe { Python::assume_attached() }
    }

    /// The object as an argument of CPython's functions.
    #[inline]
    pub(in crate::ffi) fn lend<'a>(&'a self, py: Python<'a>) -> Any<'a> {
        self.0.bind_borrowed(py)
    }

    /// [`Self::lend`] for each of some objects.
    #[inline]
    pub(in crate::ffi) const fn lend_all<'a>(objects: &'a [Self], _py: Python<'a>) -> &'a [Any<'a>] {
        // SAFETY: both are laid out as the address of an object, which the references keep alive.
        unsafe { &*(&raw const *objects as *const [Any<'a>]) }
    }

    /// Shows the object to the collector.
    pub(crate) fn visit(&self, collector: &Collector) -> Visited {
        collector.object(self)
    }

    /// Hands the reference over to the caller.
    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        ManuallyDrop::new(self).as_ptr()
    }

    /// Hands the reference over as a bound one.
    pub(crate) fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        assert_outside("an object is used");
        // SAFETY: `into_ptr` hands over a reference to a live object.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        Self(ManuallyDrop::new(self.0.clone_ref(self.py())))
    }
}

/// Gives a reference back.
///
/// # Safety
/// The reference is owned and not used again, and the thread is attached.
#[inline]
unsafe fn give_back(object: *mut ffi::PyObject) {
    // What the end of an object runs may be where the interpreter ends the thread.
    // SAFETY: a live object.
    if cfg!(not(Py_3_14)) && unsafe { ffi::Py_REFCNT(object) } == 1 {
        // SAFETY: passed on to the caller.
        return unsafe { c_api::Py_DecRef(object) };
    }
    // SAFETY: passed on to the caller.
    unsafe { ffi::Py_DECREF(object) }
}

impl Drop for Object {
    fn drop(&mut self) {
        assert_outside("an object is dropped");
        // SAFETY: this reference is owned and given back once; the thread is attached (invariant 1).
        unsafe { give_back(self.0.as_ptr()) }
    }
}

// SAFETY: a reference may move to another thread: counting happens while attached only (invariant 1).
unsafe impl Send for Object {}
// SAFETY: sharing gives access to nothing but the address and, with an attached thread, the object.
unsafe impl Sync for Object {}

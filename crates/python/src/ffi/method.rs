//! Definitions of methods, attributes and slots, from ordinary functions.
//!
//! A definition is made of a function item or a closure that captures nothing: `fn close(py, &Instance<T>) -> PyResult<()>`.
//! The C function that CPython calls is compiled from it ([`call_no_arguments`] and its relatives), so nothing above this
//! folder touches a raw argument. Its receiver is typed, and definitions for a receiver go into classes of that receiver only
//! ([`Builder`](super::class::Builder)), whose descriptors check the object before the call.
//!
//! # Invariant
//! A function's type has no size, so a value of it can be made of nothing ([`the`]); that it exists was shown when the
//! definition was made.

use core::ffi::{CStr, c_int, c_void};
use core::ptr::NonNull;

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use super::arguments::Arguments;
use super::c_api;
use super::cell::Slot;
use super::class::{Class, Instance};
use super::field_attributes::Initialised;
use super::object::Object;
use super::passed::{self, This};
use super::trampoline;

/// What a method's function is given as the object it is called on.
///
/// # Safety
/// `view` is only ever called with instances of the class that the definition was put into; an implementation relies on that
/// and on nothing else.
pub(crate) unsafe trait Receiver: 'static {
    /// What the function sees, borrowed from the call.
    type View<'a>;

    /// # Safety
    /// `object` is an instance of the receiver's class, or of a subclass.
    unsafe fn view<'a>(py: Python<'a>, object: &'a Object) -> Self::View<'a>;
}

/// Methods that are added to a class of the package's Python half see the instance as an object.
pub(crate) struct AnyObject;

// SAFETY: nothing is assumed of the object but that it lives.
unsafe impl Receiver for AnyObject {
    type View<'a> = &'a Object;

    #[inline]
    unsafe fn view<'a>(_py: Python<'a>, object: &'a Object) -> &'a Object {
        object
    }
}

/// What a function may return in place of an object.
pub(crate) trait IntoObject {
    fn into_object(self, py: Python<'_>) -> Object;
}

impl IntoObject for Object {
    #[inline]
    fn into_object(self, _py: Python<'_>) -> Object {
        self
    }
}

impl IntoObject for () {
    #[inline]
    fn into_object(self, py: Python<'_>) -> Object {
        Object::none(py)
    }
}

impl IntoObject for bool {
    #[inline]
    fn into_object(self, py: Python<'_>) -> Object {
        Object::bool(py, self)
    }
}

macro_rules! numbers_into_object {
    ($($number:ty),*) => {
        $(impl IntoObject for $number {
            fn into_object(self, py: Python<'_>) -> Object {
                Object::new(PyInt::new(py, self))
            }
        })*
    };
}

numbers_into_object!(u8, i32, u32, i64, u64, usize);

impl IntoObject for &'static str {
    fn into_object(self, py: Python<'_>) -> Object {
        Object::new(PyString::new(py, self))
    }
}

impl<T: IntoObject> IntoObject for Option<T> {
    #[inline]
    fn into_object(self, py: Python<'_>) -> Object {
        self.map_or_else(|| Object::none(py), |value| value.into_object(py))
    }
}

impl<T> IntoObject for Bound<'_, T> {
    #[inline]
    fn into_object(self, _py: Python<'_>) -> Object {
        Object::new(self)
    }
}

/// The function of a type without size; see the module's invariant.
#[inline]
pub(in crate::ffi) fn the<F: Copy + 'static>() -> &'static F {
    const { assert!(size_of::<F>() == 0, "a function item, or a closure that captures nothing") };
    // SAFETY: a value without size is behind every aligned address; one exists, as a definition was made of it.
    unsafe { NonNull::<F>::dangling().as_ref() }
}

/// A method's definition, for classes of the receiver `R`.
pub(crate) struct Method<R> {
    pub(in crate::ffi) def: ffi::PyMethodDef,
    receiver: core::marker::PhantomData<fn(R)>,
}

impl<R: Receiver> Method<R> {
    const fn new(name: &'static CStr, doc: &'static CStr, flags: c_int, call: ffi::PyMethodDefPointer) -> Self {
        let def = ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth: call, ml_flags: flags, ml_doc: doc.as_ptr() };
        Self { def, receiver: core::marker::PhantomData }
    }

    /// `def name(self)`.
    pub(crate) fn no_arguments<F, T>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<T> + Copy + 'static,
        T: IntoObject,
    {
        let call = ffi::PyMethodDefPointer { PyCFunction: call_no_arguments::<R, F, T> };
        Self::new(name, doc, ffi::METH_NOARGS, call)
    }

    /// `def name(self, value, /)`.
    pub(crate) fn one_argument<F, T>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<T> + Copy + 'static,
        T: IntoObject,
    {
        let call = ffi::PyMethodDefPointer { PyCFunction: call_one_argument::<R, F, T> };
        Self::new(name, doc, ffi::METH_O, call)
    }

    /// `def name(self, *args, **kwargs)`.
    pub(crate) fn any_arguments<F, T>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, Arguments<'a>) -> PyResult<T> + Copy + 'static,
        T: IntoObject,
    {
        let call = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call_any_arguments::<R, F, T> };
        Self::new(name, doc, ffi::METH_FASTCALL | ffi::METH_KEYWORDS, call)
    }
}

impl<R> Method<R> {
    /// Where its C function is, by which the method is known again.
    pub(crate) fn address(&self) -> MethodAddress {
        MethodAddress(self.def.ml_meth.as_ptr() as usize)
    }
}

/// The address of a method's C function.
pub(crate) struct MethodAddress(usize);

impl MethodAddress {
    /// Whether `object` is this method of an instance.
    pub(crate) fn is(&self, object: &Object) -> bool {
        // SAFETY: a live object.
        let is_function = unsafe { ffi::PyCFunction_Check(object.as_ptr()) } != 0;
        is_function && c_api::PyCFunction_GetFunction(object.lend(object.py())).addr() == self.0
    }
}

/// # Safety
/// Called by CPython as a method of the receiver's class.
unsafe extern "C" fn call_no_arguments<R: Receiver, F, T>(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<T> + Copy + 'static,
    T: IntoObject,
{
    // SAFETY: a method of the receiver's class.
    let this = unsafe { This::<R>::new(object) };
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view()).map(|value| value.into_object(py)))
}

/// # Safety
/// Called by CPython as a method of the receiver's class.
unsafe extern "C" fn call_one_argument<R: Receiver, F, T>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<T> + Copy + 'static,
    T: IntoObject,
{
    // SAFETY: a method of the receiver's class.
    let this = unsafe { This::<R>::new(object) };
    // SAFETY: the argument of the call.
    let value = unsafe { passed::any(value) };
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view(), Object::of(&value)).map(|value| value.into_object(py)))
}

/// # Safety
/// Called by CPython as a method of the receiver's class.
unsafe extern "C" fn call_any_arguments<R: Receiver, F, T>(
    object: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, Arguments<'a>) -> PyResult<T> + Copy + 'static,
    T: IntoObject,
{
    // SAFETY: a method of the receiver's class.
    let this = unsafe { This::<R>::new(object) };
    // SAFETY: the three are as CPython passed them, and are used during this call only.
    let arguments = unsafe { Arguments::new(values, count, keywords) };
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view(), arguments).map(|value| value.into_object(py)))
}

/// An attribute's definition, for classes of the receiver `R`.
pub(crate) struct Attribute<R> {
    pub(in crate::ffi) def: ffi::PyGetSetDef,
    receiver: core::marker::PhantomData<fn(R)>,
}

impl<R: Receiver> Attribute<R> {
    /// An attribute that can be read.
    pub(crate) fn read_only<F, T>(name: &'static CStr, _get: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<T> + Copy + 'static,
        T: IntoObject,
    {
        let def = ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(get_attribute::<R, F, T>),
            set: None,
            doc: core::ptr::null(),
            closure: core::ptr::null_mut(),
        };
        Self { def, receiver: core::marker::PhantomData }
    }

    /// Lets programs set the attribute, but not delete it.
    pub(crate) fn assignable<F>(self, _set: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<()> + Copy + 'static,
    {
        self.writable(|py, this, value| match value {
            Some(value) => the::<F>()(py, this, value),
            None => Err(PyAttributeError::new_err("can't delete attribute")),
        })
    }

    /// Lets programs set the attribute; `set` is given `None` (of Rust) for its deletion.
    pub(crate) fn writable<F>(mut self, _set: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, Option<&'a Object>) -> PyResult<()> + Copy + 'static,
    {
        self.def.set = Some(set_attribute::<R, F>);
        self
    }
}

/// # Safety
/// Called by CPython as an attribute of the receiver's class.
unsafe extern "C" fn get_attribute<R: Receiver, F, T>(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<T> + Copy + 'static,
    T: IntoObject,
{
    // SAFETY: an attribute of the receiver's class.
    let this = unsafe { This::<R>::new(object) };
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view()).map(|value| value.into_object(py)))
}

/// # Safety
/// Called by CPython as an attribute of the receiver's class.
unsafe extern "C" fn set_attribute<R: Receiver, F>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, Option<&'a Object>) -> PyResult<()> + Copy + 'static,
{
    // SAFETY: an attribute of the receiver's class.
    let this = unsafe { This::<R>::new(object) };
    // SAFETY: the value of the call; null deletes the attribute.
    let value = unsafe { passed::any_or_null(value) };
    let py = this.py();
    trampoline::run(py, -1, || the::<F>()(py, this.view(), value.as_deref().map(Object::of)).map(|()| 0))
}

impl<T: Class> Attribute<Instance<T>> {
    /// An attribute that shows a slot: it is missing while the slot is empty, and its deletion empties the slot.
    pub(crate) fn of_slot<F>(name: &'static CStr, _slot: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
    {
        let def = ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(get_slot::<T, F>),
            set: Some(set_slot::<T, F>),
            doc: core::ptr::null(),
            closure: name.as_ptr().cast_mut().cast(),
        };
        Self { def, receiver: core::marker::PhantomData }
    }
}

impl<T: Class> Attribute<Instance<T>>
where
    T::State: Initialised,
{
    /// An attribute of a state that is missing before one of them was set; programs may set it, but not delete it.
    pub(crate) fn of_state<G, S, V>(name: &'static CStr, get: G, _set: S) -> Self
    where
        G: for<'a> Fn(Python<'a>, &'a Instance<T>) -> PyResult<V> + Copy + 'static,
        S: for<'a> Fn(Python<'a>, &'a Instance<T>, &'a Object) -> PyResult<()> + Copy + 'static,
        V: IntoObject,
    {
        let mut attribute = Self::read_only(name, get).assignable(|py, this: &Instance<T>, value| {
            this.is_initialised().set(true);
            the::<S>()(py, this, value)
        });
        attribute.def.get = Some(get_state::<T, G, V>);
        attribute.def.closure = name.as_ptr().cast_mut().cast();
        attribute
    }
}

impl<T: Class> Instance<T>
where
    T::State: Initialised,
{
    /// # Errors
    /// asyncio's `AttributeError` for `attribute`: none was set.
    #[inline]
    pub(crate) fn ensure_initialised(&self, py: Python<'_>, attribute: &CStr) -> PyResult<()> {
        if self.is_initialised().get() { Ok(()) } else { Err(missing(py, self.object(), attribute)) }
    }
}

/// # Safety
/// Called by CPython as an attribute of the class; `name` is a C string that lives for ever.
unsafe extern "C" fn get_state<T: Class, G, V>(object: *mut ffi::PyObject, name: *mut c_void) -> *mut ffi::PyObject
where
    T::State: Initialised,
    G: for<'a> Fn(Python<'a>, &'a Instance<T>) -> PyResult<V> + Copy + 'static,
    V: IntoObject,
{
    // SAFETY: an attribute of the class.
    let this = unsafe { This::<Instance<T>>::new(object) };
    let py = this.py();
    trampoline::object(py, || {
        // SAFETY: the name that the definition was made with.
        this.view().ensure_initialised(py, unsafe { CStr::from_ptr(name.cast_const().cast()) })?;
        the::<G>()(py, this.view()).map(|value| value.into_object(py))
    })
}

/// # Safety
/// Called by CPython as an attribute of the class; `name` is a C string that lives for ever.
unsafe extern "C" fn get_slot<T: Class, F>(object: *mut ffi::PyObject, name: *mut c_void) -> *mut ffi::PyObject
where
    F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
{
    // SAFETY: an attribute of the class.
    let this = unsafe { This::<Instance<T>>::new(object) };
    trampoline::object(this.py(), || {
        the::<F>()(this.view()).get().ok_or_else(|| {
            // SAFETY: the name that the definition was made with.
            missing(this.py(), this.object(), unsafe { CStr::from_ptr(name.cast_const().cast()) })
        })
    })
}

/// # Safety
/// Called by CPython as an attribute of the class.
unsafe extern "C" fn set_slot<T: Class, F>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int
where
    F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
{
    // SAFETY: an attribute of the class.
    let this = unsafe { This::<Instance<T>>::new(object) };
    // SAFETY: the value of the call; null deletes the attribute.
    let value = unsafe { passed::any_or_null(value) };
    trampoline::run(this.py(), -1, || {
        drop(the::<F>()(this.view()).replace(value.as_deref().map(Object::of).cloned()));
        Ok(0)
    })
}

/// The error for an attribute that is not there.
#[cold]
fn missing(py: Python<'_>, object: &Object, name: &CStr) -> PyErr {
    match object.bind(py).get_type().name() {
        Ok(class) => {
            PyAttributeError::new_err(format!("'{class}' object has no attribute '{}'", name.to_string_lossy()))
        }
        Err(error) => error,
    }
}

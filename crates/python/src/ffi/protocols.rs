//! Slots by which a class takes part in Python's protocols: calls, iteration, setting attributes.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, ffi};

use super::builder::Builder;
use super::c_api::Any;
use super::method::{IntoObject, Receiver, the};
use super::object::Object;
use super::passed::This;
use super::trampoline;

impl<R: Receiver> Builder<R> {
    /// `__call__(self, value, /)`.
    pub(crate) fn called_with_one<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<()> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_call, call_with_one::<R, F> as *mut c_void)
    }

    /// `__call__(self)`.
    pub(crate) fn called_with_nothing<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<()> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_call, call_with_nothing::<R, F> as *mut c_void)
    }

    /// `__setattr__` and `__delattr__`: `function` is given the name, and the value or nothing.
    pub(crate) fn sets_attributes_by<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object, Option<&'a Object>) -> PyResult<()> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_setattro, set_attribute::<R, F> as *mut c_void)
    }

    /// `__iter__`, which returns the object itself, and `__next__`; `None` of Rust's ends the iteration.
    pub(crate) fn iterates_by<F, T>(self, _next: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Option<T>> + Copy + 'static,
        T: IntoObject,
    {
        self.slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void)
            .slot(ffi::Py_tp_iternext, next::<R, F, T> as *mut c_void)
    }

    /// `__aiter__`, which returns the object itself, and `__anext__`.
    pub(crate) fn iterates_asynchronously_by<F>(self, _next: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Object> + Copy + 'static,
    {
        self.slot(ffi::Py_am_aiter, ffi::PyObject_SelfIter as *mut c_void)
            .slot(ffi::Py_am_anext, asynchronous_next::<R, F> as *mut c_void)
    }
}

/// The `N` values of a call without keywords.
fn only<'a, const N: usize>(
    arguments: &'a Borrowed<'_, '_, PyTuple>,
    keywords: Option<&Borrowed<'_, '_, PyDict>>,
) -> PyResult<[Borrowed<'a, 'a, PyAny>; N]> {
    if keywords.is_some_and(|keywords| !keywords.is_empty()) {
        return Err(PyTypeError::new_err("__call__() takes no keyword arguments"));
    }
    let given: Vec<_> = arguments.iter_borrowed().collect();
    let count = given.len();
    let expected = || PyTypeError::new_err(format!("__call__() takes exactly {N} arguments ({count} given)"));
    given.try_into().map_err(|_| expected())
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn call_with_one<R: Receiver, F>(
    this: This<'_, R>,
    arguments: Borrowed<'_, '_, PyTuple>,
    keywords: Option<Borrowed<'_, '_, PyDict>>,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<()> + Copy + 'static,
{
    let py = this.py();
    trampoline::object(py, || {
        let [value] = only(&arguments, keywords.as_ref())?;
        the::<F>()(py, this.view(), Object::of(&value)).map(|()| Object::none(py))
    })
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn call_with_nothing<R: Receiver, F>(
    this: This<'_, R>,
    arguments: Borrowed<'_, '_, PyTuple>,
    keywords: Option<Borrowed<'_, '_, PyDict>>,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<()> + Copy + 'static,
{
    let py = this.py();
    trampoline::object(py, || {
        let [] = only(&arguments, keywords.as_ref())?;
        the::<F>()(py, this.view()).map(|()| Object::none(py))
    })
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn set_attribute<R: Receiver, F>(this: This<'_, R>, name: Any<'_>, value: Option<Any<'_>>) -> c_int
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object, Option<&'a Object>) -> PyResult<()> + Copy + 'static,
{
    let py = this.py();
    let set = || the::<F>()(py, this.view(), Object::of(&name), value.as_deref().map(Object::of));
    trampoline::run(py, -1, || set().map(|()| 0))
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn next<R: Receiver, F, T>(this: This<'_, R>) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Option<T>> + Copy + 'static,
    T: IntoObject,
{
    let py = this.py();
    trampoline::run(py, null_mut(), || {
        let value = the::<F>()(py, this.view())?;
        Ok(value.map_or(null_mut(), |value| value.into_object(py).into_ptr()))
    })
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn asynchronous_next<R: Receiver, F>(this: This<'_, R>) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Object> + Copy + 'static,
{
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view()))
}

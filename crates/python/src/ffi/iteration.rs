//! One step of an iterator that `await` drives: what native coroutines answer, and what they ask of others.

use core::ffi::c_void;
use core::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;

use super::class::Builder;
use super::method::{Receiver, the};
use super::object::Object;
use super::{stop_iteration, trampoline};

/// What a step leads to.
pub(crate) enum Step {
    /// Goes up to the task.
    Yield(Object),
    Return(Object),
}

/// `iterator.send(None)`, without a `StopIteration`.
#[inline]
pub(crate) fn send_none(py: Python<'_>, iterator: &Object) -> PyResult<Step> {
    let mut result = null_mut();
    // SAFETY: a singleton, which is not read.
    let none = unsafe { ffi::Py_None() };
    // SAFETY: a live iterator, `None`, and a place for the result.
    let answer = unsafe { ffi::PyIter_Send(iterator.as_ptr(), none, &raw mut result) };
    // SAFETY: a new reference, or null with an exception.
    let value = unsafe { Object::from_result(py, result) }?;
    Ok(if answer == ffi::PySendResult::PYGEN_NEXT { Step::Yield(value) } else { Step::Return(value) })
}

impl<R: Receiver> Builder<R> {
    /// `send(value)` in its form for native callers, without a `StopIteration`.
    pub(crate) fn sends<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<Step> + Copy + 'static,
    {
        self.slot(ffi::Py_am_send, send::<R, F> as *mut c_void)
    }

    /// `__await__()`.
    pub(crate) fn awaits<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Object> + Copy + 'static,
    {
        self.slot(ffi::Py_am_await, iterator::<R, F> as *mut c_void)
    }

    /// `next()`, which is also what `await` in a Python coroutine calls.
    pub(crate) fn iterates<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Step> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_iternext, next::<R, F> as *mut c_void)
    }
}

unsafe extern "C" fn send<R: Receiver, F>(
    address: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<Step> + Copy + 'static,
{
    let body = |py: Python<'_>| {
        // SAFETY: a slot of the receiver's class.
        let receiver = unsafe { R::view(py, &address) };
        // SAFETY: the argument of the call, which keeps it alive.
        let value = unsafe { Object::view(&value) };
        the::<F>()(py, receiver, value).map(Some)
    };
    // SAFETY: CPython calls this on an attached thread.
    let (answer, pointer) = match unsafe { trampoline::run(None, body) } {
        Some(Step::Yield(value)) => (ffi::PySendResult::PYGEN_NEXT, value.into_ptr()),
        Some(Step::Return(value)) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
        None => (ffi::PySendResult::PYGEN_ERROR, null_mut()),
    };
    // SAFETY: the caller's place for the result.
    unsafe { *result = pointer };
    answer
}

unsafe extern "C" fn next<R: Receiver, F>(address: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Step> + Copy + 'static,
{
    let body = |py: Python<'_>| {
        // SAFETY: a slot of the receiver's class.
        match the::<F>()(py, unsafe { R::view(py, &address) })? {
            Step::Yield(value) => Ok(value.into_ptr()),
            Step::Return(value) => {
                // Null without an exception is the end with `None`.
                if !value.is_none() {
                    stop_iteration::raise(py, value);
                }
                Ok(null_mut())
            }
        }
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(null_mut(), body) }
}

unsafe extern "C" fn iterator<R: Receiver, F>(address: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Object> + Copy + 'static,
{
    // SAFETY: a slot of the receiver's class.
    let body = |py: Python<'_>| the::<F>()(py, unsafe { R::view(py, &address) });
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

//! One step of an iterator that `await` drives: what native coroutines answer, and what they ask of others.

use core::ffi::c_void;
use core::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyNone;

use super::builder::Builder;
use super::c_api::{self, Any};
use super::method::{Receiver, the};
use super::object::Object;
use super::passed::This;
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
    let mut result = None;
    let none = PyNone::get(py);
    let answer = c_api::PyIter_Send(iterator.lend(py), none.as_any().as_borrowed(), &mut result);
    let value = c_api::object(py, result)?;
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

/// # Safety
/// Called by CPython as a slot of the receiver's class; `result` is the caller's place for the result.
unsafe extern "C" fn send<R: Receiver, F>(
    this: This<'_, R>,
    value: Any<'_>,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<Step> + Copy + 'static,
{
    let py = this.py();
    let step = trampoline::run(py, None, || the::<F>()(py, this.view(), Object::of(&value)).map(Some));
    let (answer, pointer) = match step {
        Some(Step::Yield(value)) => (ffi::PySendResult::PYGEN_NEXT, value.into_ptr()),
        Some(Step::Return(value)) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
        None => (ffi::PySendResult::PYGEN_ERROR, null_mut()),
    };
    // SAFETY: the caller's place for the result.
    unsafe { *result = pointer };
    answer
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn next<R: Receiver, F>(this: This<'_, R>) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Step> + Copy + 'static,
{
    let py = this.py();
    trampoline::run(py, null_mut(), || match the::<F>()(py, this.view())? {
        Step::Yield(value) => Ok(value.into_ptr()),
        Step::Return(value) => {
            // Null without an exception is the end with `None`.
            if !value.is_none() {
                stop_iteration::raise(py, value);
            }
            Ok(null_mut())
        }
    })
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn iterator<R: Receiver, F>(this: This<'_, R>) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<Object> + Copy + 'static,
{
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view()))
}

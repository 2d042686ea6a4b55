//! What a group of tasks and a limit of time ask of tasks, and do to them.

use pyo3::prelude::*;

#[cfg(Py_3_14)]
use super::step;
use super::task_type;
use crate::ffi::future::{Fields, Slot, State};
use crate::ffi::object::Object;
use crate::handle::context;

/// `task.cancelling()`: how often it was asked to end.
#[inline]
pub(crate) fn cancelling(py: Python<'_>, task: &Object) -> PyResult<Object> {
    if task_type::is_exact(task.as_ptr()) {
        // SAFETY: a task of ours.
        let count = unsafe { Fields::of(task.as_ptr()) }.cancels();
        return Ok(Object::new(count.into_pyobject(py)?));
    }
    task.bind(py).call_method0(pyo3::intern!(py, "cancelling")).map(Object::new)
}

/// Whether a task has ended, and without an exception. False for tasks that are not ours.
#[inline]
pub(crate) fn has_ended_well(task: &Object) -> bool {
    if !task_type::is_exact(task.as_ptr()) {
        return false;
    }
    // SAFETY: a task of ours.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    match fields.state() {
        State::Pending => false,
        State::Cancelled => true,
        State::Finished => fields.peek(Slot::Exception).is_null(),
    }
}

/// `task.add_done_callback(callback)` of a task of ours that is not done and has no callbacks; `false`: it is another.
#[inline]
pub(crate) fn add_first_callback(py: Python<'_>, task: &Object, callback: &Object) -> PyResult<bool> {
    if !task_type::is_exact(task.as_ptr()) {
        return Ok(false);
    }
    // SAFETY: a task of ours.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    if !fields.is_pending() || !fields.peek(Slot::Callback0).is_null() || !fields.peek(Slot::Callbacks).is_null() {
        return Ok(false);
    }
    let context = context::copy_current(py)?;
    let before =
        (fields.replace(Slot::Context0, Some(context)), fields.replace(Slot::Callback0, Some(callback.clone())));
    drop(before);
    Ok(true)
}

/// `future_add_to_awaited_by(task, waiter)`, for the call graph.
#[cfg(Py_3_14)]
#[inline]
pub(crate) fn add_awaiting(py: Python<'_>, task: &Object, waiter: &Object) -> PyResult<()> {
    if task_type::is_exact(task.as_ptr()) && task_type::is_native(waiter.as_ptr()) {
        return step::awaited_by(py, task, waiter);
    }
    let arguments = (task.bind(py), waiter.bind(py));
    py.import("asyncio.futures")?.call_method1("future_add_to_awaited_by", arguments).map(drop)
}

/// `future_discard_from_awaited_by(task, waiter)`.
#[cfg(Py_3_14)]
#[inline]
pub(crate) fn remove_awaiting(py: Python<'_>, task: &Object, waiter: &Object) -> PyResult<()> {
    if task_type::is_exact(task.as_ptr()) && task_type::is_native(waiter.as_ptr()) {
        return step::no_longer_awaited_by(py, task, waiter);
    }
    let arguments = (task.bind(py), waiter.bind(py));
    py.import("asyncio.futures")?.call_method1("future_discard_from_awaited_by", arguments).map(drop)
}

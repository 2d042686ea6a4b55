//! What `TaskGroup` and `timeout` ask of tasks, and do to them.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

use super::asyncio::HAS_CALL_GRAPH;
use crate::ffi::call::call_method;
use crate::ffi::context::Context;
use crate::ffi::future::{FutureState, Task};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

/// `task.cancelling()`: how often it was asked to end.
#[inline]
pub(crate) fn cancelling(py: Python<'_>, task: &Object) -> PyResult<Object> {
    match Task::exact(task) {
        Some(task) => Ok(Object::new(task.cancels_requested().get().into_pyobject(py)?)),
        None => call_method(py, &names(py).cancelling, [task]),
    }
}

/// Whether a task has ended, and without an exception. False for tasks that are not ours.
#[inline]
pub(crate) fn has_ended_well(task: &Object) -> bool {
    Task::exact(task).is_some_and(|task| task.state() == FutureState::Cancelled || task.has_value())
}

/// `task.add_done_callback(callback)` of a task of ours that is not done and has no callbacks; `false`: it is another.
#[inline]
pub(crate) fn add_first_callback(py: Python<'_>, task: &Object, callback: &Object) -> PyResult<bool> {
    let Some(task) = Task::exact(task).filter(|task| task.is_pending() && task.has_no_callbacks()) else {
        return Ok(false);
    };
    task.set_first_callback(callback.clone(), Some(Context::copy_current(py)?.into_object()));
    Ok(true)
}

/// `future_add_to_awaited_by(task, waiter)`, for the call graph.
#[inline]
pub(crate) fn add_awaiting(py: Python<'_>, task: &Object, waiter: &Object) -> PyResult<()> {
    if !HAS_CALL_GRAPH {
        return Ok(());
    }
    match (Task::exact(task), Task::of(waiter)) {
        (Some(task), Some(waiter)) => task.add_waiting(py, waiter.object()),
        _ => call_asyncios(py, "future_add_to_awaited_by", task, waiter),
    }
}

/// `future_discard_from_awaited_by(task, waiter)`.
#[inline]
pub(crate) fn remove_awaiting(py: Python<'_>, task: &Object, waiter: &Object) -> PyResult<()> {
    if !HAS_CALL_GRAPH {
        return Ok(());
    }
    match (Task::exact(task), Task::of(waiter)) {
        (Some(task), Some(waiter)) => task.remove_waiting(py, waiter.object()),
        _ => call_asyncios(py, "future_discard_from_awaited_by", task, waiter),
    }
}

/// `asyncio.futures.function(task, waiter)`.
fn call_asyncios(py: Python<'_>, function: &str, task: &Object, waiter: &Object) -> PyResult<()> {
    let futures = OBJECTS.asyncio_futures.bind(py)?;
    futures.call_method1(function, (task.bind(py), waiter.bind(py))).map(drop)
}

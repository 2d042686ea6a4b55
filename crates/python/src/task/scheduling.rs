//! Where a task's steps and wake-ups go: into the loop's ready queue, or through `loop.call_soon`.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

use super::asyncio::uninitialized;
use super::callback;
use crate::event_loop::{Entry, LoopCore};
use crate::ffi::call::{call_method, call_method_with_context};
use crate::ffi::class::Instance;
use crate::ffi::future::{Future, Task};
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// The loop's core, if entries may be put into its queue without `call_soon`.
#[inline]
pub(super) fn direct(event_loop: &Object) -> Option<&Instance<LoopCore>> {
    Instance::<LoopCore>::of(event_loop).filter(|core| core.takes_task_entries())
}

/// `loop.call_soon(callback[, argument], context=context)`.
pub(super) fn call_soon(
    py: Python<'_>,
    event_loop: &Object,
    callback: &Object,
    argument: Option<&Object>,
    context: Option<&Object>,
) -> PyResult<()> {
    let name = &names(py).call_soon;
    match (argument, context) {
        (Some(argument), Some(context)) => {
            call_method_with_context(py, name, [event_loop, callback, argument, context])
        }
        (None, Some(context)) => call_method_with_context(py, name, [event_loop, callback, context]),
        (Some(argument), None) => call_method(py, name, [event_loop, callback, argument]),
        (None, None) => call_method(py, name, [event_loop, callback]),
    }
    .map(drop)
}

/// Steps a new task in the next turn.
#[inline]
pub(super) fn first_step(py: Python<'_>, task: &Task) -> PyResult<()> {
    if push_step(py, task, None, true)? {
        task.untrack();
    }
    Ok(())
}

/// Steps `task` in the next turn, with `error` thrown in.
pub(super) fn step(py: Python<'_>, task: &Task, error: Option<Object>) -> PyResult<()> {
    push_step(py, task, error, false).map(drop)
}

/// Schedules a step; whether it is an entry of the queue of a loop that runs.
#[inline(always)]
#[expect(clippy::inline_always, reason = "two callers; the result would travel through memory otherwise")]
fn push_step(py: Python<'_>, task: &Task, error: Option<Object>, is_first: bool) -> PyResult<bool> {
    let Some(event_loop) = task.event_loop.get() else { return Err(uninitialized()) };
    if let Some(core) = direct(&event_loop).filter(|_| task.has_plain_context()) {
        core.check_closed()?;
        core.push_ready(py, Entry::Step { task: task.object().clone(), error, is_first });
        return Ok(core.is_turning());
    }
    let callable = callback::step_callable(py, task)?;
    call_soon(py, &event_loop, &callable, error.as_ref(), task.context().get().as_ref()).map(|()| false)
}

/// Wakes `task` in the next turn: `future` is done.
pub(super) fn wake(py: Python<'_>, task: Task, future: &Future) -> PyResult<()> {
    let Some(event_loop) = task.event_loop.get() else { return Err(uninitialized()) };
    if let Some(core) = direct(&event_loop).filter(|_| task.has_plain_context()) {
        core.check_closed()?;
        core.push_ready(py, Entry::Wakeup { task: task.into_object(), future: future.object().clone() });
        return Ok(());
    }
    let callable = callback::wakeup_callable(py, &task)?;
    call_soon(py, &event_loop, &callable, Some(future.object()), task.context().get().as_ref())
}

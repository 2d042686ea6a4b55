//! Where a task's steps and wake-ups go: into the loop's ready queue, or through `loop.call_soon`.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

use super::asyncio::uninitialized;
use super::callback::{self, TaskCall};
use super::{step, tracking};
use crate::core::{Entry, Exit, LoopCore, Operations};
use crate::ffi::call::{call_method, call_method_with_context};
use crate::ffi::class::Instance;
use crate::ffi::future::{Future, Task};
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// A task's step; the argument is an error to throw into its coroutine.
static STEP: Operations = Operations {
    run: run_step,
    handle: Some(shown_step),
    on_stop: None,
    context: Some(context_of),
    coroutine: Some(coroutine_of),
};

/// The first one. The collector does not track the task before.
static FIRST_STEP: Operations = Operations {
    run: |py, core, task, error| {
        tracking::track(&task);
        run_step(py, core, task, error)
    },
    handle: Some(shown_step),
    on_stop: Some(tracking::track),
    context: Some(context_of),
    coroutine: Some(coroutine_of),
};

/// A task's wake-up; the argument is the future that it waits for, which is done.
static WAKE_UP: Operations = Operations {
    run: run_wakeup,
    handle: Some(shown_wakeup),
    on_stop: None,
    context: Some(context_of),
    coroutine: Some(coroutine_of),
};

fn context_of(task: &Object) -> Option<Object> {
    Task::of(task)?.context().get()
}

fn coroutine_of(_py: Python<'_>, task: &Object) -> Option<Object> {
    Task::of(task)?.coroutine().get()
}

#[expect(clippy::needless_pass_by_value, reason = "the references of the entry end here")]
fn run_step(py: Python<'_>, _core: &LoopCore, task: Object, error: Option<Object>) -> Result<(), Exit> {
    match Task::of(&task) {
        Some(task) => step::run_step(py, task, error),
        None => Ok(()),
    }
}

fn shown_step(py: Python<'_>, event_loop: &Object, task: &Object, error: Option<&Object>) -> PyResult<Object> {
    callback::handle_of(py, event_loop, checked(task)?, &TaskCall::Step(error))
}

#[expect(clippy::needless_pass_by_value, reason = "the references of the entry end here")]
fn run_wakeup(py: Python<'_>, _core: &LoopCore, task: Object, future: Option<Object>) -> Result<(), Exit> {
    match (Task::of(&task), &future) {
        (Some(task), Some(future)) => step::run_wakeup(py, task, future),
        _ => Ok(()),
    }
}

fn shown_wakeup(py: Python<'_>, event_loop: &Object, task: &Object, future: Option<&Object>) -> PyResult<Object> {
    let future = future.ok_or_else(uninitialized)?;
    callback::handle_of(py, event_loop, checked(task)?, &TaskCall::Wakeup(future))
}

/// The object of an entry.
fn checked(task: &Object) -> PyResult<&Task> {
    Task::of(task).ok_or_else(uninitialized)
}

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
pub(super) fn schedule_step(py: Python<'_>, task: &Task, error: Option<Object>) -> PyResult<()> {
    push_step(py, task, error, false).map(drop)
}

/// Schedules a step; whether it is an entry of the queue of a loop that runs.
#[inline(always)]
#[expect(clippy::inline_always, reason = "two callers; the result would travel through memory otherwise")]
fn push_step(py: Python<'_>, task: &Task, error: Option<Object>, is_first: bool) -> PyResult<bool> {
    let Some(event_loop) = task.event_loop.get() else { return Err(uninitialized()) };
    if let Some(core) = direct(&event_loop).filter(|_| task.has_plain_context()) {
        core.check_closed()?;
        let operations = if is_first { &FIRST_STEP } else { &STEP };
        core.push_ready(py, Entry::with_argument(operations, task.object().clone(), error));
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
        let argument = Some(future.object().clone());
        core.push_ready(py, Entry::with_argument(&WAKE_UP, task.into_object(), argument));
        return Ok(());
    }
    let callable = callback::wakeup_callable(py, &task)?;
    call_soon(py, &event_loop, &callable, Some(future.object()), task.context().get().as_ref())
}

//! Where a task's steps and wake-ups go: into the loop's ready queue, or through `loop.call_soon`.

use pyo3::ffi;
use pyo3::prelude::*;

use super::callback::Call;
use super::{asyncio, callback, collected, step};
use crate::core::{Entry, Exit, LoopCore, Operations};
use crate::ffi::future::{Fields, Slot};
use crate::ffi::object::Object;
use crate::handle::context;

/// A task's step; the argument is an error to throw into its coroutine.
static STEP: Operations = Operations { run: run_step, handle: Some(shown_step), on_stop: None };

/// The first one. The collector does not track the task before.
static FIRST_STEP: Operations = Operations {
    run: |py, core, task, error| {
        collected::track(&task);
        run_step(py, core, task, error)
    },
    handle: Some(shown_step),
    on_stop: Some(collected::track),
};

/// A task's wake-up; the argument is the future that it waits for, which is done.
static WAKE_UP: Operations = Operations {
    run: |py, core, task, future| match &future {
        Some(future) => step::run_wakeup(py, core, &task, future),
        None => Ok(()),
    },
    handle: Some(|py, event_loop, task, future| match future {
        Some(future) => callback::handle_of(py, event_loop.as_ptr(), task, &Call::Wakeup(future)),
        None => Err(uninitialized()),
    }),
    on_stop: None,
};

fn run_step(py: Python<'_>, core: &LoopCore, task: Object, error: Option<Object>) -> Result<(), Exit> {
    step::run_step(py, core, &task, error)
}

fn shown_step(py: Python<'_>, event_loop: &Object, task: &Object, error: Option<&Object>) -> PyResult<Object> {
    callback::handle_of(py, event_loop.as_ptr(), task, &Call::Step(error))
}

/// The loop's core, if entries may be put into its queue without `call_soon`.
#[inline]
pub(super) fn direct<'a>(py: Python<'a>, event_loop: &Object) -> Option<&'a LoopCore> {
    LoopCore::find(py, event_loop.as_ptr()).filter(|core| core.takes_task_entries())
}

/// `loop.call_soon(callback[, argument], context=context)`.
pub(super) fn call_soon(
    py: Python<'_>,
    event_loop: &Object,
    callback: &Object,
    argument: Option<*mut ffi::PyObject>,
    context: Option<&Object>,
) -> PyResult<()> {
    let asyncio = asyncio::get(py);
    let mut args = vec![event_loop.as_ptr(), callback.as_ptr()];
    args.extend(argument);
    args.extend(context.map(Object::as_ptr));
    let keywords = context.map(|_| &asyncio.context_keyword);
    asyncio::call_method(py, &asyncio.names.call_soon, &args, keywords).map(drop)
}

/// Steps a new task in the next turn.
#[inline]
pub(super) fn first_step(py: Python<'_>, task: &Object) -> PyResult<()> {
    if let Some(core) = push_step(py, task.as_ptr(), None, true)? {
        collected::when_it_runs(core, task);
    }
    Ok(())
}

/// Steps `task` in the next turn, with `error` thrown in.
pub(super) fn schedule_step(py: Python<'_>, task: *mut ffi::PyObject, error: Option<Object>) -> PyResult<()> {
    push_step(py, task, error, false).map(drop)
}

/// Schedules a step; the core of the task's loop, if that goes by an entry of the queue.
#[inline(always)]
#[expect(clippy::inline_always, reason = "two callers; the result would travel through memory otherwise")]
fn push_step(
    py: Python<'_>,
    task: *mut ffi::PyObject,
    error: Option<Object>,
    is_first: bool,
) -> PyResult<Option<&LoopCore>> {
    // SAFETY: callers pass tasks.
    let fields = unsafe { Fields::of(task) };
    let Some(event_loop) = fields.get(Slot::Loop) else { return Err(uninitialized()) };
    if let Some(core) = direct(py, &event_loop).filter(|_| has_plain_context(fields)) {
        core.check_closed()?;
        let operations = if is_first { &FIRST_STEP } else { &STEP };
        // SAFETY: as above.
        let object = unsafe { Object::from_borrowed(task) };
        core.push_ready(py, Entry::Call { operations, object, argument: error });
        return Ok(Some(core));
    }
    let callable = callback::step_callable(py, task)?;
    let argument = error.as_ref().map(Object::as_ptr);
    call_soon(py, &event_loop, &callable, argument, fields.get(Slot::Context).as_ref()).map(|()| None)
}

/// Wakes `task` in the next turn: `future` is done.
pub(super) fn wake(py: Python<'_>, task: Object, future: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: callers pass tasks.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    let Some(event_loop) = fields.get(Slot::Loop) else { return Err(uninitialized()) };
    if let Some(core) = direct(py, &event_loop).filter(|_| has_plain_context(fields)) {
        core.check_closed()?;
        // SAFETY: callers pass a live future.
        let argument = Some(unsafe { Object::from_borrowed(future) });
        core.push_ready(py, Entry::Call { operations: &WAKE_UP, object: task, argument });
        return Ok(());
    }
    let callable = callback::wakeup_callable(py, task.as_ptr())?;
    call_soon(py, &event_loop, &callable, Some(future), fields.get(Slot::Context).as_ref())
}

/// Whether the task's context can be entered without `Context.run`.
fn has_plain_context(fields: Fields<'_>) -> bool {
    let context = fields.peek(Slot::Context);
    !context.is_null() && context::is_context(context)
}

pub(super) fn uninitialized() -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err("Future object is not initialized.")
}

//! The callables that stand for a task's step and wake-up where an object is needed: for another loop's `call_soon`, as
//! one of several callbacks of a future, in `loop._ready`, in reports.
//!
//! Both are bound built-in methods of the task, as asyncio's are: `__self__` is the task.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

use super::{scheduling, step};
use crate::ffi::arguments::Arguments;
use crate::ffi::bound_method::TaskMethod;
use crate::ffi::future::Task;
use crate::ffi::method::Method;
use crate::ffi::object::Object;
use crate::handle::Recipe;

static WAKEUP: TaskMethod =
    TaskMethod::new(|| Method::one_argument(c"task_wakeup", step::wakeup, c"A future is done."));

static STEP: TaskMethod =
    TaskMethod::new(|| Method::any_arguments(c"task_step", task_step, c"Run the task up to its next wait."));

fn task_step(py: Python<'_>, task: &Task, arguments: Arguments<'_>) -> PyResult<()> {
    step::step(py, task, arguments.positional().first().and_then(Object::unless_none))
}

/// `task_wakeup(future)`: what a future that is done calls.
pub(super) fn wakeup_callable(py: Python<'_>, task: &Task) -> PyResult<Object> {
    WAKEUP.bind(py, task)
}

/// `task_step([error])`.
pub(super) fn step_callable(py: Python<'_>, task: &Task) -> PyResult<Object> {
    STEP.bind(py, task)
}

/// What to call instead of `callback`, if that is a task linked to a future: asyncio's own code completes a future with
/// `loop.call_soon(callback, future)`.
#[inline]
pub(crate) fn callable_in_place_of(py: Python<'_>, callback: &Object) -> PyResult<Option<Object>> {
    Task::exact(callback).map(|task| wakeup_callable(py, task)).transpose()
}

/// What an entry does with its task.
pub(super) enum TaskCall<'a> {
    /// Step, with this error thrown in.
    Step(Option<&'a Object>),
    /// Wake up: this future is done.
    Wakeup(&'a Object),
}

/// The handle that a task's entry stands for.
pub(super) fn handle_of(py: Python<'_>, event_loop: &Object, task: &Task, call: &TaskCall<'_>) -> PyResult<Object> {
    let (callback, argument) = match call {
        TaskCall::Step(error) => (step_callable(py, task)?, *error),
        TaskCall::Wakeup(future) => (wakeup_callable(py, task)?, Some(*future)),
    };
    let args = argument.map_or(&[] as &[Object], core::slice::from_ref);
    let context = task.context().get();
    Recipe { event_loop, callback: &callback, args, context: context.as_ref(), trace: false }.make(py)
}

/// Calls `callback(argument)` in the next turn: natively where the loop allows, else through its `call_soon`.
pub(super) fn schedule(
    py: Python<'_>,
    event_loop: &Object,
    callback: &Object,
    argument: &Object,
    context: Option<&Object>,
) -> PyResult<()> {
    match scheduling::direct(event_loop) {
        Some(event_loop) => event_loop.schedule(py, callback, core::slice::from_ref(argument), context),
        None => scheduling::call_soon(py, event_loop, callback, Some(argument), context),
    }
}

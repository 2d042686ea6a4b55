//! What tasks call of the interpreter's `_asyncio`: which task runs, which tasks there are, its exceptions.
//!
//! `asyncio.current_task()` and `all_tasks()`, and tools that look at the process from outside, read what these functions
//! write: thread states ([`thread_state`]), linked lists or sets, depending on the version.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::awaitable::is_python_coroutine;
use crate::ffi::call::call;
use crate::ffi::errors::is_caught_by;
use crate::ffi::future::Task;
use crate::ffi::object::Object;
use crate::ffi::objects::{Lazy, OBJECTS};
use crate::ffi::thread_state;

/// Tasks may run their first step when they are made.
pub(super) const HAS_EAGER_START: bool = cfg!(Py_3_12);
/// There are functions to register and unregister tasks in their eager step.
const REGISTERS_EAGER_TASKS: bool = cfg!(all(Py_3_12, not(Py_3_14)));
/// Futures know which tasks wait for them, and a task that is done is taken out of `all_tasks()`: before, it stays in a weak
/// set until it is freed.
pub(super) const HAS_CALL_GRAPH: bool = cfg!(Py_3_14);

/// Looks the functions up before any task is made: a task may end when the interpreter does, which imports nothing any more.
/// What a version does not have is not used with it.
pub(super) fn load(py: Python<'_>) {
    let used: [&Lazy; 13] = [
        &OBJECTS.asyncio_c_current_task,
        &OBJECTS.asyncio_c_enter_task,
        &OBJECTS.asyncio_c_future,
        &OBJECTS.asyncio_c_future_init,
        &OBJECTS.asyncio_c_leave_task,
        &OBJECTS.asyncio_c_register_eager_task,
        &OBJECTS.asyncio_c_register_task,
        &OBJECTS.asyncio_c_swap_current_task,
        &OBJECTS.asyncio_c_unregister_eager_task,
        &OBJECTS.asyncio_c_unregister_task,
        &OBJECTS.asyncio_cancelled_error,
        &OBJECTS.asyncio_invalid_state_error,
        &OBJECTS.asyncio_iscoroutine,
    ];
    for object in used {
        let _ = object.get(py);
    }
}

/// `task` is the one that runs now.
#[inline]
pub(super) fn enter(py: Python<'_>, event_loop: &Object, task: &Task) -> PyResult<()> {
    if thread_state::enter(event_loop, task) {
        return Ok(());
    }
    call(py, OBJECTS.asyncio_c_enter_task.get(py)?, [event_loop, task.object()]).map(drop)
}

/// `task` no longer runs.
#[inline(always)]
#[expect(clippy::inline_always, reason = "one caller for every step; the other one is for panics")]
pub(super) fn leave(py: Python<'_>, event_loop: &Object, task: &Task) -> PyResult<()> {
    if thread_state::leave(event_loop, task) {
        return Ok(());
    }
    call(py, OBJECTS.asyncio_c_leave_task.get(py)?, [event_loop, task.object()]).map(drop)
}

/// The task of `event_loop` that runs now.
pub(super) fn running_task(py: Python<'_>, event_loop: &Object) -> PyResult<Option<Object>> {
    if let Some(task) = thread_state::running_task_of(event_loop) {
        return Ok(Some(task));
    }
    Ok(call(py, OBJECTS.asyncio_c_current_task.get(py)?, [event_loop])?.unless_none())
}

/// Puts `task` into the place of the task that runs now, which comes back (or `None`).
pub(super) fn swap(py: Python<'_>, event_loop: &Object, task: &Object) -> PyResult<Object> {
    call(py, OBJECTS.asyncio_c_swap_current_task.get(py)?, [event_loop, task])
}

/// Enters `task` into `all_tasks()`.
#[inline]
pub(super) fn register(py: Python<'_>, task: &Task) -> PyResult<()> {
    if thread_state::register(task) {
        return Ok(());
    }
    call(py, OBJECTS.asyncio_c_register_task.get(py)?, [task.object()]).map(drop)
}

/// Takes a task that is done out of `all_tasks()`, where that is not a weak set.
#[inline]
pub(super) fn unregister(py: Python<'_>, task: &Task) -> PyResult<()> {
    if !HAS_CALL_GRAPH || thread_state::unregister(task) {
        return Ok(());
    }
    call(py, OBJECTS.asyncio_c_unregister_task.get(py)?, [task.object()]).map(drop)
}

/// Enters a task for its first, eager step.
pub(super) fn register_eager(py: Python<'_>, task: &Task) -> PyResult<()> {
    if REGISTERS_EAGER_TASKS {
        return call(py, OBJECTS.asyncio_c_register_eager_task.get(py)?, [task.object()]).map(drop);
    }
    register(py, task)
}

/// The eager step is over.
pub(super) fn unregister_eager(py: Python<'_>, task: &Task) -> PyResult<()> {
    if REGISTERS_EAGER_TASKS {
        call(py, OBJECTS.asyncio_c_unregister_eager_task.get(py)?, [task.object()])?;
    }
    Ok(())
}

/// A task is not done after its eager step.
pub(super) fn register_after_eager_step(py: Python<'_>, task: &Task) -> PyResult<()> {
    if REGISTERS_EAGER_TASKS { register(py, task) } else { Ok(()) }
}

/// `asyncio.iscoroutine`.
#[inline]
pub(super) fn is_coroutine(py: Python<'_>, object: &Object) -> PyResult<bool> {
    Ok(is_python_coroutine(object) || call(py, OBJECTS.asyncio_iscoroutine.get(py)?, [object])?.bind(py).is_truthy()?)
}

/// Whether the exception is an `asyncio.CancelledError`.
pub(super) fn is_cancelled_error(py: Python<'_>, exception: &Object) -> PyResult<bool> {
    Ok(is_caught_by(exception, OBJECTS.asyncio_cancelled_error.get(py)?))
}

/// `CancelledError()` or `CancelledError(message)`.
pub(super) fn cancelled_error(py: Python<'_>, message: Option<&Object>) -> PyResult<Object> {
    let class = OBJECTS.asyncio_cancelled_error.get(py)?;
    match message.filter(|message| !message.is_none()) {
        Some(message) => call(py, class, [message]),
        None => call(py, class, []),
    }
}

/// The error `InvalidStateError(text)`.
#[cold]
pub(super) fn invalid_state(py: Python<'_>, text: &str) -> PyErr {
    let class = OBJECTS.asyncio_invalid_state_error.bind(py).and_then(|class| Ok(class.cast::<PyType>()?));
    class.map_or_else(|error| error, |class| PyErr::from_type(class.clone(), text.to_owned()))
}

/// The error of a future or task whose `__init__` has not run.
#[cold]
pub(super) fn uninitialized() -> PyErr {
    PyRuntimeError::new_err("Future object is not initialized.")
}

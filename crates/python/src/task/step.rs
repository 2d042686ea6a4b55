//! The step of a task: runs its coroutine up to the next wait, and arranges for what it waits for.
//!
//! Follows `task_step_impl`, `task_step_handle_result_impl` and `task_wakeup` of CPython's `_asyncio`, whose words the
//! errors have.
#![forbid(unsafe_code)]

use core::mem::ManuallyDrop;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

use super::asyncio::{self, uninitialized};
use super::callback::{self, TaskCall};
use super::{future, scheduling};
use crate::core::{Exit, leaves_loop, settle};
use crate::ffi::awaitable::is_generator;
use crate::ffi::call::{call, call_method, call_method_with_context};
use crate::ffi::context::run_in;
use crate::ffi::errors::{exception, made};
use crate::ffi::future::{Future, FutureState, Task};
use crate::ffi::iteration::{Step, send_none};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle;

/// Runs an entry: steps `task` in its context.
///
/// # Errors
/// What leaves the loop; other exceptions go to its exception handler.
pub(super) fn run_step(py: Python<'_>, task: &Task, error: Option<Object>) -> Result<(), Exit> {
    let shown = error.clone();
    run(py, task, &TaskCall::Step(shown.as_ref()), || step(py, task, error))
}

/// Runs an entry: wakes `task`, for which `future` is done, in its context.
///
/// # Errors
/// As for [`run_step`].
pub(super) fn run_wakeup(py: Python<'_>, task: &Task, future: &Object) -> Result<(), Exit> {
    run(py, task, &TaskCall::Wakeup(future), || wakeup(py, task, future))
}

fn run(py: Python<'_>, task: &Task, call: &TaskCall<'_>, body: impl FnOnce() -> PyResult<()>) -> Result<(), Exit> {
    // The collector may have emptied a task whose entry was still there.
    let Some(context) = task.context().get() else { return Ok(()) };
    let Some(event_loop) = task.event_loop.get() else { return Ok(()) };
    settle(py, run_in(py, &context, body), |exception| {
        let handle = callback::handle_of(py, &event_loop, task, call)?;
        handle::report(py, &handle, exception)
    })
}

/// What a done future gives to who waits for it: nothing, or an exception to throw.
fn outcome_of(py: Python<'_>, future: &Object) -> PyResult<Option<Object>> {
    let Some(future) = Future::ours(future) else {
        return match call_method(py, &names(py).result, [future]) {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(Object::new(error.into_value(py).into_bound(py)))),
        };
    };
    match future.state() {
        FutureState::Finished => {}
        FutureState::Cancelled => return future::make_cancelled_error(py, future).map(Some),
        FutureState::Pending => {
            let error = asyncio::invalid_state(py, "Result is not set.");
            return Ok(Some(Object::new(made(py, error).into_value(py).into_bound(py))));
        }
    }
    future.log_traceback().set(false);
    future.exception(py)
}

/// `future`, for which `task` waits, is done.
pub(super) fn wakeup(py: Python<'_>, task: &Task, future: &Object) -> PyResult<()> {
    no_longer_awaited_by(py, future, task.object())?;
    let error = outcome_of(py, future)?;
    step(py, task, error)
}

/// Runs `task` up to its next wait, with `error` thrown in.
pub(super) fn step(py: Python<'_>, task: &Task, error: Option<Object>) -> PyResult<()> {
    let Some(event_loop) = task.event_loop.get() else { return Err(uninitialized()) };
    asyncio::enter(py, &event_loop, task)?;
    let running = RunningTask { py, event_loop: &event_loop, task };
    let outcome = advance(py, task, error);
    match running.leave() {
        Ok(()) => outcome,
        Err(error) => outcome.and(Err(error)),
    }
}

/// The running task. It is left in any case: when a panic passes, by the drop.
struct RunningTask<'a> {
    py: Python<'a>,
    event_loop: &'a Object,
    task: &'a Task,
}

impl RunningTask<'_> {
    #[inline]
    fn leave(self) -> PyResult<()> {
        let Self { py, event_loop, task } = *ManuallyDrop::new(self);
        asyncio::leave(py, event_loop, task)
    }
}

impl Drop for RunningTask<'_> {
    #[inline]
    fn drop(&mut self) {
        leave_in_panic(self.py, self.event_loop, self.task);
    }
}

/// Not a part of the drop, for which the guard would have to lie in memory.
#[cold]
#[inline(never)]
fn leave_in_panic(py: Python<'_>, event_loop: &Object, task: &Task) {
    drop(asyncio::leave(py, event_loop, task));
}

/// [`step`] for a task that is the running one already.
pub(super) fn advance(py: Python<'_>, task: &Task, error: Option<Object>) -> PyResult<()> {
    if !task.is_pending() {
        return Err(already_done(py, task, error.as_ref()));
    }
    let mut error = error;
    if task.must_cancel().get() {
        let is_cancelled = error.as_ref().map_or(Ok(false), |error| asyncio::is_cancelled_error(py, error))?;
        if !is_cancelled {
            error = Some(future::make_cancelled_error(py, task)?);
        }
        task.must_cancel().set(false);
    }
    drop(task.future_waiter().take());
    let Some(coroutine) = task.coroutine().get() else {
        return Err(PyRuntimeError::new_err("uninitialized Task object"));
    };
    let sent = match error {
        None => send_none(py, &coroutine),
        Some(error) => throw(py, &coroutine, &error),
    };
    drop(coroutine);
    match sent {
        // A bare yield: one turn of the loop.
        Ok(Step::Yield(result)) if result.is_none() => scheduling::schedule_step(py, task, None),
        Ok(Step::Yield(result)) => wait_for(py, task, result),
        Ok(Step::Return(result)) => {
            if task.must_cancel().get() {
                // It was cancelled right before it returned.
                task.must_cancel().set(false);
                future::complete_cancelled(py, task, task.cancel_message.get()).map(drop)
            } else {
                future::complete(py, task, result)
            }
        }
        Err(error) => raised(py, task, error),
    }
}

#[cold]
fn throw(py: Python<'_>, coroutine: &Object, error: &Object) -> PyResult<Step> {
    match call_method(py, &names(py).throw, [coroutine, error]) {
        Ok(result) => Ok(Step::Yield(result)),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            Ok(Step::Return(Object::new(error.value(py).getattr(&names(py).value)?)))
        }
        Err(error) => Err(error),
    }
}

/// The coroutine has raised `error`: that is how the task ends.
#[cold]
fn raised(py: Python<'_>, task: &Task, error: PyErr) -> PyResult<()> {
    let exception = made(py, error).into_value(py).into_bound(py);
    if asyncio::is_cancelled_error(py, Object::of(&exception))? {
        task.keep_cancelled_error(exception);
        return future::complete_cancelled(py, task, None).map(drop);
    }
    future::fail(py, task, exception.clone())?;
    let error = PyErr::from_value(exception.into_any());
    if leaves_loop(py, &error) { Err(error) } else { Ok(()) }
}

#[cold]
fn already_done(py: Python<'_>, task: &Task, error: Option<&Object>) -> PyErr {
    let text = || -> PyResult<String> {
        let error = error.map_or_else(|| Ok("None".to_owned()), |error| repr(py, error))?;
        Ok(format!("_step(): already done: {} {error}", repr(py, task.object())?))
    };
    match text() {
        Ok(text) => asyncio::invalid_state(py, &text),
        Err(failure) => failure,
    }
}

fn repr(py: Python<'_>, object: &Object) -> PyResult<String> {
    object.bind(py).repr()?.extract()
}

/// Arranges for `task` to go on when `result`, which its coroutine has yielded, allows it.
fn wait_for(py: Python<'_>, task: &Task, result: Object) -> PyResult<()> {
    if result.is(task.object()) {
        let text = format!("Task cannot await on itself: {}", repr(py, task.object())?);
        return fail_soon(py, task, &text);
    }
    if let Some(awaited) = Future::ours(&result) {
        if awaited.event_loop.as_ptr() != task.event_loop.as_ptr() {
            return fail_soon(py, task, &other_loop(py, task, &result)?);
        }
        if !awaited.blocking().get() {
            return fail_soon(py, task, &yielded_future(py, task, &result)?);
        }
        awaited.add_waiting(py, task.object())?;
        awaited.blocking().set(false);
        if !future::link(awaited, task) {
            add_wakeup(py, task, &result)?;
        }
        return waits(py, task, result);
    }
    let blocking = result.bind(py).getattr_opt(&names(py)._asyncio_future_blocking)?;
    let Some(blocking) = blocking.filter(|blocking| !blocking.is_none()) else {
        let text = if is_generator(&result) {
            format!(
                "yield was used instead of yield from for generator in task {} with {}",
                repr(py, task.object())?,
                repr(py, &result)?
            )
        } else {
            format!("Task got bad yield: {}", repr(py, &result)?)
        };
        return fail_soon(py, task, &text);
    };
    let blocking = blocking.is_truthy()?;
    if loop_of(py, &result)?.as_ptr() != task.event_loop.as_ptr() {
        return fail_soon(py, task, &other_loop(py, task, &result)?);
    }
    if !blocking {
        return fail_soon(py, task, &yielded_future(py, task, &result)?);
    }
    awaited_by(py, &result, task.object())?;
    result.bind(py).setattr(&names(py)._asyncio_future_blocking, false)?;
    add_wakeup(py, task, &result)?;
    waits(py, task, result)
}

/// `future.add_done_callback(task_wakeup, context=...)`.
fn add_wakeup(py: Python<'_>, task: &Task, future: &Object) -> PyResult<()> {
    let wakeup = callback::wakeup_callable(py, task)?;
    let context = task.context().get_or_none(py);
    call_method_with_context(py, &names(py).add_done_callback, [future, &wakeup, &context]).map(drop)
}

/// The task waits for `future`, and hands on to it a request to cancel that came in the meantime.
#[inline]
fn waits(py: Python<'_>, task: &Task, future: Object) -> PyResult<()> {
    if !task.must_cancel().get() {
        task.future_waiter().set(future);
        return Ok(());
    }
    task.future_waiter().set(future.clone());
    let message = task.cancel_message.get_or_none(py);
    if call_method(py, &names(py).cancel, [&future, &message])?.bind(py).is_truthy()? {
        task.must_cancel().set(false);
    }
    Ok(())
}

/// `asyncio.futures._get_loop`.
fn loop_of(py: Python<'_>, future: &Object) -> PyResult<Object> {
    let future = future.bind(py);
    if let Some(get_loop) = future.getattr_opt(&names(py).get_loop)? {
        return call(py, Object::of(&get_loop), []);
    }
    Ok(Object::new(future.getattr(&names(py)._loop)?))
}

/// Steps the task with a `RuntimeError` in the next turn.
#[cold]
fn fail_soon(py: Python<'_>, task: &Task, text: &str) -> PyResult<()> {
    let error = exception::<PyRuntimeError>(py, text)?;
    scheduling::schedule_step(py, task, Some(error))
}

fn other_loop(py: Python<'_>, task: &Task, future: &Object) -> PyResult<String> {
    Ok(format!("Task {} got Future {} attached to a different loop", repr(py, task.object())?, repr(py, future)?))
}

fn yielded_future(py: Python<'_>, task: &Task, future: &Object) -> PyResult<String> {
    Ok(format!("yield was used instead of yield from in task {} with {}", repr(py, task.object())?, repr(py, future)?))
}

/// Notes in the call graph (3.14 on) that `task` waits for `future`.
#[inline]
pub(crate) fn awaited_by(py: Python<'_>, future: &Object, task: &Object) -> PyResult<()> {
    if !asyncio::HAS_CALL_GRAPH {
        return Ok(());
    }
    Future::of(future).map_or(Ok(()), |future| future.add_waiting(py, task))
}

/// Notes that it no longer does.
#[inline]
pub(crate) fn no_longer_awaited_by(py: Python<'_>, future: &Object, task: &Object) -> PyResult<()> {
    if !asyncio::HAS_CALL_GRAPH {
        return Ok(());
    }
    Future::of(future).map_or(Ok(()), |future| future.remove_waiting(py, task))
}

//! The step of a task: runs its coroutine up to the next wait, and arranges for what it waits for.
//!
//! Follows `task_step_impl`, `task_step_handle_result_impl` and `task_wakeup` of CPython's `_asyncio`, whose words the
//! errors have.

use core::mem::ManuallyDrop;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::ffi;
use pyo3::prelude::*;

use super::asyncio::{self, Asyncio};
use super::callback::{self, Call};
use super::{future, scheduling};
use crate::core::{Exit, LoopCore, leaves_loop, settle};
use crate::ffi::errors::{exception, made};
use crate::ffi::future::{Fields, Flag, Slot, State};
use crate::ffi::object::Object;
use crate::ffi::trampoline;
use crate::handle::{self, context};

/// Runs an entry: steps `task` in its context.
///
/// # Errors
/// What leaves the loop; other exceptions go to its exception handler.
pub(crate) fn run_step(py: Python<'_>, core: &LoopCore, task: &Object, error: Option<Object>) -> Result<(), Exit> {
    let shown = error.clone();
    run(py, core, task, &Call::Step(shown.as_ref()), || step(py, task, error))
}

/// Runs an entry: wakes `task`, for which `future` is done, in its context.
///
/// # Errors
/// As for [`run_step`].
pub(crate) fn run_wakeup(py: Python<'_>, core: &LoopCore, task: &Object, future: &Object) -> Result<(), Exit> {
    run(py, core, task, &Call::Wakeup(future), || wakeup(py, task, future))
}

fn run(
    py: Python<'_>,
    _core: &LoopCore,
    task: &Object,
    call: &Call<'_>,
    body: impl FnOnce() -> PyResult<()>,
) -> Result<(), Exit> {
    // SAFETY: entries hold tasks.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    // The collector may have emptied a task whose entry was still there.
    let Some(context) = fields.get(Slot::Context) else { return Ok(()) };
    let Some(event_loop) = fields.get(Slot::Loop) else { return Ok(()) };
    settle(py, context::run_in(py, &context, body), |exception| {
        let handle = callback::handle_of(py, event_loop.as_ptr(), task, call)?;
        handle::report(py, &handle, exception)
    })
}

/// What a done future gives to who waits for it: nothing, or an exception to throw.
fn outcome_of(py: Python<'_>, future: &Object) -> PyResult<Option<Object>> {
    if !future::is_ours(future.as_ptr()) {
        let asyncio = asyncio::get(py);
        return match asyncio::call_method(py, &asyncio.names.result, &[future.as_ptr()], None) {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(Object::new(error.into_value(py).into_bound(py)))),
        };
    }
    // SAFETY: a future or task of ours.
    let fields = unsafe { Fields::of(future.as_ptr()) };
    match fields.state() {
        State::Finished => {}
        State::Cancelled => return future::make_cancelled_error(py, fields).map(Some),
        State::Pending => {
            let error = asyncio::get(py).invalid_state(py, "Result is not set.");
            return Ok(Some(Object::new(made(py, error).into_value(py).into_bound(py))));
        }
    }
    fields.set_flag(Flag::LogTraceback, false);
    let Some(exception) = fields.get(Slot::Exception) else { return Ok(None) };
    let traceback = fields.get(Slot::ExceptionTraceback).unwrap_or_else(|| trampoline::none(py));
    // SAFETY: an exception, and a traceback or None.
    if unsafe { ffi::PyException_SetTraceback(exception.as_ptr(), traceback.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(Some(exception))
}

/// `future`, for which `task` waits, is done.
pub(super) fn wakeup(py: Python<'_>, task: &Object, future: &Object) -> PyResult<()> {
    #[cfg(Py_3_14)]
    if let Some(fields) = future::fields_of(future) {
        remove_awaiting(py, fields, task)?;
    }
    let error = outcome_of(py, future)?;
    step(py, task, error)
}

/// Runs `task` up to its next wait, with `error` thrown in.
pub(super) fn step(py: Python<'_>, task: &Object, error: Option<Object>) -> PyResult<()> {
    // SAFETY: callers pass tasks.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    let Some(event_loop) = fields.get(Slot::Loop) else { return Err(scheduling::uninitialized()) };
    let asyncio = asyncio::get(py);
    asyncio.enter(py, &event_loop, task.as_ptr())?;
    let running = RunningTask { py, asyncio, event_loop: &event_loop, task };
    let outcome = advance(py, asyncio, task, error);
    match running.leave() {
        Ok(()) => outcome,
        Err(error) => outcome.and(Err(error)),
    }
}

/// The running task. It is left in any case: when a panic passes, by the drop.
struct RunningTask<'a> {
    py: Python<'a>,
    asyncio: &'a Asyncio,
    event_loop: &'a Object,
    task: &'a Object,
}

impl RunningTask<'_> {
    #[inline]
    fn leave(self) -> PyResult<()> {
        let Self { py, asyncio, event_loop, task } = *ManuallyDrop::new(self);
        asyncio.leave(py, event_loop, task.as_ptr())
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
fn leave_in_panic(py: Python<'_>, event_loop: &Object, task: &Object) {
    drop(asyncio::get(py).leave(py, event_loop, task.as_ptr()));
}

/// What a coroutine did.
enum Sent {
    Yielded(Object),
    Returned(Object),
}

/// [`step`] for a task that is the running one already.
pub(super) fn advance(py: Python<'_>, asyncio: &Asyncio, task: &Object, error: Option<Object>) -> PyResult<()> {
    // SAFETY: callers pass tasks.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    if !fields.is_pending() {
        return Err(already_done(py, asyncio, task, error.as_ref()));
    }
    let mut error = error;
    if fields.flag(Flag::MustCancel) {
        if !error.as_ref().is_some_and(|error| asyncio.is_cancelled_error(error.as_ptr())) {
            error = Some(future::make_cancelled_error(py, fields)?);
        }
        fields.set_flag(Flag::MustCancel, false);
    }
    if !fields.peek(Slot::FutureWaiter).is_null() {
        drop(fields.replace(Slot::FutureWaiter, None));
    }
    let Some(coroutine) = fields.get(Slot::Coroutine) else {
        return Err(PyRuntimeError::new_err("uninitialized Task object"));
    };
    let sent = match error {
        None => send(py, &coroutine),
        Some(error) => throw(py, asyncio, &coroutine, &error),
    };
    drop(coroutine);
    match sent {
        Ok(Sent::Yielded(result)) if result.bind(py).is_none() => {
            // A bare yield: one turn of the loop.
            scheduling::schedule_step(py, task.as_ptr(), None)
        }
        Ok(Sent::Yielded(result)) => wait_for(py, asyncio, task, fields, result),
        Ok(Sent::Returned(result)) => {
            if fields.flag(Flag::MustCancel) {
                // It was cancelled right before it returned.
                fields.set_flag(Flag::MustCancel, false);
                future::cancel(py, task, fields.get(Slot::CancelMessage)).map(drop)
            } else {
                future::set_result(py, task, result)
            }
        }
        Err(error) => raised(py, asyncio, task, fields, error),
    }
}

#[inline]
fn send(py: Python<'_>, coroutine: &Object) -> PyResult<Sent> {
    let mut result = core::ptr::null_mut();
    // SAFETY: a singleton of the interpreter.
    let none = unsafe { ffi::Py_None() };
    // SAFETY: live objects, and a place for the result.
    let status = unsafe { ffi::PyIter_Send(coroutine.as_ptr(), none, &raw mut result) };
    // SAFETY: a new reference, or null with an exception.
    let Some(result) = (unsafe { Object::from_owned(result) }) else { return Err(trampoline::fetched(py)) };
    Ok(if status == ffi::PySendResult::PYGEN_NEXT { Sent::Yielded(result) } else { Sent::Returned(result) })
}

#[cold]
fn throw(py: Python<'_>, asyncio: &Asyncio, coroutine: &Object, error: &Object) -> PyResult<Sent> {
    match asyncio::call_method(py, &asyncio.names.throw, &[coroutine.as_ptr(), error.as_ptr()], None) {
        Ok(result) => Ok(Sent::Yielded(result)),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            Ok(Sent::Returned(Object::new(error.value(py).getattr("value")?)))
        }
        Err(error) => Err(error),
    }
}

/// The coroutine has raised `error`: that is how the task ends.
#[cold]
fn raised(py: Python<'_>, asyncio: &Asyncio, task: &Object, fields: Fields<'_>, error: PyErr) -> PyResult<()> {
    let exception = Object::new(made(py, error).into_value(py).into_bound(py));
    if asyncio.is_cancelled_error(exception.as_ptr()) {
        drop(fields.replace(Slot::CancelledError, Some(exception)));
        return future::cancel(py, task, None).map(drop);
    }
    future::set_exception(py, task, exception.clone())?;
    let error = PyErr::from_value(exception.into_bound(py));
    if leaves_loop(py, &error) { Err(error) } else { Ok(()) }
}

#[cold]
fn already_done(py: Python<'_>, asyncio: &Asyncio, task: &Object, error: Option<&Object>) -> PyErr {
    let text = || -> PyResult<String> {
        let error = error.map_or_else(|| Ok("None".to_owned()), |error| repr(py, error))?;
        Ok(format!("__step(): already done: {} {error}", repr(py, task)?))
    };
    match text() {
        Ok(text) => asyncio.invalid_state(py, &text),
        Err(failure) => failure,
    }
}

fn repr(py: Python<'_>, object: &Object) -> PyResult<String> {
    object.bind(py).repr()?.extract()
}

/// Arranges for `task` to go on when `result`, which its coroutine has yielded, allows it.
fn wait_for(py: Python<'_>, asyncio: &Asyncio, task: &Object, fields: Fields<'_>, result: Object) -> PyResult<()> {
    if result.as_ptr() == task.as_ptr() {
        let text = format!("Task cannot await on itself: {}", repr(py, task)?);
        return fail_soon(py, task, &text);
    }
    if future::is_ours(result.as_ptr()) {
        // SAFETY: a future or task of ours.
        let awaited = unsafe { Fields::of(result.as_ptr()) };
        if awaited.peek(Slot::Loop) != fields.peek(Slot::Loop) {
            return fail_soon(py, task, &other_loop(py, task, &result)?);
        }
        if !awaited.flag(Flag::Blocking) {
            return fail_soon(py, task, &yielded_future(py, task, &result)?);
        }
        #[cfg(Py_3_14)]
        add_awaiting(py, awaited, task)?;
        awaited.set_flag(Flag::Blocking, false);
        if !future::link(py, &result, task) {
            add_wakeup(py, asyncio, task, fields, &result)?;
        }
        return waits(py, asyncio, fields, result);
    }
    let blocking = result.bind(py).getattr_opt(asyncio.names.blocking.bind(py).cast::<pyo3::types::PyString>()?)?;
    let Some(blocking) = blocking.filter(|blocking| !blocking.is_none()) else {
        // SAFETY: a live object.
        let is_generator = unsafe { ffi::PyGen_Check(result.as_ptr()) } != 0;
        let text = if is_generator {
            format!(
                "yield was used instead of yield from for generator in task {} with {}",
                repr(py, task)?,
                repr(py, &result)?
            )
        } else {
            format!("Task got bad yield: {}", repr(py, &result)?)
        };
        return fail_soon(py, task, &text);
    };
    let blocking = blocking.is_truthy()?;
    if loop_of(py, asyncio, &result)?.as_ptr() != fields.peek(Slot::Loop) {
        return fail_soon(py, task, &other_loop(py, task, &result)?);
    }
    if !blocking {
        return fail_soon(py, task, &yielded_future(py, task, &result)?);
    }
    #[cfg(Py_3_14)]
    if future::is_native(result.as_ptr()) {
        awaited_by(py, &result, task)?;
    }
    result.bind(py).setattr(asyncio.names.blocking.bind(py).cast::<pyo3::types::PyString>()?, false)?;
    add_wakeup(py, asyncio, task, fields, &result)?;
    waits(py, asyncio, fields, result)
}

/// `future.add_done_callback(task_wakeup, context=...)`.
fn add_wakeup(py: Python<'_>, asyncio: &Asyncio, task: &Object, fields: Fields<'_>, future: &Object) -> PyResult<()> {
    let wakeup = callback::wakeup_callable(py, task.as_ptr())?;
    let context = fields.get(Slot::Context);
    let context = context.as_ref().map_or(core::ptr::null_mut(), Object::as_ptr);
    let args = [future.as_ptr(), wakeup.as_ptr(), context];
    asyncio::call_method(py, &asyncio.names.add_done_callback, &args, Some(&asyncio.context_keyword)).map(drop)
}

/// The task waits for `future`, and hands on to it a request to cancel that came in the meantime.
#[inline]
fn waits(py: Python<'_>, asyncio: &Asyncio, fields: Fields<'_>, future: Object) -> PyResult<()> {
    if !fields.flag(Flag::MustCancel) {
        drop(fields.replace(Slot::FutureWaiter, Some(future)));
        return Ok(());
    }
    drop(fields.replace(Slot::FutureWaiter, Some(future.clone())));
    let message = fields.get(Slot::CancelMessage).unwrap_or_else(|| trampoline::none(py));
    let args = [future.as_ptr(), message.as_ptr()];
    if asyncio::call_method(py, &asyncio.names.cancel, &args, None)?.bind(py).is_truthy()? {
        fields.set_flag(Flag::MustCancel, false);
    }
    Ok(())
}

/// `asyncio.futures._get_loop`.
fn loop_of(py: Python<'_>, asyncio: &Asyncio, future: &Object) -> PyResult<Object> {
    let future = future.bind(py);
    if let Some(get_loop) = future.getattr_opt(asyncio.names.get_loop.bind(py).cast::<pyo3::types::PyString>()?)? {
        return Ok(Object::new(get_loop.call0()?));
    }
    let name = asyncio.names.event_loop.bind(py).cast::<pyo3::types::PyString>()?;
    Ok(Object::new(future.getattr(name)?))
}

/// Steps the task with a `RuntimeError` in the next turn.
#[cold]
fn fail_soon(py: Python<'_>, task: &Object, text: &str) -> PyResult<()> {
    let error = exception::<PyRuntimeError>(py, text)?;
    scheduling::schedule_step(py, task.as_ptr(), Some(error))
}

fn other_loop(py: Python<'_>, task: &Object, future: &Object) -> PyResult<String> {
    Ok(format!("Task {} got Future {} attached to a different loop", repr(py, task)?, repr(py, future)?))
}

fn yielded_future(py: Python<'_>, task: &Object, future: &Object) -> PyResult<String> {
    Ok(format!("yield was used instead of yield from in task {} with {}", repr(py, task)?, repr(py, future)?))
}

/// Notes in the call graph that `task` waits for `future`.
#[cfg(Py_3_14)]
pub(crate) fn awaited_by(py: Python<'_>, future: &Object, task: &Object) -> PyResult<()> {
    future::fields_of(future).map_or(Ok(()), |fields| add_awaiting(py, fields, task))
}

/// [`awaited_by`], for the future with these fields.
#[cfg(Py_3_14)]
#[inline]
fn add_awaiting(py: Python<'_>, fields: Fields<'_>, task: &Object) -> PyResult<()> {
    use pyo3::types::PySet;

    let Some(before) = fields.get(Slot::AwaitedBy) else {
        drop(fields.replace(Slot::AwaitedBy, Some(task.clone())));
        return Ok(());
    };
    if fields.awaited_by_is_set() {
        return before.bind(py).cast::<PySet>()?.add(task.bind(py));
    }
    let set = PySet::new(py, [task.bind(py), before.bind(py)])?;
    drop(fields.replace(Slot::AwaitedBy, Some(Object::new(set))));
    fields.set_awaited_by_is_set();
    Ok(())
}

/// Notes that it no longer does.
#[cfg(Py_3_14)]
pub(crate) fn no_longer_awaited_by(py: Python<'_>, future: &Object, task: &Object) -> PyResult<()> {
    future::fields_of(future).map_or(Ok(()), |fields| remove_awaiting(py, fields, task))
}

/// [`no_longer_awaited_by`], for the future with these fields.
#[cfg(Py_3_14)]
#[inline]
fn remove_awaiting(py: Python<'_>, fields: Fields<'_>, task: &Object) -> PyResult<()> {
    use pyo3::types::PySet;

    let shown = fields.peek(Slot::AwaitedBy);
    if shown == task.as_ptr() {
        drop(fields.replace(Slot::AwaitedBy, None));
    } else if !shown.is_null() && fields.awaited_by_is_set() {
        // SAFETY: the slot's own reference.
        let set = unsafe { Object::from_borrowed(shown) };
        set.bind(py).cast::<PySet>()?.discard(task.bind(py))?;
    }
    Ok(())
}

#[cfg(not(Py_3_14))]
#[expect(clippy::unnecessary_wraps, reason = "the call graph came with 3.14")]
pub(crate) fn awaited_by(_py: Python<'_>, _future: &Object, _task: &Object) -> PyResult<()> {
    Ok(())
}

#[cfg(not(Py_3_14))]
#[expect(clippy::unnecessary_wraps, reason = "the call graph came with 3.14")]
pub(crate) fn no_longer_awaited_by(_py: Python<'_>, _future: &Object, _task: &Object) -> PyResult<()> {
    Ok(())
}

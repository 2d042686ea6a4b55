//! `ferrio.Future`: making, completing and cancelling one. See the folder's module for what is inherited and for the
//! use from Rust.
//!
//! Functions that other rooms call take any object: what they are shown need not be a future of asyncio's C types.
#![forbid(unsafe_code)]

use pyo3::exceptions::{PyBaseException, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType};

use super::asyncio::uninitialized;
use super::{asyncio, callback, future_iterator, native_callback, scheduling};
use crate::ffi::arguments::{Arguments, unexpected_keyword};
use crate::ffi::call::{call_method, call_method_with_context};
use crate::ffi::class::Builder;
use crate::ffi::future::check::Approved;
use crate::ffi::future::{Future, FutureState, Task};
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::source_traceback;

pub(crate) use crate::ffi::future::class::{is_awaited_as_future, makes_futures as is_class_of_natives};

/// Whether `object` is a `ferrio.Future` and nothing derived.
#[inline]
pub(crate) fn is_exact(object: &Object) -> bool {
    Future::exact(object).is_some()
}

/// Whether `object` is a future or task of asyncio's C types, or derived from one.
pub(crate) fn has_fields(object: &Object) -> bool {
    Future::of(object).is_some()
}

/// Whether `object` is a future or task of ours, with nothing overridden.
#[inline]
pub(crate) fn is_ours(object: &Object) -> bool {
    Future::ours(object).is_some()
}

/// The object as a future, or `TypeError`.
#[inline]
fn checked(object: &Object) -> PyResult<&Future> {
    Future::of(object).ok_or_else(|| PyTypeError::new_err("a future of asyncio's is required here"))
}

/// A pending `ferrio.Future` of the loop `event_loop`.
#[inline]
pub(crate) fn create(py: Python<'_>, event_loop: &Object) -> PyResult<Object> {
    let future = Future::create(py)?;
    future.event_loop.set(event_loop.clone());
    Ok(future.into_object())
}

/// [`create`] in debug mode: records where.
#[cold]
pub(crate) fn create_traced(py: Python<'_>, event_loop: &Object) -> PyResult<Object> {
    let future = Future::create(py)?;
    future.event_loop.set(event_loop.clone());
    future.source_traceback.set(source_traceback::of_future(py)?);
    Ok(future.into_object())
}

/// Whether the object is a future that can still be completed.
#[inline]
pub(crate) fn is_pending(object: &Object) -> bool {
    Future::of(object).is_some_and(Future::is_pending)
}

/// Whether the object is a `ferrio.Future` and nothing derived, has a loop and is not done: a task may be handed it as it
/// is, marked by [`set_blocking`].
#[inline]
pub(crate) fn can_be_yielded(object: &Object) -> bool {
    Future::exact(object).is_some_and(|future| future.is_pending() && !future.event_loop.is_empty())
}

/// `future.result()`.
///
/// # Errors
/// What the future has come to instead of a result.
#[inline]
pub(crate) fn result(py: Python<'_>, future: &Object) -> PyResult<Object> {
    match Future::exact(future).and_then(value_of) {
        Some(value) => Ok(value),
        None => call_method(py, &names(py).result, [future]),
    }
}

/// What the future or task has come to; of a derived class as well as asyncio's, whatever `result` that has.
///
/// # Errors
/// What it has come to instead of a result.
#[inline]
pub(super) fn result_of(py: Python<'_>, future: &Future) -> PyResult<Object> {
    match value_of(future) {
        Some(value) => Ok(value),
        None => no_result_of(py, future),
    }
}

#[cold]
fn no_result_of(py: Python<'_>, future: &Future) -> PyResult<Object> {
    let base = OBJECTS.asyncio_c_future.bind(py)?;
    base.call_method1(&names(py).result, (future.bind(py),)).map(Object::new)
}

/// The loop of a future or task.
pub(crate) fn loop_of(object: &Object) -> Option<Object> {
    Future::of(object)?.event_loop.get()
}

/// Marks the future as handed to a task by an `await`: what its own iterator does before it yields it.
#[inline]
pub(crate) fn set_blocking(object: &Object) {
    if let Some(future) = Future::of(object) {
        future.blocking().set(true);
    }
}

fn check_pending(py: Python<'_>, future: &Future) -> PyResult<()> {
    if future.event_loop.is_empty() {
        return Err(uninitialized());
    }
    if !future.is_pending() {
        return Err(asyncio::invalid_state(py, "invalid state"));
    }
    Ok(())
}

/// Whether the object is a future or task that has ended with a value.
#[inline]
pub(crate) fn has_value(object: &Object) -> bool {
    Future::of(object).is_some_and(Future::has_value)
}

/// The value of a future that has ended with one, which is thereby retrieved.
#[inline]
fn value_of(future: &Future) -> Option<Object> {
    if !future.has_value() {
        return None;
    }
    future.log_traceback().set(false);
    future.result.get()
}

/// The value of a future or task that has ended with one; `None` where there is no value, or the object is not ours.
#[inline]
pub(crate) fn take_value(object: &Object) -> Option<Object> {
    Future::ours(object).and_then(value_of)
}

/// `future.add_done_callback(callback, context=context)` of a future or task.
pub(crate) fn add_callback(py: Python<'_>, future: &Object, callback: &Object, context: &Object) -> PyResult<()> {
    let checked = checked(future)?;
    if checked.is_pending() && checked.has_no_callbacks() {
        checked.set_first_callback(callback.clone(), Some(context.clone()));
        return Ok(());
    }
    call_method_with_context(py, &names(py).add_done_callback, [future, callback, context]).map(drop)
}

/// `future.remove_done_callback(callback)` of a future or task.
pub(crate) fn remove_callback(py: Python<'_>, future: &Object, callback: &Object) -> PyResult<()> {
    if checked(future)?.has_no_callbacks() {
        return Ok(());
    }
    call_method(py, &names(py).remove_done_callback, [future, callback]).map(drop)
}

/// Completes a future or task with a value.
///
/// # Errors
/// `InvalidStateError` when it is done; what scheduling its callbacks raises.
pub(crate) fn set_result(py: Python<'_>, future: &Object, value: Object) -> PyResult<()> {
    match Future::ours(future) {
        Some(future) => complete(py, future, value),
        None => set_result_of_derived(py, future, value),
    }
}

#[cold]
#[inline(never)]
fn set_result_of_derived(py: Python<'_>, future: &Object, value: Object) -> PyResult<()> {
    complete(py, checked(future)?, value)
}

/// [`set_result`] of what is known to be a future.
#[inline]
pub(super) fn complete(py: Python<'_>, future: &Future, value: Object) -> PyResult<()> {
    check_pending(py, future)?;
    let before = future.result.replace(Some(value));
    future.set_state(FutureState::Finished);
    drop(before);
    schedule_callbacks(py, future)
}

/// Completes a task with an exception that its coroutine raised.
pub(super) fn fail(py: Python<'_>, task: &Task, exception: Bound<'_, PyBaseException>) -> PyResult<()> {
    if exception.is_instance_of::<PyStopIteration>() {
        // asyncio's own code knows what its version makes of it.
        let base = OBJECTS.asyncio_c_future.bind(py)?;
        return base.call_method1(&names(py).set_exception, (task.bind(py), exception)).map(drop);
    }
    check_pending(py, task)?;
    task.fail(exception);
    schedule_callbacks(py, task)?;
    task.log_traceback().set(true);
    Ok(())
}

/// Cancels a future, or completes a task as cancelled; whether it was pending.
pub(crate) fn cancel(py: Python<'_>, future: &Object, message: Option<Object>) -> PyResult<bool> {
    complete_cancelled(py, checked(future)?, message)
}

/// [`cancel`] of what is known to be a future.
pub(super) fn complete_cancelled(py: Python<'_>, future: &Future, message: Option<Object>) -> PyResult<bool> {
    future.log_traceback().set(false);
    if !future.is_pending() {
        return Ok(false);
    }
    future.set_state(FutureState::Cancelled);
    drop(future.cancel_message.replace(message));
    schedule_callbacks(py, future)?;
    Ok(true)
}

/// The `CancelledError` of a cancelled future: the one that ended a task, once, else a new one.
pub(super) fn make_cancelled_error(py: Python<'_>, future: &Future) -> PyResult<Object> {
    match future.take_cancelled_error() {
        Some(error) => Ok(error),
        None => asyncio::cancelled_error(py, future.cancel_message.get().as_ref()),
    }
}

/// Makes everything that waits for a future ready.
fn schedule_callbacks(py: Python<'_>, future: &Future) -> PyResult<()> {
    if asyncio::HAS_CALL_GRAPH
        && let Some(task) = future.as_task()
    {
        asyncio::unregister(py, task)?;
    }
    // They are taken out first: scheduling one may come back here.
    let context = future.context0.take();
    if let Some(first) = future.callback0.take() {
        let scheduled = schedule_callback(py, future, first, context.as_ref());
        if scheduled.is_err() {
            drop(future.take_further_callbacks());
            return scheduled;
        }
    }
    let Some(others) = future.take_further_callbacks() else { return Ok(()) };
    for pair in others.bind(py).cast::<PyList>()?.iter() {
        let pair = pair.cast::<PyTuple>()?;
        let context = Object::new(pair.get_item(1)?);
        schedule_callback(py, future, Object::new(pair.get_item(0)?), Some(&context))?;
    }
    Ok(())
}

fn schedule_callback(py: Python<'_>, future: &Future, callback: Object, context: Option<&Object>) -> PyResult<()> {
    let callback = match Task::from_exact(callback) {
        Ok(task) => return scheduling::wake(py, task, future),
        Err(callback) => callback,
    };
    if native_callback::is_skipped(py, &callback, future.object())? {
        return Ok(());
    }
    let Some(event_loop) = future.event_loop.get() else { return Err(uninitialized()) };
    callback::schedule(py, &event_loop, &callback, future.object(), context)
}

/// Links `task` to a pending future, so that it wakes up when that is done. Whether that was possible: the first place must
/// be free.
pub(super) fn link(future: &Future, task: &Task) -> bool {
    if !future.is_pending() || !future.has_no_callbacks() {
        return false;
    }
    let Some(event_loop) = future.event_loop.get() else { return false };
    if Task::exact(task.object()).is_none() || scheduling::direct(&event_loop).is_none() {
        return false;
    }
    future.set_first_callback(task.object().clone(), task.context().get());
    true
}

/// A program has put another `call_soon` into a loop: the futures that its tasks wait for get callables in the place of
/// tasks, since asyncio's own code hands them to that function.
pub(crate) fn unlink_all(py: Python<'_>, event_loop: &Object) -> PyResult<()> {
    for task in OBJECTS.asyncio_tasks.bind(py)?.call_method1("all_tasks", (event_loop.bind(py),))?.try_iter()? {
        let task = Object::new(task?);
        let Some(task) = Task::exact(&task) else { continue };
        let Some(waiter) = task.future_waiter().get() else { continue };
        let Some(future) = Future::of(&waiter) else { continue };
        if future.callback0.is(task.object()) {
            future.callback0.set(callback::wakeup_callable(py, task)?);
        }
    }
    Ok(())
}

fn set_result_method(py: Python<'_>, future: &Future, value: &Object) -> PyResult<()> {
    complete(py, future, value.clone())
}

fn cancel_method(py: Python<'_>, future: &Future, arguments: Arguments<'_>) -> PyResult<bool> {
    let mut message = None;
    for value in arguments.positional() {
        if message.replace(value).is_some() {
            return Err(PyTypeError::new_err("cancel() takes at most 1 argument"));
        }
    }
    for (name, value) in arguments.named(py) {
        if name.to_string() != "msg" {
            return Err(unexpected_keyword("cancel", &name));
        }
        if message.replace(value).is_some() {
            return Err(PyTypeError::new_err("argument for cancel() given by name ('msg') and position (1)"));
        }
    }
    if future.event_loop.is_empty() {
        return Err(uninitialized());
    }
    complete_cancelled(py, future, Some(message.map_or_else(|| Object::none(py), Object::clone)))
}

/// `_callbacks` of futures and of tasks: a linked task is shown as the callable that it stands for.
pub(super) fn callbacks(py: Python<'_>, future: &Future) -> PyResult<Option<Object>> {
    if future.event_loop.is_empty() {
        return Err(uninitialized());
    }
    let others = future.further_callbacks();
    let Some(first) = future.callback0.get() else { return Ok(others) };
    let first = callback::callable_in_place_of(py, &first)?.unwrap_or(first);
    let context = future.context0.get_or_none(py);
    let shown = PyList::new(py, [PyTuple::new(py, [first.bind(py), context.bind(py)])?])?;
    if let Some(others) = others {
        shown.call_method1("extend", (others.bind(py),))?;
    }
    Ok(Some(Object::new(shown)))
}

/// Makes the type over asyncio's.
pub(super) fn make_type<'py>(py: Python<'py>, approved: &Approved<'py>) -> PyResult<Bound<'py, PyType>> {
    Builder::<Future>::over_asyncio(c"ferrio.Future", c"A future of a Ferrio loop; see asyncio.Future.")
        .method(Method::one_argument(
            c"set_result",
            set_result_method,
            c"set_result($self, result, /)\n--\n\nMark the future done and set its result.\n\nIf the future is already \
              done when this method is called, raises\nInvalidStateError.",
        ))
        .method(Method::any_arguments(
            c"cancel",
            cancel_method,
            c"cancel($self, /, msg=None)\n--\n\nCancel the future and schedule callbacks.\n\nIf the future is already \
              done or cancelled, return False.  Otherwise,\nchange the future's state to cancelled, schedule the \
              callbacks and\nreturn True.",
        ))
        .attribute(Attribute::read_only(c"_callbacks", callbacks))
        .awaits(future_iterator::of)
        .build_over_asyncio(py, approved, &[])
}

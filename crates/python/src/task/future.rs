//! `ferrio.Future`: making, completing and cancelling one. See the folder's module for what is inherited and for the
//! use from Rust.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType};

#[cfg(Py_3_14)]
use super::memory;
use super::{asyncio, callback, scheduling, task_type};
use crate::combine;
use crate::core::LoopCore;
use crate::ffi::arguments::unexpected_keyword;
use crate::ffi::future::{Fields, Flag, Slot, State};
use crate::ffi::heap_type::{self, fast, getter, one_argument};
use crate::ffi::object::Object;
use crate::ffi::source_traceback;
use crate::ffi::trampoline;

static FUTURE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
/// asyncio's C type; null where its layout is unknown.
static BASE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// Whether `object` is a `ferrio.Future` and nothing derived.
#[inline]
pub(crate) fn is_exact(object: *mut ffi::PyObject) -> bool {
    // SAFETY: callers pass live objects.
    let class = unsafe { ffi::Py_TYPE(object) };
    class == FUTURE.load(Ordering::Relaxed)
}

/// Whether `object` has the fields of asyncio's C future: it or anything derived from it.
#[inline]
pub(super) fn is_native(object: *mut ffi::PyObject) -> bool {
    is_ours(object) || is_derived(object)
}

#[cold]
fn is_derived(object: *mut ffi::PyObject) -> bool {
    let base = BASE.load(Ordering::Relaxed);
    // SAFETY: a live object and a type.
    !base.is_null() && unsafe { ffi::PyObject_TypeCheck(object, base) } != 0
}

/// The fields of a future or task of asyncio's C types; `None` for any other object.
///
/// The one way from an object to its fields: what the functions below are shown need not be a future.
#[inline]
pub(super) fn fields_of(object: &Object) -> Option<Fields<'_>> {
    // SAFETY: its type was just looked at, on an attached thread; `make_type` is called when the layout is approved.
    is_native(object.as_ptr()).then(|| unsafe { Fields::of(object.as_ptr()) })
}

/// [`fields_of`], or `TypeError`.
#[inline]
fn fields(object: &Object) -> PyResult<Fields<'_>> {
    fields_of(object).ok_or_else(|| PyTypeError::new_err("a future of asyncio's is required here"))
}

/// Whether `class` makes instances that have such fields.
pub(crate) fn is_class_of_natives(class: &Bound<'_, PyType>) -> bool {
    let base = BASE.load(Ordering::Relaxed);
    // SAFETY: two live types.
    !base.is_null() && unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), base) } != 0
}

/// Whether `object` has such fields.
pub(crate) fn has_fields(object: &Object) -> bool {
    is_native(object.as_ptr())
}

/// Whether `object` is a future or task of ours, with nothing overridden.
#[inline]
pub(crate) fn is_ours(object: *mut ffi::PyObject) -> bool {
    is_exact(object) || task_type::is_exact(object)
}

/// A pending `ferrio.Future` of the loop `event_loop`.
#[inline]
pub(crate) fn create(py: Python<'_>, event_loop: *mut ffi::PyObject) -> PyResult<Object> {
    let object = allocate(py)?;
    // SAFETY: a new instance of the type: pending, with empty slots.
    let fields = unsafe { Fields::of(object.as_ptr()) };
    // SAFETY: the caller's loop.
    drop(fields.replace(Slot::Loop, Some(unsafe { Object::from_borrowed(event_loop) })));
    Ok(object)
}

#[cfg(Py_3_14)]
#[inline]
fn allocate(py: Python<'_>) -> PyResult<Object> {
    memory::allocate(py, memory::Kind::Future)
}

#[cfg(not(Py_3_14))]
fn allocate(py: Python<'_>) -> PyResult<Object> {
    // SAFETY: a ready type without variable-sized part.
    let object = unsafe { ffi::PyType_GenericAlloc(FUTURE.load(Ordering::Relaxed), 0) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))
}

/// [`create`] in debug mode: remembers where.
#[cold]
pub(crate) fn create_traced(py: Python<'_>, event_loop: *mut ffi::PyObject) -> PyResult<Object> {
    let object = create(py, event_loop)?;
    let stack = source_traceback::of_future(py)?;
    // SAFETY: just made.
    let fields = unsafe { Fields::of(object.as_ptr()) };
    drop(fields.replace(Slot::SourceTraceback, Some(stack)));
    Ok(object)
}

/// Whether a future is a `ferrio.Future` and nothing derived, which the functions here take.
pub(crate) fn is_own(future: &Object) -> bool {
    is_exact(future.as_ptr())
}

/// Whether the object is a future that can still be completed.
#[inline]
pub(crate) fn is_pending(future: &Object) -> bool {
    fields_of(future).is_some_and(Fields::is_pending)
}

/// Whether the object is a `ferrio.Future` and nothing derived, has a loop and is not done: a task may be handed it as it
/// is, marked by [`set_blocking`].
#[inline]
pub(crate) fn can_be_yielded(future: &Object) -> bool {
    if !is_exact(future.as_ptr()) {
        return false;
    }
    // SAFETY: a future of ours.
    let fields = unsafe { Fields::of(future.as_ptr()) };
    fields.is_pending() && !fields.peek(Slot::Loop).is_null()
}

/// `future.result()`.
///
/// # Errors
/// What the future has come to instead of a result.
#[inline]
pub(crate) fn result(py: Python<'_>, future: &Object) -> PyResult<Object> {
    if is_exact(future.as_ptr()) {
        // SAFETY: a future of ours.
        let fields = unsafe { Fields::of(future.as_ptr()) };
        if fields.state() == State::Finished && fields.peek(Slot::Exception).is_null() {
            fields.set_flag(Flag::LogTraceback, false);
            if let Some(result) = fields.get(Slot::Result) {
                return Ok(result);
            }
        }
    }
    future.bind(py).call_method0(pyo3::intern!(py, "result")).map(Object::new)
}

/// The loop of a future or task.
pub(crate) fn loop_of(future: &Object) -> Option<Object> {
    fields_of(future)?.get(Slot::Loop)
}

/// Marks the future as handed to a task by an `await`: what its own iterator does before it yields it.
#[inline]
pub(crate) fn set_blocking(future: &Object) {
    if let Some(fields) = fields_of(future) {
        fields.set_flag(Flag::Blocking, true);
    }
}

fn check_pending(py: Python<'_>, fields: Fields<'_>) -> PyResult<()> {
    if fields.peek(Slot::Loop).is_null() {
        return Err(scheduling::uninitialized());
    }
    if !fields.is_pending() {
        return Err(asyncio::get(py).invalid_state(py, "invalid state"));
    }
    Ok(())
}

/// Whether the object is a future or task that has ended with a value.
#[inline]
pub(crate) fn has_value(future: &Object) -> bool {
    fields_of(future).is_some_and(|fields| fields.state() == State::Finished && fields.peek(Slot::Exception).is_null())
}

/// The value of a future or task that has ended with one; `None` where there is no value, or the object is not ours.
#[inline]
pub(crate) fn take_value(future: &Object) -> Option<Object> {
    if !is_ours(future.as_ptr()) || !has_value(future) {
        return None;
    }
    // SAFETY: a future or task of ours.
    let fields = unsafe { Fields::of(future.as_ptr()) };
    fields.set_flag(Flag::LogTraceback, false);
    fields.get(Slot::Result)
}

/// `future.add_done_callback(callback, context=context)` of a future or task.
pub(crate) fn add_callback(py: Python<'_>, future: &Object, callback: &Object, context: &Object) -> PyResult<()> {
    let fields = fields(future)?;
    if fields.is_pending() && fields.peek(Slot::Callback0).is_null() && fields.peek(Slot::Callbacks).is_null() {
        let callback = fields.replace(Slot::Callback0, Some(callback.clone()));
        let before = (callback, fields.replace(Slot::Context0, Some(context.clone())));
        drop(before);
        return Ok(());
    }
    let asyncio = asyncio::get(py);
    let args = [future.as_ptr(), callback.as_ptr(), context.as_ptr()];
    asyncio::call_method(py, &asyncio.names.add_done_callback, &args, Some(&asyncio.context_keyword)).map(drop)
}

/// `future.remove_done_callback(callback)` of a future or task.
pub(crate) fn remove_callback(py: Python<'_>, future: &Object, callback: &Object) -> PyResult<()> {
    let fields = fields(future)?;
    if fields.peek(Slot::Callback0).is_null() && fields.peek(Slot::Callbacks).is_null() {
        return Ok(());
    }
    let name = pyo3::intern!(py, "remove_done_callback");
    future.bind(py).call_method1(name, (callback.bind(py),)).map(drop)
}

/// Completes a future or task with a value.
///
/// # Errors
/// `InvalidStateError` when it is done; what scheduling its callbacks raises.
pub(crate) fn set_result(py: Python<'_>, future: &Object, value: Object) -> PyResult<()> {
    if !is_ours(future.as_ptr()) {
        return set_result_of_derived(py, future, value);
    }
    // SAFETY: a future or task of ours.
    set_result_in(py, future, unsafe { Fields::of(future.as_ptr()) }, value)
}

#[cold]
#[inline(never)]
fn set_result_of_derived(py: Python<'_>, future: &Object, value: Object) -> PyResult<()> {
    set_result_in(py, future, fields(future)?, value)
}

#[inline]
fn set_result_in(py: Python<'_>, future: &Object, fields: Fields<'_>, value: Object) -> PyResult<()> {
    check_pending(py, fields)?;
    let before = fields.replace(Slot::Result, Some(value));
    fields.set_state(State::Finished);
    drop(before);
    schedule_callbacks(py, future, fields)
}

/// Completes a task with an exception that its coroutine raised.
pub(super) fn set_exception(py: Python<'_>, future: &Object, exception: Object) -> PyResult<()> {
    if exception.bind(py).is_instance_of::<PyStopIteration>() {
        // asyncio's own code knows what its version makes of it.
        let base = asyncio::get(py).future_init.bind(py).getattr("__objclass__")?;
        base.call_method1("set_exception", (future.bind(py), exception.bind(py)))?;
        return Ok(());
    }
    let fields = fields(future)?;
    check_pending(py, fields)?;
    // SAFETY: a live exception.
    let traceback = unsafe { ffi::PyException_GetTraceback(exception.as_ptr()) };
    // SAFETY: a new reference, or null for none.
    let traceback = unsafe { Object::from_owned(traceback) };
    let before =
        (fields.replace(Slot::Exception, Some(exception)), fields.replace(Slot::ExceptionTraceback, traceback));
    fields.set_state(State::Finished);
    drop(before);
    schedule_callbacks(py, future, fields)?;
    fields.set_flag(Flag::LogTraceback, true);
    Ok(())
}

/// Cancels a future, or completes a task as cancelled; whether it was pending.
pub(crate) fn cancel(py: Python<'_>, future: &Object, message: Option<Object>) -> PyResult<bool> {
    let fields = fields(future)?;
    fields.set_flag(Flag::LogTraceback, false);
    if !fields.is_pending() {
        return Ok(false);
    }
    fields.set_state(State::Cancelled);
    drop(fields.replace(Slot::CancelMessage, message));
    schedule_callbacks(py, future, fields)?;
    Ok(true)
}

/// The `CancelledError` of a cancelled future: the one that ended a task, once, else a new one.
pub(super) fn make_cancelled_error(py: Python<'_>, fields: Fields<'_>) -> PyResult<Object> {
    match fields.replace(Slot::CancelledError, None) {
        Some(error) => Ok(error),
        None => asyncio::get(py).cancelled_error(py, fields.get(Slot::CancelMessage).as_ref()),
    }
}

/// Makes everything that waits for a future ready.
fn schedule_callbacks(py: Python<'_>, future: &Object, fields: Fields<'_>) -> PyResult<()> {
    #[cfg(Py_3_14)]
    if task_type::is_native(future.as_ptr()) {
        asyncio::get(py).unregister(py, future.as_ptr())?;
    }
    // They are taken out first: scheduling one may come back here.
    let context = fields.replace(Slot::Context0, None);
    if let Some(first) = fields.replace(Slot::Callback0, None) {
        let scheduled = schedule_callback(py, fields, future, first, context.as_ref());
        if scheduled.is_err() {
            drop(fields.replace(Slot::Callbacks, None));
            return scheduled;
        }
    }
    if fields.peek(Slot::Callbacks).is_null() {
        return Ok(());
    }
    let Some(others) = fields.replace(Slot::Callbacks, None) else { return Ok(()) };
    for pair in others.bind(py).cast::<PyList>()?.iter() {
        let pair = pair.cast::<PyTuple>()?;
        let context = Object::new(pair.get_item(1)?);
        schedule_callback(py, fields, future, Object::new(pair.get_item(0)?), Some(&context))?;
    }
    Ok(())
}

fn schedule_callback(
    py: Python<'_>,
    fields: Fields<'_>,
    future: &Object,
    callback: Object,
    context: Option<&Object>,
) -> PyResult<()> {
    if task_type::is_exact(callback.as_ptr()) {
        return scheduling::wake(py, callback, future.as_ptr());
    }
    if combine::is_spared(py, &callback, future)? {
        return Ok(());
    }
    let Some(event_loop) = fields.get(Slot::Loop) else { return Err(scheduling::uninitialized()) };
    callback::schedule(py, &event_loop, &callback, future.as_ptr(), context)
}

/// Links `task` to a pending future of ours, so that it wakes up when that is done. Whether that was possible: the
/// first place must be free.
pub(super) fn link(py: Python<'_>, future: &Object, task: &Object) -> bool {
    let Some(fields) = fields_of(future) else { return false };
    if !fields.is_pending() || !fields.peek(Slot::Callback0).is_null() || !fields.peek(Slot::Callbacks).is_null() {
        return false;
    }
    let Some(event_loop) = fields.get(Slot::Loop) else { return false };
    if !task_type::is_exact(task.as_ptr()) || scheduling::direct(py, &event_loop).is_none() {
        return false;
    }
    // SAFETY: a task.
    let context = unsafe { Fields::of(task.as_ptr()) }.get(Slot::Context);
    let before = (fields.replace(Slot::Context0, context), fields.replace(Slot::Callback0, Some(task.clone())));
    drop(before);
    true
}

/// A program has put another `call_soon` into a loop: the futures that its tasks wait for get callables in the place of
/// tasks, since asyncio's own code hands them to that function.
pub(crate) fn unlink_all(event_loop: &Bound<'_, LoopCore>) -> PyResult<()> {
    let py = event_loop.py();
    for task in py.import("asyncio.tasks")?.call_method1("all_tasks", (event_loop,))?.try_iter()? {
        let task = Object::new(task?);
        if !task_type::is_exact(task.as_ptr()) {
            continue;
        }
        // SAFETY: a task of ours.
        let Some(future) = unsafe { Fields::of(task.as_ptr()) }.get(Slot::FutureWaiter) else { continue };
        let Some(fields) = fields_of(&future) else { continue };
        if fields.peek(Slot::Callback0) == task.as_ptr() {
            let callable = callback::wakeup_callable(py, task.as_ptr())?;
            drop(fields.replace(Slot::Callback0, Some(callable)));
        }
    }
    Ok(())
}

one_argument!(set_result_method, |py, object, value| {
    // SAFETY: the object of the method call.
    let future = unsafe { Object::from_borrowed(object) };
    // SAFETY: the argument of the call.
    let value = unsafe { Object::from_borrowed(value) };
    set_result(py, &future, value).map(|()| trampoline::none(py))
});

fast!(cancel_method, |py, object, arguments| {
    // SAFETY: the object of the method call.
    let future = unsafe { Object::from_borrowed(object) };
    let mut message = None;
    for &value in arguments.positional_addresses() {
        if message.replace(value).is_some() {
            return Err(PyTypeError::new_err("cancel() takes at most 1 argument"));
        }
    }
    for (name, value) in arguments.keywords(py) {
        if name.to_string() != "msg" {
            return Err(unexpected_keyword("cancel", &name));
        }
        if message.replace(value).is_some() {
            return Err(PyTypeError::new_err("argument for cancel() given by name ('msg') and position (1)"));
        }
    }
    // SAFETY: the object of the method call.
    if unsafe { Fields::of(object) }.peek(Slot::Loop).is_null() {
        return Err(scheduling::uninitialized());
    }
    // SAFETY: an argument of the call.
    let message = message.map_or_else(|| trampoline::none(py), |value| unsafe { Object::from_borrowed(value) });
    let cancelled = cancel(py, &future, Some(message))?;
    Ok(Object::new(pyo3::types::PyBool::new(py, cancelled).to_owned()))
});

// `_callbacks`: a linked task is shown as the callable that it stands for.
getter!(get_callbacks, |py, object| {
    // SAFETY: an attribute of futures and tasks.
    let fields = unsafe { Fields::of(object) };
    if fields.peek(Slot::Loop).is_null() {
        return Err(scheduling::uninitialized());
    }
    let first = fields.get(Slot::Callback0);
    let others = fields.get(Slot::Callbacks);
    let Some(first) = first else { return Ok(others.unwrap_or_else(|| trampoline::none(py))) };
    let first = callback::callable_in_place_of(py, first.as_ptr())?.unwrap_or(first);
    let context = fields.get(Slot::Context0).unwrap_or_else(|| trampoline::none(py));
    let shown = PyList::new(py, [PyTuple::new(py, [first.bind(py), context.bind(py)])?])?;
    if let Some(others) = others {
        shown.call_method1("extend", (others.bind(py),))?;
    }
    Ok(Object::new(shown))
});

/// `_callbacks` of futures and of tasks.
pub(super) const CALLBACKS_GETTER: heap_type::Getter = get_callbacks;

/// Makes the type over asyncio's.
pub(super) fn make_type<'py>(py: Python<'py>, base: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
    BASE.store(base.clone().into_ptr().cast(), Ordering::Relaxed);
    let builder = heap_type::Builder::new(c"ferrio.Future", c"A future of a Ferrio loop; see asyncio.Future.")
        .method(heap_type::one_argument_def(
            c"set_result",
            set_result_method,
            c"set_result($self, result, /)\n--\n\nMark the future done and set its result.\n\nIf the future is already \
              done when this method is called, raises\nInvalidStateError.",
        ))
        .method(heap_type::fast_def(
            c"cancel",
            cancel_method,
            c"cancel($self, /, msg=None)\n--\n\nCancel the future and schedule callbacks.\n\nIf the future is already \
              done or cancelled, return False.  Otherwise,\nchange the future's state to cancelled, schedule the \
              callbacks and\nreturn True.",
        ))
        .attribute(c"_callbacks", get_callbacks, None)
        .collected_as_base()
        .subclassable();
    #[cfg(Py_3_14)]
    let builder = if memory::is_used() {
        builder.slots([trampoline::slot!(tp_dealloc, memory::deallocate_future)])
    } else {
        builder
    };
    let class = builder.build(py, base, 0)?;
    #[cfg(Py_3_14)]
    memory::keep(memory::Kind::Future, &class);
    FUTURE.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    Ok(class)
}

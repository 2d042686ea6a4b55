//! The callables that stand for a task's step and wake-up where an object is needed: for another loop's `call_soon`, as
//! one of several callbacks of a future, in `loop._ready`, in reports.
//!
//! Both are bound built-in methods of the task, as asyncio's are: `__self__` is the task.

use core::cell::UnsafeCell;

use pyo3::ffi;
use pyo3::prelude::*;

use super::{scheduling, step, task_type};
use crate::core::LoopCore;
use crate::ffi::future::{Fields, Slot};
use crate::ffi::heap_type::{fast, fast_def, one_argument, one_argument_def};
use crate::ffi::object::Object;
use crate::ffi::trampoline;
use crate::handle::{Kind, Recipe};

one_argument!(task_wakeup, |py, task, future| {
    // SAFETY: the function is bound to tasks only.
    let task = unsafe { Object::from_borrowed(task) };
    // SAFETY: the argument of the call.
    let future = unsafe { Object::from_borrowed(future) };
    step::wakeup(py, &task, &future).map(|()| trampoline::none(py))
});

fast!(task_step, |py, task, arguments| {
    // SAFETY: the function is bound to tasks only.
    let task = unsafe { Object::from_borrowed(task) };
    // SAFETY: an argument of the call.
    let error = arguments.positional_addresses().first().map(|&error| unsafe { Object::from_borrowed(error) });
    step::step(py, &task, error.filter(|error| !error.bind(py).is_none())).map(|()| trampoline::none(py))
});

/// A method definition that CPython keeps a pointer to.
struct Definition(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: CPython reads it, nobody writes it.
unsafe impl Sync for Definition {}

/// A built-in method of `task`.
fn bind(py: Python<'_>, definition: &'static Definition, task: *mut ffi::PyObject) -> PyResult<Object> {
    // SAFETY: a definition that lives for ever, and a live object.
    let method = unsafe { ffi::PyCFunction_NewEx(definition.0.get(), task, core::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(method) }.ok_or_else(|| PyErr::fetch(py))
}

/// `task_wakeup(future)`: what a future that is done calls.
pub(super) fn wakeup_callable(py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<Object> {
    static DEFINITION: Definition =
        Definition(UnsafeCell::new(one_argument_def(c"task_wakeup", task_wakeup, c"A future is done.")));
    bind(py, &DEFINITION, task)
}

/// `task_step([error])`.
pub(super) fn step_callable(py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<Object> {
    static DEFINITION: Definition =
        Definition(UnsafeCell::new(fast_def(c"task_step", task_step, c"Run the task up to its next wait.")));
    bind(py, &DEFINITION, task)
}

/// What to call instead of `callback`, if that is a task linked to a future: asyncio's own code completes a future with
/// `loop.call_soon(callback, future)`.
#[inline]
pub(crate) fn callable_in_place_of(py: Python<'_>, callback: *mut ffi::PyObject) -> PyResult<Option<Object>> {
    if task_type::is_exact(callback) { wakeup_callable(py, callback).map(Some) } else { Ok(None) }
}

/// The handle that a task's entry stands for.
pub(crate) fn handle_of(
    py: Python<'_>,
    event_loop: *mut ffi::PyObject,
    task: &Object,
    call: &Call<'_>,
) -> PyResult<Object> {
    // SAFETY: entries hold tasks.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    let (callback, argument) = match call {
        Call::Step(error) => (step_callable(py, task.as_ptr())?, error.map(Object::as_ptr)),
        Call::Wakeup(future) => (wakeup_callable(py, task.as_ptr())?, Some(future.as_ptr())),
    };
    let context = fields.get(Slot::Context);
    Recipe {
        kind: Kind::Plain,
        event_loop,
        callback: callback.as_ptr(),
        args: argument.as_slice(),
        context: context.as_ref().map(Object::as_ptr),
        trace: false,
    }
    .make(py)
}

/// What an entry does with its task.
pub(crate) enum Call<'a> {
    /// Step, with this error thrown in.
    Step(Option<&'a Object>),
    /// Wake up: this future is done.
    Wakeup(&'a Object),
}

/// Calls `callback(argument)` in the next turn: natively where the loop allows, else through its `call_soon`.
pub(super) fn schedule(
    py: Python<'_>,
    event_loop: &Object,
    callback: &Object,
    argument: *mut ffi::PyObject,
    context: Option<&Object>,
) -> PyResult<()> {
    if scheduling::direct(py, event_loop).is_some() {
        // SAFETY: `direct` has found the loop's core.
        let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
        return core.schedule(py, event_loop.as_ptr(), callback.as_ptr(), &[argument], context);
    }
    scheduling::call_soon(py, event_loop, callback, Some(argument), context)
}

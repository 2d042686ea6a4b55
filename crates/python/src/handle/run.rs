//! Running a handle: its callback, in its context, its exception reported.

use pyo3::ffi;
use pyo3::prelude::*;

use super::context::{self, Entered};
use super::ctype;
use super::threadsafe::RunningGate;
use crate::core::{Entry, Exit, LoopCore, Operations, settle};
use crate::ffi::handle::{Handle, Slot, is_cancelled};
use crate::ffi::object::Object;

/// An entry that runs a handle.
#[inline]
pub(crate) const fn entry(handle: Object) -> Entry {
    Entry::call(&HANDLE, handle)
}

static HANDLE: Operations = Operations {
    run: |py, core, handle, _| run(py, core, &handle),
    handle: Some(|_, _, handle, _| Ok(handle.clone())),
    on_stop: None,
};

/// Runs `handle` unless it was cancelled.
///
/// # Errors
/// What leaves the loop; every other exception goes to the loop's exception handler.
pub(crate) fn run(py: Python<'_>, core: &LoopCore, handle: &Object) -> Result<(), Exit> {
    // SAFETY: the ready queue holds handles only.
    if unsafe { is_cancelled(handle.as_ptr()) } {
        return Ok(());
    }
    if core.is_debug() {
        let run = core.python(py).and_then(|module| module.call_method1("run_debug", (handle.bind(py),)));
        return settle(py, run.map(drop), |exception| report(py, handle, exception));
    }
    let _running = if ctype::is_thread_safe(handle) {
        match core.part::<RunningGate>().enter(py, handle.as_ptr()) {
            Ok(running) => {
                // Another thread may have cancelled it meanwhile.
                // SAFETY: the ready queue holds handles only.
                if unsafe { is_cancelled(handle.as_ptr()) } {
                    return Ok(());
                }
                Some(running)
            }
            // Another thread runs it, and a signal handler has raised while this one waited for that.
            Err(error) => return settle(py, Err(error), |exception| report(py, handle, exception)),
        }
    } else {
        None
    };
    settle(py, call_back(py, handle), |exception| report(py, handle, exception))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it has one caller, for every handle")]
fn call_back(py: Python<'_>, handle: &Object) -> PyResult<()> {
    // SAFETY: the ready queue holds handles only.
    let slots = unsafe { Handle::of(handle.as_ptr()) };
    let (callback, args, ctx) = (slots.get(Slot::Callback), slots.get(Slot::Args), slots.get(Slot::Context));
    let (Some(callback), Some(args), Some(ctx)) = (callback, args, ctx) else {
        return run_in_python(py, handle);
    };
    // SAFETY: a live object.
    let args_is_tuple = unsafe { ffi::PyTuple_CheckExact(args.as_ptr()) } != 0;
    if !args_is_tuple || !context::is_context(ctx.as_ptr()) {
        return run_in_python(py, handle);
    }
    let entered = Entered::enter(py, &ctx)?;
    let Some(result) = call(&callback, &args) else { return Err(entered.exit_with(py, PyErr::fetch(py))) };
    entered.exit(py)?;
    drop(result);
    Ok(())
}

/// Calls `callback(*args)`; `None`: it has raised, and the exception is set.
#[inline]
fn call(callback: &Object, args: &Object) -> Option<Object> {
    // SAFETY: `args` is a tuple.
    let count = unsafe { ffi::PyTuple_GET_SIZE(args.as_ptr()) };
    let result = if count == 0 {
        // SAFETY: a live callable; errors come back as null.
        unsafe { ffi::PyObject_CallNoArgs(callback.as_ptr()) }
    } else {
        // SAFETY: the tuple's items lie behind one another, and the tuple outlives the call.
        let items = unsafe { (&raw const (*args.as_ptr().cast::<ffi::PyTupleObject>()).ob_item).cast() };
        // SAFETY: `count` items at `items`, no keywords.
        unsafe { ffi::PyObject_Vectorcall(callback.as_ptr(), items, count.unsigned_abs(), core::ptr::null_mut()) }
    };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(result) }
}

/// A handle whose slots Python has changed runs as asyncio runs it, with asyncio's errors.
fn run_in_python(py: Python<'_>, handle: &Object) -> PyResult<()> {
    handle.bind(py).call_method0("_run")?;
    Ok(())
}

/// Reports what the callback of `handle` has raised.
///
/// # Errors
/// Those of the loop's exception handler.
#[cold]
pub(crate) fn report(py: Python<'_>, handle: &Object, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    py.import("ferrio._event_loop")?.call_method1("report_callback_error", (handle.bind(py), exception)).map(drop)
}

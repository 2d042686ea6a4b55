//! Running a handle: its callback, in its context, its exception reported.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;

use super::layout::{Handle, Slot, is_cancelled};
use super::{context, ctype};
use crate::convert::errors::while_handling;
use crate::event_loop::LoopCore;
use crate::object::Object;

/// Runs `handle` unless it was cancelled.
///
/// # Errors
/// `SystemExit` and `KeyboardInterrupt` leave the loop; every other exception goes to the loop's exception handler.
pub(crate) fn run(py: Python<'_>, core: &LoopCore, handle: &Object) -> PyResult<()> {
    // SAFETY: the ready queue holds handles only.
    if unsafe { is_cancelled(handle.as_ptr()) } {
        return Ok(());
    }
    if core.is_debug() {
        core.python(py)?.call_method1("run_debug", (handle.bind(py),))?;
        return Ok(());
    }
    if ctype::is_thread_safe(handle) {
        let _running = core.running.enter(py, handle.as_ptr())?;
        // Another thread may have cancelled it meanwhile.
        // SAFETY: the ready queue holds handles only.
        return if unsafe { is_cancelled(handle.as_ptr()) } { Ok(()) } else { run_callback(py, handle) };
    }
    run_callback(py, handle)
}

fn run_callback(py: Python<'_>, handle: &Object) -> PyResult<()> {
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
    let outcome = context::run_in(py, &ctx, || call(py, &callback, &args));
    match outcome {
        Ok(result) => {
            drop(result);
            Ok(())
        }
        Err(error) => report(py, handle, error),
    }
}

/// Calls `callback(*args)`.
fn call(py: Python<'_>, callback: &Object, args: &Object) -> PyResult<Object> {
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
    unsafe { Object::from_owned(result) }.ok_or_else(|| PyErr::fetch(py))
}

/// A handle whose slots Python has changed runs as asyncio runs it, with asyncio's errors.
fn run_in_python(py: Python<'_>, handle: &Object) -> PyResult<()> {
    handle.bind(py).call_method0("_run")?;
    Ok(())
}

/// Reports what a callback raised.
///
/// # Errors
/// `SystemExit` and `KeyboardInterrupt` leave the loop.
#[cold]
pub(crate) fn report(py: Python<'_>, handle: &Object, error: PyErr) -> PyResult<()> {
    if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return Err(error);
    }
    let exception = error.into_value(py).into_bound(py).into_any();
    let report = py.import("ferrio._event_loop")?.getattr("report_callback_error")?;
    while_handling(py, &exception, || report.call1((handle.bind(py), &exception)))?;
    Ok(())
}

//! Running a handle: its callback, in its context, its exception reported.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::threadsafe::RunningGate;
use crate::core::{Entry, Exit, LoopCore, Operations, settle};
use crate::ffi::call::call_with_tuple;
use crate::ffi::class::Instance;
use crate::ffi::context::Context;
use crate::ffi::handle::{AnyHandle, ThreadSafeHandle};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

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
#[expect(clippy::inline_always, reason = "for every handle; its other caller runs sleeps that a program has looked at")]
#[inline(always)]
pub(crate) fn run(py: Python<'_>, core: &LoopCore, handle: &Object) -> Result<(), Exit> {
    let Some(handle) = Instance::<AnyHandle>::of(handle) else {
        return settle(py, run_in_python(py, handle), |exception| report(py, handle, exception));
    };
    if handle.is_cancelled() {
        return Ok(());
    }
    if core.is_debug() {
        let run = core.python(py).and_then(|module| module.call_method1("run_debug", (handle.bind(py),)));
        return settle(py, run.map(drop), |exception| report(py, handle.object(), exception));
    }
    let _running = if Instance::<ThreadSafeHandle>::of(handle.object()).is_some() {
        match core.part::<RunningGate>().enter(py, handle.object()) {
            // Another thread may have cancelled it meanwhile.
            Ok(_) if handle.is_cancelled() => return Ok(()),
            Ok(running) => Some(running),
            // Another thread runs it, and a signal handler has raised while this one waited for that.
            Err(error) => return settle(py, Err(error), |exception| report(py, handle.object(), exception)),
        }
    } else {
        None
    };
    settle(py, call_back(py, handle), |exception| report(py, handle.object(), exception))
}

/// Calls the callback. A handle whose slots Python has changed runs as asyncio runs it, with asyncio's errors.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it has one caller, for every handle")]
fn call_back(py: Python<'_>, handle: &Instance<AnyHandle>) -> PyResult<()> {
    let (callback, args, context) = (handle.callback.get(), handle.args.get(), handle.context.get());
    let (Some(callback), Some(args), Some(context)) = (callback, args, context) else {
        return run_in_python(py, handle.object());
    };
    let (Ok(args), Some(context)) = (args.bind(py).cast_exact::<PyTuple>(), Context::of(&context)) else {
        return run_in_python(py, handle.object());
    };
    let entered = context.enter(py)?;
    match call_with_tuple(&callback, args) {
        Ok(result) => {
            entered.exit(py)?;
            drop(result);
            Ok(())
        }
        Err(error) => Err(entered.exit_with(py, error)),
    }
}

#[cold]
fn run_in_python(py: Python<'_>, handle: &Object) -> PyResult<()> {
    handle.bind(py).call_method0(&names(py)._run).map(drop)
}

/// Reports what the callback of `handle` has raised.
///
/// # Errors
/// Those of the loop's exception handler.
#[cold]
pub(crate) fn report(py: Python<'_>, handle: &Object, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let module = OBJECTS.ferrio_event_loop.bind(py)?;
    module.call_method1("report_callback_error", (handle.bind(py), exception)).map(drop)
}

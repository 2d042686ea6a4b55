//! Running a handle: its callback, in its context, its exception reported.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::threadsafe::RunningGate;
use super::{context, tracking};
use crate::core::{Entry, Exit, LoopCore, Operations, coroutine_behind, settle};
use crate::ffi::call::{call_named, call_with_room, call_with_tuple, call_without_arguments};
use crate::ffi::class::Instance;
use crate::ffi::context::Context;
use crate::ffi::handle::{AnyHandle, Call, InlineArguments, ThreadSafeHandle};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

/// An entry that runs a handle.
#[inline]
pub(crate) const fn entry(handle: Object) -> Entry {
    Entry::call(&HANDLE, handle)
}

pub(super) static HANDLE: Operations = Operations {
    run: |py, core, handle, _| {
        let outcome = run(py, core, &handle);
        tracking::released(&handle);
        outcome
    },
    handle: Some(|_, _, handle, _| Ok(handle.clone())),
    on_stop: Some(tracking::track),
    context: Some(|handle| Instance::<AnyHandle>::of(handle)?.context.get()),
    coroutine: Some(|py, handle| coroutine_behind(py, &Instance::<AnyHandle>::of(handle)?.callback.get()?)),
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
    if core.calls_run() {
        let run =
            if core.is_debug() { run_in_debug(py, core, handle.object()) } else { run_in_python(py, handle.object()) };
        return settle(py, run, |exception| report(py, handle.object(), exception));
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
    settle(py, call_back(py, core, handle), |exception| report(py, handle.object(), exception))
}

/// Calls the callback. A handle whose slots Python has changed runs as asyncio runs it, with asyncio's errors.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it has one caller, for every handle")]
fn call_back(py: Python<'_>, core: &LoopCore, handle: &Instance<AnyHandle>) -> PyResult<()> {
    let (Some(callback), Some(context)) = (handle.callback.get(), handle.context.get()) else {
        return run_in_python(py, handle.object());
    };
    let Some(context) = Context::of(&context) else { return run_in_python(py, handle.object()) };
    let call = handle.call();
    let Some(arguments) = call.and_then(Call::arguments) else {
        return call_back_with_tuple(py, handle, &callback, context);
    };
    let lent = match call.filter(|call| call.shares_context()) {
        Some(call) => lend_context(py, core, handle, call, context)?,
        None => Lent::Nothing,
    };
    let outcome = call_in(py, lent.context().unwrap_or(context), &callback, &arguments);
    match lent {
        Lent::Once(own) if outcome.is_ok() => core.contexts.after_run(py, own, context),
        // The report shows the handle.
        Lent::Once(own) => context::put(handle, own.into_object()),
        Lent::Nothing | Lent::ForGood(_) => {}
    }
    outcome
}

/// What the callback of a handle runs in if that shares its context.
enum Lent {
    /// In the context that the handle holds.
    Nothing,
    /// In one that the handle has got.
    ForGood(Context),
    /// In one that the next callback runs in as well, if this one changes nothing.
    Once(Context),
}

impl Lent {
    const fn context(&self) -> Option<&Context> {
        match self {
            Self::Nothing => None,
            Self::ForGood(context) | Self::Once(context) => Some(context),
        }
    }
}

/// Finds what the callback of a handle runs in, which shares `shared`; the caller has a reference to that.
#[inline]
fn lend_context(
    py: Python<'_>,
    core: &LoopCore,
    handle: &Instance<AnyHandle>,
    call: &Call,
    shared: &Context,
) -> PyResult<Lent> {
    // The handle's reference and the caller's are the only ones: nobody shares the context any more.
    if shared.object().reference_count() <= 2 {
        call.own_context();
        return Ok(Lent::Nothing);
    }
    // Somebody has the handle, and may look at its context later.
    if handle.object().reference_count() > 1 {
        let own = shared.copy(py)?;
        context::put(handle, own.object().clone());
        return Ok(Lent::ForGood(own));
    }
    core.contexts.for_run(py, shared).map(Lent::Once)
}

/// Calls the callback in a context.
#[inline]
fn call_in(py: Python<'_>, context: &Context, callback: &Object, arguments: &InlineArguments) -> PyResult<()> {
    let entered = context.enter(py)?;
    let result = match arguments {
        InlineArguments::None => call_without_arguments(py, callback),
        InlineArguments::One(first) => call_with_room(py, callback, [first]),
        InlineArguments::Two(first, second) => call_with_room(py, callback, [first, second]),
    };
    match result {
        Ok(result) => {
            entered.exit(py)?;
            drop(result);
            Ok(())
        }
        Err(error) => Err(entered.exit_with(py, error)),
    }
}

/// [`call_back`], with the arguments in a tuple.
#[inline(never)]
fn call_back_with_tuple(
    py: Python<'_>,
    handle: &Instance<AnyHandle>,
    callback: &Object,
    context: &Context,
) -> PyResult<()> {
    let args = handle.args.get();
    let Some(Ok(args)) = args.as_ref().map(|args| args.bind(py).cast_exact::<PyTuple>()) else {
        return run_in_python(py, handle.object());
    };
    let own = if handle.call().is_some_and(Call::shares_context) { context::own(py, handle)? } else { None };
    let context = own.as_ref().and_then(Context::of).unwrap_or(context);
    let entered = context.enter(py)?;
    match call_with_tuple(callback, args.as_borrowed()) {
        Ok(result) => {
            entered.exit(py)?;
            drop(result);
            Ok(())
        }
        Err(error) => Err(entered.exit_with(py, error)),
    }
}

#[cold]
fn run_in_debug(py: Python<'_>, core: &LoopCore, handle: &Object) -> PyResult<()> {
    call_named(core.python(py)?, "run_debug", (handle.bind(py),)).map(drop)
}

#[cold]
fn run_in_python(py: Python<'_>, handle: &Object) -> PyResult<()> {
    call_named(handle.bind(py), &names(py)._run, ()).map(drop)
}

/// Reports what the callback of `handle` has raised.
///
/// # Errors
/// Those of the loop's exception handler.
#[cold]
pub(crate) fn report(py: Python<'_>, handle: &Object, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    tracking::track(handle);
    let module = OBJECTS.ferrio_event_loop.bind(py)?;
    call_named(module, "report_callback_error", (handle.bind(py), exception)).map(drop)
}

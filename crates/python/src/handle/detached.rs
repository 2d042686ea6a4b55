//! Callbacks that wait without their handle.
//!
//! Most programs drop the handle that `call_soon` returns. The loop then has the only reference to it, and nobody can cancel
//! it or look at it any more. Before the next callback is made ready, the callback, the argument and the context of such a
//! handle move into the entry, and the handle is used again for the next callback. So a callback that waits
//! takes an entry alone.
//!
//! Where a handle is seen again, by a look at the loop's queue or in the report of an error, one is made.
//!
//! # Invariant
//! A handle is detached only if nobody could tell: nothing refers to it, not weakly either, the collector does not show it, and
//! each of its slots holds what it held when it was made.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use super::run::{self, HANDLE};
use super::{Recipe, report};
use crate::core::{Entry, Exit, LoopCore, settle};
use crate::ffi::call::{call_with_room, call_without_arguments};
use crate::ffi::class::Instance;
use crate::ffi::context::Context;
use crate::ffi::handle::{Detached, HandleClass};
use crate::ffi::object::Object;

/// Detaches the callback that was made ready last, if nobody has its handle. The handle comes back, to be filled again.
#[inline]
pub(super) fn detach_last<T: HandleClass>(py: Python<'_>, core: &LoopCore, event_loop: &Object) -> Option<Instance<T>> {
    core.with_reactor(py, |reactor| {
        let entry = reactor.ready.last_mut()?;
        let Entry::Call { operations, object, .. } = entry else { return None };
        if !core::ptr::eq(*operations, &raw const HANDLE) || object.reference_count() != 1 {
            return None;
        }
        let detached = Instance::<T>::of(object)?.detach(event_loop)?;
        match core::mem::replace(entry, Entry::Detached(detached)) {
            Entry::Call { object, .. } => Instance::from_object(object).ok(),
            Entry::Detached(_) | Entry::Event(_) => None,
        }
    })
}

/// A handle for a detached callback. `context` is its own from here on.
fn handle_of(py: Python<'_>, event_loop: &Object, detached: &Detached, context: &Object) -> PyResult<Object> {
    let args = detached.argument.as_slice();
    Recipe { event_loop, callback: &detached.callback, args, context: Some(context), trace: false }.make(py)
}

/// Gives each detached callback in the queue of a loop a handle, which stands for it from then on.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn attach_all(py: Python<'_>, event_loop: &Instance<LoopCore>) -> PyResult<()> {
    loop {
        let detached: Vec<(usize, Detached)> = event_loop.with_reactor(py, |reactor| {
            let entries = reactor.ready.iter().enumerate();
            entries.filter_map(|(place, entry)| Some((place, detached_of(entry)?))).collect()
        });
        if detached.is_empty() {
            return Ok(());
        }
        // Making a handle may run anything, which may detach further callbacks.
        for (place, detached) in detached {
            attach(py, event_loop, place, &detached)?;
        }
    }
}

/// Gives a detached callback a handle, if it still stands at this place of the queue.
fn attach(py: Python<'_>, event_loop: &Instance<LoopCore>, place: usize, detached: &Detached) -> PyResult<()> {
    let own = Context::of(&detached.context).map(|context| context.copy(py)).transpose()?;
    let own = own.map_or_else(|| detached.context.clone(), Context::into_object);
    let handle = handle_of(py, event_loop.object(), detached, &own)?;
    let unused = event_loop.with_reactor(py, |reactor| {
        let found = reactor.ready.iter_mut().nth(place).filter(|entry| is_entry_of(entry, detached));
        match found {
            Some(entry) => core::mem::replace(entry, run::entry(handle)),
            None => run::entry(handle),
        }
    });
    drop(unused);
    Ok(())
}

/// The parts of a detached callback, with references of their own.
fn detached_of(entry: &Entry) -> Option<Detached> {
    let Entry::Detached(Detached { callback, argument, context }) = entry else { return None };
    Some(Detached { callback: callback.clone(), argument: argument.clone(), context: context.clone() })
}

fn is_entry_of(entry: &Entry, detached: &Detached) -> bool {
    let Entry::Detached(found) = entry else { return false };
    let address = |argument: &Option<Object>| argument.as_ref().map(Object::address);
    found.callback.is(&detached.callback) && address(&found.argument) == address(&detached.argument)
}

/// Runs a detached callback.
pub(crate) fn run_detached(py: Python<'_>, core: &LoopCore, detached: &Detached) -> Result<(), Exit> {
    if core.calls_run() {
        return run_as_handle(py, core, detached);
    }
    let mut ran_in = None;
    settle(py, call_back(py, core, detached, &mut ran_in), |exception| {
        let context = ran_in.as_ref().map_or(&detached.context, Context::object);
        report(py, &handle_of(py, &core.running(py)?, detached, context)?, exception)
    })
}

/// Calls the callback; one that fails leaves the context that it has run in, unless that is the one that it shares.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it has one caller, for every callback")]
fn call_back(py: Python<'_>, core: &LoopCore, detached: &Detached, ran_in: &mut Option<Context>) -> PyResult<()> {
    let Some(shared) = Context::of(&detached.context) else { return Ok(()) };
    // Nobody shares the context any more: it is the callback's own.
    if shared.object().reference_count() == 1 {
        return call_in(py, shared, detached);
    }
    let own = core.contexts.for_run(py, shared)?;
    let outcome = call_in(py, &own, detached);
    if outcome.is_ok() {
        core.contexts.after_run(py, own, shared);
    } else {
        *ran_in = Some(own);
    }
    outcome
}

/// Calls the callback in a context.
#[inline]
fn call_in(py: Python<'_>, context: &Context, detached: &Detached) -> PyResult<()> {
    let entered = context.enter(py)?;
    let result = match &detached.argument {
        None => call_without_arguments(py, &detached.callback),
        Some(argument) => call_with_room(py, &detached.callback, [argument]),
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

/// Runs a callback that was detached before handles were to be run through `_run`.
#[cold]
fn run_as_handle(py: Python<'_>, core: &LoopCore, detached: &Detached) -> Result<(), Exit> {
    let handle = core.running(py).and_then(|event_loop| handle_of(py, &event_loop, detached, &detached.context));
    match handle {
        Ok(handle) => run::run(py, core, &handle),
        Err(error) => settle(py, Err(error), |exception| Err(PyErr::from_value(exception.clone()))),
    }
}

//! `Handle`, `TimerHandle` and `ThreadSafeHandle`: what the scheduling methods return and what a turn runs.
//!
//! They are subclasses of asyncio's own, and keep their state in asyncio's own slots. Whatever is inherited (`repr`,
//! comparison, `when()`, `_run()`) and whoever reads `_callback` or `_loop` therefore sees what asyncio would show; native
//! is what each callback pays for: making one, running it, cancelling it, freeing it. The tuple `_args` and the handle's own
//! `_context` are made when somebody asks for them.

#![forbid(unsafe_code)]

pub(crate) mod context;
mod detached;
mod methods;
mod recipe;
mod run;
pub(crate) mod scheduling;
pub(crate) mod threadsafe;
mod timer;
mod tracking;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

pub(crate) use detached::{attach_all, run_detached};
pub(crate) use methods::register;
pub(crate) use recipe::Recipe;
pub(crate) use run::{entry, report, run};
pub(crate) use scheduling::schedule;
pub(crate) use threadsafe::RunningGate;
pub(crate) use timer::{is_cancelled_timer, take_out, unschedule};

use crate::ffi::class::Instance;
use crate::ffi::handle::AnyHandle;
use crate::ffi::object::Object;

/// Whether `object` has a handle's slots: it is an `asyncio.Handle`, one of Ferrio's or of anybody's, whatever its
/// `__class__` says.
pub(crate) fn is_handle(object: &Object) -> bool {
    Instance::<AnyHandle>::of(object).is_some()
}

/// Whether `handle` calls its callback with `argument` alone.
pub(crate) fn is_called_with(py: Python<'_>, handle: &Object, argument: &Object) -> bool {
    let Some(handle) = Instance::<AnyHandle>::of(handle) else { return false };
    if let Some(is_only) = handle.call().and_then(|call| call.is_only(argument)) {
        return is_only;
    }
    let Some(args) = handle.args.get() else { return false };
    let args = args.bind(py).cast_exact::<PyTuple>();
    args.is_ok_and(|args| args.len() == 1 && args.get_item(0).is_ok_and(|item| Object::of(&item).is(argument)))
}

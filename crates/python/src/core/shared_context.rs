//! Contexts that the callbacks of a loop share for as long as none of them sets a variable.
//!
//! asyncio gives each handle a copy of the context that schedules it. Most callbacks of a burst are scheduled in one context
//! and set nothing, so their copies all hold the same. Here such handles hold one copy, which nothing ever runs in: whoever
//! asks a handle for its context gets a copy of that, kept in the handle from then on; a callback runs in a copy that the
//! next one runs in too if nothing was set in it and nobody has taken a reference to it.
//!
//! # Invariants
//! 1. `shared` was made by this module and is entered by nobody while anybody else refers to it.
//! 2. `reusable` is referred to by nobody else, entered by nobody, and holds what a context did that handles still share.
//! 3. Both are given up at the end of a turn at the latest, so they keep no value alive for longer than the handles would.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use crate::ffi::context::Context;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;

#[derive(Default)]
struct Contexts {
    /// The copy that was made last.
    shared: Option<Context>,
    /// What the last callback ran in.
    reusable: Option<Context>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct SharedContexts(Guarded<Contexts>);

impl SharedContexts {
    /// A context that holds what the current one does, for a handle that shares it.
    #[inline]
    pub(crate) fn of_current(&self, py: Python<'_>) -> PyResult<Object> {
        let shared = self.0.with(py, |contexts| {
            contexts.shared.as_ref().filter(|shared| shared.is_like_current(py)).map(|shared| shared.object().clone())
        });
        shared.map_or_else(|| self.copy_current(py), Ok)
    }

    #[inline(never)]
    fn copy_current(&self, py: Python<'_>) -> PyResult<Object> {
        let copy = Context::copy_current(py)?;
        let object = copy.object().clone();
        let before = self.0.with(py, |contexts| contexts.shared.replace(copy));
        drop(before);
        Ok(object)
    }

    /// A context for a callback to run in that holds what `shared` does.
    #[inline]
    pub(crate) fn for_run(&self, py: Python<'_>, shared: &Context) -> PyResult<Context> {
        match self.0.with(py, |contexts| contexts.reusable.take()) {
            Some(reusable) if reusable.is_like(shared) => Ok(reusable),
            _ => shared.copy(py),
        }
    }

    /// A callback has run in `context`, which [`Self::for_run`] gave for `shared`, and has left it.
    #[inline]
    pub(crate) fn after_run(&self, py: Python<'_>, context: Context, shared: &Context) {
        if context.is_like(shared) && context.object().reference_count() == 1 {
            let before = self.0.with(py, |contexts| contexts.reusable.replace(context));
            drop(before);
        }
    }

    /// The turn ends.
    #[inline]
    pub(super) fn give_up(&self, py: Python<'_>) {
        let before = self.0.with(py, core::mem::take);
        drop(before);
    }

    /// Shows the contexts to the collector.
    pub(super) fn visit(&self, py: Python<'_>, collector: &Collector) -> Visited {
        self.0.with(py, |contexts| {
            let mut contexts = contexts.shared.iter().chain(&contexts.reusable);
            contexts.try_for_each(|context| context.object().visit(collector))
        })
    }
}

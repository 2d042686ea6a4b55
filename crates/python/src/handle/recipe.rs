//! Making handles.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use super::detached;
use crate::core::LoopCore;
use crate::ffi::arguments;
use crate::ffi::cell::Slot;
use crate::ffi::class::{Instance, NativeClass};
use crate::ffi::context::Context;
use crate::ffi::handle::{
    Call, Handle, HandleClass, HandleSlots, PlainSlots, ThreadSafeHandle, ThreadSafeSlots, TimerHandle, TimerSlots,
};
use crate::ffi::object::Object;
use crate::ffi::source_traceback;

/// What a new handle is made of.
pub(crate) struct Recipe<'a> {
    pub(crate) event_loop: &'a Object,
    pub(crate) callback: &'a Object,
    pub(crate) args: &'a [Object],
    /// `None`: a copy of the current context.
    pub(crate) context: Option<&'a Object>,
    /// Whether to record where the handle is made (debug mode).
    pub(crate) trace: bool,
}

/// What a handle is filled with beside the callback and the arguments that it keeps without a tuple.
struct Prepared {
    args: Option<Object>,
    context: Object,
    shares_context: bool,
    trace: Object,
}

impl Recipe<'_> {
    /// What can fail is made before the handle.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the result would travel through memory otherwise")]
    fn prepare(&self, py: Python<'_>) -> PyResult<Prepared> {
        let (context, shares_context) = match (self.context, Instance::<LoopCore>::of(self.event_loop)) {
            (Some(context), _) => (context.clone(), false),
            (None, Some(core)) => (core.contexts.of_current(py)?, true),
            (None, None) => (Context::copy_current(py)?.into_object(), false),
        };
        let args = if Call::has_room_for(self.args.len()) { None } else { Some(arguments::tuple_of(py, self.args)?) };
        let trace = if self.trace { source_traceback::of_handle(py)? } else { Object::none(py) };
        Ok(Prepared { args, context, shares_context, trace })
    }

    /// What fills the slots: a function, so that they are made where they lie.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "three callers; the slots would be copied otherwise")]
    fn slots(&self, py: Python<'_>, prepared: Prepared) -> impl FnOnce() -> (HandleSlots, Call) {
        move || {
            let slots = HandleSlots {
                args: prepared.args.map_or_else(Slot::default, Slot::from),
                callback: self.callback.clone().into(),
                cancelled: Object::bool(py, false).into(),
                context: prepared.context.into(),
                event_loop: self.event_loop.clone().into(),
                repr: Object::none(py).into(),
                source_traceback: prepared.trace.into(),
            };
            (slots, Call::new(self.args, prepared.shares_context))
        }
    }

    /// Fills a handle whose callback has been detached.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "two callers; the parts would travel through memory otherwise")]
    fn fill<T: HandleClass>(&self, handle: Instance<T>, prepared: Prepared) -> Object {
        handle.fill(self.callback.clone(), self.args, prepared.args, prepared.context, prepared.shares_context);
        handle.into_object()
    }

    /// A `ferrio.Handle`.
    #[inline]
    pub(crate) fn make(&self, py: Python<'_>) -> PyResult<Object> {
        let slots = self.slots(py, self.prepare(py)?);
        create::<Handle>(py, None, || PlainSlots::new(slots()))
    }

    /// A `ferrio.Handle` for the ready queue of `core`; see [`tracking`](super::tracking).
    #[inline]
    pub(crate) fn make_for_queue(&self, py: Python<'_>, core: &LoopCore) -> PyResult<Object> {
        let prepared = self.prepare(py)?;
        if core.is_turning()
            && !self.trace
            && let Some(handle) = detached::detach_last::<Handle>(py, core, self.event_loop)
        {
            return Ok(self.fill(handle, prepared));
        }
        let slots = self.slots(py, prepared);
        create::<Handle>(py, Some(core), || PlainSlots::new(slots()))
    }

    /// [`Self::make_for_queue`], of a handle that other threads may cancel: since 3.14 they wait while its callback runs.
    #[inline]
    pub(crate) fn make_for_threads(&self, py: Python<'_>, core: &LoopCore) -> PyResult<Object> {
        if !cfg!(Py_3_14) {
            return self.make_for_queue(py, core);
        }
        let prepared = self.prepare(py)?;
        if core.is_turning()
            && !self.trace
            && let Some(handle) = detached::detach_last::<ThreadSafeHandle>(py, core, self.event_loop)
        {
            return Ok(self.fill(handle, prepared));
        }
        let slots = self.slots(py, prepared);
        create::<ThreadSafeHandle>(py, Some(core), || ThreadSafeSlots::new(slots()))
    }

    /// A `ferrio.TimerHandle` for `seconds` on the loop's clock, `_scheduled`, for the timers of `core`, if it is to stand among
    /// them. `when` is the caller's own object for that time, if there is one.
    #[inline]
    pub(crate) fn make_timer(
        &self,
        py: Python<'_>,
        core: Option<&LoopCore>,
        seconds: f64,
        when: Option<Object>,
    ) -> PyResult<Object> {
        let slots = self.slots(py, self.prepare(py)?);
        create::<TimerHandle>(py, core, || TimerSlots::new(py, slots(), seconds, when))
    }
}

/// A new handle. The collector does not see one for a `core` that is turning; see [`tracking`](super::tracking).
#[inline(always)]
#[expect(clippy::inline_always, reason = "the state would be copied otherwise")]
fn create<T: NativeClass>(
    py: Python<'_>,
    core: Option<&LoopCore>,
    state: impl FnOnce() -> T::State,
) -> PyResult<Object> {
    let handle = if core.is_some_and(LoopCore::is_turning) {
        Instance::<T>::create_untracked_with(py, state)
    } else {
        Instance::<T>::create_with(py, state)
    };
    Ok(handle?.into_object())
}

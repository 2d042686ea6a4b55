//! Making handles.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use crate::ffi::arguments;
use crate::ffi::class::Instance;
use crate::ffi::context::Context;
use crate::ffi::handle::{Handle, HandleSlots, ThreadSafeHandle, TimerHandle, TimerSlots};
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

impl Recipe<'_> {
    /// What fills the slots: a function, so that they are made where they lie.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "three callers; the slots would be copied otherwise")]
    fn slots(&self, py: Python<'_>) -> PyResult<impl FnOnce() -> HandleSlots> {
        let context = match self.context {
            None => Context::copy_current(py)?.into_object(),
            Some(context) => context.clone(),
        };
        let args = arguments::tuple_of(py, self.args)?;
        let trace = if self.trace { source_traceback::of_handle(py)? } else { Object::none(py) };
        Ok(move || HandleSlots {
            args: args.into(),
            callback: self.callback.clone().into(),
            cancelled: Object::bool(py, false).into(),
            context: context.into(),
            event_loop: self.event_loop.clone().into(),
            repr: Object::none(py).into(),
            source_traceback: trace.into(),
        })
    }

    /// A `ferrio.Handle`.
    #[inline]
    pub(crate) fn make(&self, py: Python<'_>) -> PyResult<Object> {
        Ok(Instance::<Handle>::create_with(py, self.slots(py)?)?.into_object())
    }

    /// A handle that other threads may cancel: since 3.14 they wait while its callback runs.
    #[inline]
    pub(crate) fn make_for_threads(&self, py: Python<'_>) -> PyResult<Object> {
        if cfg!(Py_3_14) {
            Ok(Instance::<ThreadSafeHandle>::create_with(py, self.slots(py)?)?.into_object())
        } else {
            self.make(py)
        }
    }

    /// A `ferrio.TimerHandle` for `seconds` on the loop's clock, `_scheduled`. `when` is the caller's own object for that time, if there is
    /// one.
    #[inline]
    pub(crate) fn make_timer(&self, py: Python<'_>, seconds: f64, when: Option<Object>) -> PyResult<Object> {
        let slots = self.slots(py)?;
        let state = || TimerSlots::new(py, slots(), seconds, when);
        Ok(Instance::<TimerHandle>::create_with(py, state)?.into_object())
    }
}

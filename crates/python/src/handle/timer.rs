//! Timer handles: their time, and the loop's timers' view of them.

#![forbid(unsafe_code)]

use ferrio_engine::time::Expirable;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use crate::ffi::class::Instance;
use crate::ffi::handle::{HandleSlots, TimerHandle, TimerSlots};
use crate::ffi::object::Object;

/// `_when`: the float is made when somebody asks. Most timers are cancelled before anybody does.
#[expect(clippy::unnecessary_wraps, reason = "the signature of an attribute")]
pub(super) fn when(py: Python<'_>, handle: &Instance<TimerHandle>) -> PyResult<Object> {
    Ok(handle.when.get().unwrap_or_else(|| {
        let when = Object::new(PyFloat::new(py, handle.seconds.get()));
        handle.when.set(when.clone());
        when
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of an attribute")]
pub(super) fn set_when(_py: Python<'_>, handle: &Instance<TimerHandle>, value: Option<&Object>) -> PyResult<()> {
    drop(handle.when.replace(value.cloned()));
    Ok(())
}

/// A timer handle in the loop's timers.
pub(crate) struct TimerRef(Instance<TimerHandle>);

impl TimerRef {
    /// A new timer handle, with its time and `_scheduled`.
    #[inline]
    pub(super) fn create(py: Python<'_>, handle: HandleSlots, seconds: f64, when: Option<Object>) -> PyResult<Self> {
        Instance::create(py, TimerSlots::new(py, handle, seconds, when)).map(Self)
    }

    /// The handle, for the loop's introspection.
    pub(crate) fn object(&self) -> &Object {
        self.0.object()
    }

    /// Takes the handle out of the timers: `_scheduled` becomes false. What a program had put there comes back, as dropping it
    /// may run Python.
    #[inline]
    #[must_use = "what was there runs foreign code when dropped: drop it once nothing is borrowed"]
    pub(crate) fn unschedule(self) -> (Object, Option<Object>) {
        let before = self.0.scheduled.replace_by_bool(false);
        (self.0.into_object(), before)
    }
}

impl Expirable for TimerRef {
    #[inline]
    fn is_cancelled(&self) -> bool {
        self.0.any().is_cancelled()
    }
}

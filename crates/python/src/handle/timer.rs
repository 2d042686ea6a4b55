//! Timer handles: their time, and the loop's timers' view of them.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyFloat;

use super::{entry, tracking};
use crate::core::{Timer, TimerOperations};
use crate::ffi::class::Instance;
use crate::ffi::handle::TimerHandle;
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

/// Whether a handle in the loop's timers was cancelled.
#[inline]
pub(crate) fn is_cancelled_timer(handle: &Object) -> bool {
    Instance::<TimerHandle>::of(handle).is_some_and(|handle| handle.any().is_cancelled())
}

/// A handle leaves the loop's timers: `_scheduled` becomes false. What a program had put there comes back.
#[inline]
#[must_use = "what was there runs foreign code when dropped: drop it once nothing is borrowed"]
pub(crate) fn unschedule(handle: &Object) -> Option<Object> {
    Instance::<TimerHandle>::of(handle).and_then(|handle| handle.scheduled.replace_by_bool(false))
}

/// A timer handle.
static TIMER: TimerOperations = TimerOperations {
    is_cancelled: |timer| is_cancelled_timer(&timer.object),
    due: |timer, marks| entry(take_out(timer.object, marks)),
    handle: |timer| Some(&timer.object),
    on_release: Some(tracking::track),
};

/// The timer of a timer handle.
#[inline]
pub(crate) fn of_handle(handle: Object) -> Timer {
    Timer::new(&TIMER, handle)
}

/// Takes a handle out of the timers. What a program has put into its `_scheduled` lands in `marks`: it may run Python when
/// dropped.
pub(crate) fn take_out(handle: Object, marks: &mut Vec<Object>) -> Object {
    marks.extend(unschedule(&handle));
    handle
}

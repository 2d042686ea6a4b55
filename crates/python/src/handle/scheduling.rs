//! Scheduling handles: into the ready queue, behind the next poll, into the timers.
//!
//! The loop's methods of these names are in `event_loop/scheduling.rs`; native code schedules from here.

#![forbid(unsafe_code)]

use ferrio_engine::sys::clock;
use ferrio_engine::time::Nanos;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use super::{Recipe, entry, timer};
use crate::core::LoopCore;
use crate::ffi::class::Instance;
use crate::ffi::number;
use crate::ffi::object::Object;

/// `([delay or when,] callback, *args, context=None)`.
pub(crate) struct ScheduledCall<'a> {
    pub(crate) time: Option<&'a Object>,
    pub(crate) callback: &'a Object,
    pub(crate) args: &'a [Object],
    pub(crate) context: Option<&'a Object>,
}

impl ScheduledCall<'_> {
    /// The recipe of its handle.
    #[inline]
    pub(crate) fn recipe<'a>(&'a self, event_loop: &'a Object, callback: &'a Object, trace: bool) -> Recipe<'a> {
        Recipe { event_loop, callback, args: self.args, context: self.context, trace }
    }
}

/// Debug mode's checks: the calling thread, and that the callback is a plain callable.
#[cold]
pub(crate) fn check_in_debug(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    callback: &Object,
    function: &str,
    any_thread: bool,
) -> PyResult<()> {
    let event_loop = event_loop.bind(py);
    if !any_thread {
        event_loop.call_method0("_check_thread")?;
    }
    event_loop.call_method1("_check_callback", (callback.bind(py), function))?;
    Ok(())
}

/// Enters a timer for `when` seconds on the loop's clock.
pub(crate) fn schedule_at(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    when: f64,
    when_object: Option<Object>,
    call: &ScheduledCall<'_>,
) -> PyResult<Object> {
    event_loop.check_closed()?;
    let debug = event_loop.is_debug();
    if debug {
        // asyncio's `call_later` goes through `call_at`, and so do the words of its complaint.
        check_in_debug(py, event_loop, call.callback, "call_at", false)?;
    }
    let handle =
        call.recipe(event_loop.object(), call.callback, debug).make_timer(py, Some(event_loop), when, when_object)?;
    let timer = timer::of_handle(handle.clone());
    event_loop.with_reactor(py, |reactor| reactor.timers.push(Nanos::from_secs_f64_ceil(when), timer));
    Ok(handle)
}

pub(crate) fn seconds(py: Python<'_>, value: Option<&Object>, none: &'static str) -> PyResult<f64> {
    let Some(value) = value else { return Err(PyTypeError::new_err(none)) };
    match number::exact(py, value)? {
        Some(seconds) => Ok(seconds),
        None if value.is_none() => Err(PyTypeError::new_err(none)),
        None => value.bind(py).extract(),
    }
}

const NO_DELAY: &str = "delay must not be None";

/// `loop.time() + delay` of a number that is no plain one, with the errors of the addition. What cannot be added but converts
/// to a float, as a `Decimal`, is taken as that.
#[cold]
fn add_to_now(py: Python<'_>, delay: &Object) -> PyResult<(f64, Option<Object>)> {
    match PyFloat::new(py, now_s()).add(delay.bind(py)) {
        Ok(when) => Ok((when.extract()?, Some(Object::new(when)))),
        Err(error) => Ok((now_s() + delay.bind(py).extract::<f64>().map_err(|_| error)?, None)),
    }
}

/// Seconds on the loop's clock, exactly as `time.monotonic()` rounds them.
pub(crate) fn now_s() -> f64 {
    clock::now().as_secs_f64()
}

/// Schedules from Rust: `loop.call_soon(callback, *args, context=context)`.
pub(crate) fn schedule(
    py: Python<'_>,
    event_loop: &Object,
    callback: &Bound<'_, PyAny>,
    args: &[Object],
    context: Option<&Object>,
) -> PyResult<()> {
    let Some(event_loop) = Instance::<LoopCore>::of(event_loop) else {
        return Err(PyTypeError::new_err("a loop of Ferrio's is required here"));
    };
    event_loop.schedule(py, Object::of(callback), args, context)
}

impl Instance<LoopCore> {
    /// `loop.call_soon(callback, *args, context=context)`.
    pub(crate) fn schedule(
        &self,
        py: Python<'_>,
        callback: &Object,
        args: &[Object],
        context: Option<&Object>,
    ) -> PyResult<()> {
        self.check_closed()?;
        let recipe = Recipe { event_loop: self.object(), callback, args, context, trace: self.is_debug() };
        self.push_ready(py, entry(recipe.make_for_queue(py, self)?));
        Ok(())
    }

    /// `loop.call_later(delay, callback, *args)`.
    pub(crate) fn call_later(
        &self,
        py: Python<'_>,
        delay: &Object,
        callback: &Object,
        args: &[Object],
    ) -> PyResult<Object> {
        let (when, when_object) = self.deadline(py, Some(delay))?;
        let call = ScheduledCall { time: None, callback, args, context: None };
        schedule_at(py, self, when, when_object, &call)
    }

    /// `loop.time() + delay`: seconds, and the object of them if the program has its own clock.
    #[inline]
    pub(crate) fn deadline(&self, py: Python<'_>, delay: Option<&Object>) -> PyResult<(f64, Option<Object>)> {
        if self.follows_program() {
            seconds(py, delay, NO_DELAY)?;
            return self.deadline_by_program(py, delay);
        }
        let delay = delay.filter(|delay| !delay.is_none()).ok_or_else(|| PyTypeError::new_err(NO_DELAY))?;
        match number::exact(py, delay)? {
            Some(delay_s) => Ok((now_s() + delay_s, None)),
            None => add_to_now(py, delay),
        }
    }

    #[cold]
    fn deadline_by_program(&self, py: Python<'_>, delay: Option<&Object>) -> PyResult<(f64, Option<Object>)> {
        let when = self.program_time(py)?.bind(py).add(delay.map(|delay| delay.bind(py)))?;
        Ok((when.extract()?, Some(Object::new(when))))
    }

    /// Schedules `callback(*args)` to run behind what the next poll finds: for a descriptor known to be ready.
    pub(crate) fn schedule_behind_poll(&self, py: Python<'_>, callback: &Object, args: &[Object]) -> PyResult<()> {
        let recipe = Recipe { event_loop: self.object(), callback, args, context: None, trace: self.is_debug() };
        self.push_behind_poll(py, entry(recipe.make(py)?));
        Ok(())
    }
}

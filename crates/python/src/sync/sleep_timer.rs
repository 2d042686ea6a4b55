//! The timer of a `sleep`: its future.
//!
//! A `sleep` needs no handle, nor the arguments and the context that one holds: its future is enough. When somebody looks at
//! the loop's timers, a handle is made that stands for the `sleep` from then on, as asyncio's would.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use ferrio_engine::time::Nanos;
use pyo3::prelude::*;

use crate::core::{Entry, Exit, LoopCore, Operations, Timer, TimerOperations, settle};
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::scheduling::{now_s, seconds};
use crate::handle::{self, Recipe, is_cancelled_timer};
use crate::task::future;

/// The future of a `sleep`, which is to be given `None`.
static SLEEP: TimerOperations = TimerOperations {
    is_cancelled: |timer| is_over(&timer.object) || timer.shown.get().is_some_and(is_cancelled_timer),
    due: |timer, marks| {
        let shown = timer.shown.into_inner().map(|shown| handle::take_out(shown, marks));
        Entry::with_argument(&SLEEP_OVER, timer.object, shown)
    },
    handle: |timer| timer.shown.get().filter(|_| !is_over(&timer.object)),
    on_release: None,
};

/// The time of a `sleep` is over: its future, and the handle that was shown for it.
static SLEEP_OVER: Operations = Operations {
    run: |py, core, future, handle| match handle {
        Some(handle) => handle::run(py, core, &handle),
        None => end_sleep(py, &future),
    },
    handle: Some(|py, event_loop, future, handle| match handle {
        Some(handle) => Ok(handle.clone()),
        None => handle_of_sleep(py, event_loop, future),
    }),
    on_stop: None,
    context: None,
    coroutine: None,
};

/// The timer of a `sleep`.
#[inline]
fn of_sleep(future: Object) -> Timer {
    Timer::new(&SLEEP, future)
}

/// The future of a `sleep` for which no handle was shown.
fn sleeper(timer: &Timer) -> Option<&Object> {
    let is_sleep = core::ptr::eq(timer.operations, &raw const SLEEP);
    (is_sleep && timer.shown.get().is_none() && !is_over(&timer.object)).then_some(&timer.object)
}

/// Whether a `sleep` has ended before its time: its future is done, or nobody else has it any more.
#[inline]
fn is_over(future: &Object) -> bool {
    !future::is_pending(future) || future.reference_count() == 1
}

impl Instance<LoopCore> {
    /// Makes a handle for each `sleep` among the timers that has none.
    pub(crate) fn show_sleeps(&self, py: Python<'_>) -> PyResult<()> {
        self.show_sleeps_of(py, |_| true).map(drop)
    }

    /// Takes the timer of a `sleep` that ended before its time. Its future is still pending, and others may have it, the
    /// handle among them that was shown.
    pub(crate) fn cancel_sleep(&self, py: Python<'_>, future: &Object) -> PyResult<()> {
        let mut handles: Vec<Object> = self.with_reactor(py, |reactor| {
            let shown = reactor.timers.iter().filter(|(_, timer)| timer.object.is(future));
            shown.filter_map(|(_, timer)| timer.shown.get().cloned()).collect()
        });
        if handles.is_empty() {
            handles = self.show_sleeps_of(py, |each| each.is(future))?;
        }
        for handle in handles {
            call_method(py, &names(py).cancel, [&handle])?;
        }
        Ok(())
    }

    /// Makes handles for the `sleep`s whose futures fit.
    fn show_sleeps_of(&self, py: Python<'_>, fits: impl Fn(&Object) -> bool) -> PyResult<Vec<Object>> {
        let sleepers: Vec<(Nanos, Object)> = self.with_reactor(py, |reactor| {
            let sleepers = reactor.timers.iter().filter_map(|(deadline, timer)| Some((deadline, sleeper(timer)?)));
            sleepers.filter(|(_, future)| fits(future)).map(|(deadline, future)| (deadline, future.clone())).collect()
        });
        let (mut handles, mut made) = (HashMap::with_capacity(sleepers.len()), Vec::with_capacity(sleepers.len()));
        for (deadline, future) in &sleepers {
            let handle = timer_of_sleep(py, self.object(), future, *deadline)?;
            made.push(handle.clone());
            handles.insert(future.address(), handle);
        }
        // Making them may have run anything: what is left over is dropped behind the section.
        self.with_reactor(py, |reactor| {
            for (_, timer) in reactor.timers.iter() {
                if let Some(future) = sleeper(timer)
                    && let Some(handle) = handles.remove(&future.address())
                {
                    // It has none: that was asked.
                    let _ = timer.shown.set(handle);
                }
            }
        });
        Ok(made)
    }
}

/// A new handle for a `sleep` that is over at `deadline`: what asyncio's `call_later` would have returned.
fn timer_of_sleep(py: Python<'_>, event_loop: &Object, future: &Object, deadline: Nanos) -> PyResult<Object> {
    let recipe = Recipe {
        event_loop,
        callback: super::sleep::callback(py)?,
        args: &[future.clone(), Object::none(py)],
        context: None,
        trace: false,
    };
    recipe.make_timer(py, None, deadline.as_secs_f64(), None)
}

/// [`timer_of_sleep`], of one that is over.
fn handle_of_sleep(py: Python<'_>, event_loop: &Object, future: &Object) -> PyResult<Object> {
    let handle = timer_of_sleep(py, event_loop, future, Nanos::ZERO)?;
    drop(handle::unschedule(&handle));
    Ok(handle)
}

/// Completes the future of a `sleep`, unless it was cancelled.
///
/// # Errors
/// What leaves the loop.
#[inline]
fn end_sleep(py: Python<'_>, future: &Object) -> Result<(), Exit> {
    if !future::is_pending(future) {
        return Ok(());
    }
    settle(py, future::set_result(py, future, Object::none(py)), |exception| {
        let Some(event_loop) = future::loop_of(future) else { return Err(PyErr::from_value(exception.clone())) };
        let handle = handle_of_sleep(py, &event_loop, future)?;
        handle::report(py, &handle, exception)
    })
}

/// Gives the pending `ferrio.Future` its result, `None`, after `delay`: a timer that needs no handle.
pub(super) fn wake_later(py: Python<'_>, core: &LoopCore, delay: &Object, future: Object) -> PyResult<()> {
    let delay = seconds(py, Some(delay), "delay must not be None")?;
    core.check_closed()?;
    let when = Nanos::from_secs_f64_ceil(now_s() + delay);
    core.with_reactor(py, |reactor| reactor.timers.push(when, of_sleep(future)));
    Ok(())
}

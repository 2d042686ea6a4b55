//! What waits in a loop's timers: a timer handle, or the future of a `sleep`.
//!
//! A `sleep` needs no handle, nor the arguments and the context that one holds: its future is enough. When somebody looks at
//! the loop's timers, a handle is made that stands for the `sleep` from then on, as asyncio's would.

use std::collections::HashMap;

use ferrio_engine::time::{Expirable, Nanos};
use pyo3::prelude::*;
use pyo3::{ffi, intern};

use crate::core::{Entry, Exit, LoopCore, Operations, Timer, TimerOperations, settle};
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;
use crate::handle::{self, Kind, Recipe, TimerRef};
use crate::sync;
use crate::task::future;

/// A timer handle.
static HANDLE: TimerOperations = TimerOperations {
    is_cancelled: |timer| handle_of(timer).is_cancelled(),
    due: |timer, marks| handle::entry(unschedule(timer.object, marks)),
    handle: |timer| Some(&timer.object),
};

/// The future of a `sleep`, which is to be given `None`.
static SLEEP: TimerOperations = TimerOperations {
    is_cancelled: |timer| is_over(&timer.object) || timer.shown.get().is_some_and(|shown| view(shown).is_cancelled()),
    due: |timer, marks| Entry::Call {
        operations: &SLEEP_OVER,
        object: timer.object,
        argument: timer.shown.into_inner().map(|shown| unschedule(shown, marks)),
    },
    handle: |timer| timer.shown.get().filter(|_| !is_over(&timer.object)),
};

/// The time of a `sleep` is over: its future, and the handle that was shown for it.
static SLEEP_OVER: Operations = Operations {
    run: |py, core, future, handle| match handle {
        Some(handle) => handle::run(py, core, &handle),
        None => end_sleep(py, &future),
    },
    handle: Some(|py, event_loop, future, handle| match handle {
        Some(handle) => Ok(handle.clone()),
        None => handle_of_sleep(py, event_loop.as_ptr(), future),
    }),
    on_stop: None,
};

/// The timer of a handle.
#[inline]
pub(super) fn of_handle(timer: TimerRef) -> Timer {
    Timer::new(&HANDLE, timer.into_object())
}

/// The timer of a `sleep`.
#[inline]
pub(super) fn of_sleep(future: Object) -> Timer {
    Timer::new(&SLEEP, future)
}

fn handle_of(timer: &Timer) -> &TimerRef {
    view(&timer.object)
}

/// A handle that is kept by a timer.
fn view(handle: &Object) -> &TimerRef {
    // SAFETY: timers keep handles that came from a `TimerRef`.
    unsafe { TimerRef::view(handle) }
}

/// Takes a handle out of the timers. What a program has put into its `_scheduled` lands in `marks`: it may run Python when
/// dropped.
fn unschedule(handle: Object, marks: &mut Vec<Object>) -> Object {
    // SAFETY: timers keep handles that came from a `TimerRef`.
    let (handle, mark) = unsafe { TimerRef::from_object(handle) }.unschedule();
    marks.extend(mark);
    handle
}

/// The future of a `sleep` for which no handle was shown.
fn sleeper(timer: &Timer) -> Option<&Object> {
    let is_sleep = core::ptr::eq(timer.operations, &raw const SLEEP);
    (is_sleep && timer.shown.get().is_none() && !is_over(&timer.object)).then_some(&timer.object)
}

/// Whether a `sleep` has ended before its time: its future is done, or nobody else has it any more.
#[inline]
fn is_over(future: &Object) -> bool {
    // SAFETY: a live object.
    !future::is_pending(future) || unsafe { ffi::Py_REFCNT(future.as_ptr()) } == 1
}

impl LoopCore {
    /// Makes a handle for each `sleep` among the timers that has none.
    pub(super) fn show_sleeps(&self, py: Python<'_>, event_loop: *mut ffi::PyObject) -> PyResult<()> {
        self.show_sleeps_of(py, event_loop, |_| true).map(drop)
    }

    /// Takes the timer of a `sleep` that ended before its time. Its future is still pending, and others may have it, the
    /// handle among them that was shown.
    pub(crate) fn cancel_sleep(&self, py: Python<'_>, event_loop: *mut ffi::PyObject, future: &Object) -> PyResult<()> {
        let mut handles: Vec<Object> = self.with_reactor(py, |reactor| {
            let shown = reactor.timers.iter().filter(|(_, timer)| timer.object.is(future));
            shown.filter_map(|(_, timer)| timer.shown.get().cloned()).collect()
        });
        if handles.is_empty() {
            handles = self.show_sleeps_of(py, event_loop, |each| each.as_ptr() == future.as_ptr())?;
        }
        for handle in handles {
            handle.bind(py).call_method0(intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// Makes handles for the `sleep`s whose futures fit.
    fn show_sleeps_of(
        &self,
        py: Python<'_>,
        event_loop: *mut ffi::PyObject,
        fits: impl Fn(&Object) -> bool,
    ) -> PyResult<Vec<Object>> {
        let sleepers: Vec<(Nanos, Object)> = self.with_reactor(py, |reactor| {
            let sleepers = reactor.timers.iter().filter_map(|(deadline, timer)| Some((deadline, sleeper(timer)?)));
            sleepers.filter(|(_, future)| fits(future)).map(|(deadline, future)| (deadline, future.clone())).collect()
        });
        let (mut handles, mut made) = (HashMap::with_capacity(sleepers.len()), Vec::with_capacity(sleepers.len()));
        for (deadline, future) in &sleepers {
            let timer = timer_of_sleep(py, event_loop, future, *deadline)?;
            made.push(timer.object().clone());
            handles.insert(future.as_ptr(), timer.into_object());
        }
        // Making them may have run anything: what is left over is dropped behind the section.
        self.with_reactor(py, |reactor| {
            for (_, timer) in reactor.timers.iter() {
                if let Some(future) = sleeper(timer)
                    && let Some(handle) = handles.remove(&future.as_ptr())
                {
                    // It has none: that was asked.
                    let _ = timer.shown.set(handle);
                }
            }
        });
        Ok(made)
    }
}

/// A new handle for a `sleep`: what asyncio's `call_later` would have returned.
pub(super) fn handle_of_sleep(py: Python<'_>, event_loop: *mut ffi::PyObject, future: &Object) -> PyResult<Object> {
    let nothing = none(py);
    Recipe {
        kind: Kind::Timer,
        event_loop,
        callback: sync::sleep_callback(py)?.as_ptr(),
        args: &[future.as_ptr(), nothing.as_ptr()],
        context: None,
        trace: false,
    }
    .make(py)
}

/// [`handle_of_sleep`], as one that is due at `deadline`.
fn timer_of_sleep(
    py: Python<'_>,
    event_loop: *mut ffi::PyObject,
    future: &Object,
    deadline: Nanos,
) -> PyResult<TimerRef> {
    let handle = handle_of_sleep(py, event_loop, future)?;
    // SAFETY: a new timer handle.
    Ok(unsafe { TimerRef::schedule(py, handle, deadline.as_secs_f64(), None) })
}

/// Completes the future of a `sleep`, unless it was cancelled.
///
/// # Errors
/// What leaves the loop.
#[inline]
pub(super) fn end_sleep(py: Python<'_>, future: &Object) -> Result<(), Exit> {
    if !future::is_pending(future) {
        return Ok(());
    }
    settle(py, future::set_result(py, future, none(py)), |exception| {
        let Some(event_loop) = future::loop_of(future) else { return Err(PyErr::from_value(exception.clone())) };
        let handle = handle_of_sleep(py, event_loop.as_ptr(), future)?;
        handle::report(py, &handle, exception)
    })
}

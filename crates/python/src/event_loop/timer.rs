//! What waits in a loop's timers: a timer handle, or the future of a `sleep`.
//!
//! A `sleep` needs no handle, nor the arguments and the context that one holds: its future is enough. When somebody looks at
//! the loop's timers, a handle is made that stands for the `sleep` from then on, as asyncio's would.

#![forbid(unsafe_code)]

use core::cell::OnceCell;
use std::collections::HashMap;

use ferrio_engine::time::{Expirable, Nanos};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::core::LoopCore;
use super::entry::Entry;
use super::exit::{Exit, settle};
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::{self, Recipe, TimerRef};
use crate::sync;
use crate::task::future;

/// An entry of the timers.
pub(crate) enum Timer {
    Handle(TimerRef),
    /// A `ferrio.Future` that is to be given `None`, and the handle that was shown for it.
    Sleep {
        future: Object,
        shown: OnceCell<TimerRef>,
    },
}

impl Timer {
    /// The timer of a `sleep`.
    pub(super) fn sleep(future: Object) -> Self {
        Self::Sleep { future, shown: OnceCell::new() }
    }

    /// The handle, if there is one; none of a `sleep` that has ended early.
    pub(super) fn handle(&self) -> Option<&Object> {
        match self {
            Self::Handle(timer) => Some(timer.object()),
            Self::Sleep { future, shown } => shown.get().map(TimerRef::object).filter(|_| !is_over(future)),
        }
    }

    /// The future of a `sleep` without a handle.
    pub(super) fn sleeper(&self) -> Option<&Object> {
        match self {
            Self::Sleep { future, shown } if shown.get().is_none() && !is_over(future) => Some(future),
            _ => None,
        }
    }

    /// The handle that was shown for the `sleep` of `sleeping`.
    fn shown_for(&self, sleeping: &Object) -> Option<&Object> {
        match self {
            Self::Sleep { future, shown } if future.is(sleeping) => shown.get().map(TimerRef::object),
            _ => None,
        }
    }

    /// Takes the handle that is there for its future, and shows it from now on.
    fn show(&self, handles: &mut HashMap<usize, TimerRef>) {
        if let Self::Sleep { future, shown } = self
            && shown.get().is_none()
            && let Some(handle) = handles.remove(&future.address())
        {
            // It has none: that was asked.
            let _ = shown.set(handle);
        }
    }

    /// The entry to run. What a program has put into a handle's `_scheduled` lands in `marks`: it may run Python when dropped.
    #[inline]
    pub(super) fn due(self, marks: &mut Vec<Object>) -> Entry {
        let mut unschedule = |timer: TimerRef| {
            let (handle, mark) = timer.unschedule();
            marks.extend(mark);
            handle
        };
        match self {
            Self::Handle(timer) => Entry::Handle(unschedule(timer)),
            Self::Sleep { future, shown } => Entry::SleepOver { future, handle: shown.into_inner().map(unschedule) },
        }
    }

    /// Shows what the entry holds to the collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Handle(timer) => timer.object().visit(visit),
            Self::Sleep { future, shown } => {
                future.visit(visit)?;
                shown.get().map_or(Ok(()), |timer| timer.object().visit(visit))
            }
        }
    }
}

/// Whether a `sleep` has ended before its time: its future is done, or nobody else has it any more.
#[inline]
fn is_over(future: &Object) -> bool {
    !future::is_pending(future) || future.reference_count() == 1
}

impl Instance<LoopCore> {
    /// Makes a handle for each `sleep` among the timers that has none.
    pub(super) fn show_sleeps(&self, py: Python<'_>) -> PyResult<()> {
        self.show_sleeps_of(py, |_| true).map(drop)
    }

    /// Takes the timer of a `sleep` that ended before its time. Its future is still pending, and others may have it, the
    /// handle among them that was shown.
    pub(crate) fn cancel_sleep(&self, py: Python<'_>, future: &Object) -> PyResult<()> {
        let mut handles: Vec<Object> = self.with_reactor(py, |reactor| {
            reactor.timers.iter().filter_map(|(_, timer)| timer.shown_for(future).cloned()).collect()
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
            let sleepers = reactor.timers.iter().filter_map(|(deadline, timer)| Some((deadline, timer.sleeper()?)));
            sleepers.filter(|(_, future)| fits(future)).map(|(deadline, future)| (deadline, future.clone())).collect()
        });
        let (mut handles, mut made) = (HashMap::with_capacity(sleepers.len()), Vec::with_capacity(sleepers.len()));
        for (deadline, future) in &sleepers {
            let timer = timer_of_sleep(py, self.object(), future, *deadline)?;
            made.push(timer.object().clone());
            handles.insert(future.address(), timer);
        }
        // Making them may have run anything: what is left over is dropped behind the section.
        self.with_reactor(py, |reactor| {
            for (_, timer) in reactor.timers.iter() {
                timer.show(&mut handles);
            }
        });
        Ok(made)
    }
}

/// A new handle for a `sleep`: what asyncio's `call_later` would have returned. It is due at `deadline`.
fn timer_of_sleep(py: Python<'_>, event_loop: &Object, future: &Object, deadline: Nanos) -> PyResult<TimerRef> {
    let recipe = Recipe {
        event_loop,
        callback: sync::sleep_callback(py)?,
        args: &[future.clone(), Object::none(py)],
        context: None,
        trace: false,
    };
    recipe.make_timer(py, deadline.as_secs_f64(), None)
}

/// The handle of a `sleep` whose time is over.
pub(super) fn handle_of_sleep(py: Python<'_>, event_loop: &Object, future: &Object) -> PyResult<Object> {
    Ok(timer_of_sleep(py, event_loop, future, Nanos::ZERO)?.unschedule().0)
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
    settle(py, future::set_result(py, future, Object::none(py)), |exception| {
        let Some(event_loop) = future::loop_of(future) else { return Err(PyErr::from_value(exception.clone())) };
        let handle = handle_of_sleep(py, &event_loop, future)?;
        handle::report(py, &handle, exception)
    })
}

impl Expirable for Timer {
    #[inline]
    fn is_cancelled(&self) -> bool {
        match self {
            Self::Handle(timer) => timer.is_cancelled(),
            Self::Sleep { future, shown } => is_over(future) || shown.get().is_some_and(TimerRef::is_cancelled),
        }
    }
}

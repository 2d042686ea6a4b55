//! Turning by a clock of the program's: one that has replaced the loop's `time`, or the wait of its selector.
//!
//! Such a turn calls what asyncio's calls, in the same order: `time()` when only a timer ends the wait, the selector's `select`
//! with the time that is left, `time()` again, against which the timers are compared. The selector that a loop has by itself
//! waits in the kernel natively, in [`Instance::wait_for_selector`]; what that finds is ready then, and is returned as a count.
//!
//! # Invariants
//! 1. No state of the loop is lent while `time` or `select` runs: each may do what any callback may do.
//! 2. `select` waits at most once a turn after it has found something: news that has been announced is not asked for again.

use core::sync::atomic::Ordering;

use ferrio_engine::time::{Nanos, SleepBudget};
use pyo3::prelude::*;

use super::loop_core::LoopCore;
use super::measures::{Measured, Unmeasured};
use super::timer::Timer;
use crate::ffi::call::{call_method, call_named};
use crate::ffi::class::Instance;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::thread;

/// asyncio's longest wait, a day in seconds.
const MAXIMUM_SELECT_TIMEOUT_S: f64 = 24.0 * 3600.0;

/// The program's `select` runs, until this is dropped; `around`: the thread in which it ran before.
struct Selecting<'a> {
    core: &'a LoopCore,
    around: u64,
}

impl<'a> Selecting<'a> {
    fn begin(core: &'a LoopCore) -> Self {
        core.flags.has_announced.set(false);
        Self { core, around: core.flags.selecting_thread.swap(thread::current(), Ordering::Relaxed) }
    }
}

impl Drop for Selecting<'_> {
    fn drop(&mut self) {
        self.core.flags.selecting_thread.store(self.around, Ordering::Relaxed);
    }
}

impl Instance<LoopCore> {
    /// One turn by the program's clock.
    pub(super) fn run_once_by_program(&self, py: Python<'_>) -> PyResult<()> {
        self.pulse.turns.add(1);
        self.take_inbox(py);
        let timeout_s = self.time_to_wait(py)?;
        self.select(py, timeout_s)?;
        self.take_behind_poll(py);
        self.take_inbox(py);
        let resolution = self.bind(py).getattr(&names(py)._clock_resolution)?;
        let end: f64 = self.program_time(py)?.bind(py).add(resolution)?.extract()?;
        self.make_due_ready(py, Nanos::from_secs_f64_ceil(end), &mut Vec::new());
        let outcome = if self.is_measured() {
            self.run_entries(py, &Measured::of(self))
        } else {
            self.run_entries(py, &Unmeasured)
        };
        Ok(outcome?)
    }

    /// Seconds for which the turn may wait; `None`: for ever.
    fn time_to_wait(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let is_busy = self.is_busy(py);
        let when = self.next_when(py)?;
        if is_busy {
            return Ok(Some(0.0));
        }
        let Some(when) = when else { return Ok(None) };
        let left: f64 = when.bind(py).sub(self.program_time(py)?.bind(py))?.extract()?;
        Ok(Some(left.clamp(0.0, MAXIMUM_SELECT_TIMEOUT_S)))
    }

    /// The time at which the next timer is due, as its handle has it.
    pub(crate) fn next_when(&self, py: Python<'_>) -> PyResult<Option<Object>> {
        let mut discarded: Vec<Timer> = Vec::new();
        let head = self.with_reactor(py, |reactor| {
            reactor.timers.next_deadline(&mut discarded)?;
            reactor.timers.head().map(|(deadline, timer)| (deadline, timer.handle().cloned()))
        });
        Timer::discard(&mut discarded);
        match head {
            None => Ok(None),
            Some((_, Some(handle))) => Ok(Some(Object::new(handle.bind(py).getattr(&names(py)._when)?))),
            Some((deadline, None)) => Ok(Some(Object::new(deadline.as_secs_f64().into_pyobject(py)?))),
        }
    }

    /// Calls `select` of the loop's selector.
    fn select(&self, py: Python<'_>, mut timeout_s: Option<f64>) -> PyResult<()> {
        if timeout_s != Some(0.0) {
            // A signal's handler may have something for this turn.
            py.check_signals()?;
            let finds_work =
                self.flags.asked_before_sleep.get() && self.look_before_sleep(py, SleepBudget::Forever, &Unmeasured)?;
            if finds_work || self.is_busy(py) {
                timeout_s = Some(0.0);
            }
        }
        let selector = self.bind(py).getattr(&names(py)._selector)?;
        let _selecting = Selecting::begin(self);
        call_named(&selector, &names(py).select, (timeout_s,))?;
        Ok(())
    }

    /// `loop.time()`.
    pub(crate) fn program_time(&self, py: Python<'_>) -> PyResult<Object> {
        call_method(py, &names(py).time, [self.object()])
    }

    /// The wait of the loop's own selector, for `timeout_s` seconds at most: how many entries it has made ready. `None` when the
    /// calling thread is not in the turn's `select`.
    pub(crate) fn wait_for_selector(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Option<usize>> {
        if self.flags.selecting_thread.load(Ordering::Relaxed) != thread::current() {
            return Ok(None);
        }
        self.take_inbox(py);
        let ready = || self.with_reactor(py, |reactor| reactor.ready.len());
        let before = ready();
        // What a signal's handler schedules is news as well.
        py.check_signals()?;
        if self.flags.has_announced.get() && before != 0 {
            return Ok(Some(before));
        }
        let limit = timeout_s.map(Nanos::from_secs_f64_ceil);
        if limit == Some(Nanos::ZERO) || self.is_busy(py) {
            self.poll(py, &Unmeasured)?;
        } else {
            self.sleep(py, limit, &Unmeasured)?;
        }
        self.take_inbox(py);
        let found = ready().saturating_sub(before);
        self.flags.has_announced.set(found != 0);
        Ok(Some(found))
    }
}

impl LoopCore {
    /// Whether timers and the wait follow a clock of the program's.
    #[inline]
    pub(crate) fn follows_program(&self) -> bool {
        self.flags.follows_program.get()
    }

    pub(crate) fn set_follows_program(&self, follows: bool) {
        self.flags.follows_program.set(follows);
        self.choose_turns();
    }

    /// Whether there is something to do without a wait.
    fn is_busy(&self, py: Python<'_>) -> bool {
        let is_stopping = self.flags.stopping.get() || self.flags.has_behind_poll.get();
        is_stopping || self.with_reactor(py, |reactor| !reactor.ready.is_empty())
    }
}

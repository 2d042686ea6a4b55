//! How long turns, callbacks and waits take, and which coroutines take the processor's time: measured on request.
//!
//! A turn is generic over a [`Probe`]. The ordinary turn has the one that does nothing, from which the compiler makes the turn
//! without any; a loop that is measured runs turns of their own.
//!
//! # What is measured
//! - *Waits*: each question to the kernel, with and without waiting, until the kernel has answered. The time that a thread then
//!   waits for the interpreter is in none of the figures.
//! - *Callbacks*: each entry, from the end of the one before, so that nothing between two is missed.
//! - *Turns*: from the first entry's beginning to the last one's end; turns without an entry are not counted.
//! - *Coroutines*: the processor's time of each step of a native task, under the coroutine's qualified name.
//!
//! An entry that runs turns of the loop itself includes what is measured in them.

use std::collections::HashMap;

use ferrio_engine::sys::clock;
use ferrio_engine::time::Nanos;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::entry::Entry;
use super::histogram::Histogram;
use super::loop_core::{Flag, LoopCore};
use crate::ffi::guarded::Guarded;
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// Names of coroutines that are told apart; what further ones take is counted under [`OTHERS`].
const MOST_NAMES: usize = 1_000;
const OTHERS: &str = "(others)";

/// What the steps of the coroutines of one name have taken.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) steps: u64,
    /// Nanoseconds of the processor's time.
    pub(crate) cpu: u64,
    /// Nanoseconds from the beginning to the end of the longest step.
    pub(crate) longest: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Measures {
    turns: Histogram,
    callbacks: Histogram,
    waits: Histogram,
    /// Coroutines are measured as well.
    by_coroutine: Flag,
    coroutines: Guarded<HashMap<String, Cost>>,
}

impl Measures {
    fn note_step(&self, py: Python<'_>, name: &str, cpu: Nanos, lasted: Nanos) {
        self.coroutines.with(py, |coroutines| {
            let is_known = coroutines.len() < MOST_NAMES || coroutines.contains_key(name);
            let name = if is_known { name } else { OTHERS };
            if !coroutines.contains_key(name) {
                coroutines.insert(name.to_owned(), Cost::default());
            }
            if let Some(cost) = coroutines.get_mut(name) {
                cost.steps += 1;
                cost.cpu = cost.cpu.saturating_add(cpu.as_nanos());
                cost.longest = cost.longest.max(lasted.as_nanos());
            }
        });
    }
}

/// Who measures a turn.
pub(super) trait Probe: Sync {
    type Moment: Copy;
    type Step;

    /// A question to the kernel. The calling thread may be detached.
    fn wait<R>(&self, question: impl FnOnce() -> R) -> R;
    /// The turn's entries are about to run.
    fn begin_entries(&self) -> Self::Moment;
    fn begin_entry(&self, py: Python<'_>, entry: &Entry) -> Self::Step;
    /// The entry has run; `since`: what was returned for the one before.
    fn end_entry(&self, py: Python<'_>, step: Self::Step, since: Self::Moment) -> Self::Moment;
    /// All have run, from `first` to `last`.
    fn end_entries(&self, first: Self::Moment, last: Self::Moment);
}

/// Measures nothing.
pub(super) struct Unmeasured;

impl Probe for Unmeasured {
    type Moment = ();
    type Step = ();

    #[inline]
    fn wait<R>(&self, question: impl FnOnce() -> R) -> R {
        question()
    }

    #[inline]
    fn begin_entries(&self) {}

    #[inline]
    fn begin_entry(&self, _: Python<'_>, _: &Entry) {}

    #[inline]
    fn end_entry(&self, _: Python<'_>, (): (), (): ()) {}

    #[inline]
    fn end_entries(&self, (): (), (): ()) {}
}

/// Measures.
pub(super) struct Measured<'a>(&'a Measures);

impl<'a> Measured<'a> {
    pub(super) const fn of(core: &'a LoopCore) -> Self {
        Self(&core.measures)
    }
}

impl Probe for Measured<'_> {
    type Moment = Nanos;
    /// The name of the coroutine that is stepped, and the thread's time before.
    type Step = Option<(Object, Nanos)>;

    fn wait<R>(&self, question: impl FnOnce() -> R) -> R {
        let before = clock::now();
        let answer = question();
        self.0.waits.note(clock::now().saturating_sub(before));
        answer
    }

    fn begin_entries(&self) -> Nanos {
        clock::now()
    }

    fn begin_entry(&self, py: Python<'_>, entry: &Entry) -> Self::Step {
        if !self.0.by_coroutine.get() {
            return None;
        }
        let coroutine = entry.coroutine(py)?;
        let coroutine = coroutine.bind(py);
        // What is no coroutine of Python's may have none, or another object in its place.
        let name = coroutine.getattr(&names(py).__qualname__).ok().and_then(|name| name.cast_into::<PyString>().ok());
        let name = name.or_else(|| coroutine.get_type().qualname().ok())?;
        Some((Object::new(name), clock::thread_time()))
    }

    fn end_entry(&self, py: Python<'_>, step: Self::Step, since: Nanos) -> Nanos {
        let cpu = step.map(|(name, before)| (name, clock::thread_time().saturating_sub(before)));
        let now = clock::now();
        let lasted = now.saturating_sub(since);
        self.0.callbacks.note(lasted);
        if let Some((name, cpu)) = cpu
            && let Ok(name) = name.bind(py).cast::<PyString>()
        {
            self.0.note_step(py, &name.to_string_lossy(), cpu, lasted);
        }
        now
    }

    fn end_entries(&self, first: Nanos, last: Nanos) {
        if last != first {
            self.0.turns.note(last.saturating_sub(first));
        }
    }
}

impl LoopCore {
    /// Whether turns are measured.
    pub(crate) fn is_measured(&self) -> bool {
        self.flags.is_measured.get()
    }

    /// Begins and ends measuring, of coroutines as well or not, from the next turn on.
    pub(crate) fn measure(&self, level: Measuring) {
        self.measures.by_coroutine.set(level == Measuring::WithCoroutines);
        self.flags.is_measured.set(level != Measuring::Nothing);
        self.choose_turns();
    }

    /// The histograms of timers' lags, turns, callbacks and waits: the counts of their buckets, and their sum.
    pub(crate) fn histograms(&self) -> [Vec<u64>; 4] {
        let measures = &self.measures;
        [&self.counters.lags, &measures.turns, &measures.callbacks, &measures.waits].map(Histogram::figures)
    }

    /// What the coroutines of each name have taken.
    pub(crate) fn coroutines(&self, py: Python<'_>) -> Vec<(String, Cost)> {
        self.measures
            .coroutines
            .with(py, |coroutines| coroutines.iter().map(|(name, cost)| (name.clone(), *cost)).collect())
    }
}

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measuring {
    Nothing,
    Turns,
    WithCoroutines,
}

//! Turning: wait, collect, run. The order is the engine's `reactor` contract.

use ferrio_engine::backend::{Announcement, Backend, Interest, Key, Poller};
use ferrio_engine::reactor::Reactor;
use ferrio_engine::sys::clock;
use ferrio_engine::time::{Nanos, SleepBudget};
use pyo3::prelude::*;
use rustix::io::Errno;

use super::entry::{Entry, Event};
use super::exit::Exit;
use super::loop_core::LoopCore;
use super::measures::{Measured, Probe, Unmeasured};
use super::parts;
use super::pulse::Pulse;
use super::source::Source;
use super::timer::Timer;
use crate::ffi::class::Instance;
use crate::ffi::errors::os_error;
use crate::ffi::object::Object;
use crate::ffi::thread_state;

/// Registrations that a loop has by itself: its wake-up descriptor.
const OWN_REGISTRATIONS: usize = 1;

/// Turns after which the hook that runs before a sleep runs in any case.
const TURNS_WITHOUT_HOOK: u64 = 512;

/// What a function is told that an extension has posted.
const POSTED: core::ffi::c_int = 1;

/// How many entries ahead an object is loaded: a few callbacks take as long as that.
const PREFETCHED: usize = 4;

/// The loop is about to sleep, or sleeps: whoever pushes into its inbox wakes it. Over when this is dropped.
struct Asleep<'a>(&'a LoopCore);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.inbox.awake();
    }
}

/// An entry is being run, until this is dropped; `around`: the one within which it is, 0 for none.
struct InEntry<'a> {
    pulse: &'a Pulse,
    around: usize,
}

impl<'a> InEntry<'a> {
    #[inline]
    fn begin(pulse: &'a Pulse, entry: usize, around: usize) -> Self {
        pulse.set_entry(entry);
        Self { pulse, around }
    }
}

impl Drop for InEntry<'_> {
    #[inline]
    fn drop(&mut self) {
        self.pulse.set_entry(self.around);
    }
}

/// The loop turns until this is dropped; `around`: it did before.
struct Turning<'a> {
    core: &'a LoopCore,
    py: Python<'a>,
    around: bool,
}

impl<'a> Turning<'a> {
    fn begin(py: Python<'a>, core: &'a LoopCore) -> Self {
        let around = core.flags.turning.get();
        core.flags.turning.set(true);
        core.pulse.set_thread_state(thread_state::current_address(py));
        Self { core, py, around }
    }
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.core.flags.turning.set(self.around);
        if !self.around {
            self.core.note_stop(self.py);
        }
    }
}

impl LoopCore {
    /// Turns until `stop()` was called. The turn in which it was called runs to its end.
    pub(crate) fn run_until_stopped(&self, py: Python<'_>, event_loop: &Instance<Self>) -> PyResult<()> {
        let _turning = Turning::begin(py, self);
        loop {
            self.look_at_handles(py)?;
            self.run_once(py, event_loop)?;
            if self.flags.stopping.get() {
                return Ok(());
            }
        }
    }

    /// Nobody runs the loop any more, which may become garbage with what waits in it.
    pub(crate) fn note_stop(&self, py: Python<'_>) {
        self.take_inbox(py);
        self.with_reactor(py, |reactor| {
            reactor.ready.iter().for_each(Entry::on_stop);
            reactor.timers.iter_new().for_each(Timer::released);
        });
    }

    /// One turn.
    pub(crate) fn run_once(&self, py: Python<'_>, event_loop: &Instance<Self>) -> PyResult<()> {
        if self.flags.turns_specially.get() {
            return self.run_once_specially(py, event_loop);
        }
        self.turn_once(py, &Unmeasured)
    }

    #[cold]
    fn run_once_specially(&self, py: Python<'_>, event_loop: &Instance<Self>) -> PyResult<()> {
        if self.follows_program() {
            event_loop.run_once_by_program(py)
        } else {
            self.turn_once(py, &Measured::of(self))
        }
    }

    /// One of the two special turns, or the ordinary one, from now on.
    pub(super) fn choose_turns(&self) {
        self.flags.turns_specially.set(self.flags.follows_program.get() || self.flags.is_measured.get());
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every turn")]
    fn turn_once(&self, py: Python<'_>, probe: &impl Probe) -> PyResult<()> {
        self.pulse.turns.add(1);
        self.take_inbox(py);
        let mut discarded: Vec<Timer> = Vec::new();
        let stopping = self.flags.stopping.get();
        let mut budget = self.with_reactor(py, |reactor| reactor.plan(stopping, &mut discarded, clock::now));
        Timer::discard(&mut discarded);
        if self.flags.has_behind_poll.get() {
            budget = SleepBudget::None;
        }
        if budget != SleepBudget::None {
            // A signal may have come while nothing in Python ran; its handler may have something for this turn.
            py.check_signals()?;
            self.take_inbox(py);
            if self.with_reactor(py, |reactor| !reactor.ready.is_empty()) || self.flags.stopping.get() {
                budget = SleepBudget::None;
            }
        }
        if !(self.flags.asked_before_sleep.get() && self.look_before_sleep(py, budget, probe)?) {
            match budget {
                SleepBudget::None => self.poll(py, probe)?,
                SleepBudget::For(limit) => self.sleep(py, Some(limit), probe)?,
                SleepBudget::Forever => self.sleep(py, None, probe)?,
            }
        }
        self.take_behind_poll(py);
        self.take_inbox(py);
        let has_timers = self.with_reactor(py, |reactor| !reactor.timers.is_empty());
        if has_timers {
            self.make_due_ready(py, clock::now(), &mut discarded);
        }
        Ok(self.run_entries(py, probe)?)
    }

    /// Makes the timers that are due at `now` ready. `discarded` is empty, before and after.
    #[inline]
    pub(super) fn make_due_ready(&self, py: Python<'_>, now: Nanos, discarded: &mut Vec<Timer>) {
        let mut marks: Vec<Object> = Vec::new();
        let due = self.with_reactor(py, |reactor| {
            reactor.collect_due(now, discarded, |timer| (timer.operations.due)(timer, &mut marks))
        });
        if let Some((count, lag)) = due {
            self.counters.note_due(count, lag);
        }
        Timer::discard(discarded);
        drop(marks);
    }

    /// Runs the entries that are ready now.
    ///
    /// # Errors
    /// What leaves the loop. The entries behind the one that it came from wait for the next run.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every turn")]
    pub(super) fn run_entries(&self, py: Python<'_>, probe: &impl Probe) -> Result<(), Exit> {
        if self.pulse.entry() == 0 { self.run_each::<false>(py, probe) } else { self.run_within(py, probe) }
    }

    /// [`Self::run_entries`] in a turn within an entry.
    #[cold]
    fn run_within(&self, py: Python<'_>, probe: &impl Probe) -> Result<(), Exit> {
        self.run_each::<true>(py, probe)
    }

    /// `WITHIN`: entries whose context is entered by an entry around this turn are put off.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every turn")]
    fn run_each<const WITHIN: bool>(&self, py: Python<'_>, probe: &impl Probe) -> Result<(), Exit> {
        let entries = self.with_reactor(py, |reactor| reactor.ready.turn());
        self.counters.callbacks.add(entries);
        let pulse = &*self.pulse;
        let around = if WITHIN { pulse.entry() } else { 0 };
        let turn = probe.begin_entries();
        let mut since = turn;
        for number in (1..=entries).rev() {
            // An entry may have emptied the queue: `close()` within a callback of a stopped loop.
            let entry = self.with_reactor(py, |reactor| {
                if let Some(soon) = reactor.ready.peek(PREFETCHED) {
                    soon.prefetch();
                }
                reactor.ready.pop()
            });
            let Some(entry) = entry else { break };
            if WITHIN && entry.is_kept_out(py) {
                self.put_off(py, entry);
                continue;
            }
            let name = probe.begin_entry(py, &entry);
            let outcome = self.run_entry(py, entry, InEntry::begin(pulse, number, around));
            since = probe.end_entry(py, name, since);
            outcome?;
        }
        probe.end_entries(turn, since);
        self.contexts.give_up(py);
        Ok(())
    }

    /// Asks the kernel without waiting before a sleep, and runs the hook if there is no news; after many turns without such a
    /// moment it runs in any case. Whether there is something to run now, and the kernel has been asked.
    #[inline(never)]
    pub(super) fn look_before_sleep(&self, py: Python<'_>, budget: SleepBudget, probe: &impl Probe) -> PyResult<bool> {
        let may_sleep = budget != SleepBudget::None;
        let is_idle = || {
            let is_empty = self.with_reactor(py, |reactor| reactor.ready.is_empty()) && self.inbox.is_empty();
            is_empty && !self.flags.has_behind_poll.get() && !self.flags.stopping.get()
        };
        if may_sleep {
            self.poll(py, probe)?;
        }
        if (may_sleep && is_idle()) || self.turn().is_multiple_of(TURNS_WITHOUT_HOOK) {
            self.flags.asked_before_sleep.set(false);
            (parts::hooks().before_sleep)(py, self)?;
        }
        Ok(may_sleep && !is_idle())
    }

    /// Asks the kernel without waiting; skipped while only the wake-up descriptor is registered, whose news is in the
    /// inbox already, and the signals' pair, as long as it is there to end waits only.
    pub(super) fn poll(&self, py: Python<'_>, probe: &impl Probe) -> PyResult<()> {
        let own = OWN_REGISTRATIONS + usize::from(self.flags.is_signal_pair_idle.get());
        let Some(mut poller) =
            self.with_reactor(py, |reactor| (reactor.backend.registrations() > own).then(|| reactor.start_wait()))
        else {
            return py.check_signals();
        };
        self.counters.polls.add(1);
        let outcome = probe.wait(|| poller.wait(Some(Nanos::ZERO)));
        self.finish_wait(py, poller, outcome)
    }

    /// Waits for at most `limit`, detached from the interpreter.
    pub(super) fn sleep(&self, py: Python<'_>, limit: Option<Nanos>, probe: &impl Probe) -> PyResult<()> {
        if !self.inbox.prepare_sleep() {
            return self.poll(py, probe);
        }
        let asleep = Asleep(self);
        let mut poller = self.with_reactor(py, Reactor::start_wait);
        self.counters.polls.add(1);
        self.counters.sleeps.add(1);
        let outcome = py.detach(|| probe.wait(|| poller.wait(limit)));
        drop(asleep);
        self.finish_wait(py, poller, outcome)
    }

    fn finish_wait(
        &self,
        py: Python<'_>,
        poller: <super::loop_core::Kernel as Backend>::Poller,
        outcome: Result<(), ferrio_engine::sys::Error>,
    ) -> PyResult<()> {
        let found = self.with_reactor(py, |reactor| reactor.end_wait(poller));
        for announcement in &found {
            self.announce(py, *announcement);
        }
        self.with_reactor(py, |reactor| reactor.recycle(found));
        match outcome {
            Err(error) if error.errno != Errno::INTR => Err(os_error(py, error)),
            _ => py.check_signals(),
        }
    }

    /// Turns what the kernel reported into ready entries.
    fn announce(&self, py: Python<'_>, announcement: Announcement) {
        let Announcement { key, ready } = announcement;
        let is_wake = self.with_reactor(py, |reactor| {
            match reactor.sources.get(key) {
                None => {}
                Some(Source::Wake) => return true,
                Some(Source::Object { .. }) => reactor.ready.push(Entry::ready(key, ready)),
                Some(Source::State(state)) => state.announce(key, ready, &mut |entry| reactor.ready.push(entry)),
            }
            false
        });
        if is_wake {
            self.clear_wake(py);
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it has one caller, for every entry")]
    fn run_entry(&self, py: Python<'_>, entry: Entry, in_entry: InEntry<'_>) -> Result<(), Exit> {
        let outcome = match entry {
            Entry::Call { operations, object, argument } => (operations.run)(py, self, object, argument),
            Entry::Detached(detached) => (self.run_detached)(py, self, &detached),
            Entry::Event(Event::Ready { key, ready }) => self.run_ready(py, key, ready),
            Entry::Event(Event::External(callback)) => {
                callback.call(py, POSTED);
                Ok(())
            }
            Entry::Event(Event::Deferred(deferred)) => deferred.run(py, self),
        };
        drop(in_entry);
        if self.flags.asked_after_entry.get() {
            let after = self.run_after_entry(py);
            return outcome.and(after);
        }
        outcome
    }

    /// Runs a source that has news, unless its key has ended.
    #[inline]
    fn run_ready(&self, py: Python<'_>, key: Key, ready: Interest) -> Result<(), Exit> {
        let found = self.with_reactor(py, |reactor| match reactor.sources.get(key) {
            Some(Source::Object { run, object: Some(object) }) => Some((*run, Some(object.clone()))),
            Some(Source::State(state)) => Some((state.run(), None)),
            _ => None,
        });
        found.map_or(Ok(()), |(run, object)| run(py, self, object, key, ready))
    }
}

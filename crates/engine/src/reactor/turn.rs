//! The parts of one turn, in the order that asyncio promises.
//!
//! 1. [`Reactor::plan`]: how long may the wait last: not at all when anything is ready, else until the next timer.
//! 2. [`Reactor::start_wait`], the wait, [`Reactor::end_wait`]: poll the kernel.
//! 3. What was found becomes ready, in the order of the kernel: the caller turns announcements into entries.
//! 4. [`Reactor::collect_due`]: due timers become ready, never early.
//! 5. The caller runs exactly the entries that [`Ready::turn`] counts; what they add waits for the next turn.
//!
//! The reactor is generic over the entries: it runs none of them, and drops none either (a drop may run foreign code that
//! comes back to the reactor); what it no longer needs, it hands back. It reads no clock: the caller passes the time, so
//! that turns over the scripted backend run in its virtual time.

use crate::backend::{Announcement, Backend, Slots};
use crate::queue::Ready;
use crate::time::{Expirable, Nanos, SleepBudget, Timers, sleep_budget};

/// The kinds of entries that a loop runs.
pub trait Work {
    /// What is run in a turn.
    type Entry;
    /// What waits for a deadline.
    type Timer: Expirable;
    /// Who wants to hear of a descriptor.
    type Source;
}

/// A loop's state below its language: queues, timers, descriptors. Loop thread only.
pub struct Reactor<B: Backend, W: Work> {
    /// The door to the kernel.
    pub backend: B,
    /// Who owns which key.
    pub sources: Slots<W::Source>,
    /// Entries to run.
    pub ready: Ready<W::Entry>,
    /// Entries to run later.
    pub timers: Timers<W::Timer>,
    found: Vec<Announcement>,
}

impl<B: Backend, W: Work> Reactor<B, W> {
    /// A reactor over `backend` with nothing to do.
    pub fn new(backend: B) -> Self {
        Self { backend, sources: Slots::default(), ready: Ready::new(), timers: Timers::new(), found: Vec::new() }
    }

    /// How long the wait of this turn may last; `now` is asked only if that depends on a timer. Cancelled timers met on the
    /// way land in `discarded`.
    #[inline]
    pub fn plan(&mut self, stopping: bool, discarded: &mut Vec<W::Timer>, now: impl FnOnce() -> Nanos) -> SleepBudget {
        if stopping || !self.ready.is_empty() {
            if self.timers.cancelled_len() != 0 {
                // A loop that never sleeps gives up cancelled timers as well.
                self.timers.next_deadline(discarded);
            }
            return SleepBudget::None;
        }
        match self.timers.next_deadline(discarded) {
            None => SleepBudget::Forever,
            Some(deadline) => sleep_budget(true, false, Some(deadline), now()),
        }
    }

    /// Takes the blocking half out for one wait.
    pub fn start_wait(&mut self) -> B::Poller {
        self.backend.start_wait()
    }

    /// Puts the blocking half back; what it found, in order, comes back in a buffer that [`Self::recycle`] takes again.
    pub fn end_wait(&mut self, poller: B::Poller) -> Vec<Announcement> {
        let mut found = core::mem::take(&mut self.found);
        self.backend.end_wait(poller, &mut found);
        found
    }

    /// Takes the buffer of announcements back for the next turn.
    pub fn recycle(&mut self, mut found: Vec<Announcement>) {
        found.clear();
        self.found = found;
    }

    /// Makes the timers that are due at `now` ready, as the entries that `entry_of` makes of them: how many, and how long ago
    /// the first of them was due. Cancelled timers met on the way land in `discarded`.
    ///
    /// `entry_of` runs while the reactor is borrowed: what it takes out of a timer it keeps for its caller to drop.
    pub fn collect_due(
        &mut self,
        now: Nanos,
        discarded: &mut Vec<W::Timer>,
        mut entry_of: impl FnMut(W::Timer) -> W::Entry,
    ) -> Option<(usize, Nanos)> {
        let Self { timers, ready, .. } = self;
        let (mut earliest, mut count) = (None, 0);
        timers.take_due(now, discarded, |deadline, timer| {
            earliest.get_or_insert(deadline);
            count += 1;
            ready.push(entry_of(timer));
        });
        earliest.map(|earliest| (count, now.saturating_sub(earliest)))
    }
}

//! When a piece of work has lasted too long, for somebody who looks at it from time to time.
//!
//! Whoever looks says which piece of work is under way and how much time has passed since the last look. The answer says
//! whether a stall has begun, lasts, or has ended. Nothing is known of the time between two looks: a piece of work counts from
//! the first look that finds it, so a stall is never reported that has not lasted for the whole limit.
//!
//! # Invariants
//! 1. Each stall begins once and ends once; in between it is reported when it has lasted for twice, four times, ... the limit.
//! 2. A look that comes late counts for no more than [`Lookout::rest`] twice: the process was stopped, not the work.

use core::time::Duration;

/// Looks in the time that is the limit.
const LOOKS: u32 = 4;

/// No looks are closer together than this.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// See the module. `M` names a piece of work.
#[derive(Debug)]
pub struct Lookout<M> {
    limit: Duration,
    work: Option<M>,
    lasted: Duration,
    /// The work has been reported; it is again when it has lasted for so long.
    due: Option<Duration>,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing to tell.
    Clear,
    /// The work under way has lasted for the limit: for so long.
    Begun(Duration),
    /// It has lasted for twice as long as when it was reported last.
    Lasting(Duration),
    /// The stall that was reported is over; it lasted at least for so long.
    Ended(Duration),
}

impl<M: Copy + Eq> Lookout<M> {
    /// Looks for work that lasts for `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, work: None, lasted: Duration::ZERO, due: None }
    }

    /// The time between two looks.
    #[must_use]
    pub fn rest(&self) -> Duration {
        (self.limit / LOOKS).max(SHORTEST_REST)
    }

    /// Looks: `work` is under way, and `passed` has gone by since the last look.
    pub fn look(&mut self, work: Option<M>, passed: Duration) -> Sight {
        if work.is_none() || work != self.work {
            self.work = work;
            let lasted = core::mem::take(&mut self.lasted);
            return self.due.take().map_or(Sight::Clear, |_| Sight::Ended(lasted));
        }
        self.lasted += passed.min(self.rest() * 2);
        if self.lasted < self.due.unwrap_or(self.limit) {
            return Sight::Clear;
        }
        let is_first = self.due.is_none();
        self.due = Some(self.lasted.saturating_mul(2));
        if is_first { Sight::Begun(self.lasted) } else { Sight::Lasting(self.lasted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);
    const REST: Duration = Duration::from_millis(25);

    fn looks(lookout: &mut Lookout<u8>, work: Option<u8>, count: usize) -> Vec<Sight> {
        (0..count).map(|_| lookout.look(work, REST)).filter(|sight| *sight != Sight::Clear).collect()
    }

    #[test]
    fn work_counts_from_the_first_look_that_finds_it() {
        let mut lookout = Lookout::new(LIMIT);
        assert_eq!(looks(&mut lookout, Some(1), 4), []);
        assert_eq!(looks(&mut lookout, Some(1), 1), [Sight::Begun(LIMIT)]);
    }

    #[test]
    fn a_stall_begins_once_is_reported_at_doubling_times_and_ends_once() {
        let mut lookout = Lookout::new(LIMIT);
        let expected = [Sight::Begun(LIMIT), Sight::Lasting(LIMIT * 2), Sight::Lasting(LIMIT * 4)];
        assert_eq!(looks(&mut lookout, Some(1), 30), expected);
        assert_eq!(looks(&mut lookout, None, 3), [Sight::Ended(REST * 29)]);
    }

    #[test]
    fn other_work_is_no_stall_however_long_it_goes_on() {
        let mut lookout = Lookout::new(LIMIT);
        for work in 0..100 {
            assert_eq!(looks(&mut lookout, Some(work), 4), []);
        }
    }

    #[test]
    fn one_stall_may_follow_another() {
        let mut lookout = Lookout::new(LIMIT);
        assert_eq!(looks(&mut lookout, Some(1), 5), [Sight::Begun(LIMIT)]);
        assert_eq!(looks(&mut lookout, Some(2), 5), [Sight::Ended(LIMIT), Sight::Begun(LIMIT)]);
    }

    #[test]
    fn a_process_that_was_stopped_is_no_stall() {
        let mut lookout = Lookout::new(LIMIT);
        assert_eq!(lookout.look(Some(1), REST), Sight::Clear);
        assert_eq!(lookout.look(Some(1), Duration::from_secs(3600)), Sight::Clear);
        assert_eq!(lookout.look(Some(2), REST), Sight::Clear);
    }

    #[test]
    fn nothing_under_way_is_no_stall() {
        let mut lookout = Lookout::new(LIMIT);
        assert_eq!(looks(&mut lookout, None, 100), []);
    }
}

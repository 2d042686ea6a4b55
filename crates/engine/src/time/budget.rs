//! How long the poll of one turn may block.
//!
//! Follows the start of asyncio's `BaseEventLoop._run_once`, except that a long sleep is not cut to one day: the
//! backend limits it to what its system call can express, and waking too early only costs a turn.

use super::Nanos;

/// The longest time that a poll may block.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SleepBudget {
    /// Not at all: there is work.
    None,
    /// At most this span, never zero.
    For(Nanos),
    /// Until the kernel or another thread has something.
    Forever,
}

/// Decides how long a turn may sleep.
///
/// `next_deadline` is that of the earliest live timer. `stopping`: the loop ends with this turn, so it only polls.
#[inline]
#[must_use]
pub fn sleep_budget(ready_is_empty: bool, stopping: bool, next_deadline: Option<Nanos>, now: Nanos) -> SleepBudget {
    if !ready_is_empty || stopping {
        return SleepBudget::None;
    }
    match next_deadline {
        None => SleepBudget::Forever,
        Some(deadline) if deadline <= now => SleepBudget::None,
        Some(deadline) => SleepBudget::For(deadline.saturating_sub(now)),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const NOW: Nanos = Nanos::from_nanos(1_000);

    #[test]
    fn ready_entries_or_stopping_forbid_sleep() {
        assert_eq!(sleep_budget(false, false, None, NOW), SleepBudget::None);
        assert_eq!(sleep_budget(true, true, None, NOW), SleepBudget::None);
        assert_eq!(sleep_budget(false, false, Some(Nanos::MAX), NOW), SleepBudget::None);
    }

    #[test]
    fn without_timers_only_an_event_ends_the_sleep() {
        assert_eq!(sleep_budget(true, false, None, NOW), SleepBudget::Forever);
    }

    #[test]
    fn sleep_ends_exactly_at_the_deadline() {
        let deadline = NOW.saturating_add(Nanos::from_nanos(7));
        assert_eq!(sleep_budget(true, false, Some(deadline), NOW), SleepBudget::For(Nanos::from_nanos(7)));
    }

    #[test]
    fn a_deadline_that_has_come_forbids_sleep() {
        assert_eq!(sleep_budget(true, false, Some(NOW), NOW), SleepBudget::None);
        assert_eq!(sleep_budget(true, false, Some(Nanos::ZERO), NOW), SleepBudget::None);
    }
}

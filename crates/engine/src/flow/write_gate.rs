//! Tells a protocol to pause and to resume writing, by the size of the outgoing queue.
//!
//! Follows asyncio's `transports._FlowControlMixin`: pause once the size is above the high-water mark, resume once it
//! is at or below the low-water mark, in strict alternation.
//!
//! | state | event | next | signal |
//! | --- | --- | --- | --- |
//! | open | `grown_to`, size > high | paused | `Pause` |
//! | paused | `drained_to`, size <= low | open | `Resume` |
//! | any | anything else | same | `Keep` |
//!
//! # Invariants
//! 1. `low <= high`.
//! 2. `Pause` and `Resume` alternate, beginning with `Pause`.
//!
//! # Units
//! Sizes and marks are in bytes.

use thiserror::Error;

/// The high-water mark unless set, in bytes; the low-water mark is a quarter of it.
const DEFAULT_HIGH: usize = 64 * 1024;

/// What to tell the protocol.
#[must_use]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum GateSignal {
    /// Nothing.
    Keep,
    /// `pause_writing()`.
    Pause,
    /// `resume_writing()`.
    Resume,
}

/// The low-water mark would be above the high-water mark. The gate keeps its old marks.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[error("high ({high}) must be >= low ({low}) must be >= 0")]
pub struct LimitError {
    /// The high-water mark asked for or derived, in bytes.
    pub high: usize,
    /// The low-water mark asked for or derived, in bytes.
    pub low: usize,
}

/// Backpressure of one transport.
#[derive(Clone, Debug)]
pub struct WriteGate {
    high: usize,
    low: usize,
    paused: bool,
}

impl WriteGate {
    /// An open gate with the default marks.
    #[must_use]
    pub const fn new() -> Self {
        Self { high: DEFAULT_HIGH, low: DEFAULT_HIGH / 4, paused: false }
    }

    /// Sets the marks. Without `high` it is four times `low`, without `low` it is a quarter of `high`, without both the
    /// defaults return.
    ///
    /// asyncio looks at the queue right after: call [`WriteGate::grown_to`] with the present size.
    ///
    /// # Errors
    /// [`LimitError`] if the low-water mark is above the high-water mark.
    pub fn set_limits(&mut self, high: Option<usize>, low: Option<usize>) -> Result<(), LimitError> {
        let high = high.unwrap_or_else(|| low.map_or(DEFAULT_HIGH, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if high < low {
            return Err(LimitError { high, low });
        }
        self.high = high;
        self.low = low;
        Ok(())
    }

    /// The queue has grown, or the marks have moved; `size` is what it holds now.
    #[inline]
    pub fn grown_to(&mut self, size: usize) -> GateSignal {
        if size <= self.high || self.paused {
            return GateSignal::Keep;
        }
        self.paused = true;
        GateSignal::Pause
    }

    /// The queue has shrunk; `size` is what it holds now.
    #[inline]
    pub fn drained_to(&mut self, size: usize) -> GateSignal {
        if !self.paused || size > self.low {
            return GateSignal::Keep;
        }
        self.paused = false;
        GateSignal::Resume
    }

    /// The marks: (low, high), as `get_write_buffer_limits` returns them.
    #[inline]
    #[must_use]
    pub const fn limits(&self) -> (usize, usize) {
        (self.low, self.high)
    }

    /// Whether the protocol was told to pause and not yet to resume.
    #[inline]
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }
}

impl Default for WriteGate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn the_default_marks_are_64_and_16_kib() {
        assert_eq!(WriteGate::new().limits(), (16 * KIB, 64 * KIB));
    }

    #[test]
    fn exactly_high_does_not_pause_and_one_more_pauses_once() {
        let mut gate = WriteGate::new();
        assert_eq!(gate.grown_to(64 * KIB), GateSignal::Keep);
        assert_eq!(gate.grown_to(64 * KIB + 1), GateSignal::Pause);
        assert_eq!(gate.grown_to(65 * KIB), GateSignal::Keep);
        assert!(gate.is_paused());
    }

    #[test]
    fn draining_to_exactly_low_resumes_once() {
        let mut gate = WriteGate::new();
        assert_eq!(gate.grown_to(100 * KIB), GateSignal::Pause);
        assert_eq!(gate.drained_to(16 * KIB + 1), GateSignal::Keep);
        assert_eq!(gate.drained_to(16 * KIB), GateSignal::Resume);
        assert_eq!(gate.drained_to(0), GateSignal::Keep);
        assert!(!gate.is_paused());
    }

    #[test]
    fn growing_never_resumes_and_draining_never_pauses() {
        let mut gate = WriteGate::new();
        assert_eq!(gate.drained_to(100 * KIB), GateSignal::Keep);
        assert_eq!(gate.grown_to(100 * KIB), GateSignal::Pause);
        assert_eq!(gate.grown_to(0), GateSignal::Keep);
    }

    #[test]
    fn a_missing_mark_follows_from_the_other() {
        let mut gate = WriteGate::new();
        for (high, low, limits) in [
            (Some(100), None, (25, 100)),
            (Some(3), None, (0, 3)),
            (None, Some(7), (7, 28)),
            (Some(0), None, (0, 0)),
            (None, Some(0), (0, 0)),
            (Some(5), Some(5), (5, 5)),
            (None, None, (16 * KIB, 64 * KIB)),
            (None, Some(usize::MAX), (usize::MAX, usize::MAX)),
        ] {
            assert_eq!(gate.set_limits(high, low), Ok(()));
            assert_eq!(gate.limits(), limits);
        }
    }

    #[test]
    fn low_above_high_is_refused_and_changes_nothing() {
        let mut gate = WriteGate::new();
        let error = gate.set_limits(Some(5), Some(6)).expect_err("low is above high");
        assert_eq!(error, LimitError { high: 5, low: 6 });
        assert_eq!(error.to_string(), "high (5) must be >= low (6) must be >= 0");
        assert_eq!(gate.limits(), (16 * KIB, 64 * KIB));
    }

    #[test]
    fn marks_at_zero_pause_with_the_first_byte_and_resume_when_empty() {
        let mut gate = WriteGate::new();
        assert_eq!(gate.set_limits(Some(0), None), Ok(()));
        assert_eq!(gate.grown_to(0), GateSignal::Keep);
        assert_eq!(gate.grown_to(1), GateSignal::Pause);
        assert_eq!(gate.drained_to(0), GateSignal::Resume);
    }

    #[test]
    fn lowered_marks_pause_at_the_next_look() {
        let mut gate = WriteGate::new();
        assert_eq!(gate.grown_to(KIB), GateSignal::Keep);
        assert_eq!(gate.set_limits(Some(10), None), Ok(()));
        assert_eq!(gate.grown_to(KIB), GateSignal::Pause);
    }
}

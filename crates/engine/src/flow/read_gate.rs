//! Decides whether a transport wants its descriptor's readability.
//!
//! Wanted means: reading has started, the user has not paused it, the peer has not ended it, and the transport is not
//! closing. Each condition is a bit that stands for a reason not to read; readability is wanted while no bit is set.
//!
//! | event | sets | clears | ignored while |
//! | --- | --- | --- | --- |
//! | `start` | | not started | |
//! | `pause` | paused | | closing |
//! | `resume` | | paused | closing |
//! | `end_of_file` | ended | | |
//! | `close` | closing | | |
//!
//! Follows asyncio's `_SelectorTransport`, with one difference: `resume` after the end of file does not read again, so
//! `eof_received()` is called once. asyncio registers the reader again and reports the same end a second time.
//!
//! # Invariants
//! 1. `Start` and `Stop` alternate, beginning with `Start`.
//! 2. Ended and closing are final.

/// What to do with the descriptor's registration for readability.
#[must_use]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Leave it as it is.
    Unchanged,
    /// Begin to watch.
    Start,
    /// Cease to watch.
    Stop,
}

/// `connection_made()` has not been called yet.
const NOT_STARTED: u8 = 1;
/// `pause_reading()` was called.
const PAUSED: u8 = 1 << 1;
/// The peer sent its end of file.
const ENDED: u8 = 1 << 2;
/// `close()` or `abort()` was called, or the connection is lost.
const CLOSING: u8 = 1 << 3;

/// The wish to read of one transport.
#[derive(Clone, Debug)]
pub struct ReadGate {
    /// Reasons not to read.
    blocked: u8,
}

impl ReadGate {
    /// Not started, not paused.
    #[must_use]
    pub const fn new() -> Self {
        Self { blocked: NOT_STARTED }
    }

    /// `connection_made()` has returned.
    pub fn start(&mut self) -> Interest {
        self.move_to(self.blocked & !NOT_STARTED)
    }

    /// The user pauses reading.
    #[inline]
    pub fn pause(&mut self) -> Interest {
        if self.is_closing() {
            return Interest::Unchanged;
        }
        self.move_to(self.blocked | PAUSED)
    }

    /// The user resumes reading.
    #[inline]
    pub fn resume(&mut self) -> Interest {
        if self.is_closing() {
            return Interest::Unchanged;
        }
        self.move_to(self.blocked & !PAUSED)
    }

    /// The peer has ended its side and the protocol keeps ours open.
    pub fn end_of_file(&mut self) -> Interest {
        self.move_to(self.blocked | ENDED)
    }

    /// The transport is closing, by request or by failure.
    pub fn close(&mut self) -> Interest {
        self.move_to(self.blocked | CLOSING)
    }

    /// Whether readability is wanted now. A readiness event that arrives while it is not is stale.
    #[inline]
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.blocked == 0
    }

    /// What `Transport.is_reading()` answers: neither closing nor paused, whether started and ended or not.
    #[inline]
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        self.blocked & (CLOSING | PAUSED) == 0
    }

    /// Whether the peer's end of file was seen.
    #[inline]
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.blocked & ENDED != 0
    }

    #[inline]
    const fn is_closing(&self) -> bool {
        self.blocked & CLOSING != 0
    }

    #[inline]
    fn move_to(&mut self, blocked: u8) -> Interest {
        let was_wanted = self.is_wanted();
        self.blocked = blocked;
        match (was_wanted, self.is_wanted()) {
            (false, true) => Interest::Start,
            (true, false) => Interest::Stop,
            _ => Interest::Unchanged,
        }
    }
}

impl Default for ReadGate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn started() -> ReadGate {
        let mut gate = ReadGate::new();
        assert_eq!(gate.start(), Interest::Start);
        gate
    }

    #[test]
    fn nothing_is_wanted_before_the_start() {
        let mut gate = ReadGate::new();
        assert!(!gate.is_wanted());
        assert!(gate.is_reading());
        assert_eq!(gate.start(), Interest::Start);
        assert!(gate.is_wanted());
        assert_eq!(gate.start(), Interest::Unchanged);
    }

    #[test]
    fn pausing_before_the_start_defers_it_to_the_resume() {
        let mut gate = ReadGate::new();
        assert_eq!(gate.pause(), Interest::Unchanged);
        assert!(!gate.is_reading());
        assert_eq!(gate.start(), Interest::Unchanged);
        assert_eq!(gate.resume(), Interest::Start);
    }

    #[test]
    fn resuming_before_the_start_does_not_start() {
        let mut gate = ReadGate::new();
        assert_eq!(gate.pause(), Interest::Unchanged);
        assert_eq!(gate.resume(), Interest::Unchanged);
        assert_eq!(gate.start(), Interest::Start);
    }

    #[test]
    fn pausing_and_resuming_twice_acts_once() {
        let mut gate = started();
        assert_eq!(gate.pause(), Interest::Stop);
        assert_eq!(gate.pause(), Interest::Unchanged);
        assert_eq!(gate.resume(), Interest::Start);
        assert_eq!(gate.resume(), Interest::Unchanged);
    }

    #[test]
    fn nothing_is_wanted_after_the_end_of_file() {
        let mut gate = started();
        assert_eq!(gate.end_of_file(), Interest::Stop);
        assert!(gate.is_ended());
        assert!(gate.is_reading());
        assert_eq!(gate.pause(), Interest::Unchanged);
        assert!(!gate.is_reading());
        assert_eq!(gate.resume(), Interest::Unchanged);
        assert!(!gate.is_wanted());
    }

    #[test]
    fn closing_is_final() {
        let mut gate = started();
        assert_eq!(gate.pause(), Interest::Stop);
        assert_eq!(gate.close(), Interest::Unchanged);
        assert_eq!(gate.resume(), Interest::Unchanged);
        assert!(!gate.is_reading());
        let mut gate = started();
        assert_eq!(gate.close(), Interest::Stop);
        assert_eq!(gate.close(), Interest::Unchanged);
        assert_eq!(gate.resume(), Interest::Unchanged);
    }

    #[test]
    fn closing_before_the_start_prevents_it() {
        let mut gate = ReadGate::new();
        assert_eq!(gate.close(), Interest::Unchanged);
        assert_eq!(gate.start(), Interest::Unchanged);
    }
}

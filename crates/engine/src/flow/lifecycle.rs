//! The life of a stream transport, from `connection_made()` to the release of its descriptor.
//!
//! Follows asyncio's `_SelectorTransport` and `_SelectorSocketTransport`: `Closing` is `_closing` alone, `Lost` is
//! `_conn_lost > 0`, `Ended` is `_sock is None`.
//!
//! # Legal moves
//!
//! | from | event | to | the caller then |
//! | --- | --- | --- | --- |
//! | Open | `close`, queue empty | Lost | stops reading, schedules `connection_lost` for the next turn |
//! | Open | `close`, queue not empty | Closing | stops reading, goes on writing |
//! | Open, Closing | `force_close` | Lost | stops reading and writing, empties the queue, schedules `connection_lost` |
//! | Closing | `drained` | Lost | calls `connection_lost` at once |
//! | Lost | `ended` | Ended | has called `connection_lost` and releases the descriptor |
//!
//! Every other pair leaves the phase as it is and asks for nothing.
//!
//! # Invariants
//! 1. Phases only move forward, and each road to `Ended` passes `Lost` once: of all calls of `close`, `force_close` and
//!    `drained`, one at most answers `ScheduleLost` or `LoseNow`. `connection_lost` is called exactly once.
//! 2. `conn_lost` is 0 in `Open` and `Closing` and at least 1 after.
//! 3. Writes are taken in `Open` and `Closing`; asyncio's `write()` does not ask whether the transport is closing.

/// Discarded writes are logged from this value of `conn_lost` on: asyncio's `LOG_THRESHOLD_FOR_CONNLOST_WRITES`.
const LOG_THRESHOLD: u32 = 5;

/// Where a transport is in its life.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// In use.
    Open,
    /// `close()` was called; the queue is still draining and nothing more is read.
    Closing,
    /// `connection_lost()` is due: scheduled, or about to be called.
    Lost,
    /// `connection_lost()` was called and the descriptor is released.
    Ended,
}

/// What a request to close leads to.
#[must_use]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CloseStep {
    /// It was asked before.
    Nothing,
    /// Stop reading and writing, empty the queue and schedule `connection_lost()` for the next turn.
    ScheduleLost,
    /// Stop reading and go on writing; `drained` brings the end.
    Drain,
}

/// What an empty queue leads to.
#[must_use]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum DrainedStep {
    /// The transport lives on.
    Nothing,
    /// The last bytes of a closing transport are gone: call `connection_lost()` now, not in the next turn.
    LoseNow,
}

/// What to do with a write.
#[must_use]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum WriteVerdict {
    /// Send or queue it.
    Accept,
    /// Discard it: the connection is lost.
    Discard,
    /// Discard it and log asyncio's warning `socket.send() raised exception.`
    DiscardAndWarn,
}

/// The life of one stream transport.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Phase,
    /// 0 until the connection is lost, then 1 and one more for each write discarded since.
    conn_lost: u32,
}

impl Lifecycle {
    /// An open transport.
    #[must_use]
    pub const fn new() -> Self {
        Self { phase: Phase::Open, conn_lost: 0 }
    }

    /// The user closes the transport, or the peer ended it and the protocol does not keep it open.
    pub fn close(&mut self, queue_is_empty: bool) -> CloseStep {
        match self.phase {
            Phase::Open if queue_is_empty => self.lose(CloseStep::ScheduleLost),
            Phase::Open => {
                self.phase = Phase::Closing;
                CloseStep::Drain
            }
            _ => CloseStep::Nothing,
        }
    }

    /// The user aborts the transport, or it failed. Never answers [`CloseStep::Drain`].
    pub fn force_close(&mut self) -> CloseStep {
        match self.phase {
            Phase::Open | Phase::Closing => self.lose(CloseStep::ScheduleLost),
            Phase::Lost | Phase::Ended => CloseStep::Nothing,
        }
    }

    /// The queue has been written out. Call it after the protocol was told to resume writing, and only if that left the
    /// queue empty: `resume_writing()` may write, close or abort.
    #[inline]
    pub fn drained(&mut self) -> DrainedStep {
        match self.phase {
            Phase::Closing => self.lose(DrainedStep::LoseNow),
            _ => DrainedStep::Nothing,
        }
    }

    /// `connection_lost()` has returned or raised. Answers whether this call ended the life: true once, from `Lost`.
    pub fn ended(&mut self) -> bool {
        let ends = self.phase == Phase::Lost;
        if ends {
            self.phase = Phase::Ended;
        }
        ends
    }

    /// The user writes something that is not empty.
    #[inline]
    pub fn on_write(&mut self) -> WriteVerdict {
        match self.conn_lost {
            0 => WriteVerdict::Accept,
            lost => {
                self.conn_lost = lost.saturating_add(1);
                if lost < LOG_THRESHOLD { WriteVerdict::Discard } else { WriteVerdict::DiscardAndWarn }
            }
        }
    }

    /// The present phase.
    #[inline]
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What `Transport.is_closing()` answers.
    #[inline]
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    /// Whether the connection is lost: readiness events that still arrive are stale.
    #[inline]
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.conn_lost != 0
    }

    /// asyncio's `_conn_lost`.
    #[inline]
    #[must_use]
    pub const fn conn_lost(&self) -> u32 {
        self.conn_lost
    }

    fn lose<S>(&mut self, step: S) -> S {
        self.phase = Phase::Lost;
        self.conn_lost = 1;
        step
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// A transport in each phase, by the shortest road.
    fn in_phase(phase: Phase) -> Lifecycle {
        let mut life = Lifecycle::new();
        match phase {
            Phase::Open => {}
            Phase::Closing => assert_eq!(life.close(false), CloseStep::Drain),
            Phase::Lost => assert_eq!(life.close(true), CloseStep::ScheduleLost),
            Phase::Ended => {
                assert_eq!(life.force_close(), CloseStep::ScheduleLost);
                assert!(life.ended());
            }
        }
        assert_eq!(life.phase(), phase);
        life
    }

    const ALL: [Phase; 4] = [Phase::Open, Phase::Closing, Phase::Lost, Phase::Ended];

    #[test]
    fn the_table_of_legal_moves_holds() {
        use Phase::{Closing, Ended, Lost, Open};
        let close = |empty| move |life: &mut Lifecycle| life.close(empty);
        for (from, step, to) in [
            (Open, CloseStep::ScheduleLost, Lost),
            (Closing, CloseStep::Nothing, Closing),
            (Lost, CloseStep::Nothing, Lost),
            (Ended, CloseStep::Nothing, Ended),
        ] {
            let mut life = in_phase(from);
            assert_eq!((close(true)(&mut life), life.phase()), (step, to), "close(true) in {from:?}");
        }
        for (from, step, to) in [
            (Open, CloseStep::Drain, Closing),
            (Closing, CloseStep::Nothing, Closing),
            (Lost, CloseStep::Nothing, Lost),
            (Ended, CloseStep::Nothing, Ended),
        ] {
            let mut life = in_phase(from);
            assert_eq!((close(false)(&mut life), life.phase()), (step, to), "close(false) in {from:?}");
        }
        for (from, step, to) in [
            (Open, CloseStep::ScheduleLost, Lost),
            (Closing, CloseStep::ScheduleLost, Lost),
            (Lost, CloseStep::Nothing, Lost),
            (Ended, CloseStep::Nothing, Ended),
        ] {
            let mut life = in_phase(from);
            assert_eq!((life.force_close(), life.phase()), (step, to), "force_close in {from:?}");
        }
        for (from, step, to) in [
            (Open, DrainedStep::Nothing, Open),
            (Closing, DrainedStep::LoseNow, Lost),
            (Lost, DrainedStep::Nothing, Lost),
            (Ended, DrainedStep::Nothing, Ended),
        ] {
            let mut life = in_phase(from);
            assert_eq!((life.drained(), life.phase()), (step, to), "drained in {from:?}");
        }
        for (from, ends, to) in
            [(Open, false, Open), (Closing, false, Closing), (Lost, true, Ended), (Ended, false, Ended)]
        {
            let mut life = in_phase(from);
            assert_eq!((life.ended(), life.phase()), (ends, to), "ended in {from:?}");
        }
    }

    #[test]
    fn writes_are_accepted_until_the_connection_is_lost() {
        for phase in ALL {
            let mut life = in_phase(phase);
            let accepted = life.on_write() == WriteVerdict::Accept;
            assert_eq!(accepted, phase < Phase::Lost, "{phase:?}");
            assert_eq!(life.is_lost(), phase >= Phase::Lost, "{phase:?}");
        }
    }

    #[test]
    fn the_fifth_write_after_the_loss_warns_and_so_does_each_later_one() {
        for phase in [Phase::Lost, Phase::Ended] {
            let mut life = in_phase(phase);
            for _ in 0..4 {
                assert_eq!(life.on_write(), WriteVerdict::Discard);
            }
            for _ in 0..3 {
                assert_eq!(life.on_write(), WriteVerdict::DiscardAndWarn);
            }
            assert_eq!(life.conn_lost(), 8);
        }
    }

    #[test]
    fn every_phase_but_open_is_closing() {
        for phase in ALL {
            assert_eq!(in_phase(phase).is_closing(), phase != Phase::Open);
        }
    }

    #[test]
    fn the_end_keeps_counting_writes_from_where_the_loss_began() {
        let mut life = in_phase(Phase::Lost);
        for _ in 0..3 {
            assert_eq!(life.on_write(), WriteVerdict::Discard);
        }
        assert!(life.ended());
        assert_eq!(life.on_write(), WriteVerdict::Discard);
        assert_eq!(life.on_write(), WriteVerdict::DiscardAndWarn);
    }
}

//! The reactor in the binding: a loop's state, its turn, and what leaves it.
//!
//! The loop runs [`Entry`]s, reports readiness to [`Source`]s and sleeps until a [`Timer`] is due. Each of the three is an
//! object with static operations that the room above has given it, so nothing here knows a handle, a task, a transport or a
//! socket. What a room keeps for each loop is a [`Part`](parts::Part); [`Hooks`](parts::Hooks) are called at two moments of a turn.

#![deny(unsafe_code)]

mod direction;
mod entry;
mod exit;
mod histogram;
mod loop_core;
mod measures;
mod pace;
pub(crate) mod parts;
mod program_clock;
mod pulse;
mod shared_context;
mod source;
mod statistics;
mod timer;
mod turn;

pub(crate) use direction::Direction;
pub(crate) use entry::{Deferred, Entry, Operations, coroutine_behind};
pub(crate) use exit::{Exit, leaves_loop, settle};
pub(crate) use loop_core::{LoopBuilder, LoopCore, PythonReactor, RECEIVE_BYTES};
pub(crate) use measures::Measuring;
pub(crate) use pulse::{Moment, Pulse};
pub(crate) use source::{RunReady, Source, SourceState};
pub(crate) use timer::{Timer, TimerOperations};

//! What a turn runs.

use ferrio_engine::backend::{Interest, Key};
use ferrio_engine::reactor::Work;

use super::core::Source;
use crate::accept::Accepted;
use crate::handle::TimerRef;
use crate::object::Object;

/// One entry of the ready queue.
pub(crate) enum Entry {
    /// A scheduled callback.
    Handle(Object),
    /// A connection that was accepted: its protocol and its transport are to be made.
    Accepted(Box<Accepted>),
    /// A transport that is to read from now on.
    StartReading(Object),
    /// A transport whose descriptor can make progress. The key may have ended since.
    Transport { key: Key, ready: Interest },
}

impl From<TimerRef> for Entry {
    fn from(timer: TimerRef) -> Self {
        Self::Handle(timer.unschedule())
    }
}

/// The entries of a Python loop.
pub(crate) struct PythonWork;

impl Work for PythonWork {
    type Entry = Entry;
    type Timer = TimerRef;
    type Source = Source;
}

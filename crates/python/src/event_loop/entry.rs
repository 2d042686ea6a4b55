//! What a turn runs.

use ferrio_engine::backend::{Interest, Key};
use ferrio_engine::reactor::Work;
use pyo3::{PyTraverseError, PyVisit};

use super::core::Source;
use super::timer::Timer;
use super::watch::Direction;
use crate::ffi::object::Object;
use crate::net::accept::Accepted;

/// One entry of the ready queue.
pub(crate) enum Entry {
    /// A scheduled callback.
    Handle(Object),
    /// A connection that was accepted: its protocol and its transport are to be made.
    Accepted(Box<Accepted>),
    /// A transport that is to read from now on.
    StartReading(Object),
    /// A task's step; the error is thrown into its coroutine. The first one shows the task to the collector.
    Step { task: Object, error: Option<Object>, is_first: bool },
    /// A task's wake-up: the future that it waits for is done.
    Wakeup { task: Object, future: Object },
    /// The time of a `sleep` is over: its future, and the handle that was shown for it.
    SleepOver { future: Object, handle: Option<Object> },
    /// A connection is made: the future that waits for it, to be given `None` unless it was cancelled.
    Connected(Object),
    /// A transport whose descriptor can make progress. The key may have ended since.
    Transport { key: Key, ready: Interest },
    /// A socket of `sock_recv` and its relatives can make progress. The key may have ended since.
    Socket { key: Key, direction: Direction },
}

impl Entry {
    /// The same call once more, for looking at it: a callback's or a task's.
    pub(super) fn call(&self) -> Option<Self> {
        Some(match self {
            Self::Handle(handle) => Self::Handle(handle.clone()),
            Self::SleepOver { future, handle } => Self::SleepOver { future: future.clone(), handle: handle.clone() },
            Self::Step { task, error, is_first } => {
                Self::Step { task: task.clone(), error: error.clone(), is_first: *is_first }
            }
            Self::Wakeup { task, future } => Self::Wakeup { task: task.clone(), future: future.clone() },
            Self::Accepted(_)
            | Self::StartReading(_)
            | Self::Connected(_)
            | Self::Transport { .. }
            | Self::Socket { .. } => return None,
        })
    }

    /// Shows what the entry holds to the collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Handle(object) | Self::StartReading(object) | Self::Connected(object) => object.visit(visit),
            Self::Accepted(accepted) => accepted.objects().try_for_each(|object| object.visit(visit)),
            Self::Step { task, error, .. } => {
                task.visit(visit)?;
                error.as_ref().map_or(Ok(()), |error| error.visit(visit))
            }
            Self::Wakeup { task, future } => {
                task.visit(visit)?;
                future.visit(visit)
            }
            Self::SleepOver { future, handle } => {
                future.visit(visit)?;
                handle.as_ref().map_or(Ok(()), |handle| handle.visit(visit))
            }
            Self::Transport { .. } | Self::Socket { .. } => Ok(()),
        }
    }
}

/// The entries of a Python loop.
pub(crate) struct PythonWork;

impl Work for PythonWork {
    type Entry = Entry;
    type Timer = Timer;
    type Source = Source;
}

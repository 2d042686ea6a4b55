//! A loop as other threads have it: they may keep it for longer than the loop lives, and need not be attached.
//!
//! # Invariants
//! 1. What is posted holds no object of Python's: it may be dropped on any thread.
//! 2. The loop's inbox is shared, so it is there for whoever is posting while the loop closes. What comes into it after that is
//!    dropped with the last handle.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use ferrio_engine::queue::{Inbox, Wake as WakeNeed};
use ferrio_engine::sys::wake::Wake;
use pyo3::prelude::*;

use crate::core::parts::{Part, part};
use crate::core::{Entry, LoopCore};
use crate::ffi::capsule::Callback;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;

struct Remote {
    inbox: Arc<Inbox<Entry>>,
    /// The loop's wake-up descriptor, under a number of its own.
    bell: Wake,
    /// A forked child has the same descriptor, which is its parent's.
    process: u32,
    is_closed: AtomicBool,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Handle(Arc<Remote>);

impl Handle {
    /// The handle of a loop.
    ///
    /// # Errors
    /// The loop is closed; there is no descriptor left.
    pub(super) fn new(py: Python<'_>, core: &LoopCore) -> PyResult<Self> {
        core.check_closed()?;
        let known = &core.part::<RemotePart>().0;
        let process = std::process::id();
        let found = known.with(py, |known| known.as_ref().filter(|known| known.process == process).cloned());
        if let Some(found) = found {
            return Ok(Self(found));
        }
        let (inbox, bell) = core.door(py)?;
        let remote = Arc::new(Remote { inbox, bell, process, is_closed: AtomicBool::new(false) });
        let before = known.with(py, |known| known.replace(Arc::clone(&remote)));
        drop(before);
        Ok(Self(remote))
    }

    /// Adds an entry and wakes the loop; whether there is a loop that takes it.
    pub(super) fn post(&self, callback: Callback) -> bool {
        let remote = &*self.0;
        if remote.is_closed.load(Ordering::Acquire) || remote.process != std::process::id() {
            return false;
        }
        if remote.inbox.push(Entry::external(callback)) == WakeNeed::Needed {
            // There is no case in which an eventfd that is open cannot be written.
            let _ = remote.bell.signal();
        }
        true
    }
}

/// What other threads share of a loop, once somebody has asked for it.
#[derive(Default)]
pub(crate) struct RemotePart(Guarded<Option<Arc<Remote>>>);

part!(RemotePart);

impl Part for RemotePart {
    fn visit(&self, _py: Python<'_>, _: &Collector) -> Visited {
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        let remote = self.0.with(py, Option::take);
        if let Some(remote) = &remote {
            remote.is_closed.store(true, Ordering::Release);
        }
    }
}

//! The way from any thread into a loop that is not Ferrio's: an inbox and an eventfd that the loop reads from.
//!
//! # Invariants
//! 1. After [`Inbox::close`] nothing is appended, so an inbox and its wakers do not keep each other alive.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use crate::errors::os_error;
use crate::hub::{Waking, locked};

/// What other threads woke for one loop.
pub(crate) struct Inbox {
    process: u32,
    /// Nothing once the loop reads no more.
    woken: Mutex<Option<Vec<Arc<Waking>>>>,
    bell: OwnedFd,
}

impl Inbox {
    /// The inbox of a loop, registered with that.
    ///
    /// # Errors
    /// There is no descriptor left; what `add_reader` raises.
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = event_loop.py();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = bell.map_err(|errno| os_error(errno.into()))?;
        let inbox = Arc::new(Self { process: std::process::id(), woken: Mutex::new(Some(Vec::new())), bell });
        let reader = Bound::new(py, InboxReader(Arc::clone(&inbox)))?;
        event_loop.call_method1("add_reader", (inbox.bell.as_raw_fd(), reader))?;
        Ok(inbox)
    }

    pub(crate) fn post(&self, waking: &Arc<Waking>) {
        // A forked child shares the eventfd with its parent.
        if std::process::id() != self.process {
            return;
        }
        let was_empty = match &mut *locked(&self.woken) {
            None => return,
            Some(list) => {
                list.push(Arc::clone(waking));
                list.len() == 1
            }
        };
        if was_empty {
            // It can only fail when the counter is full, and then the loop is about to read it.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    fn close(&self) {
        let list = locked(&self.woken).take();
        drop(list);
    }
}

/// What the loop calls when the eventfd is readable. The loop owns it; with it ends the inbox.
#[pyclass(frozen, module = "ferrio_pyo3")]
struct InboxReader(Arc<Inbox>);

#[pymethods]
impl InboxReader {
    fn __call__(&self, py: Python<'_>) {
        let _ = rustix::io::read(&self.0.bell, &mut [0_u8; 8]);
        let list = locked(&self.0.woken).as_mut().map(core::mem::take);
        for waking in list.into_iter().flatten() {
            waking.resolve(py);
        }
    }
}

impl Drop for InboxReader {
    fn drop(&mut self) {
        self.0.close();
    }
}

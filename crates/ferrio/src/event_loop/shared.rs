//! How other threads reach a loop.
//!
//! # Invariants
//! 1. A task's step is dropped by the loop's thread only: its future belongs to that thread. While any future of the
//!    loop's lives, nobody else takes anything out of the inbox.
//! 2. What is pushed after the loop has closed is dropped, by the loop or by whoever pushed it. One of the two sees it:
//!    each writes before it looks, with a fence in between.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use async_task::Runnable;
use ferrio_engine::queue::inbox::{Inbox, Wake as Bell};
use ferrio_engine::sys::error::Result;
use ferrio_engine::sys::wake::Wake;

use super::current::with_current;
use super::entry::Entry;

/// What comes from other threads.
pub(crate) enum Remote {
    /// The next step of a task.
    Task(Runnable),
    /// The future of `run` has been woken.
    Main,
    /// To be called on the loop's thread.
    Call(Box<dyn FnOnce() + Send>),
}

/// The part of a loop that every thread may use.
pub(crate) struct Shared {
    pub(crate) inbox: Inbox<Remote>,
    wake: Wake,
    is_closed: AtomicBool,
}

impl Shared {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { inbox: Inbox::new(), wake: Wake::new()?, is_closed: AtomicBool::new(false) })
    }

    /// The descriptor that ends a sleep.
    pub(super) fn wake_up(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Ends the announcements of the descriptor.
    pub(super) fn clear(&self) {
        // An open eventfd gives no error here.
        let _ = self.wake.clear();
    }

    /// Makes an entry ready: at once on the loop's own thread, by the inbox from others.
    #[inline]
    pub(crate) fn schedule(&self, remote: Remote) {
        let mut remote = Some(remote);
        with_current(|core| {
            if core::ptr::eq(&raw const *core.shared, self)
                && let Some(remote) = remote.take()
            {
                core.push(Entry::from(remote));
            }
        });
        if let Some(remote) = remote {
            self.send(remote);
        }
    }

    fn send(&self, remote: Remote) {
        if self.inbox.push(remote) == Bell::Needed {
            // An open eventfd gives no error here.
            let _ = self.wake.signal();
        }
    }

    /// Called once none of the loop's futures lives any more, and none will be made.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.drop_what_came_late();
    }

    /// Drops what was pushed after the loop had closed. Whoever pushes something that any thread may drop calls this
    /// afterwards.
    pub(crate) fn drop_what_came_late(&self) {
        fence(Ordering::SeqCst);
        if self.is_closed.load(Ordering::SeqCst) {
            self.inbox.take(drop);
        }
    }
}

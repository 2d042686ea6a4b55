//! The half of the epoll backend that blocks.

use std::sync::Arc;

use crate::backend::Poller;
use crate::sys::epoll::{Epoll, Event};
use crate::sys::error::Result;
use crate::time::Nanos;

/// Events that one wait reports at the most. A buffer that came back full is doubled for the next.
const FIRST_CAPACITY: usize = 256;
const LARGEST_CAPACITY: usize = 8192;

/// See the module.
pub struct EpollPoller {
    epoll: Arc<Epoll>,
    events: Vec<Event>,
    was_full: bool,
}

impl EpollPoller {
    pub(super) fn new(epoll: Arc<Epoll>) -> Self {
        Self { epoll, events: Vec::with_capacity(FIRST_CAPACITY), was_full: false }
    }

    /// What the last wait found, in the kernel's order; taken once.
    pub(super) fn events(&mut self) -> impl Iterator<Item = Event> + use<'_> {
        self.events.drain(..)
    }
}

impl Poller for EpollPoller {
    fn wait(&mut self, timeout: Option<Nanos>) -> Result<()> {
        if self.was_full && self.events.capacity() < LARGEST_CAPACITY {
            self.events.reserve(self.events.capacity() * 2);
        }
        let outcome = self.epoll.wait(&mut self.events, timeout);
        self.was_full = self.events.len() == self.events.capacity();
        outcome
    }
}

impl core::fmt::Debug for EpollPoller {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("EpollPoller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

//! The half of the epoll backend that blocks.

use std::sync::Arc;

use crate::backend::Poller;
use crate::sys::epoll::{Epoll, Event};
use crate::sys::error::Result;
use crate::time::Nanos;

/// Events that the first wait can report. A buffer that came back full is doubled for the next wait.
const FIRST_CAPACITY: usize = 256;
/// Beyond this, leaving events for the next wait is cheaper than the memory; the kernel reports those first then.
const LARGEST_CAPACITY: usize = 8192;

/// See the module.
pub struct EpollPoller {
    epoll: Arc<Epoll>,
    events: Vec<Event>,
    was_full: bool,
    /// Something is to be announced whatever the kernel finds: do not sleep.
    pub(super) is_due: bool,
}

impl EpollPoller {
    pub(super) fn new(epoll: Arc<Epoll>) -> Self {
        Self { epoll, events: Vec::with_capacity(FIRST_CAPACITY), was_full: false, is_due: false }
    }

    /// Whether this is the blocking half of `epoll`.
    pub(super) fn waits_on(&self, epoll: &Arc<Epoll>) -> bool {
        Arc::ptr_eq(&self.epoll, epoll)
    }

    /// What was found since the last call, in the kernel's order; taken once.
    pub(super) fn events(&mut self) -> impl Iterator<Item = Event> + use<'_> {
        self.events.drain(..)
    }

    /// Makes room for the next wait, behind what nobody has taken yet: the kernel refuses a wait without any.
    fn make_room(&mut self) {
        let (held, capacity) = (self.events.len(), self.events.capacity());
        if self.was_full && capacity < LARGEST_CAPACITY {
            self.events.reserve_exact(capacity * 2 - held);
        } else if held == capacity {
            self.events.reserve(FIRST_CAPACITY);
        }
    }
}

impl Poller for EpollPoller {
    fn wait(&mut self, timeout: Option<Nanos>) -> Result<()> {
        self.make_room();
        let timeout = if self.is_due { Some(Nanos::ZERO) } else { timeout };
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::epoll::EventFlags;
    use crate::sys::wake::Wake;

    /// A poller over so many readable descriptors, which are to be kept.
    fn over_ready(count: usize) -> (EpollPoller, Vec<Wake>) {
        let epoll = Arc::new(Epoll::new().expect("an epoll instance"));
        let wakes: Vec<Wake> = (0..count).map(|_| Wake::new().expect("an eventfd")).collect();
        for (data, wake) in (0..).zip(&wakes) {
            wake.signal().expect("an eventfd can be written");
            epoll.add(wake.as_fd(), data, EventFlags::IN).expect("an eventfd can be watched");
        }
        (EpollPoller::new(epoll), wakes)
    }

    fn poll(poller: &mut EpollPoller) {
        poller.wait(Some(Nanos::ZERO)).expect("a poll does not fail");
    }

    #[test]
    fn a_full_buffer_is_doubled_for_the_next_wait() {
        let (mut poller, _wakes) = over_ready(FIRST_CAPACITY + 1);
        poll(&mut poller);
        assert_eq!(poller.events().count(), FIRST_CAPACITY);
        poll(&mut poller);
        assert_eq!(poller.events().count(), FIRST_CAPACITY + 1);
        assert_eq!(poller.events.capacity(), 2 * FIRST_CAPACITY);
        poll(&mut poller);
        assert_eq!(poller.events.capacity(), 2 * FIRST_CAPACITY);
    }

    #[test]
    fn what_did_not_fit_is_reported_next() {
        let (mut poller, wakes) = over_ready(FIRST_CAPACITY + 100);
        let mut seen = HashSet::new();
        for _ in 0..2 {
            poll(&mut poller);
            seen.extend(poller.events().map(|event| event.u64));
        }
        assert_eq!(seen.len(), wakes.len());
    }

    #[test]
    fn the_buffer_stops_growing_at_its_limit() {
        let (mut poller, _wakes) = over_ready(1);
        poller.events.reserve_exact(LARGEST_CAPACITY);
        poller.was_full = true;
        poll(&mut poller);
        assert_eq!(poller.events.capacity(), LARGEST_CAPACITY);
    }

    #[test]
    fn a_full_buffer_that_nobody_takes_grows_beyond_its_limit() {
        let (mut poller, _wakes) = over_ready(1);
        poller.events.reserve_exact(LARGEST_CAPACITY);
        poller.events.resize(LARGEST_CAPACITY, Event { events: 0, u64: 0 });
        poller.was_full = true;
        poll(&mut poller);
        assert_eq!(poller.events().count(), LARGEST_CAPACITY + 1);
    }

    #[test]
    fn a_wait_keeps_what_nobody_has_taken() {
        let (mut poller, wakes) = over_ready(FIRST_CAPACITY);
        poll(&mut poller);
        for wake in &wakes {
            wake.clear().expect("an eventfd can be read");
        }
        poll(&mut poller);
        assert_eq!(poller.events().count(), FIRST_CAPACITY);
        poller.was_full = false;
        poll(&mut poller);
        assert_eq!(poller.events().count(), 0);
    }
}

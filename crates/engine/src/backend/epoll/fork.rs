//! The backend in a forked child.
//!
//! A child's copy of an epoll descriptor leads to the parent's instance: what the child changes, removes or takes out of it
//! is changed, removed or taken for the parent. The copy is therefore replaced, under its number, before anything else uses
//! it. Most children never turn the loop that they have inherited, so the registrations are made anew only when the backend
//! registers or waits.
//!
//! # What cannot be told
//! Only the parent's instance knows whether a number still names the file that was registered, and the child must not ask it.
//! Where a watched descriptor had been closed behind the loop's back and its number given away before the fork, the child
//! watches the file that has the number now; reading and writing are checked as ever.

use core::mem;

use super::{EpollBackend, borrow, data};
use crate::sys::error::Result;

impl EpollBackend {
    /// To be called in a forked child: lets go of the parent's epoll instance. Everything stays attached and watched, in an
    /// instance of the child's own.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`: the instance is still the parent's, and is to be closed ([`EpollBackend::close`]).
    pub fn after_fork(&mut self) -> Result<()> {
        // The blocking half may be on the stack of a thread that the child does not have, with what it found.
        self.poller = None;
        self.had_stray = false;
        self.epoll.renew()?;
        self.is_inherited = true;
        Ok(())
    }

    /// Makes the registrations that a fork has left to be made.
    #[inline]
    pub(super) fn revive(&mut self) {
        if mem::take(&mut self.is_inherited) {
            self.register_all();
        }
    }

    #[cold]
    fn register_all(&self) {
        for (slot, place) in self.places.iter().enumerate() {
            let Some(attached) = place.attached.as_ref().filter(|attached| attached.is_registered()) else { continue };
            // A descriptor closed from outside stays silent, as it was.
            let _ = self.epoll.add(borrow(attached.fd), data(slot, place.serial), attached.registered().flags());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;

    use crate::backend::{Announcement, Backend, Interest, Key, Poller, Slots, Usage};
    use crate::sys::wake::Wake;
    use crate::time::Nanos;

    use super::EpollBackend;

    fn poll(backend: &mut EpollBackend) -> Vec<Announcement> {
        let mut poller = backend.start_wait();
        poller.wait(Some(Nanos::ZERO)).expect("a poll does not fail");
        let mut found = Vec::new();
        backend.end_wait(poller, &mut found);
        found
    }

    fn watching(wake: &Wake) -> (EpollBackend, Key) {
        let mut backend = EpollBackend::new().expect("an epoll instance");
        let key = Slots::default().insert(());
        backend.attach(key, wake.as_fd(), Usage::Watched).expect("an open descriptor");
        backend.watch(key, Interest::READ).expect("an eventfd can be watched");
        (backend, key)
    }

    #[test]
    fn what_was_watched_before_the_fork_is_announced_after_it() {
        let wake = Wake::new().expect("an eventfd");
        let (mut backend, key) = watching(&wake);
        backend.after_fork().expect("another epoll instance");
        wake.signal().expect("an eventfd can be written");
        assert_eq!(poll(&mut backend), [Announcement { key, ready: Interest::READ }]);
        assert_eq!(backend.registrations(), 1);
    }

    #[test]
    fn what_is_given_up_after_the_fork_is_not_announced() {
        let wake = Wake::new().expect("an eventfd");
        let (mut backend, key) = watching(&wake);
        backend.after_fork().expect("another epoll instance");
        backend.watch(key, Interest::NONE).expect("less is always possible");
        wake.signal().expect("an eventfd can be written");
        assert_eq!(poll(&mut backend), []);
        backend.watch(key, Interest::READ).expect("an eventfd can be watched");
        assert_eq!(poll(&mut backend), [Announcement { key, ready: Interest::READ }]);
    }

    #[test]
    fn a_new_watch_after_the_fork_brings_the_old_ones_back() {
        let (old, new) = (Wake::new().expect("an eventfd"), Wake::new().expect("an eventfd"));
        let mut backend = EpollBackend::new().expect("an epoll instance");
        let mut slots = Slots::default();
        let keys = [&old, &new].map(|wake| {
            let key = slots.insert(());
            backend.attach(key, wake.as_fd(), Usage::Watched).expect("an open descriptor");
            wake.signal().expect("an eventfd can be written");
            key
        });
        backend.watch(keys[0], Interest::READ).expect("an eventfd can be watched");
        backend.after_fork().expect("another epoll instance");
        backend.watch(keys[1], Interest::READ).expect("an eventfd can be watched");
        assert_eq!(poll(&mut backend).len(), 2);
    }

    #[test]
    fn the_instance_of_the_parent_keeps_its_registrations() {
        let wake = Wake::new().expect("an eventfd");
        let (mut backend, key) = watching(&wake);
        let parents = backend.epoll.duplicate().expect("a duplicate, as a fork makes one");
        backend.after_fork().expect("another epoll instance");
        backend.watch(key, Interest::BOTH).expect("an eventfd can be watched");
        assert!(backend.detach(key).is_empty());
        wake.signal().expect("an eventfd can be written");
        let mut events = Vec::with_capacity(1);
        parents.wait(&mut events, Some(Nanos::ZERO)).expect("a poll does not fail");
        assert_eq!(events.len(), 1);
    }
}

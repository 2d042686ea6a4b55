//! What a loop does with a backend, as far as the tests need it.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferrio_engine::backend::{Announcement, Backend, Interest, Key, Poller, Received, Slots};
use ferrio_engine::buf::{Chain, Chunk};
use ferrio_engine::sys::error::Result;
use ferrio_engine::time::Nanos;

use crate::rig::Rig;

/// Numbers that one test closes must not be opened by another, so one runs at a time.
static NUMBERS: Mutex<()> = Mutex::new(());

/// Longer than anything takes; reached by failing tests only.
pub(crate) const LIMIT: Nanos = Nanos::from_nanos(10_000_000_000);

pub(crate) struct Loop<R: Rig> {
    pub(crate) rig: R,
    pub(crate) keys: Slots<()>,
    _alone: MutexGuard<'static, ()>,
}

impl<R: Rig> Loop<R> {
    pub(crate) fn new() -> Self {
        let alone = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        Self { rig: R::new(), keys: Slots::default(), _alone: alone }
    }

    pub(crate) fn attach(&mut self, near: &impl AsFd) -> Key {
        let key = self.keys.insert(());
        self.rig.backend().attach(key, near.as_fd(), R::USAGE).expect("an open descriptor");
        key
    }

    /// Attaches and watches.
    pub(crate) fn watched(&mut self, near: &impl AsFd, interest: Interest) -> Key {
        let key = self.attach(near);
        self.watch(key, interest);
        key
    }

    pub(crate) fn watch(&mut self, key: Key, interest: Interest) {
        self.rig.backend().watch(key, interest).expect("a descriptor that can be watched");
        assert_eq!(self.rig.backend().watched(key), interest);
    }

    /// Ends the key; what was left of its send comes back.
    pub(crate) fn detach(&mut self, key: Key) -> Chain {
        self.keys.remove(key);
        self.rig.backend().detach(key)
    }

    /// What one wait finds.
    pub(crate) fn wait(&mut self, timeout: Nanos) -> Vec<Announcement> {
        let mut poller = self.rig.backend().start_wait();
        poller.wait(Some(timeout)).expect("a wait without signals");
        self.end_wait(poller)
    }

    pub(crate) fn end_wait(&mut self, poller: <R::Backend as Backend>::Poller) -> Vec<Announcement> {
        let mut found = Vec::new();
        self.rig.backend().end_wait(poller, &mut found);
        found
    }

    pub(crate) fn poll(&mut self) -> Vec<Announcement> {
        self.wait(Nanos::ZERO)
    }

    /// Polls as often as a stray report may come before it is dealt with; nothing must be announced.
    pub(crate) fn assert_silent(&mut self) {
        for _ in 0..3 {
            assert_eq!(self.poll(), []);
        }
    }

    /// As [`Self::assert_silent`], and a wait lasts as long as it may.
    pub(crate) fn assert_sleeps(&mut self) {
        const NAP: Nanos = Nanos::from_nanos(20_000_000);
        self.assert_silent();
        let before = self.rig.now();
        assert_eq!(self.wait(NAP), []);
        assert!(self.rig.now() >= before.saturating_add(NAP), "something ended the wait");
    }

    pub(crate) fn receive(&mut self, key: Key) -> Result<Option<Vec<u8>>> {
        let mut buffer = [MaybeUninit::uninit(); 1000];
        match self.rig.backend().receive(key, &mut buffer)? {
            Received::Nothing => Ok(None),
            Received::End => Ok(Some(Vec::new())),
            Received::Bytes(count) => {
                assert!(count > 0);
                // SAFETY: the backend has initialised the first `count` bytes.
                Ok(Some(buffer[..count].iter().map(|byte| unsafe { byte.assume_init() }).collect()))
            }
        }
    }
}

pub(crate) fn readable(key: Key) -> Announcement {
    Announcement { key, ready: Interest::READ }
}

pub(crate) fn writable(key: Key) -> Announcement {
    Announcement { key, ready: Interest::WRITE }
}

/// A chain of copies of these.
pub(crate) fn chain(parts: &[&[u8]]) -> Chain {
    let mut chain = Chain::new();
    for part in parts {
        assert!(chain.push(Chunk::from_vec(part.to_vec())).is_none());
    }
    chain
}

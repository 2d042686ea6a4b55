//! The scripted backend: a kernel whose every answer a test decides, with a clock that only waits advance.
//!
//! [`Sim`] stands for the kernel and the network behind it. It opens connections; each is a [`Socket`], the descriptor that
//! the loop attaches, and a [`Peer`], through which the test writes the script: what each receive brings ([`Incoming`]) and
//! how each send goes ([`Take`]), from which instant on. What the script does not say is the good case: no bytes come, and
//! every send is taken whole.
//!
//! ```
//! use ferrio_engine::backend::sim::{Incoming, Sim};
//! use ferrio_engine::backend::{Announcement, Backend, Interest, Poller, Slots, Usage};
//! use ferrio_engine::time::Nanos;
//! # use std::os::fd::AsFd;
//! # fn main() -> Result<(), ferrio_engine::sys::Error> {
//! let sim = Sim::new();
//! let (mut backend, mut keys) = (sim.backend(), Slots::default());
//! let (socket, peer) = sim.connection();
//! peer.sends_at(Nanos::from_nanos(500), Incoming::Bytes(b"ping".to_vec()));
//!
//! let key = keys.insert(());
//! backend.attach(key, socket.as_fd(), Usage::Stream)?;
//! backend.watch(key, Interest::READ)?;
//! let mut poller = backend.start_wait();
//! poller.wait(None)?;
//! let mut found = Vec::new();
//! backend.end_wait(poller, &mut found);
//!
//! assert_eq!(found, [Announcement { key, ready: Interest::READ }]);
//! assert_eq!(sim.now(), Nanos::from_nanos(500));
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting
//! A wait reports at once what is ready, ordered by the instant of the script's entry that made it so, then by the order in
//! which the script was written; a socket whose sending the script does not restrict is ready from the beginning, in the
//! order of registration. With nothing ready the clock moves to the next instant that the script names for a registered
//! socket, or to the timeout, whichever comes first. Should there be neither, the wait would never end: it panics.
//! [`Sim::next_wait`] replaces all this for one wait: spurious announcements, another order, an early end, `EINTR`.
//!
//! # What is real
//! The numbers: each socket keeps a real, idle descriptor open, so that numbers are those of the process and are reused by
//! its rules. Nothing is ever read from or written to it.
//!
//! # Threads
//! The test may script from any thread; a wait on another thread sees what was written before it began.

mod kernel;
mod script;

use core::mem::{self, MaybeUninit};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::kernel::Kernel;
use super::numbers::Numbers;
use super::outgoing::write_chain;
use super::{Announcement, Backend, Interest, Key, Poller, Received, Sent, Usage};
use crate::buf::{Chain, Chunk};
use crate::sys::error::{Error, Result};
use crate::time::Nanos;

pub use self::kernel::{Incoming, Take, Wait};
pub use self::script::{Peer, Sim, Socket};

type Shared = Arc<Mutex<Kernel>>;

fn lock(kernel: &Shared) -> MutexGuard<'_, Kernel> {
    // A test that panicked elsewhere has failed already; what it left is still consistent.
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One attached socket.
#[derive(Debug)]
struct Attached {
    key: Key,
    number: RawFd,
    wanted: Interest,
    outgoing: Chain,
}

impl Attached {
    fn called_for(&self) -> Interest {
        let sending = if self.outgoing.is_empty() { Interest::NONE } else { Interest::WRITE };
        self.wanted | sending
    }
}

/// See the module; [`Sim::backend`] makes one.
#[derive(Debug)]
pub struct SimBackend {
    kernel: Shared,
    attached: Vec<Option<Attached>>,
    numbers: Numbers,
    released: Vec<Chunk>,
}

/// The half that blocks.
#[derive(Debug)]
pub struct SimPoller {
    kernel: Shared,
    found: Vec<Announcement>,
}

impl SimBackend {
    fn new(kernel: Shared) -> Self {
        Self { kernel, attached: Vec::new(), numbers: Numbers::default(), released: Vec::new() }
    }

    fn get(&self, key: Key) -> Option<&Attached> {
        self.attached.get(key.slot())?.as_ref().filter(|attached| attached.key == key)
    }

    /// Makes the registration what the watch and the send under way call for.
    fn apply(&mut self, key: Key) -> Result<()> {
        let Some(attached) = self.get(key) else { return Ok(()) };
        let next = attached.called_for();
        if next.is_none() {
            lock(&self.kernel).unregister(key);
            return Ok(());
        }
        let number = attached.number;
        self.numbers.check(number, key, "epoll_ctl")?;
        lock(&self.kernel).register(key, number, next)?;
        self.numbers.give_again(number, key);
        Ok(())
    }

    fn write_outgoing(&mut self, key: Key) -> Result<Sent> {
        let Some(attached) = find(&mut self.attached, key) else { return Ok(Sent::All { bytes: 0 }) };
        let (number, numbers, kernel) = (attached.number, &self.numbers, &self.kernel);
        write_chain(&mut attached.outgoing, &mut self.released, |slices| {
            numbers.check(number, key, "sendmsg")?;
            lock(kernel).send(number, slices)
        })
    }
}

fn find(attached: &mut [Option<Attached>], key: Key) -> Option<&mut Attached> {
    attached.get_mut(key.slot())?.as_mut().filter(|attached| attached.key == key)
}

impl Backend for SimBackend {
    type Poller = SimPoller;

    /// # Panics
    /// If the slot's former key has not been detached.
    fn attach(&mut self, key: Key, fd: BorrowedFd<'_>, _usage: Usage) -> Result<()> {
        let number = fd.as_raw_fd();
        lock(&self.kernel).check_open(number, "attach")?;
        if let Some(displaced) = self.numbers.give(number, key, || Ok(()))? {
            lock(&self.kernel).unregister(displaced);
            if let Some(attached) = find(&mut self.attached, displaced) {
                attached.wanted = Interest::NONE;
            }
        }
        if self.attached.len() <= key.slot() {
            self.attached.resize_with(key.slot() + 1, || None);
        }
        let attached = Attached { key, number, wanted: Interest::NONE, outgoing: Chain::new() };
        let former = self.attached[key.slot()].replace(attached);
        assert!(former.is_none(), "the slot's former key has not been detached");
        Ok(())
    }

    fn detach(&mut self, key: Key) -> Chain {
        let Some(place) = self.attached.get_mut(key.slot()) else { return Chain::new() };
        let Some(attached) = place.take_if(|attached| attached.key == key) else { return Chain::new() };
        lock(&self.kernel).unregister(key);
        self.numbers.release(attached.number, key);
        attached.outgoing
    }

    fn watch(&mut self, key: Key, interest: Interest) -> Result<()> {
        let Some(attached) = find(&mut self.attached, key) else { return Ok(()) };
        let before = mem::replace(&mut attached.wanted, interest);
        if before.is_none() && interest.is_none() {
            return Ok(());
        }
        let outcome = self.apply(key);
        if outcome.is_err()
            && let Some(attached) = find(&mut self.attached, key)
        {
            attached.wanted = before;
        }
        outcome
    }

    fn watched(&self, key: Key) -> Interest {
        self.get(key).map_or(Interest::NONE, |attached| attached.wanted)
    }

    fn refused(&mut self, _key: Key) {}

    fn received_short(&mut self, _key: Key) -> bool {
        false
    }

    fn names_watched_file(&mut self, _key: Key) -> Option<bool> {
        None
    }

    fn waiting_bytes(&self, key: Key) -> usize {
        let attached = self.get(key).filter(|attached| self.numbers.check(attached.number, key, "ioctl").is_ok());
        attached.map_or(0, |attached| lock(&self.kernel).waiting_bytes(attached.number))
    }

    /// # Panics
    /// If `buffer` is empty.
    fn receive(&mut self, key: Key, buffer: &mut [MaybeUninit<u8>]) -> Result<Received> {
        assert!(!buffer.is_empty(), "no bytes would look like the end of the stream");
        let Some(attached) = self.get(key) else { return Ok(Received::Nothing) };
        self.numbers.check(attached.number, key, "recv")?;
        lock(&self.kernel).receive(attached.number, buffer)
    }

    /// # Panics
    /// If a send is under way.
    fn send(&mut self, key: Key, chain: Chain) -> Result<Sent> {
        let Some(attached) = find(&mut self.attached, key) else { return Err(Error::new("sendmsg", Errno::BADF)) };
        assert!(attached.outgoing.is_empty(), "one send at a time");
        attached.outgoing = chain;
        let sent = self.write_outgoing(key)?;
        if let Sent::Some { .. } = sent
            && let Err(error) = self.apply(key)
        {
            if let Some(attached) = find(&mut self.attached, key) {
                attached.outgoing = Chain::new();
            }
            return Err(error);
        }
        Ok(sent)
    }

    /// # Panics
    /// If a send is under way.
    fn send_now(&mut self, key: Key, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(attached) = self.get(key) else { return Err(Error::new("send", Errno::BADF)) };
        assert!(attached.outgoing.is_empty(), "one send at a time");
        self.numbers.check(attached.number, key, "send")?;
        lock(&self.kernel).send(attached.number, &[IoSlice::new(bytes)])
    }

    fn sent(&mut self, key: Key) -> Result<Sent> {
        let outcome = self.write_outgoing(key);
        match outcome {
            Ok(Sent::Some { .. }) => outcome,
            Ok(Sent::All { .. }) => self.apply(key).and(outcome),
            Err(_) => {
                let _ = self.apply(key);
                outcome
            }
        }
    }

    fn registrations(&self) -> usize {
        lock(&self.kernel).registrations()
    }

    fn start_wait(&mut self) -> SimPoller {
        SimPoller { kernel: Arc::clone(&self.kernel), found: Vec::new() }
    }

    fn end_wait(&mut self, poller: SimPoller, found: &mut Vec<Announcement>) {
        for Announcement { key, ready } in poller.found {
            let Some(attached) = self.get(key) else { continue };
            let ready = ready & attached.called_for();
            if !ready.is_none() {
                found.push(Announcement { key, ready });
            }
        }
    }
}

impl Poller for SimPoller {
    /// # Panics
    /// If the wait would never end; see the module.
    fn wait(&mut self, timeout: Option<Nanos>) -> Result<()> {
        lock(&self.kernel).wait(timeout, &mut self.found)
    }
}

//! The epoll backend: completions made from readiness.
//!
//! Registrations are level-triggered and exist only while something is watched: a descriptor that nobody watches must not
//! be registered, since epoll reports errors and hang-ups whether asked or not.
//!
//! # What the kernel forgets, and what it keeps
//! A registration dies with the open file. When a watched descriptor was closed behind our back and its number given to
//! another file, `EPOLL_CTL_MOD` answers `ENOENT`; watching it again then registers the new file.
//! When a duplicate keeps the old file alive, its registration stays and reports under a key that has ended. Such a
//! registration cannot be removed by number. A stray report that cannot be removed makes the backend move every live
//! registration into a new epoll instance; without that the loop would spin for as long as the duplicate lives.

mod poller;

use core::mem::MaybeUninit;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Announcement, Backend, Interest, Key, Received, Sent};
use crate::buf::{Chain, Chunk};
use crate::sys::epoll::{Epoll, EventFlags};
use crate::sys::error::{Error, Result};
use crate::sys::socket;

pub use poller::EpollPoller;

/// Chunks that leave with one system call. More than a response's header and body, and few enough for the stack.
const GATHERED_CHUNKS: usize = 64;

/// One attached descriptor.
#[derive(Debug)]
struct Attached {
    key: Key,
    fd: RawFd,
    /// What the caller watches.
    wanted: Interest,
    /// What the kernel has registered: `wanted`, and [`Interest::WRITE`] while a send is under way.
    registered: Interest,
    /// The chunks of the send under way; empty when there is none.
    outgoing: Chain,
}

/// See the module.
#[derive(Debug)]
pub struct EpollBackend {
    epoll: Arc<Epoll>,
    poller: Option<EpollPoller>,
    attached: Vec<Option<Attached>>,
    registrations: usize,
    released: Vec<Chunk>,
}

impl EpollBackend {
    /// Makes an epoll instance.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> Result<Self> {
        let epoll = Arc::new(Epoll::new()?);
        Ok(Self {
            poller: Some(EpollPoller::new(Arc::clone(&epoll))),
            epoll,
            attached: Vec::new(),
            registrations: 0,
            released: Vec::new(),
        })
    }

    fn get(&self, key: Key) -> Option<&Attached> {
        self.attached.get(key.slot())?.as_ref().filter(|attached| attached.key == key)
    }

    /// Makes the kernel's registration what `wanted` and the send under way call for.
    fn apply(&mut self, key: Key) -> Result<()> {
        let Some(attached) = find(&mut self.attached, key) else { return Ok(()) };
        let sending = if attached.outgoing.is_empty() { Interest::NONE } else { Interest::WRITE };
        let next = attached.wanted | sending;
        if next == attached.registered {
            return Ok(());
        }
        let fd = borrow(attached.fd);
        let had_one = !attached.registered.is_none();
        if next.is_none() {
            attached.registered = next;
            self.registrations -= 1;
            // The file may have been closed from outside, and its registration with it.
            let _ = self.epoll.delete(fd);
            return Ok(());
        }
        register(&self.epoll, fd, key, next, had_one)?;
        attached.registered = next;
        if !had_one {
            self.registrations += 1;
        }
        Ok(())
    }

    /// Writes as much of the send under way as the socket takes.
    fn write_outgoing(&mut self, key: Key) -> Result<Sent> {
        let Some(attached) = find(&mut self.attached, key) else { return Ok(Sent::All { bytes: 0 }) };
        let fd = borrow(attached.fd);
        let mut bytes = 0;
        let outcome = loop {
            if attached.outgoing.is_empty() {
                break Ok(Sent::All { bytes });
            }
            let mut slices = [IoSlice::new(&[]); GATHERED_CHUNKS];
            let count = attached.outgoing.slices(&mut slices);
            match socket::send(fd, &slices[..count]) {
                Ok(Some(taken)) => {
                    let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                    attached.outgoing.advance(taken, &mut self.released);
                    bytes += taken;
                    if taken < offered {
                        break Ok(Sent::Some { bytes });
                    }
                }
                Ok(None) => break Ok(Sent::Some { bytes }),
                Err(error) => {
                    self.released.extend(attached.outgoing.drain());
                    break Err(error);
                }
            }
        };
        self.released.clear();
        outcome
    }

    /// Moves every live registration into a new epoll instance; see the module.
    fn rebuild(&mut self) -> Result<()> {
        let epoll = Arc::new(Epoll::new()?);
        for attached in self.attached.iter().flatten().filter(|attached| !attached.registered.is_none()) {
            // A descriptor closed from outside stays silent, as it was.
            let _ = register(&epoll, borrow(attached.fd), attached.key, attached.registered, false);
        }
        self.poller = Some(EpollPoller::new(Arc::clone(&epoll)));
        self.epoll = epoll;
        Ok(())
    }
}

fn find(attached: &mut [Option<Attached>], key: Key) -> Option<&mut Attached> {
    attached.get_mut(key.slot())?.as_mut().filter(|attached| attached.key == key)
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: by rule 2 of the contract the caller keeps an attached descriptor open until it detaches it. Where user code
    // closes one behind our back the system calls see a wrong or foreign number, which they answer with an error or, for
    // a watch, with readiness of another file: no memory is at stake.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.reads());
    flags.set(EventFlags::OUT, interest.writes());
    flags
}

fn register(epoll: &Epoll, fd: BorrowedFd<'_>, key: Key, interest: Interest, had_one: bool) -> Result<()> {
    let (data, flags) = (key.to_bits(), flags(interest));
    if had_one {
        match epoll.modify(fd, data, flags) {
            // Another file has the number now.
            Err(Error { errno: Errno::NOENT, .. }) => epoll.add(fd, data, flags),
            outcome => outcome,
        }
    } else {
        match epoll.add(fd, data, flags) {
            // The same file is registered under a key whose owner never detached it; this key takes over.
            Err(Error { errno: Errno::EXIST, .. }) => epoll.modify(fd, data, flags),
            outcome => outcome,
        }
    }
}

/// epoll's report in terms of directions. An error or a hang-up makes both able to progress: reading and writing report it.
fn directions(flags: EventFlags) -> Interest {
    let mut ready = Interest::NONE;
    if flags.intersects(!EventFlags::IN) {
        ready = ready | Interest::WRITE;
    }
    if flags.intersects(!EventFlags::OUT) {
        ready = ready | Interest::READ;
    }
    ready
}

impl Backend for EpollBackend {
    type Poller = EpollPoller;

    fn attach(&mut self, key: Key, fd: BorrowedFd<'_>) -> Result<()> {
        if self.attached.len() <= key.slot() {
            self.attached.resize_with(key.slot() + 1, || None);
        }
        self.attached[key.slot()] = Some(Attached {
            key,
            fd: fd.as_raw_fd(),
            wanted: Interest::NONE,
            registered: Interest::NONE,
            outgoing: Chain::new(),
        });
        Ok(())
    }

    fn detach(&mut self, key: Key) -> Chain {
        if self.get(key).is_none() {
            return Chain::new();
        }
        let Some(attached) = self.attached[key.slot()].take() else { return Chain::new() };
        if !attached.registered.is_none() {
            self.registrations -= 1;
            let _ = self.epoll.delete(borrow(attached.fd));
        }
        attached.outgoing
    }

    fn watch(&mut self, key: Key, interest: Interest) -> Result<()> {
        let Some(attached) = find(&mut self.attached, key) else { return Ok(()) };
        let before = attached.wanted;
        if before == interest && !interest.is_none() {
            // Asked again for what is registered: the number may belong to another file by now.
            return register(&self.epoll, borrow(attached.fd), key, attached.registered, true);
        }
        attached.wanted = interest;
        let outcome = self.apply(key);
        if outcome.is_err() {
            if let Some(attached) = find(&mut self.attached, key) {
                attached.wanted = before;
            }
        }
        outcome
    }

    fn watched(&self, key: Key) -> Interest {
        self.get(key).map_or(Interest::NONE, |attached| attached.wanted)
    }

    fn receive(&mut self, key: Key, buffer: &mut [MaybeUninit<u8>]) -> Result<Received> {
        let Some(attached) = self.get(key) else { return Ok(Received::Nothing) };
        Ok(match socket::receive(borrow(attached.fd), buffer)? {
            None => Received::Nothing,
            Some(0) => Received::End,
            Some(bytes) => Received::Bytes(bytes),
        })
    }

    fn send(&mut self, key: Key, chain: Chain) -> Result<Sent> {
        let Some(attached) = find(&mut self.attached, key) else { return Ok(Sent::All { bytes: 0 }) };
        debug_assert!(attached.outgoing.is_empty(), "one send at a time");
        attached.outgoing = chain;
        let sent = self.write_outgoing(key)?;
        if let Sent::Some { .. } = sent {
            if let Err(error) = self.apply(key) {
                if let Some(attached) = find(&mut self.attached, key) {
                    attached.outgoing = Chain::new();
                }
                return Err(error);
            }
        }
        Ok(sent)
    }

    fn sent(&mut self, key: Key) -> Result<Sent> {
        let outcome = self.write_outgoing(key);
        if !matches!(outcome, Ok(Sent::Some { .. })) {
            self.apply(key)?;
        }
        outcome
    }

    fn registrations(&self) -> usize {
        self.registrations
    }

    fn start_wait(&mut self) -> EpollPoller {
        self.poller.take().unwrap_or_else(|| EpollPoller::new(Arc::clone(&self.epoll)))
    }

    fn end_wait(&mut self, mut poller: EpollPoller, found: &mut Vec<Announcement>) {
        let mut stray = false;
        for event in poller.events() {
            let (bits, flags) = (event.u64, EventFlags::from_bits_retain(event.events));
            let key = Key::from_bits(bits);
            match self.get(key) {
                Some(attached) => {
                    let ready = directions(flags) & attached.registered;
                    if !ready.is_none() {
                        found.push(Announcement { key, ready });
                    }
                }
                None => stray = true,
            }
        }
        self.poller = Some(poller);
        if stray {
            // Out of descriptors: the stray report comes again with the next wait, and so does this attempt.
            let _ = self.rebuild();
        }
    }
}

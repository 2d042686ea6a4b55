//! Descriptors that the loop watches: who waits for them, and what is to be sent over them.
//!
//! # Invariants
//! 1. A direction is watched exactly while somebody waits for it, or while what is outgoing waits for room, which the
//!    backend sees to itself.
//! 2. An announcement ends the waits of its directions: whoever goes on waiting says so again.
//! 3. What is outgoing outlives its writer: the source then holds the socket until the kernel has taken everything, or
//!    refuses.

use core::task::Waker;
use std::io;
use std::rc::Rc;

use ferrio_engine::backend::epoll::EpollBackend;
use ferrio_engine::backend::{Announcement, Backend, Interest, Key};
use ferrio_engine::buf::Chunk;
use ferrio_engine::flow::GateSignal;
use ferrio_engine::reactor::{Flushed, Stream};
use ferrio_engine::sys::error::{Error, Result};

use super::{Core, os_error};

/// From so many bytes on a write is offered to the kernel without waiting for the end of the entry.
const SENT_AT_ONCE_BYTES: usize = 16 * 1024;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    const fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READ,
            Self::Write => Interest::WRITE,
        }
    }
}

/// Who is to be woken; mostly nobody or one.
#[derive(Default)]
pub(crate) struct Waiters {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Waiters {
    /// Adds somebody who is not there yet.
    fn add(&mut self, waker: &Waker) {
        match &self.first {
            None => self.first = Some(waker.clone()),
            Some(first) if first.will_wake(waker) => {}
            Some(_) => {
                if !self.others.iter().any(|other| other.will_wake(waker)) {
                    self.others.push(waker.clone());
                }
            }
        }
    }

    /// Takes one out; it comes back to be dropped.
    fn remove(&mut self, waker: &Waker) -> Option<Waker> {
        if self.first.as_ref().is_some_and(|first| first.will_wake(waker)) {
            return core::mem::replace(&mut self.first, self.others.pop());
        }
        let at = self.others.iter().position(|other| other.will_wake(waker))?;
        Some(self.others.swap_remove(at))
    }

    const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Wakes all; may run code of the program's.
    fn wake(self) {
        if let Some(first) = self.first {
            first.wake();
        }
        self.others.into_iter().for_each(Waker::wake);
    }
}

/// A socket whose sending direction can end.
pub(crate) trait Sending {
    /// Ends it; the peer reads the end of the stream.
    fn end(&self);
}

/// What is being sent over a connection while its writer goes on.
#[derive(Default)]
pub(crate) struct Outgoing {
    stream: Stream,
    /// Wait until there is room, or until everything has left.
    waiting: Waiters,
    failure: Option<Error>,
    is_corked: bool,
    is_paused: bool,
    /// Nothing more may be written.
    is_ended: bool,
    /// Kept open, and its sending direction to be ended, behind the last byte.
    held: Option<Rc<dyn Sending>>,
}

/// A watched descriptor.
#[derive(Default)]
pub(crate) struct Source {
    readers: Waiters,
    writers: Waiters,
    outgoing: Option<Box<Outgoing>>,
}

impl Source {
    const fn waiters(&mut self, direction: Direction) -> &mut Waiters {
        match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers,
        }
    }

    fn wanted(&self) -> Interest {
        let mut wanted = Interest::NONE;
        if !self.readers.is_empty() {
            wanted = wanted | Interest::READ;
        }
        if !self.writers.is_empty() {
            wanted = wanted | Interest::WRITE;
        }
        wanted
    }
}

/// What a writer that waits is told.
pub(crate) enum Room {
    /// It may go on.
    There,
    /// It is woken later.
    Wait,
}

/// The answer to those who use a socket of a loop that has closed.
fn closed() -> io::Error {
    io::Error::other("the socket's event loop has closed")
}

impl Core {
    /// Somebody waits for `direction` of `key`.
    ///
    /// # Errors
    /// The loop has closed; the kernel cannot watch the descriptor.
    pub(crate) fn wait_for(&self, key: Key, direction: Direction, waker: &Waker) -> io::Result<()> {
        let mut reactor = self.reactor.borrow_mut();
        let reactor = &mut *reactor;
        let source = reactor.sources.get_mut(key).ok_or_else(closed)?;
        source.waiters(direction).add(waker);
        if (reactor.backend.watched(key) & direction.interest()).is_none() {
            reactor.backend.watch(key, source.wanted()).map_err(os_error)?;
        }
        Ok(())
    }

    /// Somebody waits no longer.
    pub(crate) fn wait_no_more(&self, key: Key, direction: Direction, waker: &Waker) {
        let removed = {
            let mut reactor = self.reactor.borrow_mut();
            let reactor = &mut *reactor;
            let Some(source) = reactor.sources.get_mut(key) else { return };
            let removed = source.waiters(direction).remove(waker);
            let wanted = source.wanted();
            if reactor.backend.watched(key) != wanted {
                // Less is always possible for a descriptor that is open.
                let _ = reactor.backend.watch(key, wanted);
            }
            removed
        };
        drop(removed);
    }

    /// The kernel has news of a source.
    pub(super) fn announce(&self, announcement: Announcement) {
        let Announcement { key, ready } = announcement;
        let (readers, writers, has_outgoing) = {
            let mut reactor = self.reactor.borrow_mut();
            let reactor = &mut *reactor;
            let Some(source) = reactor.sources.get_mut(key) else { return };
            let readers = if ready.reads() { core::mem::take(&mut source.readers) } else { Waiters::default() };
            let writers = if ready.writes() { core::mem::take(&mut source.writers) } else { Waiters::default() };
            let wanted = source.wanted();
            if reactor.backend.watched(key) != wanted {
                // As above.
                let _ = reactor.backend.watch(key, wanted);
            }
            (readers, writers, ready.writes() && source.outgoing.is_some())
        };
        readers.wake();
        writers.wake();
        if has_outgoing {
            self.with_outgoing(key, |stream, backend| stream.progress(backend, key));
        }
    }

    /// Queues bytes to be sent when the present entry ends. Many are offered to the kernel at once if nothing is before them:
    /// copying them would take longer.
    pub(crate) fn write(&self, key: Key, mut bytes: &[u8]) {
        let is_new = {
            let mut reactor = self.reactor.borrow_mut();
            let reactor = &mut *reactor;
            let Some(source) = reactor.sources.get_mut(key) else { return };
            let outgoing = source.outgoing.get_or_insert_default();
            if outgoing.failure.is_some() || outgoing.is_ended {
                return;
            }
            if bytes.len() >= SENT_AT_ONCE_BYTES {
                match outgoing.stream.send_now(&mut reactor.backend, key, bytes) {
                    Ok(taken) => bytes = &bytes[taken..],
                    Err(error) => {
                        outgoing.failure = Some(error);
                        return;
                    }
                }
            }
            if bytes.is_empty() {
                return;
            }
            let refused = outgoing.stream.queue(Chunk::from_vec(bytes.to_vec()));
            debug_assert!(refused.is_none(), "the chunk is not empty");
            if outgoing.stream.after_write() == GateSignal::Pause {
                outgoing.is_paused = true;
            }
            !core::mem::replace(&mut outgoing.is_corked, true)
        };
        if is_new {
            self.cork(key);
        }
    }

    /// Hands what is queued to the kernel.
    pub(super) fn flush(&self, key: Key) {
        self.with_outgoing(key, |stream, backend| stream.flush(backend, key));
    }

    /// Sends some more, and wakes whom that concerns.
    fn with_outgoing(&self, key: Key, send: impl FnOnce(&mut Stream, &mut EpollBackend) -> Result<Flushed>) {
        let (waiting, held) = {
            let mut reactor = self.reactor.borrow_mut();
            let reactor = &mut *reactor;
            let Some(outgoing) = reactor.sources.get_mut(key).and_then(|source| source.outgoing.as_deref_mut()) else {
                return;
            };
            outgoing.is_corked = false;
            let is_over = match send(&mut outgoing.stream, &mut reactor.backend) {
                Ok(flushed) => {
                    if outgoing.stream.after_progress() == GateSignal::Resume {
                        outgoing.is_paused = false;
                    }
                    flushed.is_empty && outgoing.stream.pending_bytes() == 0
                }
                Err(error) => {
                    outgoing.failure = Some(error);
                    outgoing.is_paused = false;
                    true
                }
            };
            let wakes = is_over || !outgoing.is_paused;
            (
                if wakes { core::mem::take(&mut outgoing.waiting) } else { Waiters::default() },
                if is_over { outgoing.held.take() } else { None },
            )
        };
        if let Some(held) = held {
            held.end();
        }
        waiting.wake();
    }

    /// Nothing more is written: the sending direction of `socket` ends once everything has left. Nothing to do in a loop that
    /// has closed, and with it everything that was to be sent.
    pub(crate) fn end_sending(&self, key: Key, socket: Rc<dyn Sending>) {
        self.flush(key);
        let ends_now = {
            let mut reactor = self.reactor.borrow_mut();
            let Some(source) = reactor.sources.get_mut(key) else { return };
            let outgoing = source.outgoing.get_or_insert_default();
            if core::mem::replace(&mut outgoing.is_ended, true) {
                return;
            }
            if outgoing.stream.pending_bytes() == 0 {
                Some(socket)
            } else {
                outgoing.held = Some(socket);
                None
            }
        };
        if let Some(socket) = ends_now {
            socket.end();
        }
    }

    /// Whether a writer may go on: when little is queued, or with `everything` when nothing is. Sends what is queued first.
    ///
    /// # Errors
    /// The connection's error; the loop has closed.
    pub(crate) fn poll_room(&self, key: Key, everything: bool, waker: &Waker) -> io::Result<Room> {
        self.flush(key);
        let mut reactor = self.reactor.borrow_mut();
        let source = reactor.sources.get_mut(key).ok_or_else(closed)?;
        let Some(outgoing) = source.outgoing.as_deref_mut() else { return Ok(Room::There) };
        if let Some(error) = outgoing.failure {
            return Err(os_error(error));
        }
        let has_room = if everything { outgoing.stream.pending_bytes() == 0 } else { !outgoing.is_paused };
        if has_room {
            return Ok(Room::There);
        }
        outgoing.waiting.add(waker);
        Ok(Room::Wait)
    }

    /// A writer that has waited has gone.
    pub(crate) fn give_up_room(&self, key: Key, waker: &Waker) {
        let removed = {
            let mut reactor = self.reactor.borrow_mut();
            let outgoing = reactor.sources.get_mut(key).and_then(|source| source.outgoing.as_deref_mut());
            outgoing.and_then(|outgoing| outgoing.waiting.remove(waker))
        };
        drop(removed);
    }

    /// Bytes written that the kernel has not taken.
    pub(crate) fn unsent_bytes(&self, key: Key) -> usize {
        let reactor = self.reactor.borrow();
        let outgoing = reactor.sources.get(key).and_then(|source| source.outgoing.as_deref());
        outgoing.map_or(0, |outgoing| outgoing.stream.pending_bytes())
    }
}

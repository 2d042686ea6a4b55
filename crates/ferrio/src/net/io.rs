//! A descriptor that the loop watches, and calls on it that are tried again when it is ready.
//!
//! # Invariants
//! 1. The descriptor is open for as long as its key is attached: the key is detached before the fields are dropped.
//! 2. Each call that finds nothing to read is reported to the backend before the wait begins, as `Usage::Attempts` asks.

use core::cell::Cell;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ferrio_engine::backend::{Backend, Key, Usage};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::event_loop::{Core, Direction, Sending, Source, current, os_error};

/// See the module.
pub(crate) struct Io {
    core: Rc<Core>,
    key: Key,
    /// The last receive has shown that nothing is left: the next is not tried before the kernel has news.
    is_spent: Cell<bool>,
    fd: OwnedFd,
}

impl Io {
    /// Attaches a non-blocking descriptor to the current loop.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let core = current();
        let key = {
            let mut reactor = core.reactor.borrow_mut();
            let key = reactor.sources.insert(Source::default());
            if let Err(error) = reactor.backend.attach(key, fd.as_fd(), Usage::Attempts) {
                let _ = reactor.sources.remove(key);
                return Err(os_error(error));
            }
            key
        };
        Ok(Self { core, key, is_spent: Cell::new(false), fd })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// Waits for news of `direction`.
    pub(crate) fn wait_for<T>(&self, direction: Direction, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.core.wait_for(self.key, direction, context.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn found_nothing(&self) {
        self.core.reactor.borrow_mut().backend.refused(self.key);
    }

    /// Calls `attempt` until it is not told that the call would block.
    pub(crate) fn poll_call<T>(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if !self.core.may_call() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match attempt(self.fd.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if direction == Direction::Read {
                        self.found_nothing();
                    }
                    return self.wait_for(direction, context);
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// As [`Self::poll_call`], for callers of which several may wait: who is dropped waits no longer.
    pub(crate) async fn call<T>(
        &self,
        direction: Direction,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut wait = Wait { io: self, direction, waker: None };
        poll_fn(|context| {
            let outcome = self.poll_call(direction, context, &mut attempt);
            wait.set(outcome.is_pending().then_some(context));
            outcome
        })
        .await
    }

    /// Receives into `buffer`; 0 is the end of the stream, or that the buffer is empty.
    pub(crate) fn poll_receive(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.is_spent.take() {
            return self.wait_for(Direction::Read, context);
        }
        let received = self.poll_call(Direction::Read, context, |fd| {
            Ok(rustix::net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, count)| count)?)
        });
        if let Poll::Ready(Ok(count)) = &received
            && (1..buffer.len()).contains(count)
        {
            self.is_spent.set(self.core.reactor.borrow_mut().backend.received_short(self.key));
        }
        received
    }

    /// Sends as much of `bytes` as there is room for.
    pub(crate) fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_call(Direction::Write, context, |fd| {
            Ok(rustix::net::send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
        })
    }

    /// Ends the sending direction.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.fd, Shutdown::Write) {
            // The peer has reset the connection: there is nothing left to end.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Sending for Io {
    fn end(&self) {
        // Nobody is there to be told.
        let _ = self.shut_down();
    }
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        let gone = {
            let mut reactor = self.core.reactor.borrow_mut();
            (reactor.backend.detach(self.key), reactor.sources.remove(self.key))
        };
        drop(gone);
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd.fmt(formatter)
    }
}

/// Somebody among several who wait for a descriptor.
struct Wait<'a> {
    io: &'a Io,
    direction: Direction,
    waker: Option<Waker>,
}

impl Wait<'_> {
    /// The waker is waited with now, and no other any more.
    fn set(&mut self, waiting: Option<&mut Context<'_>>) {
        match (&self.waker, waiting) {
            (Some(waker), Some(context)) if waker.will_wake(context.waker()) => {}
            (former, waiting) => {
                if let Some(former) = former {
                    self.io.core.wait_no_more(self.io.key, self.direction, former);
                }
                self.waker = waiting.map(|context| context.waker().clone());
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.set(None);
    }
}

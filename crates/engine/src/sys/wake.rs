//! The descriptor that ends another thread's wait: an `eventfd`.
//!
//! One write makes it readable until it is read, however many writes came; its counter saturates long after any number
//! of wake-ups that fits between two turns.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::error::{Result, retry};

/// A wake-up descriptor. `signal` may be called from any thread, `clear` from the loop's.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// Makes one, non-blocking and closed on `exec`.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> Result<Self> {
        retry("eventfd", || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)).map(Self)
    }

    /// Makes the descriptor readable.
    ///
    /// # Errors
    /// None in practice: a full counter (`EAGAIN`) is readable already and counts as success.
    pub fn signal(&self) -> Result<()> {
        let one = 1_u64.to_ne_bytes();
        match retry("write", || rustix::io::write(&self.0, &one)) {
            Err(error) if error.errno != Errno::AGAIN => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes it unreadable again; does nothing when it was not signalled.
    ///
    /// # Errors
    /// None in practice.
    pub fn clear(&self) -> Result<()> {
        let mut counter = [0_u8; 8];
        match retry("read", || rustix::io::read(&self.0, &mut counter)) {
            Err(error) if error.errno != Errno::AGAIN => Err(error),
            _ => Ok(()),
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

//! The descriptor that ends another thread's wait: an `eventfd`.
//!
//! One write makes it readable until it is read, however many writes came; its counter saturates long after any number
//! of wake-ups that fits between two turns.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::error::{Result, retry};
use super::number;

/// A wake-up descriptor. `signal` may be called from any thread, `clear` from the loop's.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// Makes one, non-blocking and closed on `exec`.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> Result<Self> {
        make().map(Self)
    }

    /// Puts a new descriptor in the place of this one, under the same number: the wake-ups of a forked
    /// child do not reach its parent.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`: nothing has changed.
    pub fn renew(&self) -> Result<()> {
        number::put(&make()?, self.0.as_fd())
    }

    /// The same descriptor under another number, to be signalled.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE`.
    pub fn share(&self) -> Result<Self> {
        retry("fcntl", || rustix::io::fcntl_dupfd_cloexec(&self.0, 0)).map(Self)
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

fn make() -> Result<OwnedFd> {
    retry("eventfd", || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_renewed_descriptor_has_the_old_number_and_a_file_of_its_own() {
        let wake = Wake::new().expect("an eventfd");
        let shared = Wake(wake.0.try_clone().expect("a duplicate"));
        let number = wake.0.as_raw_fd();
        wake.renew().expect("another eventfd");
        assert_eq!(wake.0.as_raw_fd(), number);
        wake.signal().expect("an eventfd can be written");
        let mut counter = [0; 8];
        assert_eq!(rustix::io::read(&shared.0, &mut counter), Err(Errno::AGAIN));
        assert_eq!(rustix::io::read(&wake.0, &mut counter), Ok(8));
    }
}

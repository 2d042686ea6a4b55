//! A descriptor's number: whether it is open, and kept while the file behind it changes.
//!
//! `dup3` closes what the number stood for and opens the new file under it in one step, so whoever holds the number goes on
//! with the new file, and no other thread can get the number in between.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::error::{Error, Result, retry};

/// Whether `fd` is open.
///
/// # Errors
/// `EBADF`.
pub(crate) fn check_open(fd: BorrowedFd<'_>) -> Result<()> {
    retry("fcntl", || rustix::io::fcntl_getfd(fd)).map(drop)
}

/// Opens `file` under the number of `place` as well, closed on `exec`.
pub(super) fn put(file: &impl AsFd, place: BorrowedFd<'_>) -> Result<()> {
    loop {
        // SAFETY: two open descriptors. `place` stays open throughout, so its owner's promise is kept.
        if unsafe { libc::dup3(file.as_fd().as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) } >= 0 {
            return Ok(());
        }
        match Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) {
            // EBUSY: another thread is opening a file under this number, which is taken. It cannot last.
            Errno::INTR | Errno::BUSY => {}
            errno => return Err(Error::new("dup3", errno)),
        }
    }
}

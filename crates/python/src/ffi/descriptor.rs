//! Descriptors that programs name by number.

use std::os::fd::{BorrowedFd, RawFd};

/// A descriptor that its user keeps open for as long as it is registered; nothing is read from or written to a number of
/// somebody else's but by the user's own order.
///
/// # Panics
/// The number is negative, which no descriptor is.
#[inline]
pub(crate) fn of_user(number: RawFd) -> BorrowedFd<'static> {
    assert!(number >= 0, "descriptors are not negative");
    // SAFETY: not -1. A number that has been closed is an error of the system call, or another of the user's files.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// The descriptor behind a number, for system calls; `None` for a negative one.
///
/// Whoever owns it may close it at any time: then a call answers with `EBADF`, or concerns the file that has the number by
/// now. No memory is at stake; the backend's rules about numbers are for the rest.
#[inline]
pub(crate) fn borrow<'a>(number: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: not -1, which the type has no room for.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

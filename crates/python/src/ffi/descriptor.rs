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

//! Descriptors that Python objects own, by their numbers.

use std::os::fd::{BorrowedFd, RawFd};

/// The descriptor behind a number, for system calls; `None` for a negative one.
///
/// Whoever owns it may close it at any time: then a call answers with `EBADF`, or concerns the file that has the number by
/// now. No memory is at stake; the backend's rules about numbers are for the rest.
#[inline]
pub(crate) fn borrow<'a>(number: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: not -1, which the type has no room for.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

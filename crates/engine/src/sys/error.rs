//! A failed system call: which one, and why.

use rustix::io::Errno;

/// A failed system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {errno}")]
pub struct Error {
    /// Name of the call, as in its manual page.
    pub call: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

impl Error {
    /// An error of `call`.
    #[must_use]
    pub const fn new(call: &'static str, errno: Errno) -> Self {
        Self { call, errno }
    }

    /// The number that Python shows as `OSError.errno`.
    #[must_use]
    pub const fn raw_os_error(self) -> i32 {
        self.errno.raw_os_error()
    }
}

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Error>;

/// Runs `operation` again for as long as a signal interrupts it.
pub(crate) fn retry<T>(call: &'static str, mut operation: impl FnMut() -> rustix::io::Result<T>) -> Result<T> {
    loop {
        match operation() {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new(call, errno)),
            Ok(value) => return Ok(value),
        }
    }
}

/// What a call of libc's that answers -1 for an error has answered.
#[inline]
pub(super) fn counted(answer: impl TryInto<usize>) -> rustix::io::Result<usize> {
    answer.try_into().map_err(|_| last_errno())
}

/// The error of the thread's last call of libc's.
#[cold]
fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

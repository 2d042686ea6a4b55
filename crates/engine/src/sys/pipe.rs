//! Moving bytes through a pipe, a FIFO, a terminal or a socket, without ever waiting.
//!
//! `O_NONBLOCK` belongs to the open file, which is shared with whoever inherited the descriptor: a child that makes its
//! standard input blocking makes ours blocking too. `RWF_NOWAIT` is asked for with each call instead; the kernel knows it for
//! pipes and sockets (Linux 5.x to 6.4, depending on the kind), and answers `EOPNOTSUPP` for terminals and where it is older.
//! That is [`Attempt::Unsupported`], and the caller makes the call as one that may wait.

use core::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::error::{Error, Result};

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// So many bytes have moved; of a read, 0 is the end.
    Done(usize),
    /// It would have waited.
    WouldBlock,
    /// The kernel cannot promise not to wait.
    Unsupported,
}

/// Reads into `buffer`, which must not be empty; its first `n` bytes are initialised when `Done(n)` comes back.
///
/// # Errors
/// What `read(2)` reports: `EIO` from a terminal whose other side has gone, ...
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [MaybeUninit<u8>]) -> Result<Attempt> {
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    attempt("preadv2", || {
        // SAFETY: one part, which is the caller's buffer; -1 stands for the file's own position.
        unsafe { libc::preadv2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) }
    })
}

/// How many bytes can be read now; 0 where that cannot be told.
#[must_use]
pub fn readable_bytes(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let outcome = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if outcome == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Writes as much of `data` as there is room for.
///
/// # Errors
/// What `write(2)` reports: `EPIPE`, ...
pub fn write(fd: BorrowedFd<'_>, data: &[u8]) -> Result<Attempt> {
    let part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    attempt("pwritev2", || {
        // SAFETY: one part, which the call only reads; -1 stands for the file's own position.
        unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) }
    })
}

fn attempt(call: &'static str, mut operation: impl FnMut() -> isize) -> Result<Attempt> {
    loop {
        if let Ok(bytes) = usize::try_from(operation()) {
            return Ok(Attempt::Done(bytes));
        }
        match Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) {
            Errno::INTR => {}
            Errno::AGAIN => return Ok(Attempt::WouldBlock),
            Errno::OPNOTSUPP | Errno::NOSYS => return Ok(Attempt::Unsupported),
            errno => return Err(Error::new(call, errno)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn read_into<const N: usize>(fd: BorrowedFd<'_>) -> Result<Attempt> {
        read(fd, &mut [MaybeUninit::uninit(); N])
    }

    #[test]
    fn a_blocking_pipe_is_not_waited_for() {
        let (reading, writing) = std::io::pipe().expect("a pipe");
        // Where the kernel cannot promise it, it says so.
        if read_into::<8>(reading.as_fd()) == Ok(Attempt::Unsupported) {
            return;
        }
        assert_eq!(read_into::<8>(reading.as_fd()), Ok(Attempt::WouldBlock));
        let block = [0; 4096];
        while write(writing.as_fd(), &block) != Ok(Attempt::WouldBlock) {}
        assert_eq!(read_into::<8>(reading.as_fd()), Ok(Attempt::Done(8)));
    }

    #[test]
    fn the_ends_of_a_pipe_notice_each_others_closing() {
        let (reading, writing) = std::io::pipe().expect("a pipe");
        drop(writing);
        assert_eq!(read_into::<8>(reading.as_fd()), Ok(Attempt::Done(0)));
        let (reading, writing) = std::io::pipe().expect("a pipe");
        drop(reading);
        assert_eq!(write(writing.as_fd(), b"x"), Err(Error::new("pwritev2", Errno::PIPE)));
    }
}

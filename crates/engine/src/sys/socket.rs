//! Moving bytes over a connected socket.
//!
//! Nothing here blocks, whatever the descriptor's mode, which whoever shares the open file can change: "would block" is a
//! value (`None`), not an error. `MSG_NOSIGNAL` is always set: a peer that has gone is an `EPIPE`, never a signal.
//!
//! `send` and `recv` are made by number: libc's functions of these names can be cancelled by `pthread_cancel`, and what that
//! takes is paid for with each message (docs/design/0028-messages-by-number.md).

use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, ipproto, sockopt};

use super::error::{Error, Result, counted, retry};

/// `None` for "would block".
fn non_blocking<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Error { errno: Errno::AGAIN, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Receives into `buffer`; `Some(0)` is the end of the stream, `None` means nothing has come yet. With an empty `buffer`
/// the kernel is asked all the same.
///
/// The first `n` bytes of `buffer` are initialised when `Some(n)` comes back.
///
/// # Errors
/// What `recv(2)` reports: `ECONNRESET`, `ETIMEDOUT`, ...
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [MaybeUninit<u8>]) -> Result<Option<usize>> {
    let (number, into, room) = (fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    let (address, length) = (null_mut::<libc::sockaddr>(), null_mut::<libc::socklen_t>());
    non_blocking(retry("recv", || {
        // SAFETY: the kernel writes into `buffer`, at most its length; the null pointers ask for no address.
        counted(unsafe { libc::syscall(libc::SYS_recvfrom, number, into, room, libc::MSG_DONTWAIT, address, length) })
    }))
}

/// How many bytes a receive would bring at least; 0 where that cannot be told, and where none are there.
#[must_use]
pub fn waiting_bytes(fd: BorrowedFd<'_>) -> usize {
    rustix::io::ioctl_fionread(fd).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Sends `bytes` with one system call; the count of bytes taken, `None` when the socket is full.
///
/// # Errors
/// What `send(2)` reports: `EPIPE`, `ECONNRESET`, ...
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<Option<usize>> {
    let (number, from, length) = (fd.as_raw_fd(), bytes.as_ptr(), bytes.len());
    let (flags, address) = (SEND.bits(), null::<libc::sockaddr>());
    non_blocking(retry("send", || {
        // SAFETY: the kernel reads `bytes`; the null pointer stands for no address.
        counted(unsafe { libc::syscall(libc::SYS_sendto, number, from, length, flags, address, 0_u32) })
    }))
}

/// As [`send`], of several slices with one system call.
///
/// # Errors
/// As for [`send`].
#[inline]
pub fn send_slices(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
    match slices {
        [only] => send(fd, only),
        _ => send_several(fd, slices),
    }
}

/// Apart, so that a caller with one slice, which most are, has only [`send`] in its code.
#[inline(never)]
fn send_several(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
    non_blocking(retry("sendmsg", || rustix::net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), SEND)))
}

/// What tells an open socket from every other that its descriptor's number ever names: the kernel's cookie of the socket,
/// or where there is none (before Linux 4.12) the number of its inode.
///
/// # Errors
/// `EBADF`, or `ENOTSOCK` for what is no socket.
pub fn identity(fd: BorrowedFd<'_>) -> Result<u64> {
    match retry("getsockopt", || sockopt::socket_cookie(fd)) {
        Err(Error { errno: Errno::NOPROTOOPT, .. }) => {
            retry("fstat", || rustix::fs::fstat(fd)).map(|status| status.st_ino)
        }
        outcome => outcome,
    }
}

/// Ends the sending direction: the peer reads the end of the stream after what was sent.
///
/// # Errors
/// `ENOTCONN` when the peer has reset the connection.
pub fn shut_down_sending(fd: BorrowedFd<'_>) -> Result<()> {
    retry("shutdown", || rustix::net::shutdown(fd, Shutdown::Write))
}

/// Whether `fd` is a TCP socket. What is no socket is none.
#[must_use]
pub fn is_tcp(fd: BorrowedFd<'_>) -> bool {
    sockopt::socket_protocol(fd) == Ok(Some(ipproto::TCP))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_blocking_socket_is_not_waited_for() {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut buffer = [MaybeUninit::uninit(); 8];
        assert_eq!(receive(ours.as_fd(), &mut buffer), Ok(None));
        assert_eq!(send(theirs.as_fd(), b"abc"), Ok(Some(3)));
        assert_eq!(receive(ours.as_fd(), &mut buffer), Ok(Some(3)));
        while send(ours.as_fd(), &[0; 4096]).expect("the peer lives").is_some() {}
        let slices = [IoSlice::new(&[0; 4096]), IoSlice::new(&[0; 4096])];
        assert_eq!(send_slices(ours.as_fd(), &slices), Ok(None));
        assert_eq!(send_slices(ours.as_fd(), &slices[..1]), Ok(None));
        drop(theirs);
        assert_eq!(send(ours.as_fd(), b"abc").map_err(|error| error.errno), Err(Errno::PIPE));
    }

    #[test]
    fn a_socket_keeps_its_identity_and_shares_it_with_nobody_but_its_duplicates() {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let duplicate = ours.try_clone().expect("a duplicate");
        let own = identity(ours.as_fd()).expect("a socket");
        assert_eq!(identity(ours.as_fd()), Ok(own));
        assert_eq!(identity(duplicate.as_fd()), Ok(own));
        assert_ne!(identity(theirs.as_fd()), Ok(own));
        let file = std::fs::File::open("/dev/null").expect("a file");
        assert_eq!(identity(file.as_fd()).map_err(|error| error.errno), Err(Errno::NOTSOCK));
    }
}

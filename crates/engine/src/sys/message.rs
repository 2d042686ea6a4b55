//! Moving datagrams: one call, one datagram, whole or not at all.
//!
//! Nothing here blocks, whatever the descriptor's mode: "would block" is a value (`None`), not an error. `MSG_NOSIGNAL` is
//! always set for sending. An error of a send concerns the datagram that was to be sent, or reports what the network
//! answered to an earlier one (`ECONNREFUSED`); in both cases this datagram has not left.

use core::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::address::SocketAddress;
use super::error::{Error, Result, counted, retry};

/// Datagrams that one system call takes at the most.
pub const BATCH: usize = 32;

const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// `None` for "would block".
fn non_blocking<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Error { errno: Errno::AGAIN, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Receives one datagram and its sender; what does not fit into `buffer` is lost.
///
/// The first `n` bytes of `buffer` are initialised when `Some(n)` comes back.
///
/// # Errors
/// What `recvfrom(2)` reports: `ECONNREFUSED` when a peer has answered that nobody listens, ...
pub fn receive_from(
    fd: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
    sender: &mut SocketAddress,
) -> Result<Option<usize>> {
    let mut length = SocketAddress::CAPACITY;
    let received = retry("recvfrom", || {
        length = SocketAddress::CAPACITY;
        let (number, start, room) = (fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: `buffer` has that much room, the address as much as `length` says, and the kernel keeps neither.
        counted(unsafe {
            libc::recvfrom(number, start, room, libc::MSG_DONTWAIT, sender.as_mut_ptr(), &raw mut length)
        })
    });
    sender.set_length(length);
    non_blocking(received)
}

/// Sends one datagram to the connected peer; `None` when there is no room.
///
/// # Errors
/// What `send(2)` reports: `EMSGSIZE`, `ECONNREFUSED`, ...
pub fn send(fd: BorrowedFd<'_>, data: &[u8]) -> Result<Option<()>> {
    non_blocking(retry("send", || rustix::net::send(fd, data, SEND).map(|_| ())))
}

/// Sends one datagram to `to`; `None` when there is no room.
///
/// # Errors
/// What `sendto(2)` reports: `EMSGSIZE`, `ENETUNREACH`, `EACCES`, ...
pub fn send_to(fd: BorrowedFd<'_>, data: &[u8], to: &SocketAddress) -> Result<Option<()>> {
    non_blocking(retry("sendto", || {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let (number, start) = (fd.as_raw_fd(), data.as_ptr().cast());
        // SAFETY: `data` and the address are as long as is said, and the kernel only reads them.
        counted(unsafe { libc::sendto(number, start, data.len(), flags, to.as_ptr(), to.length()) }).map(|_| ())
    }))
}

/// Sends several datagrams, [`BATCH`] at the most, with one system call: each to its address, or to the connected peer.
/// How many of them have left, at least one; `None` when there is no room for the first.
///
/// # Errors
/// Those of [`send_to`], about the first; an error about a later one ends the count before it, and comes again when that
/// one is sent.
pub fn send_many<'a>(
    fd: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (&'a [u8], Option<&'a SocketAddress>)>,
) -> Result<Option<usize>> {
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut count = 0;
    for ((part, message), (data, to)) in parts.iter_mut().zip(&mut messages).zip(datagrams) {
        // The kernel only reads what it sends, and where it sends it.
        let part = part.write(libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() });
        let (name, name_length) = to.map_or((core::ptr::null(), 0), |to| (to.as_ptr(), to.length()));
        // SAFETY: a struct of integers and pointers, for which zeros are a value; it may have padding of its own.
        let header = message.write(unsafe { core::mem::zeroed() });
        header.msg_hdr.msg_name = name.cast_mut().cast();
        header.msg_hdr.msg_namelen = name_length;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    debug_assert_ne!(count, 0, "at least one datagram");
    non_blocking(retry("sendmmsg", || {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // musl declares the parameter without a sign.
        #[cfg(target_env = "musl")]
        let flags = flags.cast_unsigned();
        let (number, first) = (fd.as_raw_fd(), messages.as_mut_ptr().cast());
        // SAFETY: `count` headers have been written, and what they point to lives until the call returns.
        let sent = unsafe { libc::sendmmsg(number, first, count, flags) };
        counted(isize::try_from(sent).unwrap_or(-1))
    }))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::super::address::Parts;
    use super::*;

    fn receive(fd: BorrowedFd<'_>, room: usize) -> Result<Option<(Vec<u8>, SocketAddress)>> {
        let mut buffer = Box::new_uninit_slice(room);
        let mut sender = SocketAddress::UNNAMED;
        let received = receive_from(fd, &mut buffer, &mut sender)?;
        Ok(received.map(|count| {
            let filled = buffer[..count].iter();
            // SAFETY: the call has initialised so many.
            (filled.map(|byte| unsafe { byte.assume_init() }).collect(), sender)
        }))
    }

    fn udp() -> (UdpSocket, SocketAddress) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        (socket, SocketAddress::v4(Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn a_datagram_comes_with_its_sender() {
        let ((first, first_address), (second, second_address)) = (udp(), udp());
        assert_eq!(receive(second.as_fd(), 10), Ok(None));
        assert_eq!(send_to(first.as_fd(), b"hello", &second_address), Ok(Some(())));
        assert_eq!(receive(second.as_fd(), 10), Ok(Some((b"hello".to_vec(), first_address))));
        assert_eq!(send_to(first.as_fd(), b"", &second_address), Ok(Some(())));
        assert_eq!(receive(second.as_fd(), 10), Ok(Some((Vec::new(), first_address))));
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let ((first, _), (second, address)) = (udp(), udp());
        assert_eq!(send_to(first.as_fd(), b"hello", &address), Ok(Some(())));
        let (data, _) = receive(second.as_fd(), 2).expect("received").expect("a datagram");
        assert_eq!(data, b"he");
        assert_eq!(receive(second.as_fd(), 2), Ok(None));
    }

    #[test]
    fn a_sender_without_a_name_has_no_address() {
        let (first, second) = UnixDatagram::pair().expect("a pair");
        assert_eq!(send(first.as_fd(), b"hello"), Ok(Some(())));
        let (_, sender) = receive(second.as_fd(), 10).expect("received").expect("a datagram");
        assert_eq!(sender.parts(), Parts::Unnamed);
    }

    #[test]
    fn several_leave_in_order_each_to_its_address() {
        let (sender, _) = udp();
        let ((first, first_address), (second, second_address)) = (udp(), udp());
        let datagrams: [(&[u8], _); 3] =
            [(b"1", Some(&first_address)), (b"2", Some(&second_address)), (b"3", Some(&first_address))];
        assert_eq!(send_many(sender.as_fd(), datagrams.into_iter()), Ok(Some(3)));
        let texts = |socket: &UdpSocket| {
            let mut texts = Vec::new();
            while let Ok(Some((data, _))) = receive(socket.as_fd(), 10) {
                texts.push(data);
            }
            texts
        };
        assert_eq!(texts(&first), [b"1", b"3"]);
        assert_eq!(texts(&second), [b"2"]);
    }

    #[test]
    fn an_error_ends_the_count_and_comes_again_for_its_datagram() {
        let ((sender, _), (receiver, address)) = (udp(), udp());
        let too_long = vec![0; 70_000];
        let datagrams: [(&[u8], _); 3] = [(b"1", Some(&address)), (&too_long, Some(&address)), (b"3", Some(&address))];
        assert_eq!(send_many(sender.as_fd(), datagrams.into_iter()), Ok(Some(1)));
        let rest = send_many(sender.as_fd(), datagrams.into_iter().skip(1));
        assert_eq!(rest, Err(Error::new("sendmmsg", Errno::MSGSIZE)));
        assert_eq!(send_many(sender.as_fd(), datagrams.into_iter().skip(2)), Ok(Some(1)));
        drop(receiver);
    }

    #[test]
    fn a_full_peer_is_no_error() {
        let (first, second) = UnixDatagram::pair().expect("a pair");
        let datagrams = || std::iter::repeat_n((&b"data"[..], None), BATCH);
        let mut sent = 0;
        while let Some(count) = send_many(first.as_fd(), datagrams()).expect("no error") {
            sent += count;
        }
        assert_eq!(send(first.as_fd(), b"data"), Ok(None));
        let mut received = 0;
        while let Ok(Some(_)) = receive(second.as_fd(), 10) {
            received += 1;
        }
        assert_eq!(received, sent);
    }
}

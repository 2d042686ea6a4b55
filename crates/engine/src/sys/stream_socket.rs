//! Opening connected stream sockets: accepting and connecting.
//!
//! Sockets come non-blocking and closed in programs that the process starts. Nothing here waits, but for [`accept`] on a
//! listener that is a blocking one.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::error::{Error, Result, retry};
use super::socket_name::SocketName;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// No time to wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A connection that was waiting at a listening socket, and its other end's name; `None` when none is waiting. Waits for one
/// if the listener is a blocking socket ([`is_blocking`]): no flag of the call prevents it.
///
/// # Errors
/// `ECONNABORTED` (the peer has given up; others may be waiting), `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` (the connection
/// goes on waiting), or whatever else `accept(2)` reports.
pub fn accept(listener: BorrowedFd<'_>) -> Result<Option<(OwnedFd, SocketName)>> {
    match retry("accept", || rustix::net::acceptfrom_with(listener, FLAGS)) {
        Ok((connection, peer)) => {
            let peer = peer.map_or(Some(SocketName::UnixUnnamed), SocketName::from_kernel);
            Ok(Some((connection, peer.unwrap_or_default())))
        }
        Err(Error { errno: Errno::AGAIN, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether calls on this descriptor wait: somebody who shares the open file may have made it so. A descriptor that is not
/// open does not.
#[must_use]
pub fn is_blocking(socket: BorrowedFd<'_>) -> bool {
    retry("fcntl", || rustix::fs::fcntl_getfl(socket)).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK))
}

/// Whether closing this socket waits until what was sent has arrived (`SO_LINGER`, which an accepted connection has from its
/// listener).
#[must_use]
pub fn lingers(socket: BorrowedFd<'_>) -> bool {
    sockopt::socket_linger(socket).is_ok_and(|limit| limit.is_some_and(|limit| !limit.is_zero()))
}

/// How far a connection has come.
#[derive(Debug)]
pub enum Connecting {
    /// It is there.
    Done(OwnedFd),
    /// The socket becomes writable when the outcome is known: [`connect_outcome`] tells it.
    Pending(OwnedFd),
    /// The peer, or the way to it, refused: the error of the connection, not of a call.
    Refused(Error),
}

/// The outcome of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// It is there.
    Made,
    /// It has failed.
    Failed(Errno),
}

/// Starts a TCP connection.
///
/// The handshake with a peer on the same machine is usually over when `connect(2)` returns, though that says
/// `EINPROGRESS`; one look with `poll(2)` then saves the wait.
///
/// # Errors
/// What `socket(2)` and `connect(2)` report at once: `EMFILE`, `ENETUNREACH`, `EADDRNOTAVAIL`, ...
pub fn connect(address: &SocketAddr) -> Result<Connecting> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = retry("socket", || rustix::net::socket_with(family, SocketType::STREAM, FLAGS, Some(ipproto::TCP)))?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => Ok(Connecting::Done(socket)),
        // Interrupted, it goes on in the background all the same.
        Err(Errno::INPROGRESS | Errno::INTR) => match connect_outcome(socket.as_fd()) {
            Ok(Outcome::Made) => Ok(Connecting::Done(socket)),
            Ok(Outcome::Failed(errno)) => Ok(Connecting::Refused(Error::new("connect", errno))),
            Ok(Outcome::Pending) => Ok(Connecting::Pending(socket)),
            Err(error) => Err(error),
        },
        Err(errno) => Err(Error::new("connect", errno)),
    }
}

/// The outcome of a connection under way.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`.
pub fn connect_outcome(socket: BorrowedFd<'_>) -> Result<Outcome> {
    let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    let ready = retry("poll", || poll(&mut asked, Some(&AT_ONCE)))?;
    if ready == 0 {
        return Ok(Outcome::Pending);
    }
    if asked[0].revents() == PollFlags::OUT {
        return Ok(Outcome::Made);
    }
    let outcome = retry("getsockopt", || sockopt::socket_error(socket))?;
    Ok(outcome.map_or_else(Outcome::Failed, |()| Outcome::Made))
}

/// Whether something waits at a socket: a connection at a listening one. An error waits, too.
#[must_use]
pub fn is_readable(socket: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    retry("poll", || poll(&mut asked, Some(&AT_ONCE))) != Ok(0)
}

/// Sends small segments at once (`TCP_NODELAY`).
///
/// # Errors
/// `ENOPROTOOPT` or `EOPNOTSUPP` for a socket that is not TCP.
pub fn send_at_once(socket: BorrowedFd<'_>) -> Result<()> {
    retry("setsockopt", || sockopt::set_tcp_nodelay(socket, true))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::time::Duration;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_is_accepted_with_the_name_of_its_other_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        listener.set_nonblocking(true).expect("an open socket");
        assert!(matches!(accept(listener.as_fd()), Ok(None)));
        let address = listener.local_addr().expect("an address");
        let Ok(Connecting::Done(client) | Connecting::Pending(client)) = connect(&address) else {
            panic!("it connects")
        };
        let (server, peer) = loop {
            if let Some(accepted) = accept(listener.as_fd()).expect("no error") {
                break accepted;
            }
        };
        assert_eq!(super::super::socket_name::local(client.as_fd()), Ok(Some(peer)));
        assert_eq!(send_at_once(server.as_fd()), Ok(()));
        assert_eq!(connect_outcome(client.as_fd()), Ok(Outcome::Made));
    }

    #[test]
    fn a_blocking_and_a_lingering_socket_are_known() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        assert!(is_blocking(listener.as_fd()));
        listener.set_nonblocking(true).expect("an open socket");
        assert!(!is_blocking(listener.as_fd()));
        assert!(!lingers(listener.as_fd()));
        for (limit, waits) in [(0, false), (1, true)] {
            sockopt::set_socket_linger(listener.as_fd(), Some(Duration::from_secs(limit))).expect("an open socket");
            assert_eq!(lingers(listener.as_fd()), waits);
        }
    }

    #[test]
    fn nobody_listening_is_a_refusal() {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("an address");
        let outcome = match connect(&address) {
            Ok(Connecting::Pending(socket)) => loop {
                match connect_outcome(socket.as_fd()).expect("an open socket") {
                    Outcome::Pending => {}
                    outcome => break outcome,
                }
            },
            Ok(Connecting::Refused(error)) | Err(error) => Outcome::Failed(error.errno),
            Ok(Connecting::Done(_)) => Outcome::Made,
        };
        assert_eq!(outcome, Outcome::Failed(Errno::CONNREFUSED));
    }
}

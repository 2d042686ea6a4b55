//! UDP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferrio_engine::sys::socket_name;
use rustix::net::{RecvFlags, SendFlags};

use super::Io;
use super::address::{Address, resolve};
use crate::event_loop::Direction;

const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A UDP socket. Each call moves one datagram, whole; several tasks may use it at a time.
///
/// # Examples
/// ```
/// use ferrio::net::UdpSocket;
///
/// ferrio::run(async {
///     let (one, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
///     one.send_to(b"ping", other.local_addr()?).await?;
///     let mut buffer = [0; 100];
///     let (count, from) = other.recv_from(&mut buffer).await?;
///     assert_eq!((&buffer[..count], from), (&b"ping"[..], one.local_addr()?));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    io: Io,
}

impl UdpSocket {
    /// A socket at the first address of the name that can be bound. Port 0 asks the kernel for a free one.
    ///
    /// # Errors
    /// The resolver's error; `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`.
    pub async fn bind(address: impl Into<Address>) -> io::Result<Self> {
        let addresses = resolve(address).await?;
        let socket = std::net::UdpSocket::bind(&*addresses)?;
        socket.set_nonblocking(true)?;
        Ok(Self { io: Io::new(OwnedFd::from(socket))? })
    }

    /// Sends to, and receives from, this address only from now on: the first one of the name.
    ///
    /// # Errors
    /// The resolver's error; `ENETUNREACH`.
    pub async fn connect(&self, address: impl Into<Address>) -> io::Result<()> {
        let addresses = resolve(address).await?;
        let Some(first) = addresses.first() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        };
        Ok(rustix::net::connect(&self.io, first)?)
    }

    /// Sends one datagram to `address`; waits while there is no room.
    ///
    /// # Errors
    /// `EMSGSIZE`, `ENETUNREACH`, and what the network has answered to an earlier datagram: `ECONNREFUSED`.
    pub async fn send_to(&self, data: &[u8], address: SocketAddr) -> io::Result<()> {
        self.io.call(Direction::Write, |fd| Ok(rustix::net::sendto(fd, data, SEND, &address).map(drop)?)).await
    }

    /// Sends one datagram to the connected address; waits while there is no room.
    ///
    /// # Errors
    /// As [`Self::send_to`]; `EDESTADDRREQ` when the socket is not connected.
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        self.io.call(Direction::Write, |fd| Ok(rustix::net::send(fd, data, SEND).map(drop)?)).await
    }

    /// Waits for a datagram; gives its length and its sender. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// What the network has answered to an earlier datagram: `ECONNREFUSED`.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let receive = |fd: BorrowedFd<'_>| {
            let (_, count, sender) = rustix::net::recvfrom(fd, &mut *buffer, RecvFlags::DONTWAIT)?;
            let sender = sender.ok_or(io::ErrorKind::NotConnected)?;
            Ok((count, SocketAddr::try_from(sender)?))
        };
        self.io.call(Direction::Read, receive).await
    }

    /// Waits for a datagram of the connected address; gives its length. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// As [`Self::recv_from`].
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let receive =
            |fd: BorrowedFd<'_>| Ok(rustix::net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, count)| count)?);
        self.io.call(Direction::Read, receive).await
    }

    /// The socket's address.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let name = socket_name::local(self.io.as_fd()).map_err(crate::event_loop::os_error)?;
        super::tcp::socket_address(name.unwrap_or_default())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

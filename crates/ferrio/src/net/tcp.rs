//! TCP: connections and listeners.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ferrio_engine::sys::socket_name::{self, SocketName};
use ferrio_engine::sys::stream_socket::{self, Connecting, Outcome};

use super::address::{Address, resolve};
use super::{Io, StreamReader, StreamWriter};
use crate::event_loop::{Direction, os_error};

/// Connects to a host; gives asyncio's pair of streams. The addresses of a name are tried one after the other.
///
/// # Errors
/// The resolver's error, or the last address's.
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let server = ferrio::start_server("127.0.0.1:0", async |mut reader, mut writer| {
///         let line = reader.readline().await?;
///         writer.write(&line.to_ascii_uppercase());
///         std::io::Result::Ok(())
///     })
///     .await?;
///     let (mut reader, mut writer) = ferrio::open_connection(server.local_addr()).await?;
///     writer.write(b"hello\n");
///     assert_eq!(reader.readline().await?, b"HELLO\n");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub async fn open_connection(address: impl Into<Address>) -> io::Result<(StreamReader, StreamWriter)> {
    TcpStream::connect(address).await.map(TcpStream::into_split)
}

/// A TCP connection. Small messages are sent at once (`TCP_NODELAY`).
///
/// Reads and writes by the traits of `futures-io`, also through a shared reference; one task at a time waits for each
/// direction.
///
/// # Examples
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use ferrio::net::{TcpListener, TcpStream};
///
/// ferrio::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut received = [0; 4];
///     server.read_exact(&mut received).await?;
///     assert_eq!(&received, b"ping");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    pub(super) io: Rc<Io>,
}

impl TcpStream {
    /// Connects to a host. The addresses of a name are tried one after the other.
    ///
    /// # Errors
    /// The resolver's error, or the last address's.
    pub async fn connect(address: impl Into<Address>) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in resolve(address).await? {
            match Self::connect_to(&address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect_to(address: &SocketAddr) -> io::Result<Self> {
        match stream_socket::connect(address).map_err(os_error)? {
            Connecting::Done(socket) => Self::over(socket),
            Connecting::Refused(error) => Err(os_error(error)),
            Connecting::Pending(socket) => {
                let io = Io::new(socket)?;
                let outcome = |fd: BorrowedFd<'_>| match stream_socket::connect_outcome(fd).map_err(os_error)? {
                    Outcome::Made => Ok(()),
                    Outcome::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    Outcome::Failed(errno) => Err(errno.into()),
                };
                io.call(Direction::Write, outcome).await?;
                Self::of(io)
            }
        }
    }

    fn over(socket: OwnedFd) -> io::Result<Self> {
        Self::of(Io::new(socket)?)
    }

    fn of(io: Io) -> io::Result<Self> {
        stream_socket::send_at_once(io.as_fd()).map_err(os_error)?;
        Ok(Self { io: Rc::new(io) })
    }

    /// The address of this end.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(self.io.as_fd())
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `ENOTCONN` when the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        peer_addr(self.io.as_fd())
    }

    /// The connection as asyncio's pair of streams. It is closed when both have been dropped.
    #[must_use]
    pub fn into_split(self) -> (StreamReader, StreamWriter) {
        (StreamReader::new(Rc::clone(&self.io)), StreamWriter::new(self.io))
    }
}

impl TryFrom<std::net::TcpStream> for TcpStream {
    type Error = io::Error;

    /// Takes a connection of the standard library's over.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn try_from(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Self::over(stream.into())
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// A socket that accepts TCP connections. See [`TcpStream`] for an example, and [`start_server`](crate::start_server) for
/// a server whose connections are tasks.
#[derive(Debug)]
pub struct TcpListener {
    io: Io,
}

impl TcpListener {
    /// Listens at the first address of the name that can be bound. Port 0 asks the kernel for a free one.
    ///
    /// # Errors
    /// The resolver's error; `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`.
    pub async fn bind(address: impl Into<Address>) -> io::Result<Self> {
        let addresses = resolve(address).await?;
        Self::try_from(std::net::TcpListener::bind(&*addresses)?)
    }

    /// Waits for a connection; its peer's address comes with it. Several tasks may wait, and a call that is dropped has
    /// taken none.
    ///
    /// # Errors
    /// `ECONNABORTED` when the peer has given up; `EMFILE`, `ENFILE` or `ENOMEM` while there is no room for a connection,
    /// which then goes on waiting.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.io.call(Direction::Read, accept).await?;
        Ok((TcpStream::over(socket)?, socket_address(peer)?))
    }

    /// The address at which connections are accepted.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(self.io.as_fd())
    }
}

impl TryFrom<std::net::TcpListener> for TcpListener {
    type Error = io::Error;

    /// Takes a listener of the standard library's over.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { io: Io::new(listener.into())? })
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// A connection that waits, as a call that would block otherwise.
pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketName)> {
    stream_socket::accept(listener).map_err(os_error)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

pub(super) fn socket_address(name: SocketName) -> io::Result<SocketAddr> {
    match name {
        SocketName::V4(address) => Ok(address.into()),
        SocketName::V6(address) => Ok((*address).into()),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the socket's family is not the internet's")),
    }
}

fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    socket_address(socket_name::local(fd).map_err(os_error)?.unwrap_or_default())
}

fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    socket_address(socket_name::peer(fd).map_err(os_error)?.unwrap_or_default())
}

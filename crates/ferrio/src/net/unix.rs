//! Unix sockets: connections and listeners.

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::tcp::accept;
use super::{Io, StreamReader, StreamWriter};
use crate::event_loop::Direction;
use crate::time::sleep;

/// Between attempts to connect to a listener whose queue is full: the kernel does not say when there is room.
const QUEUE_IS_FULL: Duration = Duration::from_millis(1);

/// Connects to a Unix socket; gives asyncio's pair of streams.
///
/// # Errors
/// Those of [`UnixStream::connect`].
///
/// # Examples
/// ```
/// # let folder = std::env::temp_dir().join(format!("ferrio-open-unix-{}", std::process::id()));
/// # let path = folder.as_path();
/// ferrio::run(async {
///     let server = ferrio::net::start_unix_server(path, async |mut reader, mut writer| {
///         writer.write(&reader.read_some(100).await?);
///         std::io::Result::Ok(())
///     })?;
///     let (mut reader, mut writer) = ferrio::net::open_unix_connection(path).await?;
///     writer.write(b"ping");
///     assert_eq!(reader.readexactly(4).await?, b"ping");
///     std::io::Result::Ok(())
/// })?;
/// std::fs::remove_file(path)?;
/// # std::io::Result::Ok(())
/// ```
pub async fn open_unix_connection(path: impl AsRef<Path>) -> io::Result<(StreamReader, StreamWriter)> {
    UnixStream::connect(path).await.map(UnixStream::into_split)
}

/// A connection between programs of one machine. Reads and writes as [`TcpStream`](super::TcpStream) does.
///
/// # Examples
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use ferrio::net::UnixStream;
///
/// ferrio::run(async {
///     let (mut one, mut other) = UnixStream::pair()?;
///     one.write_all(b"ping").await?;
///     drop(one);
///     let mut received = Vec::new();
///     other.read_to_end(&mut received).await?;
///     assert_eq!(received, b"ping");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct UnixStream {
    pub(super) io: Rc<Io>,
}

impl UnixStream {
    /// Connects to the socket at `path`. Waits for as long as the queue of its listener is full.
    ///
    /// # Errors
    /// `ENOENT`, `ECONNREFUSED`, `EACCES`; `ENAMETOOLONG` from 108 bytes on.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        loop {
            match rustix::net::connect(&socket, &address) {
                Ok(()) => return Ok(Self { io: Rc::new(Io::new(socket)?) }),
                Err(Errno::AGAIN) => sleep(QUEUE_IS_FULL).await,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        Ok((one.try_into()?, other.try_into()?))
    }

    /// The connection as asyncio's pair of streams. It is closed when both have been dropped.
    #[must_use]
    pub fn into_split(self) -> (StreamReader, StreamWriter) {
        (StreamReader::new(Rc::clone(&self.io)), StreamWriter::new(self.io))
    }
}

impl TryFrom<std::os::unix::net::UnixStream> for UnixStream {
    type Error = io::Error;

    /// Takes a connection of the standard library's over.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn try_from(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { io: Rc::new(Io::new(stream.into())?) })
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// A socket that accepts connections of programs on this machine. The file at its path stays when it is dropped.
///
/// # Examples
/// ```
/// # let folder = std::env::temp_dir().join(format!("ferrio-unix-listener-{}", std::process::id()));
/// # let path = folder.as_path();
/// use ferrio::net::{UnixListener, UnixStream};
///
/// ferrio::run(async {
///     let listener = UnixListener::bind(path)?;
///     let (client, server) = ferrio::gather!(UnixStream::connect(path), listener.accept());
///     let (_client, _server) = (client?, server?);
///     std::io::Result::Ok(())
/// })?;
/// std::fs::remove_file(path)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    io: Io,
}

impl UnixListener {
    /// Listens at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EACCES`, `ENOENT`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { io: Io::new(listener.into())? })
    }

    /// Waits for a connection. Several tasks may wait, and a call that is dropped has taken none.
    ///
    /// # Errors
    /// As [`TcpListener::accept`](super::TcpListener::accept).
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (socket, _) = self.io.call(Direction::Read, accept).await?;
        Ok(UnixStream { io: Rc::new(Io::new(socket)?) })
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

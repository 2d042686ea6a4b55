//! TCP connections that the running loop serves.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ferrio_engine::sys::Error;
use ferrio_engine::sys::stream_socket::{self, Connecting, Outcome};
use futures_io::{AsyncRead, AsyncWrite};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::awaitable::running_loop;
use crate::errors::os_error;
use crate::future::into_future;
use crate::io::{Direction, Failure, Io};

/// A TCP connection. Small messages are sent at once (`TCP_NODELAY`).
///
/// It stays on the thread of the loop that ran when it was made; one task at a time waits for each direction. A call that is
/// dropped while it waits has moved no byte. Dropping the connection closes it. It has the traits of `futures-io`.
pub struct TcpStream {
    io: Rc<Io>,
}

/// The half of a [`TcpStream`] that reads.
pub struct ReadHalf {
    io: Rc<Io>,
}

/// The half of a [`TcpStream`] that writes. Dropping it ends the sending direction.
pub struct WriteHalf {
    io: Rc<Io>,
}

fn system_error(error: Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error())
}

impl TcpStream {
    /// Connects to a host: a numeric address, or a name that the loop looks up. The addresses of a name are tried one after the
    /// other.
    ///
    /// # Errors
    /// `socket.gaierror` for a name that cannot be looked up; the `OSError` of the last address.
    pub async fn connect(host: &str, port: u16) -> PyResult<Self> {
        if let Ok(host) = host.parse::<IpAddr>() {
            return Self::connect_to(SocketAddr::new(host, port)).await;
        }
        let mut failure = PyOSError::new_err("getaddrinfo() returned empty list");
        for address in look_up(host, port).await? {
            match Self::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// The `OSError` of a connection that is refused, or of a call that fails; where no loop runs on this thread.
    pub async fn connect_to(address: SocketAddr) -> PyResult<Self> {
        let failed = |error| os_error(system_error(error));
        match stream_socket::connect(&address).map_err(failed)? {
            Connecting::Done(socket) => Self::over(socket),
            Connecting::Refused(error) => Err(failed(error)),
            Connecting::Pending(socket) => {
                let io = Io::new(socket)?;
                let outcome = |fd: BorrowedFd<'_>| match stream_socket::connect_outcome(fd).map_err(system_error)? {
                    Outcome::Made => Ok(()),
                    Outcome::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    Outcome::Failed(errno) => Err(errno.into()),
                };
                poll_fn(|context| io.poll_call(Direction::Write, context, outcome)).await?;
                Self::of(io)
            }
        }
    }

    fn over(socket: OwnedFd) -> PyResult<Self> {
        Self::of(Io::new(socket)?)
    }

    fn of(io: Io) -> PyResult<Self> {
        stream_socket::send_at_once(io.as_fd()).map_err(|error| os_error(system_error(error)))?;
        Ok(Self { io: Rc::new(io) })
    }

    /// Receives into `buffer`; 0 is the end of the stream, or that the buffer is empty.
    ///
    /// # Errors
    /// The connection's `OSError`; `RuntimeError` when its loop has closed.
    pub async fn read(&mut self, buffer: &mut [u8]) -> PyResult<usize> {
        Ok(poll_fn(|context| poll_read(&self.io, context, buffer)).await?)
    }

    /// Sends all of `bytes`. Dropped while it waits it has sent some of them.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> PyResult<()> {
        write_all(&self.io, bytes).await
    }

    /// Ends the sending direction: the peer reads the end of the stream.
    ///
    /// # Errors
    /// The connection's `OSError`.
    pub fn shutdown(&mut self) -> PyResult<()> {
        shut_down(&self.io).map_err(os_error)
    }

    /// The connection's two directions, for two tasks. It is closed when both have been dropped.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf { io: Rc::clone(&self.io) }, WriteHalf { io: self.io })
    }
}

impl TryFrom<std::net::TcpStream> for TcpStream {
    type Error = PyErr;

    /// Takes a connection of the standard library's over.
    ///
    /// # Errors
    /// No loop runs on this thread; the loop cannot watch it.
    fn try_from(stream: std::net::TcpStream) -> PyResult<Self> {
        stream.set_nonblocking(true).map_err(os_error)?;
        Self::over(stream.into())
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl ReadHalf {
    /// As [`TcpStream::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> PyResult<usize> {
        Ok(poll_fn(|context| poll_read(&self.io, context, buffer)).await?)
    }
}

impl WriteHalf {
    /// As [`TcpStream::write_all`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_all(&mut self, bytes: &[u8]) -> PyResult<()> {
        write_all(&self.io, bytes).await
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // Nobody is there to be told.
        let _ = shut_down(&self.io);
    }
}

/// The addresses of a name, by the loop's `getaddrinfo`.
async fn look_up(host: &str, port: u16) -> PyResult<Vec<SocketAddr>> {
    let looking = Python::attach(|py| {
        let kind = py.import("socket")?.getattr("SOCK_STREAM")?;
        let options = PyDict::new(py);
        options.set_item("type", kind)?;
        into_future(&running_loop(py)?.call_method(intern!(py, "getaddrinfo"), (host, port), Some(&options))?)
    })?;
    let found = looking.await?;
    Python::attach(|py| {
        let mut addresses = Vec::new();
        for entry in found.bind(py).try_iter()? {
            let name = entry?.get_item(4)?;
            let (host, port): (String, u16) = (name.get_item(0)?.extract()?, name.get_item(1)?.extract()?);
            if let Ok(host) = host.parse() {
                addresses.push(SocketAddr::new(host, port));
            }
        }
        Ok(addresses)
    })
}

fn poll_read(io: &Io, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Failure>> {
    if buffer.is_empty() {
        return Poll::Ready(Ok(0));
    }
    io.poll_call(Direction::Read, context, |fd| {
        Ok(rustix::net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, count)| count)?)
    })
}

fn poll_write(io: &Io, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Failure>> {
    io.poll_call(Direction::Write, context, |fd| {
        Ok(rustix::net::send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    })
}

async fn write_all(io: &Io, mut bytes: &[u8]) -> PyResult<()> {
    while !bytes.is_empty() {
        let sent = poll_fn(|context| poll_write(io, context, bytes)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

fn shut_down(io: &Io) -> io::Result<()> {
    match rustix::net::shutdown(io, Shutdown::Write) {
        // The peer has reset the connection: there is nothing left to end.
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

macro_rules! reads {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                poll_read(&self.io, context, buffer).map_err(Into::into)
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                poll_write(&self.io, context, bytes).map_err(Into::into)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(shut_down(&self.io))
            }
        }
    };
}

reads!(TcpStream);
reads!(ReadHalf);
writes!(TcpStream);
writes!(WriteHalf);

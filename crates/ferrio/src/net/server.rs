//! Servers: a task for each connection.

use core::cell::Cell;
use core::fmt;
use core::future::{Future, pending};
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use rustix::io::Errno;

use super::address::{Address, resolve};
use super::{StreamReader, StreamWriter, TcpListener, UnixListener};
use crate::sync::Event;
use crate::task::{Task, spawn};
use crate::time::sleep;
use crate::yield_now::yield_now;

/// How long no connection is accepted when there is no room for one, as asyncio does.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Listens at every address of a name, and runs `serve` as a task for each connection. Follows `asyncio.start_server`.
///
/// What `serve` returns is dropped: a connection that fails concerns nobody else.
///
/// # Errors
/// The resolver's error; `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`.
///
/// # Examples
/// A server that is told to stop ends its connections first:
/// ```
/// ferrio::run(async {
///     let server = ferrio::start_server("127.0.0.1:0", async |mut reader, mut writer| {
///         while let Ok(bytes) = reader.read_some(4096).await
///             && !bytes.is_empty()
///         {
///             writer.write(&bytes);
///             writer.drain().await?;
///         }
///         std::io::Result::Ok(())
///     })
///     .await?;
///     let (mut reader, mut writer) = ferrio::open_connection(server.local_addr()).await?;
///     writer.write(b"echo");
///     assert_eq!(reader.readexactly(4).await?, b"echo");
///     server.close();
///     writer.write_eof();
///     server.wait_closed().await;
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub async fn start_server<S, F>(address: impl Into<Address>, serve: S) -> io::Result<Server>
where
    S: Fn(StreamReader, StreamWriter) -> F + 'static,
    F: Future + 'static,
{
    let mut listeners = Vec::new();
    for address in resolve(address).await? {
        listeners.push(TcpListener::try_from(std::net::TcpListener::bind(address)?)?);
    }
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    Ok(Server::new(addresses, listeners.into_iter().map(Listener::Tcp), serve))
}

/// As [`start_server`], at a Unix socket. The file at `path` stays when the server is dropped.
///
/// # Errors
/// `EADDRINUSE`, `EACCES`, `ENOENT`.
///
/// # Examples
/// See [`open_unix_connection`](super::open_unix_connection).
pub fn start_unix_server<S, F>(path: impl AsRef<Path>, serve: S) -> io::Result<Server>
where
    S: Fn(StreamReader, StreamWriter) -> F + 'static,
    F: Future + 'static,
{
    Ok(Server::new(Vec::new(), [Listener::Unix(UnixListener::bind(path)?)], serve))
}

/// A server that accepts connections until it is closed or dropped: [`start_server`]. Connections go on after that.
pub struct Server {
    addresses: Vec<SocketAddr>,
    accepting: Vec<Task<()>>,
    connections: Rc<Connections>,
}

/// How many connections are being served.
#[derive(Default)]
struct Connections {
    count: Cell<usize>,
    is_closed: Cell<bool>,
    ended: Event,
}

/// A connection that is being served, until this is dropped.
struct Served(Rc<Connections>);

impl Served {
    fn begin(connections: &Rc<Connections>) -> Self {
        connections.count.set(connections.count.get() + 1);
        connections.ended.clear();
        Self(Rc::clone(connections))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.look();
    }
}

impl Connections {
    /// Wakes who waits for the end, if it has come.
    fn look(&self) {
        if self.is_closed.get() && self.count.get() == 0 {
            self.ended.set();
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(StreamReader, StreamWriter)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| stream.into_split()),
            Self::Unix(listener) => listener.accept().await.map(super::UnixStream::into_split),
        }
    }
}

/// Whether other connections can be accepted at once, after this error.
fn concerns_one_connection(error: &io::Error) -> bool {
    let no_room = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].map(Errno::raw_os_error);
    !error.raw_os_error().is_some_and(|errno| no_room.contains(&errno))
}

impl Server {
    fn new<S, F>(addresses: Vec<SocketAddr>, listeners: impl IntoIterator<Item = Listener>, serve: S) -> Self
    where
        S: Fn(StreamReader, StreamWriter) -> F + 'static,
        F: Future + 'static,
    {
        let (serve, connections) = (Rc::new(serve), Rc::<Connections>::default());
        let accept_all = |listener: Listener| {
            let (serve, connections) = (Rc::clone(&serve), Rc::clone(&connections));
            spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((reader, writer)) => {
                            let (served, serving) = (Served::begin(&connections), serve(reader, writer));
                            spawn(async move {
                                let _served = served;
                                serving.await;
                            })
                            .detach();
                        }
                        Err(error) if concerns_one_connection(&error) => yield_now().await,
                        Err(_) => sleep(NO_ROOM).await,
                    }
                }
            })
        };
        let accepting = listeners.into_iter().map(accept_all).collect();
        Self { addresses, accepting, connections }
    }

    /// The address at which connections are accepted, the first of several.
    ///
    /// # Panics
    /// For a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses at which connections are accepted; none for a Unix socket.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts no more connections: the listening sockets are closed in the loop's next turn. Those that are there go on.
    pub fn close(&self) {
        self.accepting.iter().for_each(Task::cancel);
        self.connections.is_closed.set(true);
        self.connections.look();
    }

    /// Waits until the server has been closed and its last connection has been served.
    pub async fn wait_closed(&self) {
        self.connections.ended.wait().await;
    }

    /// Serves until this is dropped.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    ///
    /// ferrio::run(async {
    ///     let server = ferrio::start_server("127.0.0.1:0", async |_, _| {}).await?;
    ///     assert!(ferrio::timeout(Duration::from_millis(1), server.serve_forever()).await.is_err());
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn serve_forever(self) -> core::convert::Infallible {
        pending().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.connections.count.get();
        formatter
            .debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("connections", &connections)
            .finish_non_exhaustive()
    }
}

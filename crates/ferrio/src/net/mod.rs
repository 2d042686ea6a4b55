//! Sockets: TCP, Unix and UDP, plain or as asyncio's streams; servers; names.
//!
//! [`TcpStream`] and [`UnixStream`] read and write at once what the kernel has or takes, by the traits of `futures-io`
//! (with the feature `tokio-io` by tokio's as well). [`StreamReader`] and [`StreamWriter`] are asyncio's pair over them:
//! the reader has a buffer, and what is written is sent by the loop.
//!
//! A socket belongs to the loop in which it was made, and is closed when it is dropped.

mod address;
mod io;
mod server;
mod stream_reader;
mod stream_writer;
mod tcp;
mod traits;
mod udp;
mod unix;

pub use self::address::{Address, resolve};
pub(crate) use self::io::Io;
pub use self::server::{Server, start_server, start_unix_server};
pub use self::stream_reader::StreamReader;
pub use self::stream_writer::{Drain, StreamWriter};
pub use self::tcp::{TcpListener, TcpStream, open_connection};
pub use self::udp::UdpSocket;
pub use self::unix::{UnixListener, UnixStream, open_unix_connection};

//! The writing half of a connection, which the loop sends for.
//!
//! What one step of a task writes leaves together when the step ends. What the kernel does not take is the loop's, and leaves
//! when there is room, whatever becomes of the writer.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io;
use std::rc::Rc;

use super::Io;
use crate::event_loop::Room;

/// The writing half of a connection. Follows `asyncio.StreamWriter`; writes by the traits of `futures-io` as well.
///
/// Dropping it ends the sending direction once everything has been sent: the peer reads the end of the stream.
///
/// # Examples
/// ```
/// use ferrio::net::UnixStream;
///
/// ferrio::run(async {
///     let (one, other) = UnixStream::pair()?;
///     let ((mut reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
///     writer.write(b"first, ");
///     writer.write(b"second");
///     writer.drain().await?;
///     writer.close().await?;
///     assert_eq!(reader.read_to_end().await?, b"first, second");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct StreamWriter {
    io: Rc<Io>,
}

impl StreamWriter {
    pub(super) const fn new(io: Rc<Io>) -> Self {
        Self { io }
    }

    /// Has `bytes` sent; does not wait. They are kept until the kernel has taken them, so whoever writes much awaits
    /// [`Self::drain`]. After an error of the connection, which `drain` reports, they are dropped.
    pub fn write(&mut self, bytes: &[u8]) {
        self.io.core().write(self.io.key(), bytes);
    }

    /// Waits while more than 64 KiB wait to be sent, until it is less than 16 KiB.
    ///
    /// # Errors
    /// The connection's: `EPIPE`, `ECONNRESET`; that the loop has closed.
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { writer: self, until: Until::Room, waker: None }
    }

    /// Waits until the kernel has taken everything.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub fn flush(&mut self) -> Drain<'_> {
        Drain { writer: self, until: Until::Empty, waker: None }
    }

    /// Ends the sending direction once everything has been sent. What is written after that is dropped.
    pub fn write_eof(&mut self) {
        self.io.core().end_sending(self.io.key(), Rc::clone(&self.io) as Rc<_>);
    }

    /// Waits until everything has been sent, and ends the sending direction.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub async fn close(mut self) -> io::Result<()> {
        self.flush().await
    }

    /// Bytes that the kernel has not taken.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.io.core().unsent_bytes(self.io.key())
    }

    fn poll_room(&self, until: Until, context: &Context<'_>) -> Poll<io::Result<()>> {
        match self.io.core().poll_room(self.io.key(), until == Until::Empty, context.waker()) {
            Ok(Room::There) => Poll::Ready(Ok(())),
            Ok(Room::Wait) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.write_eof();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamWriter").field("socket", &self.io).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Room,
    Empty,
}

/// The future of [`StreamWriter::drain`] and [`StreamWriter::flush`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Drain<'a> {
    writer: &'a mut StreamWriter,
    until: Until,
    /// Waits with the connection.
    waker: Option<Waker>,
}

impl Drain<'_> {
    fn give_up(&mut self) {
        if let Some(waker) = self.waker.take() {
            self.writer.io.core().give_up_room(self.writer.io.key(), &waker);
        }
    }
}

impl Future for Drain<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.give_up();
        let outcome = self.writer.poll_room(self.until, context);
        if outcome.is_pending() {
            self.waker = Some(context.waker().clone());
        }
        outcome
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl futures_io::AsyncWrite for StreamWriter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = self.poll_room(Until::Room, context);
        room.map_ok(|()| {
            self.write(bytes);
            bytes.len()
        })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_room(Until::Empty, context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.poll_room(Until::Empty, context);
        if flushed.is_ready() {
            self.write_eof();
        }
        flushed
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncWrite for StreamWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(self, context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_flush(self, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(self, context)
    }
}

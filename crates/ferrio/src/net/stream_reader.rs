//! The reading half of a connection, with a buffer.
//!
//! # Invariants
//! 1. `buffer[start..end]` has been received and not been read. What a read that is dropped has received stays there.
//! 2. The socket is asked for bytes only while somebody reads: a peer that sends more is held back by the kernel.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::rc::Rc;

use memchr::memmem;

use super::Io;

/// Bytes that a receive asks for at first, and at least.
const LEAST_RECEIVE_BYTES: usize = 4 * 1024;

/// Bytes that a receive asks for after others which have filled their room, at most.
const MOST_RECEIVE_BYTES: usize = 64 * 1024;

/// The longest line, as asyncio's.
const LIMIT_BYTES: usize = 64 * 1024;

/// The reading half of a connection. Follows `asyncio.StreamReader`; reads by the traits of `futures-io` as well.
///
/// A read that is dropped has taken nothing: what has come waits for the next.
///
/// # Examples
/// ```
/// use ferrio::net::UnixStream;
///
/// ferrio::run(async {
///     let (one, other) = UnixStream::pair()?;
///     let ((mut reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
///     writer.write(b"first line\nkey: value; 1234");
///     drop(writer);
///     assert_eq!(reader.readline().await?, b"first line\n");
///     assert_eq!(reader.readuntil(b"; ").await?, b"key: value; ");
///     assert_eq!(reader.readexactly(2).await?, b"12");
///     assert_eq!(reader.read_some(100).await?, b"34");
///     assert_eq!(reader.read_some(100).await?, b"");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct StreamReader {
    io: Rc<Io>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that the next receive asks for.
    room: usize,
    has_ended: bool,
    limit: usize,
}

impl StreamReader {
    pub(super) const fn new(io: Rc<Io>) -> Self {
        let buffer = Vec::new();
        Self { io, buffer, start: 0, end: 0, room: LEAST_RECEIVE_BYTES, has_ended: false, limit: LIMIT_BYTES }
    }

    /// The longest that [`Self::readline`] and [`Self::readuntil`] read; 64 KiB at first.
    #[must_use]
    pub const fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes the next bytes out of the buffer, which has them.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = if self.start == 0 && count == self.end && 2 * count > self.buffer.len() {
            let mut taken = core::mem::take(&mut self.buffer);
            taken.truncate(count);
            taken
        } else {
            self.buffer[self.start..self.start + count].to_vec()
        };
        self.consumed(count);
        taken
    }

    const fn consumed(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Receives some bytes behind those that are there; false at the end of the stream.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.has_ended {
            return Poll::Ready(Ok(false));
        }
        if self.buffer.len() - self.end < self.room {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() - self.end < self.room {
                // At least twice as much, so that a long line is moved a few times only.
                self.buffer.resize((self.end + self.room).max(self.end * 2), 0);
            }
        }
        let room = self.buffer.len() - self.end;
        let count = ready!(self.io.poll_receive(context, &mut self.buffer[self.end..]))?;
        if count == room {
            self.room = (self.room * 2).min(MOST_RECEIVE_BYTES);
        } else if count < LEAST_RECEIVE_BYTES {
            self.room = LEAST_RECEIVE_BYTES;
        }
        self.end += count;
        self.has_ended = count == 0;
        Poll::Ready(Ok(count != 0))
    }

    async fn more(&mut self) -> io::Result<bool> {
        poll_fn(|context| self.poll_more(context)).await
    }

    /// Waits for bytes, and gives those that are there, at most `limit`. Nothing: the stream has ended.
    ///
    /// Follows `asyncio.StreamReader.read`.
    ///
    /// # Errors
    /// The connection's.
    pub async fn read_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        if self.unread().is_empty() && limit != 0 {
            self.more().await?;
        }
        let count = self.unread().len().min(limit);
        Ok(self.take(count))
    }

    /// Everything up to the end of the stream.
    ///
    /// # Errors
    /// The connection's.
    ///
    /// # Examples
    /// ```
    /// # use ferrio::net::UnixStream;
    /// # ferrio::run(async {
    /// # let (one, other) = UnixStream::pair()?;
    /// # let ((mut reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
    /// writer.write(b"all of it");
    /// drop(writer);
    /// assert_eq!(reader.read_to_end().await?, b"all of it");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.more().await? {}
        Ok(self.take(self.unread().len()))
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the stream ends before; what came stays to be read. The connection's.
    pub async fn readexactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread().len() < count {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.take(count))
    }

    /// The next line, with its `\n`; without one if the stream ends before, and nothing at its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a line longer than the limit, which stays to be read; the connection's.
    pub async fn readline(&mut self) -> io::Result<Vec<u8>> {
        match self.readuntil(b"\n").await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(self.take(self.unread().len())),
            outcome => outcome,
        }
    }

    /// Everything up to `separator`, and that.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the stream ends before, [`io::ErrorKind::InvalidData`] when it is more than
    /// the limit; what came stays to be read. The connection's.
    ///
    /// # Panics
    /// When there is nothing in `separator`.
    pub async fn readuntil(&mut self, separator: &[u8]) -> io::Result<Vec<u8>> {
        assert!(!separator.is_empty(), "a separator has at least one byte");
        let mut searched = 0;
        loop {
            if let Some(at) = memmem::find(&self.unread()[searched..], separator) {
                let count = searched + at + separator.len();
                if count <= self.limit {
                    return Ok(self.take(count));
                }
            }
            if self.unread().len() >= self.limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no separator within the limit"));
            }
            // The separator may have begun.
            searched = (self.unread().len() + 1).saturating_sub(separator.len());
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether everything has been read and nothing will come.
    #[must_use]
    pub fn at_eof(&self) -> bool {
        self.has_ended && self.unread().is_empty()
    }
}

impl futures_io::AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.unread().is_empty() {
            ready!(this.poll_more(context))?;
        }
        Poll::Ready(Ok(this.unread()))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        let count = count.min(self.unread().len());
        self.consumed(count);
    }
}

impl futures_io::AsyncRead for StreamReader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.unread().is_empty() {
            // The buffer would only be one copy more.
            return if self.has_ended { Poll::Ready(Ok(0)) } else { self.io.poll_receive(context, buffer) };
        }
        let count = self.unread().len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.unread()[..count]);
        self.consumed(count);
        Poll::Ready(Ok(count))
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let received = futures_io::AsyncRead::poll_read(self, context, buffer.initialize_unfilled());
        received.map_ok(|count| buffer.advance(count))
    }
}

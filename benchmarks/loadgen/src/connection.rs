//! One connection of the closed loop: what is sent, what has come back, since when.
//!
//! # States
//! | state | leaves by |
//! | --- | --- |
//! | sending: `sent < size` | the kernel takes the rest |
//! | waiting: all sent, `received < size` | the last byte of the echo |
//! | complete | [`Connection::start_next`] |
//!
//! Reading goes on while sending: a server may echo the first part of a large message before it has read the last.
//!
//! The descriptor is watched edge-triggered. That is safe with one `read` an event: the buffer always has room for more
//! than can be due, so a `read` takes all there is, and what arrives later is a new edge.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::io::Errno;

use crate::options::Target;
use crate::payload::Payload;

pub(crate) struct Connection {
    socket: OwnedFd,
    payload: Payload,
    sent_bytes: usize,
    received_bytes: usize,
    started: Instant,
    /// The kernel took only a part, so the descriptor is watched for room too.
    pub(crate) waits_for_room: bool,
}

/// What one `read` brought.
pub(crate) enum Received {
    /// Part of the message, or nothing.
    Part,
    /// The last byte of the message.
    Complete,
    /// The server ended the connection.
    Closed,
    /// Bytes that differ from those sent; `at` is the first wrong place, `bytes` what arrived there and after it.
    Wrong { at: usize, bytes: Vec<u8> },
}

/// Whether the whole message is with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    All,
    Part,
}

impl Connection {
    /// Connects (blocking), and prepares message 0 without sending it.
    pub(crate) fn open(
        target: &Target,
        number: usize,
        size_bytes: usize,
        lines: bool,
    ) -> io::Result<Self> {
        let socket: OwnedFd = match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
        };
        Ok(Self {
            socket,
            payload: Payload::new(number as u64, size_bytes, lines),
            sent_bytes: 0,
            received_bytes: 0,
            started: Instant::now(),
            waits_for_room: false,
        })
    }

    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// When the message under way was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Makes the next message the one under way; [`Self::send`] sends it.
    pub(crate) fn start_next(&mut self, now: Instant) {
        self.payload.advance();
        self.restart(now);
    }

    /// Starts the clock of the message under way, of which nothing is sent yet.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.sent_bytes = 0;
        self.received_bytes = 0;
        self.started = now;
    }

    /// Gives the kernel as much of the message as it takes.
    pub(crate) fn send(&mut self) -> io::Result<Sent> {
        while self.sent_bytes < self.payload.bytes().len() {
            match rustix::io::write(&self.socket, &self.payload.bytes()[self.sent_bytes..]) {
                Ok(count) => self.sent_bytes += count,
                Err(Errno::AGAIN) => return Ok(Sent::Part),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Sent::All)
    }

    /// Reads once and compares. `scratch` is longer than a message, so that a byte too many is seen.
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Received> {
        let size = self.payload.bytes().len();
        let room = size - self.received_bytes + 1;
        let count = loop {
            match rustix::io::read(&self.socket, &mut scratch[..room]) {
                Ok(count) => break count,
                Err(Errno::AGAIN) => return Ok(Received::Part),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        if count == 0 {
            return Ok(Received::Closed);
        }
        let arrived = &scratch[..count];
        let due = count.min(size - self.received_bytes);
        let wrong = self
            .payload
            .mismatch(self.received_bytes, &arrived[..due])
            .or((due < count).then_some(size));
        if let Some(at) = wrong {
            return Ok(Received::Wrong {
                at,
                bytes: arrived[at - self.received_bytes..].to_vec(),
            });
        }
        self.received_bytes += count;
        Ok(if self.received_bytes == size {
            Received::Complete
        } else {
            Received::Part
        })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

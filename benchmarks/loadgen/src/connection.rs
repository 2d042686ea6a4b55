//! One connection of the closed loop: what is sent, what has come back, since when. The message is either a payload that a
//! server echoes, or an HTTP request.
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

use crate::http::{ANSWER_BYTES, Answer, Exchange};
use crate::options::Target;
use crate::payload::Payload;

/// What is said on a connection.
enum Talk {
    Echo(Payload),
    Http(Exchange),
}

pub(crate) struct Connection {
    socket: OwnedFd,
    talk: Talk,
    sent_bytes: usize,
    received_bytes: usize,
    started: Instant,
    /// The first message has come back.
    pub(crate) answered: bool,
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
    /// Not the answer to the request under way; the sentence says why.
    WrongAnswer(String),
}

/// Whether the whole message is with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    All,
    Part,
}

impl Connection {
    /// Connects (blocking), and prepares message 0 without sending it; `lengths` are those of messages to be echoed.
    pub(crate) fn open(
        target: &Target,
        number: usize,
        lengths: [usize; 2],
        lines: bool,
        http: Option<&str>,
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
            talk: match http {
                Some(prefix) => Talk::Http(Exchange::new(prefix, number)),
                None => Talk::Echo(Payload::new(number as u64, lengths, lines)),
            },
            sent_bytes: 0,
            received_bytes: 0,
            started: Instant::now(),
            answered: false,
            waits_for_room: false,
        })
    }

    /// The payload under way, when it is one.
    pub(crate) fn payload(&self) -> Option<&Payload> {
        match &self.talk {
            Talk::Echo(payload) => Some(payload),
            Talk::Http(_) => None,
        }
    }

    fn outgoing(&self) -> &[u8] {
        match &self.talk {
            Talk::Echo(payload) => payload.bytes(),
            Talk::Http(exchange) => exchange.request(),
        }
    }

    /// When the message under way was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Makes the next message the one under way; [`Self::send`] sends it.
    pub(crate) fn start_next(&mut self, now: Instant) {
        match &mut self.talk {
            Talk::Echo(payload) => payload.advance(),
            Talk::Http(exchange) => exchange.advance(),
        }
        self.restart(now);
    }

    /// Starts the clock of the message under way, of which nothing is sent yet.
    fn restart(&mut self, now: Instant) {
        self.sent_bytes = 0;
        self.received_bytes = 0;
        if let Talk::Http(exchange) = &mut self.talk {
            exchange.restart();
        }
        self.started = now;
    }

    /// Gives the kernel as much of the message as it takes.
    pub(crate) fn send(&mut self) -> io::Result<Sent> {
        while self.sent_bytes < self.outgoing().len() {
            match rustix::io::write(&self.socket, &self.outgoing()[self.sent_bytes..]) {
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
        let room = match &self.talk {
            Talk::Echo(payload) => payload.bytes().len() - self.received_bytes + 1,
            Talk::Http(_) => ANSWER_BYTES,
        };
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
        let payload = match &mut self.talk {
            Talk::Echo(payload) => payload,
            Talk::Http(exchange) => {
                return Ok(match exchange.take(arrived) {
                    Answer::Part => Received::Part,
                    Answer::Complete => Received::Complete,
                    Answer::Wrong(sentence) => Received::WrongAnswer(sentence),
                });
            }
        };
        let size = payload.bytes().len();
        let due = count.min(size - self.received_bytes);
        let wrong = payload.mismatch(self.received_bytes, &arrived[..due]).or((due < count).then_some(size));
        if let Some(at) = wrong {
            return Ok(Received::Wrong { at, bytes: arrived[at - self.received_bytes..].to_vec() });
        }
        self.received_bytes += count;
        Ok(if self.received_bytes == size { Received::Complete } else { Received::Part })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

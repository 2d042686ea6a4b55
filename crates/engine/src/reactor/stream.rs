//! The outgoing side of a connected socket: what is queued, what is with the kernel, when the writer must pause.
//!
//! Bytes pass three places: the *queue* (this struct), the *send under way* (the backend, see rule 6 of its contract) and
//! the kernel. The first two are what flow control counts.
//!
//! # Invariants
//! 1. A new send starts only when none is under way, so bytes leave in the order in which they were queued.
//! 2. `in_flight` is the number of bytes that the backend still owns, until [`Stream::discard`] gives them up.
//! 3. After an error nothing is queued and nothing is under way.
//!
//! Chunks are released while the stream and the backend are borrowed, as [`Chunk::from_foreign`] demands that they can be.

use crate::backend::{Backend, Key, Sent};
use crate::buf::{Chain, Chunk};
use crate::flow::{GateSignal, WriteGate};
use crate::sys::error::Result;

/// What a flush or an announcement of room has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Flushed {
    /// Whether everything has been taken by the kernel.
    pub is_empty: bool,
    /// Bytes that the kernel has taken since the last such report.
    pub bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stream {
    queue: Chain,
    in_flight: usize,
    /// Decides when the writer pauses and resumes.
    pub gate: WriteGate,
}

impl Stream {
    /// Queues a chunk; nothing is sent yet. An empty one comes back.
    #[must_use = "a refused chunk comes back, to be kept or dropped"]
    pub fn queue(&mut self, chunk: Chunk) -> Option<Chunk> {
        self.queue.push(chunk)
    }

    /// Bytes that the kernel has not taken.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.queue.len_bytes() + self.in_flight
    }

    /// Bytes queued here that no send covers yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.len_bytes()
    }

    /// Whether a send is under way.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.in_flight != 0
    }

    /// Sends what is queued, unless a send is under way already.
    ///
    /// # Errors
    /// The connection's error; nothing is pending afterwards.
    pub fn flush<B: Backend>(&mut self, backend: &mut B, key: Key) -> Result<Flushed> {
        let mut taken = 0;
        if self.in_flight == 0 && !self.queue.is_empty() {
            let chain = core::mem::take(&mut self.queue);
            let offered = chain.len_bytes();
            taken = match backend.send(key, chain)? {
                Sent::All { bytes } => bytes,
                Sent::Some { bytes } => {
                    self.in_flight = offered - bytes;
                    bytes
                }
            };
        }
        Ok(Flushed { is_empty: self.in_flight == 0, bytes: taken })
    }

    /// Offers bytes that stay the caller's, if nothing is before them: how many of them the kernel has taken, 0 otherwise.
    /// The rest is to be queued.
    ///
    /// # Errors
    /// The connection's error.
    pub fn send_now<B: Backend>(&mut self, backend: &mut B, key: Key, bytes: &[u8]) -> Result<usize> {
        if self.pending_bytes() != 0 {
            return Ok(0);
        }
        Ok(backend.send_now(key, bytes)?.unwrap_or(0))
    }

    /// Takes news of the send under way and goes on with what was queued meanwhile.
    ///
    /// # Errors
    /// The connection's error; nothing is pending afterwards.
    pub fn progress<B: Backend>(&mut self, backend: &mut B, key: Key) -> Result<Flushed> {
        match backend.sent(key) {
            Ok(Sent::All { bytes }) => {
                self.in_flight = 0;
                self.flush(backend, key).map(|next| Flushed { bytes: next.bytes + bytes, ..next })
            }
            Ok(Sent::Some { bytes }) => {
                self.in_flight -= bytes;
                Ok(Flushed { is_empty: false, bytes })
            }
            Err(error) => {
                self.in_flight = 0;
                self.queue = Chain::new();
                Err(error)
            }
        }
    }

    /// Drops what is queued and gives up the send under way: its bytes no longer count, and it ends when the key is
    /// detached. Nothing may be sent under that key any more.
    pub fn discard(&mut self) {
        self.queue = Chain::new();
        self.in_flight = 0;
    }

    /// Whether the writer must pause, given what is pending now.
    pub fn after_write(&mut self) -> GateSignal {
        self.gate.grown_to(self.queue.len_bytes() + self.in_flight)
    }

    /// Whether the writer may go on, given what is pending now.
    pub fn after_progress(&mut self) -> GateSignal {
        self.gate.drained_to(self.queue.len_bytes() + self.in_flight)
    }
}

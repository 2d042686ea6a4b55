//! The outgoing side of a connection over the scripted backend, against the plain list of bytes that were written.
#![cfg(not(loom))]

mod counted_chunk;

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;

use ferrio_engine::backend::sim::{Peer, Sim, SimBackend, Socket, Take};
use ferrio_engine::backend::{Backend, Interest, Key, Poller, Sent, Slots, Usage};
use ferrio_engine::flow::GateSignal;
use ferrio_engine::reactor::{Flushed, Stream};
use ferrio_engine::sys::error::{Error, Result};
use ferrio_engine::time::Nanos;
use proptest::prelude::*;
use rustix::io::Errno;

use counted_chunk::counted_chunk;

#[derive(Clone, Debug)]
enum Step {
    /// The writer writes so many bytes.
    Queue(usize),
    Flush,
    /// The loop polls and handles what is announced.
    Turn,
    /// As after a spurious announcement.
    Progress,
    /// What the kernel makes of a later system call, so long from now.
    Script(u64, Take),
    Advance(u64),
    SetLimits(usize, usize),
    /// The transport is aborted and another connection takes its place.
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..60).prop_map(Step::Queue),
        4 => Just(Step::Flush),
        4 => Just(Step::Turn),
        1 => Just(Step::Progress),
        4 => (0_u64..20, 0_usize..100).prop_map(|(delay, limit)| Step::Script(delay, Take::AtMost(limit))),
        1 => (0_u64..20).prop_map(|delay| Step::Script(delay, Take::Error(Errno::CONNRESET))),
        2 => (0_u64..20).prop_map(Step::Advance),
        1 => (0_usize..200, 0_usize..200).prop_map(|(one, other)| Step::SetLimits(one.max(other), one.min(other))),
        1 => Just(Step::Abort),
    ]
}

/// asyncio's rule, on a size that is counted anew each time.
#[derive(Default)]
struct NaiveGate {
    high: usize,
    low: usize,
    is_paused: bool,
}

impl NaiveGate {
    fn after_write(&mut self, size: usize) -> GateSignal {
        if size > self.high && !self.is_paused {
            self.is_paused = true;
            return GateSignal::Pause;
        }
        GateSignal::Keep
    }

    fn after_progress(&mut self, size: usize) -> GateSignal {
        if size <= self.low && self.is_paused {
            self.is_paused = false;
            return GateSignal::Resume;
        }
        GateSignal::Keep
    }
}

/// One connection: the real thing, and what was written to it.
struct Connection {
    sim: Sim,
    backend: SimBackend,
    keys: Slots<()>,
    key: Key,
    _socket: Socket,
    peer: Peer,
    stream: Stream,
    gate: NaiveGate,
    written: Vec<u8>,
    chunks: usize,
    released: Rc<Cell<usize>>,
}

impl Connection {
    fn new() -> Self {
        let sim = Sim::new();
        let (mut backend, mut keys) = (sim.backend(), Slots::default());
        let (socket, peer) = sim.connection();
        let key = keys.insert(());
        backend.attach(key, socket.as_fd(), Usage::Stream).expect("an open socket");
        let mut connection = Self {
            sim,
            backend,
            keys,
            key,
            _socket: socket,
            peer,
            stream: Stream::default(),
            gate: NaiveGate::default(),
            written: Vec::new(),
            chunks: 0,
            released: Rc::default(),
        };
        connection.set_limits(100, 25);
        connection
    }

    fn set_limits(&mut self, high: usize, low: usize) {
        self.stream.gate.set_limits(Some(high), Some(low)).expect("low is not above high");
        (self.gate.high, self.gate.low) = (high, low);
    }

    fn queue(&mut self, count: usize) {
        let start = self.written.len();
        self.written.extend((start..start + count).map(|place| u8::try_from(place % 251).unwrap_or(0)));
        self.chunks += 1;
        let refused = self.stream.queue(counted_chunk(&self.written[start..], &self.released));
        assert_eq!(refused.is_some(), count == 0);
    }

    fn pending(&self) -> usize {
        self.written.len() - self.peer.taken().len()
    }

    fn flush(&mut self) -> Result<Flushed> {
        self.stream.flush(&mut self.backend, self.key)
    }

    fn progress(&mut self) -> Result<Flushed> {
        self.stream.progress(&mut self.backend, self.key)
    }

    /// One poll, or a wait of any length; what came of an announcement.
    fn turn(&mut self, timeout: Option<Nanos>) -> Result<()> {
        let mut poller = self.backend.start_wait();
        poller.wait(timeout)?;
        let mut found = Vec::new();
        self.backend.end_wait(poller, &mut found);
        for announcement in found {
            assert_eq!((announcement.key, announcement.ready), (self.key, Interest::WRITE));
            assert!(self.stream.is_sending(), "room is announced while a send is under way only");
            let _ = self.progress()?;
        }
        Ok(())
    }

    /// What holds after every step that brought no error.
    fn check(&mut self) -> std::result::Result<(), TestCaseError> {
        let taken = self.peer.taken();
        prop_assert!(self.written.starts_with(&taken), "bytes leave in the order in which they were written");
        let pending = self.pending();
        prop_assert_eq!(self.stream.pending_bytes(), pending);
        prop_assert!(self.stream.queued_bytes() <= pending);
        prop_assert_eq!(self.stream.is_sending(), self.stream.queued_bytes() < pending);
        prop_assert_eq!(self.backend.registrations(), usize::from(self.stream.is_sending()));
        prop_assert_eq!(
            self.released.get() == self.chunks,
            pending == 0,
            "chunks live for as long as their bytes wait"
        );
        prop_assert_eq!(self.stream.after_write(), self.gate.after_write(pending));
        prop_assert_eq!(self.stream.after_progress(), self.gate.after_progress(pending));
        Ok(())
    }

    /// What holds after an error: everything is gone.
    fn check_failed(&mut self, error: Error) -> std::result::Result<(), TestCaseError> {
        prop_assert_eq!(error, Error::new("sendmsg", Errno::CONNRESET));
        prop_assert!(self.written.starts_with(&self.peer.taken()));
        prop_assert_eq!((self.stream.pending_bytes(), self.stream.queued_bytes()), (0, 0));
        prop_assert!(!self.stream.is_sending());
        prop_assert_eq!(self.released.get(), self.chunks);
        prop_assert_eq!(self.backend.sent(self.key), Ok(Sent::All { bytes: 0 }));
        prop_assert_eq!(self.backend.registrations(), 0);
        let _ = self.stream.after_progress();
        prop_assert!(!self.stream.gate.is_paused());
        Ok(())
    }

    /// The abort of a transport.
    fn abort(mut self) -> std::result::Result<(), TestCaseError> {
        self.stream.discard();
        prop_assert_eq!(self.stream.pending_bytes(), 0);
        self.keys.remove(self.key);
        drop(self.backend.detach(self.key));
        prop_assert_eq!(self.released.get(), self.chunks, "each chunk is released once");
        prop_assert_eq!(self.backend.registrations(), 0);
        prop_assert!(self.written.starts_with(&self.peer.taken()));
        Ok(())
    }

    /// Lets the connection take everything, and sees it do so.
    fn drain(mut self) -> std::result::Result<(), TestCaseError> {
        if let Err(error) = self.flush() {
            return self.check_failed(error);
        }
        while self.stream.pending_bytes() > 0 {
            // Without a limit: were the send not watched, the wait would have nothing to wait for.
            if let Err(error) = self.turn(None) {
                return self.check_failed(error);
            }
        }
        prop_assert!(self.peer.taken() == self.written);
        self.check()?;
        self.abort()
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_sent(steps in prop::collection::vec(step(), 0..80)) {
        let mut connection = Connection::new();
        for step in steps {
            let outcome = match step {
                Step::Queue(count) => {
                    connection.queue(count);
                    Ok(())
                }
                Step::Flush => connection.flush().map(|flushed| {
                    assert_eq!(flushed.is_empty, connection.pending() == 0);
                }),
                Step::Progress => connection.progress().map(|flushed| {
                    assert_eq!(flushed.is_empty, connection.pending() == 0);
                }),
                Step::Turn => connection.turn(Some(Nanos::ZERO)),
                Step::Script(delay, what) => {
                    let from = connection.sim.now().saturating_add(Nanos::from_nanos(delay));
                    connection.peer.takes_at(from, what);
                    Ok(())
                }
                Step::Advance(span) => {
                    connection.sim.advance(Nanos::from_nanos(span));
                    Ok(())
                }
                Step::SetLimits(high, low) => {
                    connection.set_limits(high, low);
                    Ok(())
                }
                Step::Abort => {
                    connection.abort()?;
                    connection = Connection::new();
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                connection.check_failed(error)?;
                connection.abort()?;
                connection = Connection::new();
            }
            connection.check()?;
        }
        connection.drain()?;
    }
}

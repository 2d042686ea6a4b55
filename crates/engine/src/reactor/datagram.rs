//! The outgoing side of a datagram socket: what could not leave at once, and when the writer must pause.
//!
//! Datagrams leave whole and in the order in which they were queued, each to its own destination. A destination that only
//! the layer above understands (a host name, an address of a rare family) is *foreign*: that layer sends the datagram
//! itself when its turn has come.
//!
//! # Invariants
//! 1. `pending_bytes` is the sum over the queue of the bytes of each datagram and `header_bytes`, until
//!    [`Datagrams::clear`] has kept a former sum.
//! 2. No foreign destination is dropped here; what held one is handed back. Chunks are dropped, as
//!    [`Chunk::from_foreign`] demands that they can be.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use crate::buf::Chunk;
use crate::flow::{GateSignal, WriteGate};
use crate::sys::address::SocketAddress;
use crate::sys::error::Error;
use crate::sys::message;

/// Where a datagram goes.
#[derive(Debug)]
pub enum Destination<F> {
    /// To the connected peer.
    Peer,
    /// To an address.
    To(SocketAddress),
    /// To what the layer above understands.
    Foreign(F),
}

/// A queued datagram.
#[derive(Debug)]
pub struct Datagram<F> {
    /// What is sent.
    pub data: Chunk,
    /// Where to.
    pub to: Destination<F>,
}

/// How far [`Datagrams::flush`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Everything has left.
    Empty,
    /// There is no room.
    Blocked,
    /// The datagram that was next has failed and is gone; the rest waits.
    Failed(Error),
    /// The next one is foreign: [`Datagrams::take`] it.
    Foreign,
}

/// See the module.
#[derive(Debug)]
pub struct Datagrams<F> {
    queue: VecDeque<Datagram<F>>,
    pending_bytes: usize,
    header_bytes: usize,
    /// What has left since [`Datagrams::take_sent`] was asked.
    sent_bytes: usize,
    /// Decides when the writer pauses and resumes.
    pub gate: WriteGate,
}

impl<F> Datagrams<F> {
    /// An empty queue in which each datagram counts `header_bytes` beyond its own.
    #[must_use]
    pub fn new(header_bytes: usize) -> Self {
        Self { queue: VecDeque::new(), pending_bytes: 0, header_bytes, sent_bytes: 0, gate: WriteGate::new() }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that wait, as flow control counts them.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Every foreign destination.
    pub fn foreign(&self) -> impl Iterator<Item = &F> {
        self.queue.iter().filter_map(|datagram| match &datagram.to {
            Destination::Foreign(foreign) => Some(foreign),
            _ => None,
        })
    }

    /// Queues a datagram behind all others; whether the writer must pause.
    pub fn push(&mut self, datagram: Datagram<F>) -> GateSignal {
        self.pending_bytes += self.size(&datagram);
        self.queue.push_back(datagram);
        self.after_write()
    }

    /// Sends until everything has left, there is no room, a datagram fails or a foreign one is next.
    pub fn flush(&mut self, fd: BorrowedFd<'_>) -> Progress {
        loop {
            match self.queue.front() {
                None => return Progress::Empty,
                Some(Datagram { to: Destination::Foreign(_), .. }) => return Progress::Foreign,
                Some(_) => {}
            }
            let due = self.queue.iter().map_while(|datagram| match &datagram.to {
                Destination::Peer => Some((datagram.data.as_slice(), None)),
                Destination::To(address) => Some((datagram.data.as_slice(), Some(address))),
                Destination::Foreign(_) => None,
            });
            match message::send_many(fd, due) {
                Ok(Some(sent)) => {
                    self.sent_bytes += self.queue.iter().take(sent).map(|datagram| datagram.data.len()).sum::<usize>();
                    self.drop_first(sent);
                }
                Ok(None) => return Progress::Blocked,
                Err(error) => {
                    self.drop_first(1);
                    return Progress::Failed(error);
                }
            }
        }
    }

    /// Bytes that flushes have sent since this was asked last.
    pub fn take_sent(&mut self) -> usize {
        core::mem::take(&mut self.sent_bytes)
    }

    /// Drops the first datagrams, none of which is foreign.
    fn drop_first(&mut self, count: usize) {
        for _ in 0..count {
            drop(self.take());
        }
    }

    /// Takes the next datagram out.
    #[must_use = "what is taken is sent or put back"]
    pub fn take(&mut self) -> Option<Datagram<F>> {
        let datagram = self.queue.pop_front()?;
        self.pending_bytes -= self.size(&datagram);
        Some(datagram)
    }

    /// Puts a datagram back that was taken and found no room.
    pub fn put_back(&mut self, datagram: Datagram<F>) {
        self.pending_bytes += self.size(&datagram);
        self.queue.push_front(datagram);
    }

    /// Gives everything up; the caller drops what comes back. With `keeps_count` the bytes go on counting.
    #[must_use = "dropping a foreign destination may run foreign code"]
    pub fn clear(&mut self, keeps_count: bool) -> VecDeque<Datagram<F>> {
        if !keeps_count {
            self.pending_bytes = 0;
        }
        core::mem::take(&mut self.queue)
    }

    /// Whether the writer must pause, given what is pending now.
    pub fn after_write(&mut self) -> GateSignal {
        self.gate.grown_to(self.pending_bytes)
    }

    /// Whether the writer may go on, given what is pending now.
    pub fn after_progress(&mut self) -> GateSignal {
        self.gate.drained_to(self.pending_bytes)
    }

    fn size(&self, datagram: &Datagram<F>) -> usize {
        datagram.data.len() + self.header_bytes
    }
}

impl<F> Default for Datagrams<F> {
    fn default() -> Self {
        Self::new(0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use rustix::io::Errno;

    use super::*;

    fn datagram(text: &str, to: Destination<&'static str>) -> Datagram<&'static str> {
        Datagram { data: Chunk::from_vec(text.as_bytes().to_vec()), to }
    }

    fn pair() -> (UnixDatagram, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().expect("a pair");
        far.set_nonblocking(true).expect("a socket");
        (near, far)
    }

    fn received(far: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 100];
        let mut texts = Vec::new();
        loop {
            match far.recv(&mut buffer) {
                Ok(count) => texts.push(String::from_utf8_lossy(&buffer[..count]).into_owned()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return texts;
                }
            }
        }
    }

    #[test]
    fn datagrams_leave_in_order_and_whole_with_empty_ones_among_them() {
        let (near, far) = pair();
        let mut queue = Datagrams::new(8);
        for text in ["first", "", "third"] {
            assert_eq!(queue.push(datagram(text, Destination::Peer)), GateSignal::Keep);
        }
        assert_eq!(queue.pending_bytes(), 10 + 3 * 8);
        assert_eq!(queue.flush(near.as_fd()), Progress::Empty);
        assert_eq!(received(&far), ["first", "", "third"]);
        assert_eq!((queue.pending_bytes(), queue.is_empty()), (0, true));
        assert_eq!((queue.take_sent(), queue.take_sent()), (10, 0));
    }

    #[test]
    fn a_foreign_destination_stops_the_flush_until_it_is_taken() {
        let (near, far) = pair();
        let mut queue = Datagrams::new(0);
        let _ = queue.push(datagram("first", Destination::Peer));
        let _ = queue.push(datagram("second", Destination::Foreign("somewhere")));
        let _ = queue.push(datagram("third", Destination::Peer));
        assert_eq!(queue.foreign().collect::<Vec<_>>(), [&"somewhere"]);
        assert_eq!(queue.flush(near.as_fd()), Progress::Foreign);
        assert_eq!(received(&far), ["first"]);
        let taken = queue.take().expect("the foreign one");
        assert_eq!(queue.pending_bytes(), 5);
        queue.put_back(taken);
        assert_eq!(queue.pending_bytes(), 11);
        assert_eq!(queue.flush(near.as_fd()), Progress::Foreign);
        assert!(matches!(queue.take(), Some(Datagram { to: Destination::Foreign("somewhere"), .. })));
        assert_eq!(queue.flush(near.as_fd()), Progress::Empty);
        assert_eq!(received(&far), ["third"]);
    }

    #[test]
    fn a_failed_datagram_is_gone_and_the_rest_waits() {
        let (near, far) = pair();
        let mut queue = Datagrams::new(0);
        let nowhere = SocketAddress::unix(b"\0ferrio: nobody has this name").expect("short");
        let _ = queue.push(datagram("first", Destination::Peer));
        let _ = queue.push(datagram("second", Destination::To(nowhere)));
        let _ = queue.push(datagram("third", Destination::Peer));
        assert_eq!(queue.flush(near.as_fd()), Progress::Failed(Error::new("sendmmsg", Errno::CONNREFUSED)));
        assert_eq!(received(&far), ["first"]);
        assert_eq!(queue.pending_bytes(), 5);
        assert_eq!(queue.flush(near.as_fd()), Progress::Empty);
        assert_eq!(received(&far), ["third"]);
    }

    #[test]
    fn a_full_peer_keeps_the_rest_in_order() {
        let (near, far) = pair();
        let mut queue = Datagrams::new(1);
        let texts: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        for text in &texts {
            let _ = queue.push(datagram(text, Destination::Peer));
        }
        assert_eq!(queue.flush(near.as_fd()), Progress::Blocked);
        let mut arrived = received(&far);
        while queue.flush(near.as_fd()) == Progress::Blocked {
            arrived.extend(received(&far));
        }
        arrived.extend(received(&far));
        assert_eq!(arrived, texts);
        assert_eq!(queue.pending_bytes(), 0);
    }

    #[test]
    fn clearing_hands_everything_back_and_may_keep_the_count() {
        let mut queue = Datagrams::new(8);
        let _ = queue.push(datagram("data", Destination::Foreign("somewhere")));
        assert_eq!(queue.clear(true).len(), 1);
        assert_eq!((queue.pending_bytes(), queue.is_empty()), (12, true));
        assert!(queue.clear(false).is_empty());
        assert_eq!(queue.pending_bytes(), 0);
    }

    #[test]
    fn the_writer_pauses_above_the_mark_with_headers_counted() {
        let mut queue = Datagrams::new(8);
        queue.gate.set_limits(Some(24), Some(12)).expect("in order");
        assert_eq!(queue.push(datagram("data", Destination::Peer)), GateSignal::Keep);
        assert_eq!(queue.push(datagram("data", Destination::Peer)), GateSignal::Keep);
        assert_eq!(queue.push(datagram("", Destination::Peer)), GateSignal::Pause);
        let _ = queue.take();
        assert_eq!(queue.after_progress(), GateSignal::Keep);
        let _ = queue.take();
        assert_eq!(queue.after_progress(), GateSignal::Resume);
    }
}

//! The scripted backend does what the script says, when it says so.
#![cfg(not(loom))]

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use ferrio_engine::backend::sim::{Incoming, Peer, Sim, SimBackend, Socket, Take, Wait};
use ferrio_engine::backend::{Announcement, Backend, Interest, Key, Poller, Received, Sent, Slots, Usage};
use ferrio_engine::buf::{Chain, Chunk};
use ferrio_engine::sys::error::{Error, Result};
use ferrio_engine::time::Nanos;
use rustix::io::Errno;

const NEVER: Nanos = Nanos::MAX;

fn at(nanos: u64) -> Nanos {
    Nanos::from_nanos(nanos)
}

struct World {
    sim: Sim,
    backend: SimBackend,
    keys: Slots<()>,
}

impl World {
    fn new() -> Self {
        let sim = Sim::new();
        Self { backend: sim.backend(), sim, keys: Slots::default() }
    }

    fn connection(&mut self, interest: Interest) -> (Key, Socket, Peer) {
        let (socket, peer) = self.sim.connection();
        let key = self.keys.insert(());
        self.backend.attach(key, socket.as_fd(), Usage::Stream).expect("an open socket");
        self.backend.watch(key, interest).expect("a socket can be watched");
        (key, socket, peer)
    }

    fn try_wait(&mut self, timeout: Option<Nanos>) -> (Result<()>, Vec<Announcement>) {
        let mut poller = self.backend.start_wait();
        let outcome = poller.wait(timeout);
        let mut found = Vec::new();
        self.backend.end_wait(poller, &mut found);
        (outcome, found)
    }

    fn wait(&mut self, timeout: Option<Nanos>) -> Vec<Announcement> {
        let (outcome, found) = self.try_wait(timeout);
        outcome.expect("no signal was scripted");
        found
    }

    fn receive(&mut self, key: Key) -> Result<Received> {
        self.backend.receive(key, &mut [MaybeUninit::uninit(); 4])
    }

    fn send(&mut self, key: Key, bytes: &[u8]) -> Result<Sent> {
        let mut chain = Chain::new();
        assert!(chain.push(Chunk::from_vec(bytes.to_vec())).is_none());
        self.backend.send(key, chain)
    }
}

fn readable(key: Key) -> Announcement {
    Announcement { key, ready: Interest::READ }
}

fn writable(key: Key) -> Announcement {
    Announcement { key, ready: Interest::WRITE }
}

#[test]
fn receives_bring_one_entry_each_in_the_order_of_the_script() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::READ);
    peer.sends(Incoming::Bytes(b"123456".to_vec()));
    peer.sends(Incoming::Bytes(b"7".to_vec()));
    peer.sends(Incoming::Nothing);
    peer.sends(Incoming::Error(Errno::TIMEDOUT));
    peer.sends(Incoming::End);
    assert_eq!(world.receive(key), Ok(Received::Bytes(4)));
    assert_eq!(world.receive(key), Ok(Received::Bytes(2)));
    assert_eq!(world.receive(key), Ok(Received::Bytes(1)));
    assert_eq!(world.wait(None), [readable(key)]);
    assert_eq!(world.receive(key), Ok(Received::Nothing));
    assert_eq!(world.receive(key), Err(Error::new("recv", Errno::TIMEDOUT)));
    for _ in 0..2 {
        assert_eq!(world.receive(key), Ok(Received::End));
        assert_eq!(world.wait(None), [readable(key)]);
    }
}

#[test]
fn nothing_is_there_before_its_instant() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::READ);
    peer.sends_at(at(10), Incoming::Bytes(vec![1]));
    assert_eq!(world.receive(key), Ok(Received::Nothing));
    world.sim.advance(at(9));
    assert_eq!(world.receive(key), Ok(Received::Nothing));
    assert_eq!(world.wait(Some(Nanos::ZERO)), []);
    world.sim.advance(at(1));
    assert_eq!(world.receive(key), Ok(Received::Bytes(1)));
}

#[test]
fn a_wait_moves_the_clock_to_what_it_finds_or_to_its_end() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::READ);
    peer.sends_at(at(10), Incoming::Bytes(vec![1]));
    assert_eq!((world.wait(Some(at(4))), world.sim.now()), (vec![], at(4)));
    assert_eq!((world.wait(Some(at(100))), world.sim.now()), (vec![readable(key)], at(10)));
    assert_eq!((world.wait(None), world.sim.now()), (vec![readable(key)], at(10)));
    assert_eq!(world.receive(key), Ok(Received::Bytes(1)));
    assert_eq!((world.wait(Some(at(5))), world.sim.now()), (vec![], at(15)));
}

#[test]
fn what_nobody_watches_ends_no_wait() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::NONE);
    peer.sends_at(at(1), Incoming::Bytes(vec![1]));
    assert_eq!((world.wait(Some(at(5))), world.sim.now()), (vec![], at(5)));
    assert_eq!(world.receive(key), Ok(Received::Bytes(1)));
}

#[test]
#[should_panic(expected = "the wait would never end")]
fn a_wait_for_ever_with_nothing_to_come_is_an_error_of_the_test() {
    let mut world = World::new();
    let (_key, _socket, peer) = world.connection(Interest::READ);
    peer.sends_at(NEVER, Incoming::End);
    world.wait(None);
}

#[test]
fn a_report_is_ordered_by_instant_and_then_by_the_script() {
    let mut world = World::new();
    let ends: Vec<_> = (0..4).map(|_| world.connection(Interest::READ)).collect();
    for (end, from) in [(2, 5), (0, 7), (3, 5), (1, 6)] {
        ends[end].2.sends_at(at(from), Incoming::Bytes(vec![1]));
    }
    world.sim.advance(at(7));
    let found: Vec<Key> = world.wait(None).iter().map(|announcement| announcement.key).collect();
    assert_eq!(found, [2, 3, 1, 0].map(|end| ends[end].0));
}

#[test]
fn sends_are_taken_whole_unless_the_script_says_less() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::NONE);
    assert_eq!(world.send(key, b"all"), Ok(Sent::All { bytes: 3 }));
    peer.takes(Take::AtMost(2));
    peer.takes(Take::AtMost(0));
    peer.takes_at(at(9), Take::AtMost(1));
    assert_eq!(world.send(key, b"1234"), Ok(Sent::Some { bytes: 2 }));
    assert_eq!(world.wait(None), [writable(key)]);
    assert_eq!(world.backend.sent(key), Ok(Sent::Some { bytes: 0 }));
    assert_eq!((world.wait(None), world.sim.now()), (vec![writable(key)], at(9)));
    assert_eq!(world.backend.sent(key), Ok(Sent::Some { bytes: 1 }));
    assert_eq!(world.backend.sent(key), Ok(Sent::All { bytes: 1 }));
    assert_eq!(peer.taken(), b"all1234");
}

#[test]
fn a_scripted_error_ends_the_send() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::NONE);
    peer.takes(Take::Error(Errno::PIPE));
    assert_eq!(world.send(key, b"lost"), Err(Error::new("sendmsg", Errno::PIPE)));
    peer.takes_at(NEVER, Take::AtMost(0));
    assert_eq!(world.send(key, b"stuck"), Ok(Sent::Some { bytes: 0 }));
    assert_eq!(world.wait(Some(at(50))), []);
    assert_eq!(peer.taken(), b"");
}

#[test]
fn a_scripted_wait_reports_what_it_is_told() {
    let mut world = World::new();
    let (first, _first_socket, peer) = world.connection(Interest::READ);
    let (second, _second_socket, _peer) = world.connection(Interest::BOTH);
    peer.sends(Incoming::Bytes(vec![1]));
    world.sim.next_wait(Wait::Reports(vec![]));
    world.sim.next_wait(Wait::Reports(vec![readable(second), readable(first), readable(second)]));
    world.sim.next_wait(Wait::Interrupted(vec![readable(first)]));
    assert_eq!(world.wait(None), []);
    assert_eq!(world.wait(None), [readable(second), readable(first), readable(second)]);
    let (outcome, found) = world.try_wait(None);
    assert_eq!((outcome.map_err(|error| error.errno), found), (Err(Errno::INTR), vec![readable(first)]));
    assert_eq!(world.wait(None), [writable(second), readable(first)]);
    assert_eq!(world.sim.now(), Nanos::ZERO);
}

#[test]
fn a_scripted_wait_keeps_to_the_contract() {
    let mut world = World::new();
    let (key, _socket, _peer) = world.connection(Interest::READ);
    let (detached, _other_socket, _other_peer) = world.connection(Interest::READ);
    let both = |key| Announcement { key, ready: Interest::BOTH };
    world.sim.next_wait(Wait::Reports(vec![both(detached), writable(key), both(key)]));
    drop(world.backend.detach(detached));
    assert_eq!(world.wait(None), [readable(key)]);
}

#[test]
#[should_panic(expected = "one send at a time")]
fn a_second_send_is_an_error_of_the_caller() {
    let mut world = World::new();
    let (key, _socket, peer) = world.connection(Interest::NONE);
    peer.takes(Take::AtMost(0));
    assert_eq!(world.send(key, b"first"), Ok(Sent::Some { bytes: 0 }));
    let _ = world.send(key, b"second");
}

#[test]
fn only_sockets_of_the_kernel_can_be_attached() {
    let mut world = World::new();
    let foreign = Sim::new().connection().0;
    let key = world.keys.insert(());
    assert_eq!(world.backend.attach(key, foreign.as_fd(), Usage::Stream), Err(Error::new("attach", Errno::BADF)));
}

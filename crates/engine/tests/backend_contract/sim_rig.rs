//! The scripted backend.

use std::cell::Cell;

use ferrio_engine::backend::sim::{Incoming, Peer, Sim, SimBackend, SimPoller, Socket, Take, Wait};
use ferrio_engine::backend::{Poller, Usage};
use ferrio_engine::sys::error::Result;
use ferrio_engine::time::Nanos;
use rustix::io::Errno;

use crate::rig::{Connected, Rig};

pub(crate) struct SimRig {
    sim: Sim,
    backend: SimBackend,
}

/// A peer, and how many of its bytes the test has seen.
pub(crate) struct Far {
    peer: Peer,
    seen: Cell<usize>,
}

impl Far {
    fn new(peer: Peer) -> Self {
        Self { peer, seen: Cell::new(0) }
    }
}

impl Rig for SimRig {
    type Backend = SimBackend;
    type Near = Socket;
    type Far = Far;

    const USAGE: Usage = Usage::Stream;

    fn new() -> Self {
        let sim = Sim::new();
        Self { backend: sim.backend(), sim }
    }

    fn backend(&mut self) -> &mut SimBackend {
        &mut self.backend
    }

    fn now(&self) -> Nanos {
        self.sim.now()
    }

    fn open(&mut self) -> (Socket, Far) {
        let (socket, peer) = self.sim.connection();
        (socket, Far::new(peer))
    }

    fn open_regular_file(&mut self) -> Socket {
        self.sim.regular_file()
    }

    fn duplicate(&mut self, near: &Socket) -> Socket {
        self.sim.duplicate(near)
    }

    fn replace(&mut self, near: &mut Socket) -> Far {
        Far::new(self.sim.replace(near))
    }

    fn put_under(&mut self, near: &Socket, onto: &mut Socket) {
        self.sim.put_under(near, onto);
    }

    fn make_readable(&mut self, far: &Far) {
        self.far_sends(far, b"x");
    }

    fn drain(&mut self, _near: &Socket, far: &Far) {
        far.peer.steal();
    }

    fn wait_for_signal(&mut self, poller: &mut SimPoller) -> Result<()> {
        self.sim.next_wait(Wait::Interrupted(Vec::new()));
        poller.wait(None)
    }
}

impl Connected for SimRig {
    fn far_sends(&mut self, far: &Far, bytes: &[u8]) {
        far.peer.sends(Incoming::Bytes(bytes.to_vec()));
    }

    fn far_ends(&mut self, far: &Far) {
        far.peer.sends(Incoming::End);
    }

    fn far_breaks(&mut self, far: Far) {
        far.peer.sends(Incoming::Error(Errno::CONNRESET));
        far.peer.sends(Incoming::End);
        far.peer.takes(Take::Error(Errno::PIPE));
    }

    fn let_block(&mut self, _near: &Socket) {
        // A scripted socket has no mode.
    }

    fn narrow(&mut self, _near: &Socket, far: &Far) {
        for limit in [70_000, 0, 1, 99_999] {
            far.peer.takes(Take::AtMost(limit));
        }
    }

    fn far_takes(&mut self, far: &Far) -> Vec<u8> {
        let taken = far.peer.taken();
        let fresh = taken[far.seen.get()..].to_vec();
        far.seen.set(taken.len());
        fresh
    }
}

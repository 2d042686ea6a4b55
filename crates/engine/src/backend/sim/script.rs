//! What a test holds of the scripted backend: the kernel, a connection's two ends.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::kernel::{Incoming, Take, Wait};
use super::{Shared, SimBackend, lock};
use crate::sys::wake::Wake;
use crate::time::Nanos;

/// The scripted kernel; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Sim {
    kernel: Shared,
}

impl Sim {
    /// A kernel with no descriptors, at instant zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A backend over this kernel. One kernel has one: keys are told apart by their value alone.
    #[must_use]
    pub fn backend(&self) -> SimBackend {
        SimBackend::new(Arc::clone(&self.kernel))
    }

    /// The virtual clock.
    #[must_use]
    pub fn now(&self) -> Nanos {
        lock(&self.kernel).now()
    }

    /// Moves the clock on: the time that work between two waits takes.
    pub fn advance(&self, span: Nanos) {
        lock(&self.kernel).advance(span);
    }

    /// Decides the next wait that has not been decided yet.
    pub fn next_wait(&self, wait: Wait) {
        lock(&self.kernel).script_wait(wait);
    }

    /// A connection: the loop's end, and the test's.
    ///
    /// # Panics
    /// If the process is out of descriptors.
    #[must_use]
    pub fn connection(&self) -> (Socket, Peer) {
        let file = lock(&self.kernel).open(false);
        (self.number(file), Peer { kernel: Arc::clone(&self.kernel), file })
    }

    /// A descriptor that cannot be watched, as that of a regular file.
    ///
    /// # Panics
    /// If the process is out of descriptors.
    #[must_use]
    pub fn regular_file(&self) -> Socket {
        let file = lock(&self.kernel).open(true);
        self.number(file)
    }

    /// `dup`: another number for the same connection, which it keeps open.
    ///
    /// # Panics
    /// If the process is out of descriptors.
    #[must_use]
    pub fn duplicate(&self, socket: &Socket) -> Socket {
        let file = lock(&self.kernel).file_of(socket.number()).expect("an open socket");
        self.number(file)
    }

    /// `dup2`: closes what `socket` names and gives its number to a new connection, whose peer comes back.
    #[must_use]
    pub fn replace(&self, socket: &Socket) -> Peer {
        let mut kernel = lock(&self.kernel);
        let file = kernel.open(false);
        kernel.name(socket.number(), file);
        Peer { kernel: Arc::clone(&self.kernel), file }
    }

    /// `dup2`: closes what `onto` names and makes its number another one for the connection of `socket`.
    ///
    /// # Panics
    /// If `socket` has been closed.
    pub fn put_under(&self, socket: &Socket, onto: &Socket) {
        let mut kernel = lock(&self.kernel);
        let file = kernel.file_of(socket.number()).expect("an open socket");
        kernel.name(onto.number(), file);
    }

    fn number(&self, file: usize) -> Socket {
        let placeholder = Wake::new().expect("a descriptor for a scripted socket");
        let socket = Socket { kernel: Arc::clone(&self.kernel), placeholder };
        lock(&self.kernel).name(socket.number(), file);
        socket
    }
}

/// The loop's end of a connection. Dropping it closes its number, attached or not.
#[derive(Debug)]
pub struct Socket {
    kernel: Shared,
    /// Keeps the number this socket's.
    placeholder: Wake,
}

impl Socket {
    fn number(&self) -> i32 {
        self.placeholder.as_fd().as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.placeholder.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        lock(&self.kernel).close(self.number());
    }
}

/// The test's end of a connection: its script. Entries are used up in the order in which they are written.
#[derive(Debug, Clone)]
pub struct Peer {
    kernel: Shared,
    file: usize,
}

impl Peer {
    /// The next receive that has not been decided yet brings this, from now on.
    ///
    /// # Panics
    /// With [`Incoming::Bytes`] that holds none.
    pub fn sends(&self, what: Incoming) {
        let mut kernel = lock(&self.kernel);
        let now = kernel.now();
        kernel.script_incoming(self.file, now, what);
    }

    /// As [`Peer::sends`], from the instant `from` on; nothing is there before.
    ///
    /// # Panics
    /// As [`Peer::sends`].
    pub fn sends_at(&self, from: Nanos, what: Incoming) {
        lock(&self.kernel).script_incoming(self.file, from, what);
    }

    /// The next system call that sends and has not been decided yet goes like this.
    pub fn takes(&self, what: Take) {
        let mut kernel = lock(&self.kernel);
        let now = kernel.now();
        kernel.script_take(self.file, now, what);
    }

    /// As [`Peer::takes`], from the instant `from` on; there is no room before ([`Nanos::MAX`]: never again).
    pub fn takes_at(&self, from: Nanos, what: Take) {
        lock(&self.kernel).script_take(self.file, from, what);
    }

    /// Removes what receives could bring by now, as if another reader of the same connection had taken it. The end of the
    /// stream stays.
    pub fn steal(&self) {
        lock(&self.kernel).steal(self.file);
    }

    /// All bytes that were taken from sends, in order.
    #[must_use]
    pub fn taken(&self) -> Vec<u8> {
        lock(&self.kernel).taken(self.file).to_vec()
    }
}

//! A datagram transport's native state.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use ferrio_engine::backend::{Backend, Interest, Key};
use ferrio_engine::flow::WriteGate;
use ferrio_engine::reactor::{Datagram, Datagrams, Destination};
use ferrio_engine::sys::Error;
use ferrio_engine::sys::address::{Family, SocketAddress};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustix::io::Errno;

use super::class::DatagramTransport;
use super::read::Appetite;
use crate::core::LoopCore;
use crate::ffi::class::Instance;
use crate::ffi::descriptor::borrow;
use crate::ffi::fields::{Collector, Owner, Visited, holds_no_object, native_state, owner};
use crate::ffi::guarded::Guarded;
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;
use crate::ffi::socket;
use crate::handle::context;
use crate::net::transport::{Common, Transport, event_loop, with, with_common};

/// An address as Python and as the kernel have it. The object is immutable, so the two stay the same.
pub(super) struct Known {
    pub(super) object: Object,
    pub(super) address: SocketAddress,
}

/// The address that every datagram goes to: the `remote_addr` of the endpoint.
pub(super) struct Remote {
    pub(super) object: Object,
    /// `None` when it is the `socket` module's to understand.
    pub(super) address: Option<SocketAddress>,
}

holds_no_object!(Appetite);

impl Owner for Option<Known> {
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.as_ref().map_or(Ok(()), |known| collector.object(&known.object))
    }

    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        taken.extend(self.take().map(|known| known.object));
    }
}

impl Owner for Option<Remote> {
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.as_ref().map_or(Ok(()), |remote| collector.object(&remote.object))
    }

    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        taken.extend(self.take().map(|remote| remote.object));
    }
}

impl Owner for Datagrams<Object> {
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.foreign().try_for_each(|address| collector.object(address))
    }

    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        for datagram in self.clear(true) {
            if let Destination::Foreign(address) = datagram.to {
                taken.push(address);
            }
        }
    }
}

owner! {
    /// The part of the state that is guarded.
    #[derive(Default)]
    pub(crate) struct Inner {
        pub(super) common: Common,
        /// The Python socket: it owns the descriptor.
        pub(super) socket: Option<Object>,
        pub(super) family: Family,
        /// asyncio's `_address`.
        pub(super) remote: Option<Remote>,
        /// The socket has a peer with a name: datagrams go there, whatever address is given.
        pub(super) is_connected: bool,
        /// Empty datagrams are sent; by older releases of asyncio they are left out.
        pub(super) sends_empty: bool,
        /// The bytes that `abort()` has dropped go on counting, as in asyncio before 3.15.
        pub(super) keeps_count: bool,
        /// The context in which the protocol is told of datagrams and of errors in receiving.
        pub(super) read_context: Option<Object>,
        /// Set while room to send is waited for: the context of the `sendto` that found none.
        pub(super) write_context: Option<Object>,
        pub(super) outgoing: Datagrams<Object>,
        /// The last sender.
        pub(super) sender: Option<Known>,
        /// The last destination that was no sender's.
        pub(super) destination: Option<Known>,
        /// How much to receive at once.
        pub(super) appetite: Appetite,
    }
}

native_state! {
    /// The state of a [`DatagramTransport`].
    #[derive(Default)]
    pub(crate) struct DatagramState {
        inner: Guarded<Inner>,
    }
}

impl Transport for DatagramTransport {
    type Inner = Inner;

    #[inline]
    fn guarded(state: &DatagramState) -> &Guarded<Inner> {
        &state.inner
    }

    #[inline]
    fn common(inner: &mut Inner) -> &mut Common {
        &mut inner.common
    }

    fn interest(inner: &Inner) -> Interest {
        inner.interest()
    }

    #[inline]
    fn gate(inner: &mut Inner) -> &mut WriteGate {
        &mut inner.outgoing.gate
    }

    #[inline]
    fn pending_bytes(inner: &Inner) -> usize {
        inner.outgoing.pending_bytes()
    }

    /// As in asyncio, where resuming makes a new callback of the descriptor.
    fn before_resuming(py: Python<'_>, transport: &Instance<Self>) -> PyResult<()> {
        let ctx = context::copy_current(py)?;
        let before = with(py, transport, |inner| inner.read_context.replace(ctx));
        drop(before);
        Ok(())
    }
}

impl Inner {
    /// Whether datagrams are to be received, and `key` is the descriptor's.
    pub(super) fn reads_under(&self, key: Key) -> bool {
        self.common.key == Some(key) && self.common.reading.is_wanted()
    }

    /// What the kernel is to be watched for.
    fn interest(&self) -> Interest {
        let reads = if self.common.reading.is_wanted() { Interest::READ } else { Interest::NONE };
        let writes = if self.write_context.is_some() { Interest::WRITE } else { Interest::NONE };
        reads | writes
    }

    /// The kernel's form of an address that a program gives, if it has been seen before.
    pub(super) fn known(&self, object: &Object) -> Option<&SocketAddress> {
        [&self.sender, &self.destination]
            .into_iter()
            .flatten()
            .find(|known| known.object.is(object))
            .map(|known| &known.address)
    }

    /// The descriptor of the socket, for one system call: it is the key's ([`Self::ensure_number`]).
    ///
    /// # Errors
    /// `EBADF`.
    pub(super) fn descriptor<'a>(&self, backend: &mut impl Backend) -> Result<BorrowedFd<'a>, Error> {
        self.ensure_number(backend)?;
        borrow(self.common.number).ok_or(Error::new("epoll_ctl", Errno::BADF))
    }

    /// Makes sure that the key's number is the key's: `EBADF` when another has taken it over (rule 2 of the backend's
    /// contract), when the socket was closed or detached by its owner, or when the descriptor is not attached.
    ///
    /// The backend takes the watch away from a key that loses its number, so a key that watches something has it. One that
    /// watches nothing asks by watching: what it should, or for a moment.
    fn ensure_number(&self, backend: &mut impl Backend) -> Result<(), Error> {
        let key = self.common.key.ok_or(Error::new("epoll_ctl", Errno::BADF))?;
        if self.socket.as_ref().is_some_and(|socket| socket::has_lost(socket, self.common.number)) {
            return Err(Error::new("fileno", Errno::BADF));
        }
        if !backend.watched(key).is_none() {
            return Ok(());
        }
        let interest = self.interest();
        if !interest.is_none() {
            return backend.watch(key, interest);
        }
        backend.watch(key, Interest::WRITE)?;
        backend.watch(key, Interest::NONE)
    }
}

/// What a transport gives up at its end, to be dropped outside of the guard.
pub(super) struct Remains {
    _event_loop: Option<Instance<LoopCore>>,
    _objects: [Option<Held>; 3],
    _known: [Option<Known>; 2],
    _outgoing: VecDeque<Datagram<Object>>,
}

/// Makes the state that of a transport which has not been opened, as a second `__init__` of asyncio's does: it gives up what
/// it had, and its socket is its owner's to close.
///
/// # Errors
/// `RuntimeError`: something that runs meanwhile opens it again.
pub(super) fn start_over(py: Python<'_>, transport: &Instance<DatagramTransport>) -> PyResult<()> {
    detach(py, transport);
    let before = with(py, transport, |inner| inner.common.key.is_none().then(|| core::mem::take(inner)));
    drop(before);
    if with_common(py, transport, |common| !common.is_opened) {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("the transport is being opened already"))
}

/// Detaches the descriptor: nothing is watched or announced any more.
pub(super) fn detach(py: Python<'_>, transport: &Instance<DatagramTransport>) {
    let Some(event_loop) = event_loop(py, transport) else { return };
    if let Some(key) = with_common(py, transport, |common| common.key.take()) {
        event_loop.detach(py, key);
    }
}

/// Takes everything out but the socket and the address of the endpoint, to be dropped by the caller.
pub(super) fn strip(py: Python<'_>, transport: &Instance<DatagramTransport>) -> Remains {
    with(py, transport, |inner| Remains {
        _event_loop: inner.common.event_loop.take(),
        _objects: [inner.common.protocol.take(), inner.read_context.take(), inner.write_context.take()]
            .map(|object| object.map(Held::new)),
        _known: [inner.sender.take(), inner.destination.take()],
        _outgoing: inner.outgoing.clear(true),
    })
}

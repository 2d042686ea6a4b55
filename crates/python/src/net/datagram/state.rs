//! A datagram transport's native state.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::backend::{Backend, Interest, Key};
use ferrio_engine::flow::{Lifecycle, ReadGate};
use ferrio_engine::reactor::{Datagram, Datagrams};
use ferrio_engine::sys::Error;
use ferrio_engine::sys::address::{Family, SocketAddress};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use rustix::io::Errno;

use crate::core::{LoopCore, Source};
use crate::ffi::guarded::Guarded;
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;

/// Where the state lies in an instance; set when the type is made.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

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

/// What the guard guards.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub(super) struct Inner {
    pub(super) event_loop: Option<Object>,
    pub(super) protocol: Option<Object>,
    /// The Python socket: it owns the descriptor.
    pub(super) socket: Option<Object>,
    pub(super) fd: RawFd,
    /// It has been opened, whatever has become of it.
    pub(super) is_opened: bool,
    pub(super) family: Family,
    /// asyncio's `_address`.
    pub(super) remote: Option<Remote>,
    /// The socket has a peer with a name: datagrams go there, whatever address is given.
    pub(super) is_connected: bool,
    /// Empty datagrams are sent; by older releases of asyncio they are left out.
    pub(super) sends_empty: bool,
    /// The bytes that `abort()` has dropped go on counting, as in asyncio before 3.15.
    pub(super) keeps_count: bool,
    /// The context in which the protocol hears of datagrams and of errors in receiving.
    pub(super) read_context: Option<Object>,
    /// Set while room to send is waited for: the context of the `sendto` that found none.
    pub(super) write_context: Option<Object>,
    /// Set while the descriptor is attached.
    pub(super) key: Option<Key>,
    pub(super) outgoing: Datagrams<Object>,
    pub(super) reading: ReadGate,
    pub(super) life: Lifecycle,
    /// The last sender.
    pub(super) sender: Option<Known>,
    /// The last destination that was no sender's.
    pub(super) destination: Option<Known>,
    /// How much to receive at once.
    pub(super) appetite: super::read::Appetite,
}

impl Inner {
    /// Every Python object that the state holds.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        let known = [&self.sender, &self.destination].into_iter().flatten().map(|known| &known.object);
        [&self.event_loop, &self.protocol, &self.socket, &self.read_context, &self.write_context]
            .into_iter()
            .flatten()
            .chain(self.remote.as_ref().map(|remote| &remote.object))
            .chain(known)
            .chain(self.outgoing.foreign())
    }

    /// Whether datagrams are to be received, and `key` is the descriptor's.
    pub(super) fn reads_under(&self, key: Key) -> bool {
        self.key == Some(key) && self.reading.is_wanted()
    }

    /// What the kernel is to be watched for.
    fn interest(&self) -> Interest {
        let reads = if self.reading.is_wanted() { Interest::READ } else { Interest::NONE };
        let writes = if self.write_context.is_some() { Interest::WRITE } else { Interest::NONE };
        reads | writes
    }

    /// The kernel's form of an address that a program gives, if it has been seen before.
    pub(super) fn known(&self, object: *mut ffi::PyObject) -> Option<&SocketAddress> {
        [&self.sender, &self.destination]
            .into_iter()
            .flatten()
            .find(|known| known.object.as_ptr() == object)
            .map(|known| &known.address)
    }

    /// The descriptor of the socket, for one system call. The caller has asked [`Self::ensure_number`].
    pub(super) fn borrow_fd<'a>(&self) -> BorrowedFd<'a> {
        // SAFETY: the Python socket owns the descriptor, and the state holds the socket while it has a key. If it has been
        // closed from outside, the system call answers with an error or concerns another file: no memory is at stake.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Makes sure that the key's number is the key's: `EBADF` when another has taken it over (rule 2 of the backend's
    /// contract), or when the descriptor is not attached.
    ///
    /// The backend takes the watch away from a key that loses its number, so a key that watches something has it. One that
    /// watches nothing asks by watching: what it should, or for a moment.
    pub(super) fn ensure_number(&self, backend: &mut impl Backend) -> Result<(), Error> {
        let key = self.key.ok_or(Error::new("epoll_ctl", Errno::BADF))?;
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

/// What a transport lets go of at its end, to be dropped outside of the guard.
pub(super) struct Remains {
    _objects: [Option<Held>; 4],
    _known: [Option<Known>; 2],
    _outgoing: VecDeque<Datagram<Object>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct State(Guarded<Inner>);

impl State {
    /// Remembers where instances keep their state.
    pub(super) fn set_offset(offset: usize) {
        OFFSET.store(offset, Ordering::Relaxed);
    }

    /// The place of the state in an instance.
    ///
    /// # Safety
    /// `object` is an instance of the transport's type.
    pub(super) unsafe fn place(object: *mut ffi::PyObject) -> *mut Self {
        // SAFETY: instances are that long (the type was made so).
        unsafe { object.byte_add(OFFSET.load(Ordering::Relaxed)) }.cast()
    }

    /// The state of a transport.
    ///
    /// # Safety
    /// `object` is an instance of the transport's type and outlives the result.
    pub(super) unsafe fn of<'a>(object: *mut ffi::PyObject) -> &'a Self {
        // SAFETY: passed on to the caller.
        let place = unsafe { Self::place(object) };
        // SAFETY: `tp_new` has put a state there, and only `tp_dealloc` ends it.
        unsafe { &*place }
    }

    /// Runs `section` with the state; the rules of [`Guarded::with`] hold.
    #[inline]
    pub(super) fn with<R>(&self, py: Python<'_>, section: impl FnOnce(&mut Inner) -> R) -> R {
        self.0.with(py, section)
    }

    /// [`Self::with`], for what only a transport can do that has been opened, whatever has become of it.
    ///
    /// # Errors
    /// `RuntimeError`: it was made by `__new__` alone.
    #[inline]
    pub(super) fn opened<R>(&self, py: Python<'_>, section: impl FnOnce(&mut Inner) -> R) -> PyResult<R> {
        self.with(py, |inner| inner.is_opened.then(|| section(inner)))
            .ok_or_else(|| PyRuntimeError::new_err("the transport has not been opened"))
    }

    /// Makes the state that of a transport which has not been opened, as a second `__init__` of asyncio's does: what it
    /// had is let go of, and its socket is its owner's to close.
    ///
    /// # Errors
    /// `RuntimeError`: something that runs meanwhile opens it again.
    pub(super) fn start_over(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(event_loop) = self.event_loop(py) {
            // SAFETY: whoever stores a loop has checked its type.
            self.detach(py, unsafe { LoopCore::of(py, event_loop.as_ptr()) });
        }
        let before = self.with(py, |inner| inner.key.is_none().then(|| core::mem::take(inner)));
        drop(before);
        if self.with(py, |inner| !inner.is_opened) {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("the transport is being opened already"))
    }

    /// The loop, until the transport has ended.
    pub(super) fn event_loop(&self, py: Python<'_>) -> Option<Object> {
        self.with(py, |inner| inner.event_loop.clone())
    }

    /// Makes the kernel watch what the state calls for, and makes the loop hold the transport for as long as it watches.
    pub(super) fn apply_interest(
        &self,
        py: Python<'_>,
        core: &LoopCore,
        transport: *mut ffi::PyObject,
    ) -> Result<(), Error> {
        let Some((key, interest)) = self.with(py, |inner| inner.key.map(|key| (key, inner.interest()))) else {
            return Ok(());
        };
        // SAFETY: the object that this state belongs to.
        let holder = (!interest.is_none()).then(|| unsafe { Object::from_borrowed(transport) });
        let (outcome, released) = core.with_reactor(py, |reactor| {
            let outcome =
                if reactor.backend.watched(key) == interest { Ok(()) } else { reactor.backend.watch(key, interest) };
            let released = match reactor.sources.get_mut(key) {
                Some(Source::Object { object: place, .. }) => core::mem::replace(place, holder),
                _ => holder,
            };
            (outcome, released)
        });
        drop(released);
        outcome
    }

    /// Detaches the descriptor: nothing is watched or announced any more.
    pub(super) fn detach(&self, py: Python<'_>, core: &LoopCore) {
        let Some(key) = self.with(py, |inner| inner.key.take()) else { return };
        core.detach(py, key);
    }

    /// Takes everything out but the socket and the address of the endpoint, to be dropped by the caller.
    pub(super) fn strip(&self, py: Python<'_>) -> Remains {
        self.with(py, |inner| Remains {
            _objects: [
                inner.event_loop.take(),
                inner.protocol.take(),
                inner.read_context.take(),
                inner.write_context.take(),
            ]
            .map(|object| object.map(Held::new)),
            _known: [inner.sender.take(), inner.destination.take()],
            _outgoing: inner.outgoing.clear(true),
        })
    }
}

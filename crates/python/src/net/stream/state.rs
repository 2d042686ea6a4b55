//! A transport's native state.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::os::fd::RawFd;

use ferrio_engine::backend::{Backend, Interest, Key};
use ferrio_engine::flow::{Lifecycle, ReadGate};
use ferrio_engine::reactor::Stream;
use ferrio_engine::sys::socket_name::SocketName;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::descriptor::Descriptor;
use super::part::StreamPart;
use crate::core::{LoopCore, Source};
use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;

/// Where the state lies in an instance; set when the type is made.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// How received bytes reach the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Delivery {
    /// `data_received(bytes)`.
    #[default]
    Bytes,
    /// `get_buffer(-1)`, `buffer_updated(count)`.
    Buffer,
}

/// Whether what is written waits for the end of the callback.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Corking {
    /// It does, and the transport is to be put into the loop's list for that.
    #[default]
    Possible,
    /// It does, and the transport is in the loop's list.
    Listed,
    /// It does not: the connection is shared.
    Never,
}

/// What the state guards.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) event_loop: Option<Object>,
    pub(super) protocol: Option<Object>,
    pub(super) delivery: Delivery,
    pub(super) server: Option<Object>,
    pub(super) descriptor: Descriptor,
    pub(super) fd: RawFd,
    /// The names of the two ends, as they were in the beginning.
    pub(super) local: SocketName,
    pub(super) peer: SocketName,
    /// As `socket.proto` shows it.
    pub(super) proto: u16,
    /// The context given with the connection, for `connection_made` and `connection_lost` (3.15).
    pub(super) context: Option<Object>,
    /// The context in which the protocol hears of bytes.
    pub(super) io_context: Option<Object>,
    /// Set while the descriptor is attached.
    pub(super) key: Option<Key>,
    pub(super) stream: Stream,
    pub(super) reading: ReadGate,
    pub(super) life: Lifecycle,
    /// `write_eof()` was called.
    pub(super) is_eof_written: bool,
    pub(super) corking: Corking,
    /// The future of a `sendfile` that waits for the queue to drain; while it is set nothing may be written.
    pub(super) empty_waiter: Option<Object>,
    /// The last receive was a large one: the next goes straight into the final object.
    pub(super) receives_large: bool,
}

impl Inner {
    /// Every Python object that the state holds.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        [&self.event_loop, &self.protocol, &self.server, &self.context, &self.io_context, &self.empty_waiter]
            .into_iter()
            .flatten()
            .chain(self.descriptor.socket())
    }

    /// Whether it has never been opened.
    pub(super) const fn is_new(&self) -> bool {
        matches!(self.descriptor, Descriptor::None)
    }

    /// The loop's list has the transport no longer.
    pub(super) fn uncork(&mut self) {
        if self.corking == Corking::Listed {
            self.corking = Corking::Possible;
        }
    }

    /// What the kernel is to be watched for.
    pub(super) fn interest(&self) -> Interest {
        if self.reading.is_wanted() { Interest::READ } else { Interest::NONE }
    }
}

#[cold]
fn not_opened() -> PyErr {
    PyRuntimeError::new_err(NOT_OPENED)
}

/// What is said of a transport that was made by `__new__` alone.
pub(super) const NOT_OPENED: &str = "the transport has not been opened";

/// See the module.
#[derive(Default)]
pub(crate) struct State(Guarded<Inner>);

impl State {
    /// How many Python objects [`Inner::objects`] shows at the most.
    pub(super) const OBJECTS: usize = 7;

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
        self.with(py, |inner| (!inner.is_new()).then(|| section(inner))).ok_or_else(not_opened)
    }

    /// Makes the state that of a transport which has not been opened, as a second `__init__` of asyncio's does: what it
    /// had is let go of, and a Python socket is its owner's to close.
    ///
    /// # Errors
    /// `RuntimeError`: something that runs meanwhile opens it again.
    pub(super) fn start_over(&self, py: Python<'_>, transport: *mut ffi::PyObject) -> PyResult<()> {
        if self.with(py, |inner| inner.is_new()) {
            return Ok(());
        }
        let socket = self.let_go(py, transport);
        let before = self.with(py, |inner| {
            // It may be in the loop's list still; the next connection is not shared because this one was.
            let corking = if inner.corking == Corking::Listed { Corking::Listed } else { Corking::Possible };
            let fresh = Inner { corking, ..Inner::default() };
            inner.descriptor.is_gone().then(|| core::mem::replace(inner, fresh))
        });
        drop((socket, before));
        if self.with(py, |inner| inner.is_new()) {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("the transport is being opened already"))
    }

    /// The loop, until the transport has ended.
    pub(super) fn event_loop(&self, py: Python<'_>) -> Option<Object> {
        self.with(py, |inner| inner.event_loop.clone())
    }

    /// Makes the kernel watch what the state calls for, and makes the loop hold the transport for as long as it watches or
    /// sends.
    pub(super) fn apply_interest(
        &self,
        py: Python<'_>,
        core: &LoopCore,
        transport: *mut ffi::PyObject,
    ) -> Result<(), ferrio_engine::sys::Error> {
        let Some((key, interest, is_sending)) =
            self.with(py, |inner| inner.key.map(|key| (key, inner.interest(), inner.stream.is_sending())))
        else {
            return Ok(());
        };
        // SAFETY: the object that this state belongs to.
        let holder = (!interest.is_none() || is_sending).then(|| unsafe { Object::from_borrowed(transport) });
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

    /// Detaches the descriptor and gives it up: it is closed, or a Python socket comes back for its owner to close.
    pub(super) fn let_go(&self, py: Python<'_>, transport: *mut ffi::PyObject) -> Option<Object> {
        let event_loop = self.event_loop(py)?;
        // SAFETY: whoever stores a loop has checked its type.
        let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
        self.detach(py, core);
        let (descriptor, number) =
            self.with(py, |inner| (core::mem::replace(&mut inner.descriptor, Descriptor::Gone), inner.fd));
        if descriptor.is_gone() {
            return None;
        }
        let is_own = core.part::<StreamPart>().holders.with(py, |holders| holders.release(number, transport));
        descriptor.release(py, is_own)
    }

    /// Detaches the descriptor: nothing is watched, sent or announced any more.
    pub(super) fn detach(&self, py: Python<'_>, core: &LoopCore) {
        let Some(key) = self.with(py, |inner| {
            inner.stream.discard();
            inner.key.take()
        }) else {
            return;
        };
        core.detach(py, key);
    }
}

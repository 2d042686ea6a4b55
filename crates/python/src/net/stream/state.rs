//! A transport's native state, and how it begins and ends.

#![forbid(unsafe_code)]

use ferrio_engine::backend::Interest;
use ferrio_engine::flow::WriteGate;
use ferrio_engine::reactor::Stream;
use ferrio_engine::sys::Error;
use ferrio_engine::sys::socket_name::SocketName;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustix::io::Errno;

use super::StreamTransport;
use super::descriptor::Descriptor;
use super::part::StreamPart;
use super::{stock_reader, tls};
use crate::core::LoopCore;
use crate::ffi::class::Instance;
use crate::ffi::fields::{native_state, owner, owns_no_object};
use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::uncounted::{Anchor, Anchored};
use crate::net::transport::{Common, Transport, event_loop, with, with_common};

/// How received bytes reach the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Delivery {
    /// `data_received(bytes)`.
    #[default]
    Bytes,
    /// `get_buffer(-1)`, `buffer_updated(count)`.
    Buffer,
    /// As records of TLS, while the protocol has any; else as `Buffer`.
    Tls,
    /// Into the buffer of asyncio's stream reader, while that allows it; else as bytes.
    StockReader,
}

impl Delivery {
    /// How bytes reach `protocol`.
    fn to(py: Python<'_>, protocol: &Object) -> PyResult<Self> {
        if stock_reader::may_lead_to_reader(py, protocol) {
            return Ok(Self::StockReader);
        }
        if tls::is_tls_protocol(py, protocol)? {
            return Ok(Self::Tls);
        }
        let is_buffered = protocol.bind(py).is_instance(OBJECTS.buffered_protocol.bind(py)?)?;
        Ok(if is_buffered { Self::Buffer } else { Self::Bytes })
    }
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

owns_no_object!(Delivery, Corking, Stream, SocketName);

owner! {
    /// The part of the state that is guarded.
    #[derive(Default)]
    pub(crate) struct Inner {
        pub(super) common: Common,
        pub(super) delivery: Delivery,
        pub(super) server: Option<Object>,
        pub(super) descriptor: Descriptor,
        /// The names of the two ends, as they were in the beginning.
        pub(super) local: SocketName,
        pub(super) peer: SocketName,
        /// As `socket.proto` shows it.
        pub(super) proto: u16,
        /// The context given with the connection, for `connection_made` and `connection_lost` (3.15).
        pub(super) context: Option<Object>,
        /// The context in which received bytes are delivered.
        pub(super) io_context: Option<Object>,
        pub(super) stream: Stream,
        /// `write_eof()` was called.
        pub(super) is_eof_written: bool,
        pub(super) corking: Corking,
        /// The future of a `sendfile` that waits for the queue to drain; while it is set nothing may be written.
        pub(super) empty_waiter: Option<Object>,
        /// The last receive was a large one: the next goes straight into the final object.
        pub(super) receives_large: bool,
    }
}

native_state! {
    /// The state of a [`StreamTransport`].
    #[derive(Default)]
    pub(crate) struct StreamState {
        inner: Guarded<Inner>,
        /// The loop's table by numbers does not count its references.
        anchor: Anchor,
    }
}

impl Anchored for StreamTransport {
    #[inline]
    fn anchor(state: &StreamState) -> &Anchor {
        &state.anchor
    }
}

impl Transport for StreamTransport {
    type Inner = Inner;

    #[inline]
    fn guarded(state: &StreamState) -> &Guarded<Inner> {
        &state.inner
    }

    #[inline]
    fn common(inner: &mut Inner) -> &mut Common {
        &mut inner.common
    }

    fn interest(inner: &Inner) -> Interest {
        if inner.common.reading.is_wanted() { Interest::READ } else { Interest::NONE }
    }

    fn is_sending(inner: &Inner) -> bool {
        inner.stream.is_sending()
    }

    #[inline]
    fn gate(inner: &mut Inner) -> &mut WriteGate {
        &mut inner.stream.gate
    }

    #[inline]
    fn pending_bytes(inner: &Inner) -> usize {
        inner.stream.pending_bytes()
    }

    fn flush(py: Python<'_>, transport: &Instance<Self>) -> PyResult<()> {
        super::write::flush_now(py, transport)
    }

    fn set_protocol(py: Python<'_>, transport: &Instance<Self>, protocol: Object) -> PyResult<()> {
        let delivery = Delivery::to(py, &protocol)?;
        let before = with(py, transport, |inner| {
            inner.delivery = delivery;
            inner.common.protocol.replace(protocol)
        });
        drop(before);
        Ok(())
    }
}

impl Inner {
    /// # Errors
    /// `EBADF`: the number is not the transport's any more.
    #[inline]
    pub(super) fn ensure_number(&self, call: &'static str) -> Result<(), Error> {
        if self.descriptor.has_lost(self.common.number) { Err(Error::new(call, Errno::BADF)) } else { Ok(()) }
    }

    /// The loop's list has the transport no longer.
    pub(super) fn uncork(&mut self) {
        if self.corking == Corking::Listed {
            self.corking = Corking::Possible;
        }
    }
}

/// Makes the state that of a transport which has not been opened, as a second `__init__` of asyncio's does: it releases what
/// it had, and a Python socket is its owner's to close.
///
/// # Errors
/// `RuntimeError`: something that runs meanwhile opens it again.
pub(super) fn start_over(py: Python<'_>, transport: &Instance<StreamTransport>) -> PyResult<()> {
    if !with_common(py, transport, |common| common.is_opened) {
        return Ok(());
    }
    let socket = release_descriptor(py, transport);
    let before = with(py, transport, |inner| {
        // It may be in the loop's list still; the next connection is not shared because this one was.
        let corking = if inner.corking == Corking::Listed { Corking::Listed } else { Corking::Possible };
        let fresh = Inner { corking, ..Inner::default() };
        inner.descriptor.is_none().then(|| core::mem::replace(inner, fresh))
    });
    drop((socket, before));
    if with_common(py, transport, |common| common.is_opened) {
        return Err(PyRuntimeError::new_err("the transport is being opened already"));
    }
    Ok(())
}

/// Detaches the descriptor and gives it up: it is closed, or a Python socket comes back for its owner to close.
pub(super) fn release_descriptor(py: Python<'_>, transport: &Instance<StreamTransport>) -> Option<Object> {
    let event_loop = event_loop(py, transport)?;
    detach(py, &event_loop, transport);
    let (descriptor, number) =
        with(py, transport, |inner| (core::mem::take(&mut inner.descriptor), inner.common.number));
    if descriptor.is_none() {
        return None;
    }
    let is_own =
        event_loop.part::<StreamPart>().transports.with(py, |transports| transports.release(number, transport));
    descriptor.release(py, is_own)
}

/// Detaches the descriptor: nothing is watched, sent or announced any more.
pub(super) fn detach(py: Python<'_>, core: &LoopCore, transport: &Instance<StreamTransport>) {
    let key = with(py, transport, |inner| {
        inner.stream.discard();
        inner.common.key.take()
    });
    if let Some(key) = key {
        core.detach(py, key);
    }
}

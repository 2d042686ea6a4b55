//! Receiving: from the kernel's report to the protocol.
//!
//! One receive for each report, in the connection's context. Small receives go through the loop's buffer and are copied into
//! a `bytes` of the exact size; after a large one, the kernel is asked how much is there, and the next goes straight into a
//! `bytes` of that size. A `BufferedProtocol` is received into directly. asyncio's stream reader is filled from the loop's
//! buffer, and directly where much is there.

#![forbid(unsafe_code)]

use core::mem::MaybeUninit;
use std::os::fd::RawFd;

use ferrio_engine::backend::{Backend, Interest, Key, Received};
use ferrio_engine::sys::{Error, clock, socket};
use pyo3::exceptions::{PyBufferError, PyMemoryError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use rustix::io::Errno;

use super::class::Stream;
use super::part::StreamPart;
use super::state::{Delivery, Inner};
use super::stock_reader::StockReader;
use super::{tls, write};
use crate::core::{Entry, Exit, LoopCore, RECEIVE_BYTES, settle};
use crate::ffi::buffer::with_writable;
use crate::ffi::bytes::Blank;
use crate::ffi::call::call_method;
use crate::ffi::descriptor::borrow;
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::context;
use crate::net::transport::{Callback, apply_change, fatal, report_failed_callback, report_if_slow, with, with_common};

const READ_FAILED: &str = "Fatal read error on socket transport";

/// A receive of so many bytes makes the next one go straight into the final object: from here on a copy costs more than the
/// question how many bytes are there.
const LARGE_RECEIVE_BYTES: usize = 16 * 1024;

/// Bytes of one receive for asyncio's stream reader at the most. What a program does with them (a copy out of the reader's
/// buffer, a send) then finds them in the processor's cache, and the buffer is not grown to a size for which the allocator
/// asks the kernel for fresh pages each time.
const READER_RECEIVE_BYTES: usize = 64 * 1024;

impl Inner {
    fn is_reading_under(&self, key: Key) -> bool {
        self.common.key == Some(key) && self.common.reading.is_wanted()
    }

    fn is_sending_under(&self, key: Key) -> bool {
        self.common.key == Some(key) && self.stream.is_sending()
    }
}

/// Who takes what is received, and how.
struct Receiver {
    protocol: Object,
    delivery: Delivery,
    receives_large: bool,
    /// Whether the socket still has its number.
    open: Result<(), Error>,
}

/// Runs a transport whose descriptor can make progress, in the connection's context. In asyncio's order: read, write, each
/// as a callback of its own, whose exception is reported and ends nothing.
///
/// # Errors
/// What leaves the loop.
pub(super) fn on_ready(
    py: Python<'_>,
    core: &LoopCore,
    object: Option<Object>,
    key: Key,
    ready: Interest,
) -> Result<(), Exit> {
    let Some(Ok(transport)) = object.map(Stream::from_object) else { return Ok(()) };
    let (transport, object) = (&transport, transport.object());
    let (ctx, event_loop, receiver) = with(py, transport, |inner| {
        let protocol = if ready.reads() && inner.is_reading_under(key) { &inner.common.protocol } else { &None };
        let receiver = protocol.clone().map(|protocol| Receiver {
            protocol,
            delivery: inner.delivery,
            receives_large: inner.receives_large,
            open: inner.ensure_number("recv"),
        });
        (inner.io_context.clone(), inner.common.event_loop.clone(), receiver)
    });
    // A transport that has ended has no loop any more.
    let (Some(ctx), Some(event_loop)) = (ctx, event_loop) else { return Ok(()) };
    let report = |callback: Callback, exception: &Bound<'_, PyAny>| {
        let is_watched = with(py, transport, |inner| match callback {
            Callback::Read => inner.is_reading_under(key),
            Callback::Write => inner.is_sending_under(key),
        });
        report_failed_callback(py, event_loop.object(), object, callback, !is_watched, exception)
    };
    let started = core.is_debug().then(clock::now);
    let outcome = context::run_in(py, &ctx, || {
        if let Some(receiver) = receiver {
            let read = receiver.receive(py, core, transport, key);
            let read = settle(py, read, |exception| report(Callback::Read, exception));
            if read.is_err() && ready.writes() {
                // asyncio's handle of this direction would be left over in the queue.
                core.push_ready(py, Entry::ready(key, Interest::WRITE));
            }
            read?;
        }
        if ready.writes() && with(py, transport, |inner| inner.is_sending_under(key)) {
            let written = write::ready(py, core, transport, key);
            settle(py, written, |exception| report(Callback::Write, exception))?;
        }
        Ok(())
    });
    let slow = report_if_slow(py, object, started);
    settle(py, outcome.and(slow), |exception| report(Callback::Read, exception))
}

/// What a receive has brought.
enum Incoming {
    Nothing,
    End,
    Bytes(Object, usize),
    /// Bytes that are in the reader's buffer.
    InReader(StockReader, usize),
    /// Bytes for which there was no memory.
    Lost(PyErr, usize),
}

impl Receiver {
    /// Receives once, and hands what has come to the protocol.
    fn receive(self, py: Python<'_>, core: &LoopCore, transport: &Stream, key: Key) -> PyResult<()> {
        if self.delivery == Delivery::Buffer {
            return self.receive_into_buffer(py, core, transport, key);
        }
        if let Err(error) = self.open {
            return fatal(py, transport.object(), os_error(py, error), READ_FAILED);
        }
        let reader = match self.delivery {
            Delivery::Tls => {
                return match tls::Connection::of(py, &self.protocol) {
                    Some(connection) => self.receive_records(py, core, transport, key, &connection),
                    None => self.receive_into_buffer(py, core, transport, key),
                };
            }
            Delivery::StockReader => StockReader::of(py, core, &self.protocol),
            Delivery::Bytes | Delivery::Buffer => None,
        };
        let received = match reader {
            Some(reader) if self.receives_large => receive_large_into_reader(py, core, key, reader),
            Some(reader) => receive_into_reader(py, core, key, reader),
            None if self.receives_large => receive_large(py, core, key),
            None => receive_small(py, core, key),
        };
        match received {
            Err(error) => fatal(py, transport.object(), error, READ_FAILED),
            Ok(Incoming::Nothing) => Ok(()),
            Ok(Incoming::End) => self.end_of_stream(py, core, transport),
            Ok(Incoming::Bytes(data, count)) => {
                core.counters.received.add(count);
                self.learn_size(py, transport, count);
                let call = [&self.protocol, &data];
                call_protocol(py, transport, &names(py).data_received, call, "data_received").map(drop)
            }
            Ok(Incoming::InReader(reader, count)) => {
                core.counters.received.add(count);
                self.learn_size(py, transport, count);
                reader.deliver(py).or_else(|error| data_received_failed(py, transport, error))
            }
            Ok(Incoming::Lost(error, count)) => {
                core.counters.received.add(count);
                data_received_failed(py, transport, error)
            }
        }
    }

    /// Notes for the next receive whether this one was large.
    #[inline]
    fn learn_size(&self, py: Python<'_>, transport: &Stream, count: usize) {
        let is_large = count >= LARGE_RECEIVE_BYTES;
        if is_large != self.receives_large {
            with(py, transport, |inner| inner.receives_large = is_large);
        }
    }

    /// Receives into the buffer that `get_buffer` lends.
    fn receive_into_buffer(mut self, py: Python<'_>, core: &LoopCore, transport: &Stream, key: Key) -> PyResult<()> {
        let object = transport.object();
        let hint = PyInt::new(py, -1);
        let call = [&self.protocol, Object::of(&hint)];
        let buffer = call_protocol(py, transport, &names(py).get_buffer, call, "get_buffer")?;
        let Some(buffer) = buffer else { return Ok(()) };
        let length = match buffer.bind(py).len() {
            Ok(0) => Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer")),
            outcome => outcome,
        };
        if let Err(error) = length {
            return fatal(py, object, error, &failed_call("get_buffer"));
        }
        // The protocol may just have closed the socket, or ended the transport: asyncio fills the buffer even so. And it may
        // have put another in its place, which is told of what comes.
        let (open, ended, protocol) = with(py, transport, |inner| {
            let has_ended = inner.common.key.is_none() && inner.common.life.is_lost();
            let protocol = inner.common.protocol.clone();
            (inner.ensure_number("recv_into"), has_ended.then_some(inner.common.number), protocol)
        });
        let before = protocol.map(|protocol| core::mem::replace(&mut self.protocol, protocol));
        let received = with_writable(py, &buffer, |room| {
            open?;
            match ended {
                None => core.with_reactor(py, |reactor| reactor.backend.receive(key, room)),
                Some(number) => receive_after_end(py, core, transport, number, room),
            }
        });
        let received = received.map_err(|_| not_writable(py, &buffer));
        drop((buffer, before));
        match received {
            Err(error) => fatal(py, object, error, READ_FAILED),
            Ok(Err(error)) => fatal(py, object, os_error(py, error), READ_FAILED),
            Ok(Ok(Received::Nothing)) => Ok(()),
            Ok(Ok(Received::End)) => self.end_of_stream(py, core, transport),
            Ok(Ok(Received::Bytes(count))) => {
                core.counters.received.add(count);
                let count = PyInt::new(py, count);
                let call = [&self.protocol, Object::of(&count)];
                call_protocol(py, transport, &names(py).buffer_updated, call, "buffer_updated").map(drop)
            }
        }
    }

    /// Receives records of TLS, and hands what is in them to the application.
    fn receive_records(
        self,
        py: Python<'_>,
        core: &LoopCore,
        transport: &Stream,
        key: Key,
        connection: &tls::Connection,
    ) -> PyResult<()> {
        let mut scratch = core.take_scratch(py);
        let received = core.with_reactor(py, |reactor| reactor.backend.receive(key, &mut scratch));
        let is_kept = match &received {
            Ok(Received::Bytes(count)) => connection.put(py, scratch.filled(*count)),
            _ => true,
        };
        core.return_scratch(py, scratch);
        let outcome = match received {
            Err(error) => return fatal(py, transport.object(), os_error(py, error), READ_FAILED),
            Ok(Received::Nothing) => return Ok(()),
            Ok(Received::End) => return self.end_of_stream(py, core, transport),
            Ok(Received::Bytes(count)) => {
                core.counters.received.add(count);
                if is_kept { tls::deliver(py, core, connection) } else { Err(PyMemoryError::new_err(())) }
            }
        };
        outcome.or_else(|error| fatal(py, transport.object(), error, &failed_call("buffer_updated")))
    }

    /// The peer has ended its side: the protocol says whether ours stays open.
    fn end_of_stream(self, py: Python<'_>, core: &LoopCore, transport: &Stream) -> PyResult<()> {
        let object = transport.object();
        if core.is_debug() {
            object.bind(py).call_method1(&names(py)._log_debug, ("%r received EOF",))?;
        }
        let call = [&self.protocol];
        let keeps_open = call_protocol(py, transport, &names(py).eof_received, call, "eof_received")?;
        let Some(keeps_open) = keeps_open else { return Ok(()) };
        // An answer that is neither true nor false fails the callback and not the transport, which goes on reading.
        if keeps_open.bind(py).is_truthy()? {
            // The protocol may still write; nothing more can be received.
            let change = with_common(py, transport, |common| common.reading.end_of_file());
            apply_change(py, transport, change)
        } else {
            // By name, as in asyncio: a program may have its own.
            call_method(py, &names(py).close, [object]).map(drop)
        }
    }
}

/// Receives for a transport that is detached and has not given up its descriptor yet.
///
/// # Errors
/// The connection's; `EBADF` if a later transport has the number.
#[cold]
fn receive_after_end(
    py: Python<'_>,
    core: &LoopCore,
    transport: &Stream,
    number: RawFd,
    room: &mut [MaybeUninit<u8>],
) -> Result<Received, Error> {
    let is_own = core.part::<StreamPart>().transports.with(py, |transports| transports.is_of(number, transport));
    let descriptor = if is_own { borrow(number) } else { None };
    let Some(descriptor) = descriptor else { return Err(Error::new("recv_into", Errno::BADF)) };
    Ok(match socket::receive(descriptor, room)? {
        None => Received::Nothing,
        Some(0) => Received::End,
        Some(count) => Received::Bytes(count),
    })
}

/// Receives through the loop's buffer and copies into a `bytes` of the exact size.
///
/// # Errors
/// The connection's, or `MemoryError`: what has come is lost then, and the connection with it.
fn receive_small(py: Python<'_>, core: &LoopCore, key: Key) -> PyResult<Incoming> {
    let mut scratch = core.take_scratch(py);
    let received = core.with_reactor(py, |reactor| reactor.backend.receive(key, &mut scratch));
    let incoming = match received {
        Err(error) => Err(os_error(py, error)),
        Ok(Received::Nothing) => Ok(Incoming::Nothing),
        Ok(Received::End) => Ok(Incoming::End),
        Ok(Received::Bytes(count)) => {
            core.received_bytes(py, scratch.filled(count)).map(|data| Incoming::Bytes(data, count))
        }
    };
    core.return_scratch(py, scratch);
    incoming
}

/// Receives what the kernel has, straight into the reader's buffer if that is much and nobody has a view of it.
///
/// # Errors
/// The connection's.
fn receive_large_into_reader(py: Python<'_>, core: &LoopCore, key: Key, reader: StockReader) -> PyResult<Incoming> {
    let waiting = core.with_reactor(py, |reactor| reactor.backend.waiting_bytes(key));
    if waiting < LARGE_RECEIVE_BYTES {
        return receive_into_reader(py, core, key, reader);
    }
    // One byte more than is there, as for a `bytes`.
    let room = waiting.saturating_add(1).min(READER_RECEIVE_BYTES);
    let mut received = Ok(Received::Nothing);
    let extended = reader.extend_with(py, room, |room| {
        received = core.with_reactor(py, |reactor| reactor.backend.receive(key, room));
        if let Ok(Received::Bytes(count)) = received { count } else { 0 }
    });
    if extended.is_err() {
        return receive_into_reader(py, core, key, reader);
    }
    match received {
        Err(error) => Err(os_error(py, error)),
        Ok(Received::Nothing) => Ok(Incoming::Nothing),
        Ok(Received::End) => Ok(Incoming::End),
        Ok(Received::Bytes(count)) => Ok(Incoming::InReader(reader, count)),
    }
}

/// Receives through the loop's buffer into the reader's.
///
/// # Errors
/// The connection's.
fn receive_into_reader(py: Python<'_>, core: &LoopCore, key: Key, reader: StockReader) -> PyResult<Incoming> {
    let mut scratch = core.take_scratch(py);
    let room = &mut scratch[..READER_RECEIVE_BYTES];
    let received = core.with_reactor(py, |reactor| reactor.backend.receive(key, room));
    let incoming = match received {
        Err(error) => Err(os_error(py, error)),
        Ok(Received::Nothing) => Ok(Incoming::Nothing),
        Ok(Received::End) => Ok(Incoming::End),
        Ok(Received::Bytes(count)) => match reader.extend(py, scratch.filled(count)) {
            Ok(()) => Ok(Incoming::InReader(reader, count)),
            // Somebody has a view of the buffer, which the protocol is to meet itself.
            Err(error) if error.is_instance_of::<PyBufferError>(py) => {
                core.received_bytes(py, scratch.filled(count)).map(|data| Incoming::Bytes(data, count))
            }
            Err(error) => Ok(Incoming::Lost(error, count)),
        },
    };
    core.return_scratch(py, scratch);
    incoming
}

/// Receives what the kernel has, straight into a `bytes` of that size; a small amount as [`receive_small`] does.
///
/// # Errors
/// The connection's, or `MemoryError`, before anything is taken.
fn receive_large(py: Python<'_>, core: &LoopCore, key: Key) -> PyResult<Incoming> {
    let waiting = core.with_reactor(py, |reactor| reactor.backend.waiting_bytes(key));
    if waiting < LARGE_RECEIVE_BYTES {
        return receive_small(py, core, key);
    }
    // There is room for one byte more than is there, so that the backend sees that nothing is left.
    let room = waiting.saturating_add(1).min(RECEIVE_BYTES);
    let mut received = Ok(Received::Nothing);
    let data = Blank::new(py, room)?.fill(py, |room| {
        received = core.with_reactor(py, |reactor| reactor.backend.receive(key, room));
        if let Ok(Received::Bytes(count)) = received { count } else { 0 }
    })?;
    match (received, data) {
        (Err(error), _) => Err(os_error(py, error)),
        (Ok(Received::Bytes(count)), Some(data)) => Ok(Incoming::Bytes(data, count)),
        (Ok(Received::End), _) => Ok(Incoming::End),
        (Ok(Received::Nothing | Received::Bytes(_)), _) => Ok(Incoming::Nothing),
    }
}

/// What `socket.recv_into` says of an object that lends no writable buffer.
#[cold]
fn not_writable(py: Python<'_>, buffer: &Object) -> PyErr {
    match buffer.bind(py).get_type().name() {
        Ok(name) => {
            PyTypeError::new_err(format!("recv_into() argument 1 must be read-write bytes-like object, not {name}"))
        }
        Err(error) => error,
    }
}

fn failed_call(method: &str) -> String {
    format!("Fatal error: protocol.{method}() call failed.")
}

/// What a failed `data_received` leads to.
#[cold]
fn data_received_failed(py: Python<'_>, transport: &Stream, error: PyErr) -> PyResult<()> {
    fatal(py, transport.object(), error, &failed_call("data_received"))
}

/// Calls a method of the protocol, `call[0]`; `None` when it failed and the transport has ended for it.
#[inline]
fn call_protocol<const N: usize>(
    py: Python<'_>,
    transport: &Stream,
    name: &Py<PyString>,
    call: [&Object; N],
    method: &str,
) -> PyResult<Option<Object>> {
    match call_method(py, name, call) {
        Ok(result) => Ok(Some(result)),
        Err(error) => fatal(py, transport.object(), error, &failed_call(method)).map(|()| None),
    }
}

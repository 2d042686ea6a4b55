//! From received records to the application's protocol: `_do_read()`.

use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyMemoryView, PySlice};

use super::Connection;
use crate::core::LoopCore;
use crate::ffi::bytes::Blank;
use crate::ffi::call::{call, call_method};
use crate::ffi::errors::is_caught_by;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::openssl::Outcome;
use crate::net::stream::stock_reader::{self, StockReader};

/// What `SSLObject.read` is asked for where Python reads: the most that one record holds.
const RECORD_BYTES: usize = 16 * 1024;

/// More than so much is read into the final object; less into the loop's buffer, from which it is copied.
const LARGE_BYTES: usize = 16 * 1024;

/// Bytes that are read at a time for asyncio's stream reader, see [`super::super::read`].
const READER_BYTES: usize = 64 * 1024;

/// Reads what has come, and hands it to the application; then what is to be sent to the transport.
///
/// # Errors
/// What is no `Exception`. Any other error has ended the connection.
pub(in crate::net::stream) fn deliver(py: Python<'_>, core: &LoopCore, connection: &Connection) -> PyResult<()> {
    connection.report(py, connection.do_read(py, core))
}

/// What stopped a series of reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nothing is left to read.
    Drained,
    /// The room is full.
    Full,
    /// `SSLObject.read` has to say what follows.
    Other,
}

impl Connection {
    fn do_read(&self, py: Python<'_>, core: &LoopCore) -> PyResult<()> {
        let names = names(py);
        if !self.is_true(py, &names._app_reading_paused)? {
            if self.is_true(py, &names._app_protocol_is_buffer)? {
                self.read_buffered(py)?;
            } else {
                self.read_copied(py, core)?;
            }
            if self.is_true(py, &names._write_backlog)? {
                self.call(py, &names._do_write)?;
            } else {
                self.process_outgoing(py)?;
            }
        }
        self.control_ssl_reading(py)
    }

    /// `_do_read__copied()`.
    fn read_copied(&self, py: Python<'_>, core: &LoopCore) -> PyResult<()> {
        let application = self.attribute(py, &names(py)._app_protocol)?;
        let reader = if stock_reader::may_lead_to_reader(py, &application) {
            StockReader::of(py, core, &application)
        } else {
            None
        };
        let (mut chunks, mut stop) = (Chunks::default(), Stop::Full);
        let mut filled = None;
        if let Some(reader) = reader {
            let is_filled;
            (is_filled, stop) = self.read_into_reader(py, core, &reader, &mut chunks)?;
            filled = is_filled.then_some(reader);
        }
        while stop == Stop::Full {
            stop = self.read_chunk(py, core, &mut chunks)?;
        }
        let is_end = stop == Stop::Other && self.read_in_python(py, &mut chunks)?;
        if let Some(data) = chunks.joined(py)? {
            call_method(py, &names(py).data_received, [&application, &data])?;
        } else if let Some(reader) = filled {
            reader.deliver(py)?;
        }
        if is_end { self.end(py) } else { Ok(()) }
    }

    /// Fills `room` record by record; the number of bytes comes back.
    #[inline]
    fn fill(&self, py: Python<'_>, room: &mut [core::mem::MaybeUninit<u8>]) -> (usize, Stop) {
        let session = &self.records.session;
        let mut filled = 0;
        while filled < room.len() {
            match session.read(py, &mut room[filled..]) {
                Outcome::Bytes(count) => filled += count,
                Outcome::WantsMore => return (filled, Stop::Drained),
                Outcome::Other => return (filled, Stop::Other),
            }
            if !session.has_more(py) {
                return (filled, Stop::Drained);
            }
        }
        (filled, Stop::Full)
    }

    /// Reads what there is as one `bytes`, if the estimate of its size holds.
    fn read_chunk(&self, py: Python<'_>, core: &LoopCore, chunks: &mut Chunks) -> PyResult<Stop> {
        let room = self.records.session.readable_at_most(py).max(1);
        if room > LARGE_BYTES {
            let mut stop = Stop::Drained;
            let data = Blank::new(py, room)?.fill(py, |room| {
                let (filled, stopped) = self.fill(py, room);
                stop = stopped;
                filled
            })?;
            chunks.extend(data);
            return Ok(stop);
        }
        let mut scratch = core.take_scratch(py);
        let (filled, stop) = self.fill(py, &mut scratch);
        let data = if filled == 0 { Ok(None) } else { core.received_bytes(py, scratch.filled(filled)).map(Some) };
        core.return_scratch(py, scratch);
        chunks.extend(data?);
        Ok(stop)
    }

    /// Reads what there is into the buffer of asyncio's reader, or, as far as that refuses it, as `bytes`. Whether anything
    /// is in the buffer comes back.
    fn read_into_reader(
        &self,
        py: Python<'_>,
        core: &LoopCore,
        reader: &StockReader,
        chunks: &mut Chunks,
    ) -> PyResult<(bool, Stop)> {
        let mut scratch = core.take_scratch(py);
        let mut is_filled = false;
        let outcome = loop {
            let (filled, stop) = self.fill(py, &mut scratch[..READER_BYTES]);
            let kept = if filled == 0 { Ok(()) } else { reader.extend(py, scratch.filled(filled)) };
            is_filled = is_filled || (filled != 0 && kept.is_ok());
            match kept {
                Ok(()) if stop == Stop::Full => {}
                Ok(()) => break Ok((is_filled, stop)),
                // Somebody has a view of the buffer, which the protocol is to meet itself.
                Err(error) if error.is_instance_of::<PyBufferError>(py) => {
                    break core.received_bytes(py, scratch.filled(filled)).map(|data| {
                        chunks.extend(Some(data));
                        (is_filled, stop)
                    });
                }
                Err(error) => break Err(error),
            }
        };
        core.return_scratch(py, scratch);
        outcome
    }

    /// Goes on reading through `SSLObject.read`; whether the peer has ended its side.
    ///
    /// # Errors
    /// Those of the TLS object: what was read before is lost, as in asyncio.
    #[cold]
    fn read_in_python(&self, py: Python<'_>, chunks: &mut Chunks) -> PyResult<bool> {
        let ssl_object = self.records.session.ssl_object();
        let size = Object::new(PyInt::new(py, RECORD_BYTES).into_any());
        loop {
            match call_method(py, &names(py).read, [ssl_object, &size]) {
                Ok(data) if !data.bind(py).is_truthy()? => return Ok(true),
                Ok(data) => chunks.extend(Some(data)),
                Err(error) => return wants_more(py, error).map(|()| false),
            }
        }
    }

    /// `_do_read__buffered()`.
    fn read_buffered(&self, py: Python<'_>) -> PyResult<()> {
        let names = names(py);
        let session = &self.records.session;
        let hint = Object::new(PyInt::new(py, session.incoming_bytes(py)).into_any());
        let get_buffer = self.attribute(py, &names._app_protocol_get_buffer)?;
        let buffer = call(py, &get_buffer, [&hint])?;
        let wants = buffer.bind(py).len()?;
        let (mut offset, mut is_end) = (0, false);
        loop {
            // What is wrong with the buffer is `SSLObject.read`'s to say.
            match session.read_into(py, &buffer, offset, wants).unwrap_or(Outcome::Other) {
                Outcome::Bytes(count) => offset += count,
                Outcome::WantsMore => break,
                Outcome::Other => match self.read_into_in_python(py, &buffer, offset, wants)? {
                    Some(0) => is_end = true,
                    Some(count) => offset += count,
                    None => break,
                },
            }
            if is_end {
                break;
            }
            if offset >= wants {
                let event_loop = self.attribute(py, &names._loop)?;
                let do_read = self.attribute(py, &names._do_read)?;
                call_method(py, &names.call_soon, [&event_loop, &do_read])?;
                break;
            }
            if !session.has_more(py) {
                break;
            }
        }
        if offset > 0 {
            let updated = self.attribute(py, &names._app_protocol_buffer_updated)?;
            call(py, &updated, [&Object::new(PyInt::new(py, offset).into_any())])?;
        }
        if is_end { self.end(py) } else { Ok(()) }
    }

    /// `SSLObject.read(wants - offset, buffer[offset:])`; `None` when the peer has to send more first.
    #[cold]
    fn read_into_in_python(
        &self,
        py: Python<'_>,
        buffer: &Object,
        offset: usize,
        wants: usize,
    ) -> PyResult<Option<usize>> {
        let ssl_object = self.records.session.ssl_object();
        let size = Object::new(PyInt::new(py, wants - offset).into_any());
        let rest = if offset == 0 {
            buffer.clone()
        } else {
            let slice = PySlice::new(py, offset.try_into()?, wants.try_into()?, 1);
            let buffer = buffer.bind(py);
            // A slice of a bytearray is a copy, in which asyncio loses what is read.
            let rest = if buffer.is_instance_of::<PyByteArray>() {
                PyMemoryView::from(buffer)?.get_item(slice)?
            } else {
                buffer.get_item(slice)?
            };
            Object::new(rest)
        };
        match call_method(py, &names(py).read, [ssl_object, &size, &rest]) {
            Ok(count) => count.bind(py).extract().map(Some),
            Err(error) => wants_more(py, error).map(|()| None),
        }
    }

    /// The peer has ended its side (`close_notify`).
    #[cold]
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, &names(py)._call_eof_received)?;
        self.call(py, &names(py)._start_shutdown).map(drop)
    }
}

/// # Errors
/// The error, unless it is one of asyncio's `SSLAgainErrors`.
fn wants_more(py: Python<'_>, error: PyErr) -> PyResult<()> {
    let again = OBJECTS.tls_again_errors.get(py)?;
    if is_caught_by(Object::of(error.value(py).as_any()), again) { Ok(()) } else { Err(error) }
}

/// What was read, most often one piece.
#[derive(Default)]
struct Chunks {
    first: Option<Object>,
    others: Vec<Object>,
}

impl Chunks {
    const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn extend(&mut self, data: Option<Object>) {
        match (data, self.is_empty()) {
            (Some(data), false) => self.others.push(data),
            (Some(data), true) => self.first = Some(data),
            (None, _) => {}
        }
    }

    /// All of it as one object; `None` for nothing.
    fn joined(self, py: Python<'_>) -> PyResult<Option<Object>> {
        let Some(first) = self.first else { return Ok(None) };
        if self.others.is_empty() {
            return Ok(Some(first));
        }
        let pieces: Vec<_> = core::iter::once(&first).chain(&self.others).map(|piece| piece.bind(py)).collect();
        let joined = PyBytes::new(py, b"").call_method1(&names(py).join, (pieces,))?;
        Ok(Some(Object::new(joined)))
    }
}

//! `StreamReader`: the unread bytes, who waits for more, and when the transport pauses.
//!
//! The native code is for readers of exactly Ferrio's class whose limit is a plain integer, whose methods no program has
//! replaced and whose buffer nobody looks at ([`StreamReaderCore::is_native`]). For all others asyncio's own code runs, over
//! the same attributes.

#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::buffer::Buffer;
use crate::coroutine::{CoroutineState, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::attributes;
use crate::ffi::bytes::Bytes;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::Instance;
use crate::ffi::core_class::core_class;
use crate::ffi::fields::native_state;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::sync::waiting;
use crate::task::future;

native_state! {
    /// The state of a reader, under asyncio's names.
    #[pyclass(frozen, subclass, module = "ferrio._ferrio")]
    #[derive(Default)]
    pub(crate) struct StreamReaderCore {
        event_loop: Slot,
        /// As given; `limit_bytes` is its value when it is a plain integer.
        limit: Slot,
        limit_bytes: Plain<Option<usize>>,
        pub(super) buffer: Buffer,
        is_eof: Plain<bool>,
        waiter: Slot,
        pub(super) exception: Slot,
        transport: Slot,
        is_paused: Plain<bool>,
        /// A program has replaced one of the methods.
        is_patched: Plain<bool>,
    }
}

core_class! {
    StreamReaderCore {
        any { _loop set_loop event_loop }
        number { _limit set_limit limit = limit_bytes }
        optional {
            _waiter set_waiter waiter
            _exception set_exception exception
            _transport set_transport transport
        }
        flag {
            _eof set_eof is_eof
            _paused set_paused is_paused
        }
    }
}

/// A program has replaced one of the methods in the class.
static CLASS_IS_PATCHED: AtomicBool = AtomicBool::new(false);

/// `_note_stream_reader_class(is_patched)`: the class has been changed, and some method of [`METHODS`] is another's or not.
#[pyfunction]
#[pyo3(signature = (is_patched, /))]
pub(super) fn _note_stream_reader_class(is_patched: bool) {
    CLASS_IS_PATCHED.store(is_patched, Ordering::Relaxed);
}

/// The methods that asyncio's code calls on the reader itself.
pub(super) const METHODS: [&str; 9] = [
    "_maybe_resume_transport",
    "_wait_for_data",
    "_wakeup_waiter",
    "exception",
    "feed_data",
    "read",
    "readexactly",
    "readline",
    "readuntil",
];

#[pymethods]
impl StreamReaderCore {
    #[getter]
    fn _buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.buffer.show(py)?.into_bound(py))
    }

    #[setter(_buffer)]
    fn set_buffer(&self, value: Bound<'_, PyAny>) {
        self.buffer.replace(Object::new(value));
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        attributes::set(slf, name, value)?;
        if METHODS.iter().any(|method| name == method) {
            slf.get().is_patched.set(true);
        }
        Ok(())
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        attributes::delete(slf, name)
    }
}

impl StreamReaderCore {
    /// Whether the native code may run for this reader, if it is of exactly Ferrio's class.
    #[inline]
    pub(super) fn is_native(&self, py: Python<'_>) -> bool {
        self.limit_bytes.get().is_some() && !self.is_patched() && self.buffer.is_hidden(py)
    }

    /// The limit of a native reader.
    #[inline]
    pub(super) fn limit(&self) -> usize {
        self.limit_bytes.get().unwrap_or(usize::MAX)
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.is_eof.get()
    }

    /// Whether a program has replaced one of the methods, in the reader or in its class.
    #[inline]
    pub(super) fn is_patched(&self) -> bool {
        self.is_patched.get() || CLASS_IS_PATCHED.load(Ordering::Relaxed)
    }

    /// The exception that ends all reads.
    ///
    /// # Errors
    /// It.
    #[inline]
    pub(super) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.exception.is_empty() {
            return Ok(());
        }
        self.exception.get().map_or(Ok(()), |exception| Err(PyErr::from_value(exception.into_bound(py))))
    }

    /// Adds what has come, wakes who waits, and pauses a transport that is too far ahead. `false`: asyncio's code is to.
    ///
    /// # Errors
    /// `MemoryError`; those of the waiter and of the transport.
    #[inline]
    pub(super) fn feed(&self, py: Python<'_>, data: &Object) -> PyResult<bool> {
        let Some(bytes) = Bytes::of(data) else { return Ok(false) };
        if self.is_eof.get() || !self.is_native(py) {
            return Ok(false);
        }
        if bytes.len() == 0 {
            return Ok(true);
        }
        self.buffer.push(data)?;
        self.wake(py)?;
        if !self.transport.is_empty() && !self.is_paused.get() && self.buffer.len() > self.limit().saturating_mul(2) {
            self.pause(py)?;
        }
        Ok(true)
    }

    #[inline]
    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        let Some(waiter) = self.waiter.take() else { return Ok(()) };
        if future::is_exact(&waiter) && future::is_pending(&waiter) {
            return future::set_result(py, &waiter, Object::none(py));
        }
        if waiting::is_cancelled(py, &waiter)? {
            return Ok(());
        }
        waiting::set_result(py, &waiter, Object::none(py))
    }

    #[cold]
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let Some(transport) = self.transport.get() else { return Ok(()) };
        match call_method(py, &names(py).pause_reading, [&transport]) {
            Ok(_) => self.is_paused.set(true),
            // It cannot be paused, and is not asked again.
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => drop(self.transport.take()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Goes on with receiving when little enough is left.
    ///
    /// # Errors
    /// Those of the transport.
    #[inline]
    pub(super) fn maybe_resume(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_paused.get() && self.buffer.len() <= self.limit() { self.resume(py) } else { Ok(()) }
    }

    #[cold]
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        self.is_paused.set(false);
        call_method(py, &names(py).resume_reading, [&self.transport.get_or_none(py)]).map(drop)
    }
}

impl Instance<StreamReaderCore> {
    /// Begins to wait for bytes or the end, in the method `name`.
    ///
    /// # Errors
    /// `RuntimeError`: somebody waits already; those of the transport and the loop.
    pub(super) fn wait(&self, py: Python<'_>, coroutine: &CoroutineState, name: &str) -> PyResult<Step> {
        if !self.waiter.is_empty() {
            let text = format!("{name}() called while another coroutine is already waiting for incoming data");
            return Err(PyRuntimeError::new_err(text));
        }
        if self.is_paused.get() {
            self.resume(py)?;
        }
        let waiter = waiting::create_future(py, &self.event_loop.get_or_none(py))?;
        self.waiter.set(waiter.clone());
        coroutine.owner.set(self.object().clone());
        coroutine.wait_for(py, waiter)
    }

    /// The wait has ended.
    #[inline]
    pub(super) fn stop_waiting(&self) {
        if !self.waiter.is_empty() {
            drop(self.waiter.take());
        }
    }
}

pub(super) fn feed_data(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([reader, data]) = arguments.only() else { return Ok(None) };
    let is_fed = Instance::<StreamReaderCore>::expect(py, reader)?.feed(py, data)?;
    Ok(is_fed.then(|| Object::none(py)))
}

pub(super) fn at_eof(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([reader]) = arguments.only() else { return Ok(None) };
    let reader = Instance::<StreamReaderCore>::expect(py, reader)?;
    if !reader.is_native(py) {
        return Ok(None);
    }
    Ok(Some(Object::bool(py, reader.is_eof.get() && reader.buffer.len() == 0)))
}

pub(super) fn maybe_resume_transport(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([reader]) = arguments.only() else { return Ok(None) };
    let reader = Instance::<StreamReaderCore>::expect(py, reader)?;
    if !reader.is_native(py) {
        return Ok(None);
    }
    reader.maybe_resume(py)?;
    Ok(Some(Object::none(py)))
}

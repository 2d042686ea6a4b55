//! `StreamReader`: the unread bytes, who waits for more, and when the transport pauses.
//!
//! The native code is for readers of exactly Ferrio's class whose limit is a plain integer, whose methods no program has
//! replaced and whose buffer nobody looks at ([`StreamReaderCore::is_native`]). For all others asyncio's own code runs, over
//! the same attributes.

#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::buffer::Buffer;
use crate::coroutine::{CoroutineState, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::attributes;
use crate::ffi::bytes::Bytes;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::{AnyObject, Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::number;
use crate::ffi::object::Object;
use crate::sync::waiting;
use crate::task::future;

native_state! {
    /// The state of a reader, under asyncio's names.
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
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(StreamReaderCore);

class_over_object! {
    StreamReaderCore, c"ferrio._ferrio.StreamReaderCore",
    c"The state of a reader, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<StreamReaderCore>>::new()
        .instantiable()
        .attribute(Attribute::of_value(c"_loop", |reader: &StreamReaderCore| &reader.event_loop))
        .attribute(Attribute::of_state(
            c"_limit",
            |py, reader: &Instance<StreamReaderCore>| Ok(reader.limit.get_or_none(py)),
            |_, reader: &Instance<StreamReaderCore>, value| {
                let plain = number::exact_integer(value).and_then(|value| usize::try_from(value).ok());
                reader.limit_bytes.set(plain);
                reader.limit.set(value.clone());
                Ok(())
            },
        ))
        .attribute(Attribute::of_state(
            c"_buffer",
            |py, reader: &Instance<StreamReaderCore>| reader.buffer.show(py),
            |_, reader: &Instance<StreamReaderCore>, value| {
                reader.buffer.replace(value.clone());
                Ok(())
            },
        ))
        .attribute(Attribute::of_flag(c"_eof", |reader: &StreamReaderCore| &reader.is_eof))
        .attribute(Attribute::of_optional(c"_waiter", |reader: &StreamReaderCore| &reader.waiter))
        .attribute(Attribute::of_optional(c"_exception", |reader: &StreamReaderCore| &reader.exception))
        .attribute(Attribute::of_optional(c"_transport", |reader: &StreamReaderCore| &reader.transport))
        .attribute(Attribute::of_flag(c"_paused", |reader: &StreamReaderCore| &reader.is_paused))
        .sets_attributes_by(set_attribute)
        .build_over_object(py)
}

/// A program has replaced one of the methods in the class.
static CLASS_IS_PATCHED: AtomicBool = AtomicBool::new(false);

/// `_note_stream_reader_class(is_patched)`: the class has been changed, and some method of [`METHODS`] is another's or not.
fn note_class(py: Python<'_>, _module: &Object, is_patched: &Object) -> PyResult<()> {
    CLASS_IS_PATCHED.store(is_patched.bind(py).extract()?, Ordering::Relaxed);
    Ok(())
}

/// That function.
pub(super) fn note_class_function() -> Method<AnyObject> {
    Method::one_argument(
        c"_note_stream_reader_class",
        note_class,
        c"_note_stream_reader_class(is_patched, /)\n--\n\nThe class has been changed; whether a method is another's.",
    )
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

/// `__setattr__` and `__delattr__`, which notice methods that a program replaces.
fn set_attribute(
    py: Python<'_>,
    reader: &Instance<StreamReaderCore>,
    name: &Object,
    value: Option<&Object>,
) -> PyResult<()> {
    attributes::set(py, reader.object(), name, value)?;
    let Ok(name) = name.bind(py).cast::<PyString>() else { return Ok(()) };
    if value.is_some() && METHODS.iter().any(|method| name == method) {
        reader.is_patched.set(true);
    }
    Ok(())
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

//! asyncio's own stream reader, filled without calling Python.
//!
//! What a transport receives for an `asyncio.StreamReaderProtocol` ends in the buffer of an `asyncio.StreamReader`, through
//! three Python functions. [`StockReader`] does what they do, on the attributes that they use, where nothing can be seen of
//! the difference. Where something could be, there is none, and the transport calls `data_received` as for any protocol:
//! - the protocol or the reader is of a derived class;
//! - one of the functions has been replaced, in its class or in the instance, or is not the one that is known here;
//! - an instance has attributes beyond those that asyncio gives it, or keeps them in a dictionary;
//! - the reader has died or has heard of the end of the stream;
//! - its buffer is no exact `bytearray`, or its waiter no future of Ferrio's, or one that has a result already;
//! - the loop is in debug mode.
//!
//! # Invariants
//! 1. No Python runs between [`StockReader::of`] and the end of [`StockReader::extend`].
//! 2. After [`StockReader::deliver`] has woken the waiter, which may run Python, everything is looked at anew.

#![forbid(unsafe_code)]

use core::mem::MaybeUninit;

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFunction, PyString, PyType};

use crate::core::LoopCore;
use crate::ffi::bytearray::ByteArray;
use crate::ffi::call::call_method;
use crate::ffi::cell::Plain;
use crate::ffi::class_version::ClassVersion;
use crate::ffi::function::has_code;
use crate::ffi::future::{Future, FutureState};
use crate::ffi::guarded::Guarded;
use crate::ffi::inline_values::Shape;
use crate::ffi::names::names;
use crate::ffi::number::exact_integer;
use crate::ffi::object::Object;
use crate::ffi::objects::{Lazy, OBJECTS};
use crate::ffi::weak_reference::referent;
use crate::task::future;

/// A function of a class, and the names that its code mentions, `_eof` aside, which an assertion alone uses.
type Function = (&'static str, &'static [&'static str]);

const PROTOCOL_FUNCTIONS: &[Function] =
    &[("data_received", &["_stream_reader", "feed_data"]), ("_stream_reader", &["_stream_reader_wr"])];

const READER_FUNCTIONS: &[Function] = &[
    (
        "feed_data",
        &[
            "NotImplementedError",
            "_buffer",
            "_limit",
            "_paused",
            "_transport",
            "_wakeup_waiter",
            "extend",
            "len",
            "pause_reading",
        ],
    ),
    ("_wakeup_waiter", &["_waiter", "cancelled", "set_result"]),
];

/// Every attribute of a protocol, in the order in which they are set.
const PROTOCOL_ATTRIBUTES: [&str; 14] = [
    "_loop",
    "_paused",
    "_drain_waiters",
    "_connection_lost",
    "_stream_reader_wr",
    "_source_traceback",
    "_strong_reader",
    "_reject_connection",
    "_task",
    "_transport",
    "_client_connected_cb",
    "_over_ssl",
    "_closed",
    "_stream_writer",
];
const STREAM_READER_WR: usize = 4;

/// Every attribute of a reader, in the order in which they are set.
const READER_ATTRIBUTES: [&str; 8] =
    ["_limit", "_loop", "_buffer", "_eof", "_waiter", "_exception", "_transport", "_paused"];
const LIMIT: usize = 0;
const BUFFER: usize = 2;
const EOF: usize = 3;
const WAITER: usize = 4;
const TRANSPORT: usize = 6;
const PAUSED: usize = 7;

/// A class of asyncio's, with the functions that native code stands in for.
struct StockClass<const N: usize> {
    class: Object,
    shape: Shape<N>,
    /// The names of its instances' attributes.
    attributes: [&'static str; N],
    functions: &'static [Function],
    /// The functions as they were found, each with its code.
    codes: Guarded<Vec<(Object, Object)>>,
    /// Whether it was as it is known here, when it was looked at last.
    verdict: Plain<Option<(ClassVersion, bool)>>,
}

impl<const N: usize> StockClass<N> {
    fn find(
        py: Python<'_>,
        class: &Lazy,
        attributes: [&'static str; N],
        functions: &'static [Function],
    ) -> PyResult<Option<Self>> {
        let class = class.bind(py)?.cast::<PyType>()?;
        let names = attributes.map(|name| PyString::intern(py, name));
        let shape = Shape::find(class, names.each_ref())?;
        let class = Object::of(class).clone();
        Ok(shape.map(|shape| Self {
            class,
            shape,
            attributes,
            functions,
            codes: Guarded::default(),
            verdict: Plain::new(None),
        }))
    }

    /// Whether the class does what it is known to do.
    #[inline]
    fn is_stock(&self, py: Python<'_>) -> bool {
        let Ok(class) = self.class.bind(py).cast::<PyType>() else { return false };
        match self.verdict.get() {
            Some((version, verdict)) if ClassVersion::of(class) == Some(version) => {
                verdict && (self.has_same_codes(py) || self.look(class))
            }
            _ => self.look(class),
        }
    }

    /// Looks at the class after it has changed.
    #[cold]
    fn look(&self, class: &Bound<'_, PyType>) -> bool {
        let version = ClassVersion::assigned(class);
        let Ok(verdict) = self.is_as_known(class) else { return false };
        self.verdict.set(version.map(|version| (version, verdict)));
        verdict
    }

    fn is_as_known(&self, class: &Bound<'_, PyType>) -> PyResult<bool> {
        let builtins = class.py().import("builtins")?;
        let (object, property) = (builtins.getattr("object")?, builtins.getattr("property")?);
        for method in ["__getattribute__", "__setattr__"] {
            if !class.getattr(method)?.is(&object.getattr(method)?) {
                return Ok(false);
            }
        }
        for name in self.attributes.into_iter().chain(["__getattr__"]) {
            // `None`, where an instance may have none of its own, hides nothing.
            if found_in(class, name)?.is_some_and(|value| !value.is_none()) {
                return Ok(false);
            }
        }
        let mut codes = Vec::new();
        for (name, mentioned) in self.functions {
            let function = match found_in(class, name)? {
                Some(found) if *name == "_stream_reader" && found.get_type().is(&property) => {
                    Some(found.getattr("fget")?)
                }
                other => other,
            };
            match function {
                Some(function) if is_known_function(class, name, mentioned, &function)? => {
                    let code = function.getattr("__code__")?;
                    codes.push((Object::new(function), Object::new(code)));
                }
                _ => return Ok(false),
            }
        }
        let before = self.codes.with(class.py(), |known| core::mem::replace(known, codes));
        drop(before);
        Ok(true)
    }

    /// Whether each function has the code that it had when the class was looked at. Another code is no change of the class.
    #[inline]
    fn has_same_codes(&self, py: Python<'_>) -> bool {
        self.codes.with(py, |codes| codes.iter().all(|(function, code)| has_code(function, code)))
    }
}

/// What the class, or the first one that it is derived from and that has the name, has under it.
fn found_in<'py>(class: &Bound<'py, PyType>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    for base in class.mro() {
        let dictionary = base.getattr("__dict__")?;
        if dictionary.contains(name)? {
            return dictionary.get_item(name).map(Some);
        }
    }
    Ok(None)
}

/// Whether `function` is the one that asyncio has under this name in the class, and mentions nothing but these names.
fn is_known_function(
    class: &Bound<'_, PyType>,
    name: &str,
    mentioned: &[&str],
    function: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    if !function.is_exact_instance_of::<PyFunction>() {
        return Ok(false);
    }
    let code = function.getattr("__code__")?;
    let mut mentions: Vec<String> = code.getattr("co_names")?.extract()?;
    mentions.retain(|mention| mention != "_eof");
    mentions.sort();
    let qualified = format!("{}.{name}", class.qualname()?);
    Ok(code.getattr("co_qualname")?.eq(qualified)? && mentions == mentioned)
}

/// asyncio's two classes.
struct StockClasses {
    protocol: StockClass<{ PROTOCOL_ATTRIBUTES.len() }>,
    reader: StockClass<{ READER_ATTRIBUTES.len() }>,
}

impl StockClasses {
    fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        let (protocol, reader) = (&OBJECTS.asyncio_stream_reader_protocol, &OBJECTS.asyncio_stream_reader);
        let protocol = StockClass::find(py, protocol, PROTOCOL_ATTRIBUTES, PROTOCOL_FUNCTIONS)?;
        let reader = StockClass::find(py, reader, READER_ATTRIBUTES, READER_FUNCTIONS)?;
        Ok(protocol.zip(reader).map(|(protocol, reader)| Self { protocol, reader }))
    }
}

/// They are looked for when a transport has the first protocol of that class; `None` where instances are laid out otherwise.
static CLASSES: PyOnceLock<Option<StockClasses>> = PyOnceLock::new();

/// Whether `protocol` is one of asyncio's `StreamReaderProtocol` and nothing derived, so that [`StockReader::of`] is worth
/// asking.
pub(super) fn may_lead_to_reader(py: Python<'_>, protocol: &Object) -> bool {
    let Ok(class) = OBJECTS.asyncio_stream_reader_protocol.get(py) else { return false };
    protocol.has_class(class.as_ptr().cast())
        && CLASSES.get_or_init(py, || StockClasses::find(py).unwrap_or_default()).is_some()
}

/// A reader that can be filled now.
pub(super) struct StockReader {
    classes: &'static StockClasses,
    reader: Object,
    buffer: Object,
    waiter: Option<Future>,
}

impl StockReader {
    /// The reader that `protocol` leads to; `None` when its protocol is to be called.
    #[inline]
    pub(super) fn of(py: Python<'_>, core: &LoopCore, protocol: &Object) -> Option<Self> {
        let classes = CLASSES.get(py)?.as_ref()?;
        if core.is_debug() || !classes.protocol.is_stock(py) || !classes.reader.is_stock(py) {
            return None;
        }
        let attributes = classes.protocol.shape.attributes(protocol)?;
        let reader = referent(&attributes.get(STREAM_READER_WR)?).filter(|_| attributes.has_no_others())?;
        let attributes = classes.reader.shape.attributes(&reader)?;
        if !attributes.has_no_others() || !attributes.get(EOF)?.is_false() {
            return None;
        }
        let buffer = attributes.get(BUFFER)?;
        ByteArray::of(&buffer)?;
        let waiter = match attributes.get(WAITER)?.unless_none() {
            Some(waiter) => {
                Some(Future::exact(&waiter).filter(|waiter| waiter.state() != FutureState::Finished)?.clone())
            }
            None => None,
        };
        Some(Self { classes, reader, buffer, waiter })
    }

    /// Appends what was received to the buffer.
    ///
    /// # Errors
    /// `BufferError`, `MemoryError`: the buffer is unchanged, and the protocol may be called.
    #[inline]
    pub(super) fn extend(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        ByteArray::of(&self.buffer).map_or(Ok(()), |buffer| buffer.extend(py, data))
    }

    /// Appends what `receive` puts into `room` bytes of the buffer: it returns how many.
    ///
    /// # Errors
    /// `BufferError`, `MemoryError`: the buffer is unchanged, and nothing was received.
    pub(super) fn extend_with(
        &self,
        py: Python<'_>,
        room: usize,
        receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
    ) -> PyResult<()> {
        ByteArray::of(&self.buffer).map_or(Ok(()), |buffer| buffer.extend_with(py, room, receive))
    }

    /// Wakes who waits for what was received, and pauses the reader's transport if the buffer holds more than twice its limit.
    ///
    /// # Errors
    /// What `data_received` would raise.
    #[inline]
    pub(super) fn deliver(self, py: Python<'_>) -> PyResult<()> {
        if let Some(waiter) = &self.waiter {
            let attributes = self.classes.reader.shape.attributes(&self.reader);
            if !attributes.is_some_and(|attributes| attributes.replace(WAITER, Object::none(py))) {
                self.reader.bind(py).setattr(&names(py)._waiter, py.None())?;
            }
            if waiter.is_pending() {
                future::set_result(py, waiter.object(), Object::none(py))?;
            }
        }
        if self.is_full(py)? { self.pause(py) } else { Ok(()) }
    }

    /// Whether the reader's transport is to be paused.
    #[inline]
    fn is_full(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_full_by_fields().map_or_else(|| self.is_full_by_name(py), Ok)
    }

    /// [`Self::is_full`]; `None` if an attribute is of another type than asyncio's code gives it.
    #[inline]
    fn is_full_by_fields(&self) -> Option<bool> {
        let attributes = self.classes.reader.shape.attributes(&self.reader)?;
        if attributes.get(TRANSPORT)?.is_none() || attributes.get(PAUSED)?.is_true() {
            return Some(false);
        }
        let limit = usize::try_from(exact_integer(&attributes.get(LIMIT)?)?).ok()?;
        let size = ByteArray::of(&attributes.get(BUFFER)?)?.len();
        (attributes.get(PAUSED)?.is_false()).then_some(size > limit.saturating_mul(2))
    }

    #[cold]
    fn is_full_by_name(&self, py: Python<'_>) -> PyResult<bool> {
        let reader = self.reader.bind(py);
        if reader.getattr(&names(py)._transport)?.is_none() || reader.getattr(&names(py)._paused)?.is_truthy()? {
            return Ok(false);
        }
        let size = reader.getattr(&names(py)._buffer)?.len()?;
        let limit = 2_u8.into_pyobject(py)?.mul(reader.getattr(&names(py)._limit)?)?;
        size.into_pyobject(py)?.gt(limit)
    }

    #[cold]
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let reader = self.reader.bind(py);
        let transport = Object::new(reader.getattr(&names(py)._transport)?);
        match call_method(py, &names(py).pause_reading, [&transport]) {
            Ok(_) => reader.setattr(&names(py)._paused, true),
            // As asyncio does, so that it is not asked again.
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
                reader.setattr(&names(py)._transport, py.None())
            }
            Err(error) => Err(error),
        }
    }
}

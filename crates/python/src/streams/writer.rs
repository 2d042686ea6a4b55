//! `StreamWriter`: what is called for each message.
//!
//! The transport is always called by name: it may be any.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::protocol::{self, native_protocol, native_reader};
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::operator;

native_state! {
    /// The state of a writer, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct StreamWriterCore {
        transport: Slot,
        protocol: Slot,
        reader: Slot,
        event_loop: Slot,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(StreamWriterCore);

class_over_object! {
    StreamWriterCore, c"ferrio._ferrio.StreamWriterCore",
    c"The state of a writer, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<StreamWriterCore>>::new()
        .instantiable()
        .attribute(Attribute::of_value(c"_transport", |writer: &StreamWriterCore| &writer.transport))
        .attribute(Attribute::of_value(c"_protocol", |writer: &StreamWriterCore| &writer.protocol))
        .attribute(Attribute::of_optional(c"_reader", |writer: &StreamWriterCore| &writer.reader))
        .attribute(Attribute::of_value(c"_loop", |writer: &StreamWriterCore| &writer.event_loop))
        .build_over_object(py)
}

/// `self._transport.name(data)`.
#[inline]
fn pass_to_transport(py: Python<'_>, arguments: Arguments<'_>, name: &Py<PyString>) -> PyResult<Option<Object>> {
    let Some([writer, data]) = arguments.only() else { return Ok(None) };
    let writer = Instance::<StreamWriterCore>::expect(py, writer)?;
    writer.ensure_initialised(py, c"_transport")?;
    let transport = writer.transport.get_or_none(py);
    call_method(py, name, [&transport, data])?;
    Ok(Some(Object::none(py)))
}

/// `write(data)`.
pub(super) fn write(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    pass_to_transport(py, arguments, &names(py).write)
}

/// `writelines(data)`.
pub(super) fn writelines(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    pass_to_transport(py, arguments, &names(py).writelines)
}

/// `is_closing()`.
pub(super) fn is_closing(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([writer]) = arguments.only() else { return Ok(None) };
    let writer = Instance::<StreamWriterCore>::expect(py, writer)?;
    writer.ensure_initialised(py, c"_transport")?;
    let transport = writer.transport.get_or_none(py);
    call_method(py, &names(py).is_closing, [&transport]).map(Some)
}

/// A `drain` that has let the loop turn once, because the transport is closing.
const TURNED: u8 = 1;
/// One that waits in a protocol of Ferrio's.
const WAITING: u8 = 2;
/// One that waits in another protocol's coroutine.
const WAITING_ELSEWHERE: u8 = 3;

static DRAIN_PLAN: Plan = Plan { qualified_name: "StreamWriter.drain", start: start_drain, resume: resume_drain };

pub(super) const DRAIN: CoroutineMethod = CoroutineMethod::of(&DRAIN_PLAN, 0);

fn start_drain(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let writer = coroutine.take_receiver::<StreamWriterCore>(py)?;
    writer.ensure_initialised(py, c"_reader")?;
    if let Some(reader) = writer.reader.get() {
        match native_reader(py, &reader)? {
            Some(reader) => reader.check(py)?,
            None => check_other(py, &reader)?,
        }
    }
    let transport = writer.transport.get_or_none(py);
    let is_closing = call_method(py, &names(py).is_closing, [&transport])?;
    if operator::is_true(py, &is_closing)? {
        coroutine.stage.set(TURNED);
        coroutine.owner.set(writer.into_object());
        return Ok(Step::Yield(Object::none(py)));
    }
    wait(py, &writer, coroutine)
}

/// Raises the exception of a reader that is not Ferrio's.
fn check_other(py: Python<'_>, reader: &Object) -> PyResult<()> {
    let exception = call_method(py, &names(py).exception, [reader])?;
    if exception.is_none() { Ok(()) } else { Err(PyErr::from_value(exception.into_bound(py))) }
}

#[inline]
fn wait(py: Python<'_>, writer: &Instance<StreamWriterCore>, coroutine: &CoroutineState) -> PyResult<Step> {
    let protocol = writer.protocol.get_or_none(py);
    if let Some(protocol) = native_protocol(py, &protocol)? {
        coroutine.stage.set(WAITING);
        return protocol::wait_until_drained(py, protocol, coroutine);
    }
    let helper = call_method(py, &names(py)._drain_helper, [&protocol])?;
    coroutine.stage.set(WAITING_ELSEWHERE);
    coroutine.wait_for(py, helper)
}

fn resume_drain(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    match coroutine.stage.get() {
        TURNED => {
            outcome?;
            let writer = coroutine.take_receiver::<StreamWriterCore>(py)?;
            wait(py, &writer, coroutine)
        }
        WAITING => protocol::stop_waiting(py, coroutine, outcome),
        _ => outcome.map(|_| Step::Return(Object::none(py))),
    }
}

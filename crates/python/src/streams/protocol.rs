//! `StreamReaderProtocol`: hands what comes to its reader, and holds back who writes too much.
//!
//! Native is what happens for each message: `data_received`, and the wait of `StreamWriter.drain`. The rest is asyncio's
//! code over the attributes that are native here.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyConnectionResetError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType, PyWeakrefMethods, PyWeakrefReference};

use super::reader::StreamReaderCore;
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::attributes;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::deque;
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::sync::waiting;

native_state! {
    /// The part of a protocol's state that native code uses, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct StreamReaderProtocolCore {
        event_loop: Slot,
        /// A weak reference to the reader.
        reader: Slot,
        is_paused: Plain<bool>,
        is_connection_lost: Plain<bool>,
        drain_waiters: Slot,
        /// A program has replaced one of the methods.
        is_patched: Plain<bool>,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(StreamReaderProtocolCore);

class_over_object! {
    StreamReaderProtocolCore, c"ferrio._ferrio.StreamReaderProtocolCore",
    c"The part of a protocol's state that native code uses, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<StreamReaderProtocolCore>>::new()
        .instantiable()
        .attribute(Attribute::of_value(c"_loop", |protocol: &StreamReaderProtocolCore| &protocol.event_loop))
        .attribute(Attribute::of_optional(c"_stream_reader_wr", |protocol: &StreamReaderProtocolCore| &protocol.reader))
        .attribute(Attribute::of_flag(c"_paused", |protocol: &StreamReaderProtocolCore| &protocol.is_paused))
        .attribute(Attribute::of_flag(c"_connection_lost", |protocol: &StreamReaderProtocolCore| {
            &protocol.is_connection_lost
        }))
        .attribute(Attribute::of_value(c"_drain_waiters", |protocol: &StreamReaderProtocolCore| {
            &protocol.drain_waiters
        }))
        .sets_attributes_by(set_attribute)
        .build_over_object(py)
}

/// `__setattr__` and `__delattr__`, which notice a method that a program replaces.
fn set_attribute(
    py: Python<'_>,
    protocol: &Instance<StreamReaderProtocolCore>,
    name: &Object,
    value: Option<&Object>,
) -> PyResult<()> {
    attributes::set(py, protocol.object(), name, value)?;
    if value.is_some() && name.bind(py).cast::<PyString>().is_ok_and(|name| name == "_drain_helper") {
        protocol.is_patched.set(true);
    }
    Ok(())
}

/// `data_received(data)`.
pub(super) fn data_received(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([protocol, data]) = arguments.only() else { return Ok(None) };
    let protocol = Instance::<StreamReaderProtocolCore>::expect(py, protocol)?;
    protocol.ensure_initialised(py, c"_stream_reader_wr")?;
    let Some(reference) = protocol.reader.get() else { return Ok(Some(Object::none(py))) };
    // Anything else is asyncio's code's to call.
    let Ok(reference) = reference.bind(py).cast::<PyWeakrefReference>() else { return Ok(None) };
    let Some(reader) = reference.upgrade() else { return Ok(Some(Object::none(py))) };
    let reader = Object::new(reader);
    if let Some(core) = native_reader(py, &reader)?
        && core.feed(py, data)?
    {
        return Ok(Some(Object::none(py)));
    }
    call_method(py, &names(py).feed_data, [&reader, data])?;
    Ok(Some(Object::none(py)))
}

/// `object` as a reader of exactly Ferrio's class whose methods no program has replaced.
#[inline]
pub(super) fn native_reader<'a>(
    py: Python<'_>,
    object: &'a Object,
) -> PyResult<Option<&'a Instance<StreamReaderCore>>> {
    let class = OBJECTS.ferrio_stream_reader.get(py)?;
    if !object.has_class(class.as_ptr().cast()) {
        return Ok(None);
    }
    Ok(Instance::of(object).filter(|reader: &&Instance<StreamReaderCore>| !reader.is_patched()))
}

/// `object` as a protocol of exactly Ferrio's class whose `_drain_helper` no program has replaced.
#[inline]
pub(super) fn native_protocol<'a>(
    py: Python<'_>,
    object: &'a Object,
) -> PyResult<Option<&'a Instance<StreamReaderProtocolCore>>> {
    let class = OBJECTS.ferrio_stream_protocol.get(py)?;
    if !object.has_class(class.as_ptr().cast()) {
        return Ok(None);
    }
    Ok(Instance::of(object).filter(|protocol: &&Instance<StreamReaderProtocolCore>| !protocol.is_patched.get()))
}

static DRAIN_HELPER_PLAN: Plan = Plan {
    qualified_name: "FlowControlMixin._drain_helper",
    start: |py, coroutine| {
        let protocol = coroutine.take_receiver::<StreamReaderProtocolCore>(py)?;
        wait_until_drained(py, &protocol, coroutine)
    },
    resume: stop_waiting,
};

pub(super) const DRAIN_HELPER: CoroutineMethod = CoroutineMethod::of(&DRAIN_HELPER_PLAN, 0);

/// Waits, if the transport wants that; [`stop_waiting`] goes on.
///
/// # Errors
/// `ConnectionResetError`: the connection has been lost.
#[inline]
pub(super) fn wait_until_drained(
    py: Python<'_>,
    protocol: &Instance<StreamReaderProtocolCore>,
    coroutine: &CoroutineState,
) -> PyResult<Step> {
    protocol.ensure_initialised(py, c"_connection_lost")?;
    if protocol.is_connection_lost.get() {
        return Err(PyConnectionResetError::new_err("Connection lost"));
    }
    if !protocol.is_paused.get() {
        return Ok(Step::Return(Object::none(py)));
    }
    let waiter = waiting::create_future(py, &protocol.event_loop.get_or_none(py))?;
    deque::append(py, &protocol.drain_waiters.get_or_none(py), &waiter)?;
    coroutine.owner.set(protocol.object().clone());
    // It is in the queue: whatever happens from here on takes it out again.
    coroutine.wait_for(py, waiter)
}

/// The wait has ended.
pub(super) fn stop_waiting(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let protocol = coroutine.receiver::<StreamReaderProtocolCore>(py)?;
    waiting::leave_waiters(py, &protocol.drain_waiters, coroutine.future.get().as_ref())?;
    outcome.map(|_| Step::Return(Object::none(py)))
}

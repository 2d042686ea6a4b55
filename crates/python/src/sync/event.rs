//! `Event`: a flag, and who waits for it.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::waiting;
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::deque;
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::object::Object;
use crate::ffi::operator;

native_state! {
    /// The state of an event, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct EventCore {
        event_loop: Slot,
        waiters: Slot,
        value: Plain<bool>,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(EventCore);

class_over_object! {
    EventCore, c"ferrio._ferrio.EventCore",
    c"The state of an event, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<EventCore>>::new()
        .instantiable()
        .attribute(Attribute::of_late_value(c"_loop", |event: &EventCore| &event.event_loop))
        .attribute(Attribute::of_optional(c"_waiters", |event: &EventCore| &event.waiters))
        .attribute(Attribute::of_flag(c"_value", |event: &EventCore| &event.value))
        .build_over_object(py)
}

impl EventCore {
    /// Raises the flag and wakes everybody.
    pub(super) fn set(&self, py: Python<'_>) -> PyResult<()> {
        if self.value.get() {
            return Ok(());
        }
        self.value.set(true);
        let Some(waiters) = self.waiters.get() else { return Ok(()) };
        match deque::length(py, &waiters)? {
            0 => Ok(()),
            // The usual case needs no iterator. Waking it runs nothing that comes to this queue.
            1 => wake(py, &deque::first(py, &waiters)?),
            _ => operator::items(py, &waiters)?.try_for_each(|waiter| wake(py, &waiter?)),
        }
    }

    /// Lowers the flag.
    pub(super) fn clear(&self) {
        self.value.set(false);
    }
}

fn wake(py: Python<'_>, waiter: &Object) -> PyResult<()> {
    if waiting::is_done(py, waiter)? { Ok(()) } else { waiting::set_result(py, waiter, Object::bool(py, true)) }
}

static WAIT_PLAN: Plan = Plan { qualified_name: "Event.wait", start, resume };

pub(super) const WAIT: CoroutineMethod = CoroutineMethod::of(&WAIT_PLAN, 0);

fn yes(py: Python<'_>) -> Step {
    Step::Return(Object::bool(py, true))
}

fn start(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let event = coroutine.receiver::<EventCore>(py)?;
    event.ensure_initialised(py, c"_value")?;
    if event.value.get() {
        return Ok(yes(py));
    }
    let future = waiting::join_waiters(py, event.object(), &event.event_loop, &event.waiters)?;
    coroutine.wait_for(py, future)
}

fn resume(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let event = coroutine.receiver::<EventCore>(py)?;
    waiting::leave_waiters(py, &event.waiters, coroutine.future.get().as_ref())?;
    outcome.map(|_| yes(py))
}

pub(super) fn is_set(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([event]) = arguments.only() else { return Ok(None) };
    let event = Instance::<EventCore>::expect(py, event)?;
    event.ensure_initialised(py, c"_value")?;
    Ok(Some(Object::bool(py, event.value.get())))
}

pub(super) fn set(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([event]) = arguments.only() else { return Ok(None) };
    let event = Instance::<EventCore>::expect(py, event)?;
    event.ensure_initialised(py, c"_value")?;
    event.set(py)?;
    Ok(Some(Object::none(py)))
}

pub(super) fn clear(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([event]) = arguments.only() else { return Ok(None) };
    Instance::<EventCore>::expect(py, event)?.clear();
    Ok(Some(Object::none(py)))
}

//! `Event`: a flag, and who waits for it.

use pyo3::prelude::*;
use pyo3::types::PyBool;
use pyo3::{PyTraverseError, PyVisit};

use super::{deque, waiting};
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{Plan, State, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::object::Object;
use crate::ffi::receiver::{self, impl_core};
use crate::ffi::trampoline::none;

/// The state of an event, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct EventCore {
    event_loop: Slot,
    waiters: Slot,
    value: Plain<bool>,
}

#[pymethods]
impl EventCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[getter]
    fn _value(&self) -> bool {
        self.value.get()
    }

    #[setter(_value)]
    fn set_value(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.value.set(value.is_truthy()?);
        Ok(())
    }

    #[getter]
    fn _waiters<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.waiters.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_waiters)]
    fn set_waiters(&self, value: Bound<'_, PyAny>) {
        self.waiters.set_or_empty(value);
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.event_loop.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_loop)]
    fn set_loop(&self, value: Bound<'_, PyAny>) {
        self.event_loop.set(Object::new(value));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.visit(&visit)?;
        self.waiters.visit(&visit)
    }

    fn __clear__(&self) {
        drop((self.event_loop.take(), self.waiters.take()));
    }
}

impl_core!(EventCore);

impl EventCore {
    /// Raises the flag and wakes everybody.
    pub(super) fn set(&self, py: Python<'_>) -> PyResult<()> {
        if self.value.get() {
            return Ok(());
        }
        self.value.set(true);
        let Some(waiters) = self.waiters.get() else { return Ok(()) };
        if deque::length(py, &waiters)? == 0 {
            return Ok(());
        }
        let yes = PyBool::new(py, true);
        if deque::length(py, &waiters)? == 1 {
            // The usual case needs no iterator. Waking it runs nothing that comes to this queue.
            let waiter = deque::first(py, &waiters)?;
            if !waiting::is_done(py, &waiter)? {
                waiting::set_result(py, &waiter, Object::new(yes.to_owned()))?;
            }
            return Ok(());
        }
        for waiter in waiters.bind(py).try_iter()? {
            let waiter = Object::new(waiter?);
            if !waiting::is_done(py, &waiter)? {
                waiting::set_result(py, &waiter, Object::new(yes.to_owned()))?;
            }
        }
        Ok(())
    }

    /// Lowers the flag.
    pub(super) fn clear(&self) {
        self.value.set(false);
    }
}

static WAIT_PLAN: Plan = Plan { qualified_name: "Event.wait", start, resume };

pub(super) const WAIT: CoroutineMethod = CoroutineMethod::of(&WAIT_PLAN, 0);

fn yes(py: Python<'_>) -> Step {
    Step::Return(Object::new(PyBool::new(py, true).to_owned()))
}

fn start(py: Python<'_>, state: &State) -> PyResult<Step> {
    let event = state.receiver::<EventCore>(py)?;
    if event.value.get() {
        return Ok(yes(py));
    }
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let future = waiting::join_waiters(py, &owner, &event.event_loop, &event.waiters)?;
    state.wait_for(py, future)
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let event = state.receiver::<EventCore>(py)?;
    waiting::leave_waiters(py, &event.waiters, state.future.get().as_ref())?;
    outcome.map(|_| yes(py))
}

/// The event of a call without further arguments.
fn receiver(arguments: &Arguments<'_>) -> Option<Object> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return None };
    // SAFETY: an argument of the call under way.
    Some(unsafe { Object::from_borrowed(owner) })
}

pub(super) fn is_set(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some(owner) = receiver(&arguments) else { return Ok(None) };
    let is_set = receiver::core_of::<EventCore>(py, &owner)?.value.get();
    Ok(Some(Object::new(PyBool::new(py, is_set).to_owned())))
}

pub(super) fn set(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some(owner) = receiver(&arguments) else { return Ok(None) };
    receiver::core_of::<EventCore>(py, &owner)?.set(py)?;
    Ok(Some(none(py)))
}

pub(super) fn clear(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some(owner) = receiver(&arguments) else { return Ok(None) };
    receiver::core_of::<EventCore>(py, &owner)?.clear();
    Ok(Some(none(py)))
}

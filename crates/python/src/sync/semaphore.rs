//! `Semaphore`: how many may pass, and who waits, in the order of arrival.
//!
//! `release` gives its place to the first waiter at once: the count stays, and the waiter owns the place before it runs. One
//! that is cancelled in between gives it back.
//!
//! The rules are those of CPython 3.13; the package has the class where asyncio's follows them. A count that is no plain
//! integer (asyncio takes any number) is left to asyncio's own code.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};
use pyo3::{PyTraverseError, PyVisit};

use super::{deque, waiting};
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{Plan, State, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::object::Object;
use crate::ffi::receiver::{self, impl_core};
use crate::ffi::trampoline::none;

/// The state of a semaphore, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct SemaphoreCore {
    event_loop: Slot,
    waiters: Slot,
    value: Plain<i64>,
    /// The count when it is no plain integer.
    odd: Slot,
}

#[pymethods]
impl SemaphoreCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[getter]
    fn _value<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self.odd.get() {
            Some(value) => value.into_bound(py),
            None => PyInt::new(py, self.value.get()).into_any(),
        }
    }

    #[setter(_value)]
    fn set_value(&self, value: Bound<'_, PyAny>) {
        let plain = if value.is_exact_instance_of::<PyInt>() { value.extract::<i64>().ok() } else { None };
        if let Some(plain) = plain {
            self.value.set(plain);
            drop(self.odd.take());
        } else {
            self.odd.set(Object::new(value));
        }
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
        self.odd.visit(&visit)?;
        self.waiters.visit(&visit)
    }

    fn __clear__(&self) {
        drop((self.event_loop.take(), self.odd.take(), self.waiters.take()));
    }
}

impl SemaphoreCore {
    fn add(&self, change: i64) {
        self.value.set(self.value.get().saturating_add(change));
    }

    fn give_back(&self, py: Python<'_>) -> PyResult<()> {
        self.add(1);
        self.wake_next(py).map(drop)
    }

    /// Gives a place to the first waiter that has none; whether there was one.
    fn wake_next(&self, py: Python<'_>) -> PyResult<bool> {
        if self.waiters.is_empty() {
            return Ok(false);
        }
        let Some(waiters) = self.waiters.get() else { return Ok(false) };
        if deque::length(py, &waiters)? == 0 {
            return Ok(false);
        }
        for waiter in waiters.bind(py).try_iter()? {
            let waiter = Object::new(waiter?);
            if !waiting::is_done(py, &waiter)? {
                self.add(-1);
                waiting::set_result(py, &waiter, Object::new(PyBool::new(py, true).to_owned()))?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl_core!(SemaphoreCore);

impl SemaphoreCore {
    /// Whether `acquire` would have to wait.
    fn locked(&self, py: Python<'_>) -> PyResult<bool> {
        let none_left = match self.odd.get() {
            Some(value) => value.bind(py).eq(0)?,
            None => self.value.get() == 0,
        };
        Ok(none_left || !waiting::all_cancelled(py, &self.waiters)?)
    }
}

static ACQUIRE_PLAN: Plan = Plan {
    qualified_name: "Semaphore.acquire",
    start: |py, state| start(py, state, true),
    resume: |py, state, outcome| resume(py, state, outcome, true),
};
static ENTER_PLAN: Plan = Plan {
    qualified_name: "Semaphore.__aenter__",
    start: |py, state| start(py, state, false),
    resume: |py, state, outcome| resume(py, state, outcome, false),
};
static EXIT_PLAN: Plan = Plan {
    qualified_name: "Semaphore.__aexit__",
    start: |py, state| state.receiver::<SemaphoreCore>(py)?.give_back(py).map(|()| Step::Return(none(py))),
    resume: |_, _, outcome| outcome.map(Step::Return),
};

/// A coroutine method of a semaphore that counts plainly.
const fn method(plan: &'static Plan, takes: usize) -> CoroutineMethod {
    CoroutineMethod { fits: counts_plainly, ..CoroutineMethod::of(plan, takes) }
}

fn counts_plainly(py: Python<'_>, object: &Object) -> bool {
    receiver::core_of::<SemaphoreCore>(py, object).is_ok_and(|semaphore| semaphore.odd.is_empty())
}

pub(super) const ACQUIRE: CoroutineMethod = method(&ACQUIRE_PLAN, 0);
pub(super) const ENTER: CoroutineMethod = method(&ENTER_PLAN, 0);
pub(super) const EXIT: CoroutineMethod = method(&EXIT_PLAN, 3);

fn passed(py: Python<'_>, tells: bool) -> Step {
    Step::Return(if tells { Object::new(PyBool::new(py, true).to_owned()) } else { none(py) })
}

fn start(py: Python<'_>, state: &State, tells: bool) -> PyResult<Step> {
    let semaphore = state.receiver::<SemaphoreCore>(py)?;
    if !semaphore.locked(py)? {
        semaphore.add(-1);
        return Ok(passed(py, tells));
    }
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let future = waiting::join_waiters(py, &owner, &semaphore.event_loop, &semaphore.waiters)?;
    state.wait_for(py, future)
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>, tells: bool) -> PyResult<Step> {
    let semaphore = state.receiver::<SemaphoreCore>(py)?;
    let future = state.future.get();
    waiting::leave_waiters(py, &semaphore.waiters, future.as_ref())?;
    if let (Err(error), Some(future)) = (&outcome, &future) {
        let cancelled = waiting::is_cancellation(py, error)?;
        if cancelled && waiting::is_done(py, future)? && !waiting::is_cancelled(py, future.bind(py))? {
            // It had got a place, and is not going to use it.
            semaphore.add(1);
        }
    }
    // Waiters may have come that had to wait for their turn only.
    while semaphore.value.get() > 0 && semaphore.wake_next(py)? {}
    outcome.map(|_| passed(py, tells))
}

pub(super) fn locked(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let is_locked = receiver::core_of::<SemaphoreCore>(py, &owner)?.locked(py)?;
    Ok(Some(Object::new(PyBool::new(py, is_locked).to_owned())))
}

pub(super) fn release(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let semaphore = receiver::core_of::<SemaphoreCore>(py, &owner)?;
    if !semaphore.odd.is_empty() {
        return Ok(None);
    }
    semaphore.give_back(py)?;
    Ok(Some(none(py)))
}

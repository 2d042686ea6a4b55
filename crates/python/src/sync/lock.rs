//! `Lock`: whether it is locked, and who waits, in the order of arrival.
//!
//! `release` wakes the first waiter and leaves the lock open until that one runs: a waiter that finds it taken cannot be,
//! because `acquire` lets nobody pass while somebody waits.

use pyo3::exceptions::PyRuntimeError;
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

/// The state of a lock, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct LockCore {
    event_loop: Slot,
    waiters: Slot,
    locked: Plain<bool>,
}

#[pymethods]
impl LockCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[getter]
    fn _locked(&self) -> bool {
        self.locked.get()
    }

    #[setter(_locked)]
    fn set_locked(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.locked.set(value.is_truthy()?);
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

impl_core!(LockCore);

impl LockCore {
    #[inline]
    pub(super) fn unlock(&self, py: Python<'_>) -> PyResult<()> {
        if !self.locked.get() {
            return Err(PyRuntimeError::new_err("Lock is not acquired."));
        }
        self.locked.set(false);
        if self.waiters.is_empty() { Ok(()) } else { self.wake_first(py) }
    }

    fn wake_first(&self, py: Python<'_>) -> PyResult<()> {
        let Some(waiters) = self.waiters.get() else { return Ok(()) };
        if deque::length(py, &waiters)? == 0 {
            return Ok(());
        }
        let first = deque::first(py, &waiters)?;
        if waiting::is_done(py, &first)? {
            // It is about to run.
            return Ok(());
        }
        waiting::set_result(py, &first, Object::new(PyBool::new(py, true).to_owned()))
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked.get()
    }

    /// A future at the end of the waiters, for whose wait [`Self::end_wait`] is the end; `object` is the lock.
    pub(super) fn join(&self, py: Python<'_>, object: &Object) -> PyResult<Object> {
        waiting::join_waiters(py, object, &self.event_loop, &self.waiters)
    }

    /// Leaves the waiters and takes the lock, unless the wait ended badly.
    pub(super) fn end_wait(&self, py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<()> {
        waiting::leave_waiters(py, &self.waiters, state.future.get().as_ref())?;
        if let Err(error) = outcome {
            if waiting::is_cancellation(py, &error)? && !self.locked.get() {
                // Whoever is the first now is not woken by anybody else.
                self.wake_first(py)?;
            }
            return Err(error);
        }
        self.locked.set(true);
        Ok(())
    }

    /// Takes the lock if nobody has it or waits for it; whether it has.
    #[inline]
    pub(super) fn try_lock(&self, py: Python<'_>) -> PyResult<bool> {
        let free = !self.locked.get() && (self.waiters.is_empty() || waiting::all_cancelled(py, &self.waiters)?);
        if free {
            self.locked.set(true);
        }
        Ok(free)
    }
}

static ACQUIRE_PLAN: Plan = Plan {
    qualified_name: "Lock.acquire",
    start: |py, state| start(py, state, true),
    resume: |py, state, outcome| resume(py, state, outcome, true),
};
static ENTER_PLAN: Plan = Plan {
    qualified_name: "Lock.__aenter__",
    start: |py, state| start(py, state, false),
    resume: |py, state, outcome| resume(py, state, outcome, false),
};
static EXIT_PLAN: Plan = Plan { qualified_name: "Lock.__aexit__", start: start_exit, resume: resume_exit };

pub(super) const ACQUIRE: CoroutineMethod = CoroutineMethod::of(&ACQUIRE_PLAN, 0);
pub(super) const ENTER: CoroutineMethod = CoroutineMethod::of(&ENTER_PLAN, 0);
pub(super) const EXIT: CoroutineMethod = CoroutineMethod::of(&EXIT_PLAN, 3);

fn taken(py: Python<'_>, tells: bool) -> Step {
    Step::Return(if tells { Object::new(PyBool::new(py, true).to_owned()) } else { none(py) })
}

/// Unlocks, and does not wait.
pub(super) fn start_exit(py: Python<'_>, state: &State) -> PyResult<Step> {
    state.receiver::<LockCore>(py)?.unlock(py).map(|()| Step::Return(none(py)))
}

pub(super) fn resume_exit(_: Python<'_>, _: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome.map(Step::Return)
}

/// `acquire`, which tells that it has the lock, and `__aenter__`, which does not.
#[inline]
pub(super) fn start(py: Python<'_>, state: &State, tells: bool) -> PyResult<Step> {
    let lock = state.receiver::<LockCore>(py)?;
    if lock.try_lock(py)? {
        return Ok(taken(py, tells));
    }
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let future = lock.join(py, &owner)?;
    // The future is in the queue: whatever happens from here on takes it out again.
    state.wait_for(py, future)
}

pub(super) fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>, tells: bool) -> PyResult<Step> {
    let lock = state.receiver::<LockCore>(py)?;
    lock.end_wait(py, state, outcome).map(|()| taken(py, tells))
}

pub(super) fn locked(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let is_locked = receiver::core_of::<LockCore>(py, &owner)?.is_locked();
    Ok(Some(Object::new(PyBool::new(py, is_locked).to_owned())))
}

pub(super) fn release(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    receiver::core_of::<LockCore>(py, &owner)?.unlock(py)?;
    Ok(Some(none(py)))
}

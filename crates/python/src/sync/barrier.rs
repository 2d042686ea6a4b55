//! `Barrier`: tasks that wait for one another until all are there.
//!
//! The native code is for a barrier for a plain number of tasks, over a condition of exactly Ferrio's class with a lock of
//! exactly Ferrio's class. For any other, asyncio's own code runs, over the same attributes.
//!
//! # A wait
//! | stage | waits for | then |
//! | --- | --- | --- |
//! | `ENTERING` | the condition's lock | goes on to `BLOCKED` |
//! | `BLOCKED` | the end of draining or of a reset | counts itself; releases everybody, or goes on to `FILLING` |
//! | `FILLING` | the last task, an abort or a reset | leaves |
//!
//! From `BLOCKED` on it holds the lock whenever it runs, and gives it back in the end.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::condition::{self, ConditionCore, raised_while};
use super::lock::LockCore;
use crate::coroutine::function;
use crate::coroutine::{self, Plan, State, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::object::Object;
use crate::ffi::receiver::{self, impl_core};
use crate::ffi::trampoline::none;

/// The state of a barrier, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct BarrierCore {
    condition: Slot,
    /// Whether `condition` is of exactly Ferrio's class; unknown until somebody asks.
    is_native: Plain<Option<bool>>,
    /// As given; `limit` is its value when it is a plain integer.
    parties: Slot,
    limit: Plain<Option<i64>>,
    /// A member of asyncio's `_BarrierState`.
    phase: Slot,
    count: Plain<i64>,
}

#[pymethods]
impl BarrierCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[getter]
    fn _cond<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.condition.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_cond)]
    fn set_cond(&self, value: Bound<'_, PyAny>) {
        self.is_native.set(None);
        self.condition.set(Object::new(value));
    }

    #[getter]
    fn _parties<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.parties.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_parties)]
    fn set_parties(&self, value: Bound<'_, PyAny>) {
        let plain = if value.is_exact_instance_of::<PyInt>() { value.extract::<i64>().ok() } else { None };
        self.limit.set(plain);
        self.parties.set(Object::new(value));
    }

    #[getter]
    fn _state<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.phase.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_state)]
    fn set_state(&self, value: Bound<'_, PyAny>) {
        self.phase.set(Object::new(value));
    }

    #[getter]
    fn _count(&self) -> i64 {
        self.count.get()
    }

    #[setter(_count)]
    fn set_count(&self, value: i64) {
        self.count.set(value);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.slots().into_iter().try_for_each(|slot| slot.visit(&visit))
    }

    fn __clear__(&self) {
        drop(self.slots().map(Slot::take));
    }
}

impl_core!(BarrierCore);

/// asyncio's `_BarrierState`.
struct Phases {
    filling: Object,
    draining: Object,
    resetting: Object,
    broken: Object,
    error: Object,
}

static PHASES: PyOnceLock<Phases> = PyOnceLock::new();

fn phases(py: Python<'_>) -> PyResult<&'static Phases> {
    PHASES.get_or_try_init(py, || {
        let class = py.import("asyncio.locks")?.getattr("_BarrierState")?;
        let member = |name: &str| class.getattr(name).map(Object::new);
        Ok(Phases {
            filling: member("FILLING")?,
            draining: member("DRAINING")?,
            resetting: member("RESETTING")?,
            broken: member("BROKEN")?,
            error: Object::new(py.import("asyncio.exceptions")?.getattr("BrokenBarrierError")?),
        })
    })
}

impl Phases {
    fn broken_error(&self, py: Python<'_>, text: &'static str) -> PyErr {
        match self.error.bind(py).cast::<PyType>() {
            Ok(class) => PyErr::from_type(class.clone(), text),
            Err(error) => error.into(),
        }
    }
}

/// What a wait runs over.
struct Parts {
    condition: Object,
    lock: Object,
}

impl Parts {
    fn condition<'py>(&'py self, py: Python<'py>) -> PyResult<&'py ConditionCore> {
        receiver::core_of(py, &self.condition)
    }

    fn lock<'py>(&'py self, py: Python<'py>) -> PyResult<&'py LockCore> {
        receiver::core_of(py, &self.lock)
    }

    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.condition(py)?.notify(py, self.lock(py)?, None)
    }
}

impl BarrierCore {
    fn slots(&self) -> [&Slot; 3] {
        [&self.condition, &self.parties, &self.phase]
    }

    fn is(&self, phase: &Object) -> bool {
        self.phase.as_ptr() == phase.as_ptr()
    }

    /// The condition and its lock, if the native code may run.
    fn native_parts(&self, py: Python<'_>) -> PyResult<Option<Parts>> {
        let Some(condition) = self.condition.get() else { return Ok(None) };
        let is_native = if let Some(known) = self.is_native.get() {
            known
        } else {
            let class = condition.bind(py).get_type();
            let wait = class.getattr_opt(intern!(py, "wait"))?;
            let found = wait.is_some_and(|wait| function::is_native_of(&wait, &class, "Condition.wait"));
            self.is_native.set(Some(found));
            found
        };
        if !is_native || self.limit.get().is_none() {
            return Ok(None);
        }
        let lock = receiver::core_of::<ConditionCore>(py, &condition)?.native_lock(py)?;
        Ok(lock.map(|lock| Parts { condition, lock }))
    }

    /// [`Self::native_parts`] during a wait.
    fn parts(&self, py: Python<'_>) -> PyResult<Parts> {
        self.native_parts(py)?
            .ok_or_else(|| PyRuntimeError::new_err("the barrier's condition was replaced during a wait"))
    }

    /// `_exit()`.
    fn leave(&self, py: Python<'_>, parts: &Parts) -> PyResult<()> {
        let phases = phases(py)?;
        self.count.set(self.count.get().saturating_sub(1));
        if self.count.get() != 0 {
            return Ok(());
        }
        if self.is(&phases.resetting) || self.is(&phases.draining) {
            self.phase.set(phases.filling.clone());
        }
        parts.notify_all(py)
    }
}

/// The stages of a wait; it begins at 0.
mod stage {
    pub(super) const ENTERING: u8 = 1;
    pub(super) const BLOCKED: u8 = 2;
    pub(super) const FILLING: u8 = 3;
}

static WAIT: Plan = Plan { qualified_name: "Barrier.wait", start, resume };
static ENTER: Plan = Plan { qualified_name: "Barrier.__aenter__", start, resume };

fn start(py: Python<'_>, state: &State) -> PyResult<Step> {
    let barrier = state.receiver::<BarrierCore>(py)?;
    let parts = barrier.parts(py)?;
    let lock = parts.lock(py)?;
    if lock.try_lock(py)? {
        return pass(py, state, barrier, &parts);
    }
    state.stage.set(stage::ENTERING);
    let future = lock.join(py, &parts.lock)?;
    state.wait_for(py, future)
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let barrier = state.receiver::<BarrierCore>(py)?;
    let parts = barrier.parts(py)?;
    match state.stage.get() {
        stage::ENTERING => {
            parts.lock(py)?.end_wait(py, state, outcome)?;
            pass(py, state, barrier, &parts)
        }
        stage::BLOCKED => match outcome {
            Ok(_) => pass(py, state, barrier, &parts),
            Err(error) => unlock(py, &parts, Err(error)),
        },
        _ => match outcome {
            Ok(_) => fill(py, state, barrier, &parts),
            Err(error) => end(py, barrier, &parts, Err(error)),
        },
    }
}

/// Waits for a notification of the condition.
fn wait_for_change(py: Python<'_>, state: &State, parts: &Parts, next: u8) -> PyResult<Step> {
    state.stage.set(next);
    let wait = coroutine::make(py, &condition::WAIT, parts.condition.clone(), None)?;
    state.wait_for(py, wait)
}

/// Passes when nobody drains or resets any more, and takes a place.
fn pass(py: Python<'_>, state: &State, barrier: &BarrierCore, parts: &Parts) -> PyResult<Step> {
    let phases = phases(py)?;
    if barrier.is(&phases.draining) || barrier.is(&phases.resetting) {
        return wait_for_change(py, state, parts, stage::BLOCKED);
    }
    if barrier.is(&phases.broken) {
        return unlock(py, parts, Err(phases.broken_error(py, "Barrier aborted")));
    }
    let index = barrier.count.get();
    barrier.count.set(index.saturating_add(1));
    let place = Object::new(PyInt::new(py, index));
    if Some(index.saturating_add(1)) == barrier.limit.get() {
        barrier.phase.set(phases.draining.clone());
        let outcome = parts.notify_all(py).map(|()| place);
        return end(py, barrier, parts, outcome);
    }
    state.item.set(place);
    fill(py, state, barrier, parts)
}

/// Waits until everybody is there.
fn fill(py: Python<'_>, state: &State, barrier: &BarrierCore, parts: &Parts) -> PyResult<Step> {
    let phases = phases(py)?;
    if barrier.is(&phases.filling) {
        return wait_for_change(py, state, parts, stage::FILLING);
    }
    let outcome = if barrier.is(&phases.broken) || barrier.is(&phases.resetting) {
        Err(phases.broken_error(py, "Abort or reset of barrier"))
    } else {
        Ok(state.item.take().unwrap_or_else(|| none(py)))
    };
    end(py, barrier, parts, outcome)
}

/// Gives its place and the lock back.
fn end(py: Python<'_>, barrier: &BarrierCore, parts: &Parts, outcome: PyResult<Object>) -> PyResult<Step> {
    let left = barrier.leave(py, parts);
    unlock(py, parts, finally(py, outcome, left))
}

/// Gives the lock back.
fn unlock(py: Python<'_>, parts: &Parts, outcome: PyResult<Object>) -> PyResult<Step> {
    let unlocked = parts.lock(py)?.unlock(py);
    finally(py, outcome, unlocked).map(Step::Return)
}

/// What `try: outcome` with `finally: last` comes to.
fn finally(py: Python<'_>, outcome: PyResult<Object>, last: PyResult<()>) -> PyResult<Object> {
    match (outcome, last) {
        (outcome, Ok(())) => outcome,
        (Ok(_), Err(error)) => Err(error),
        (Err(first), Err(error)) => Err(raised_while(py, first, error)),
    }
}

fn method(py: Python<'_>, arguments: Arguments<'_>, plan: &'static Plan) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    if receiver::core_of::<BarrierCore>(py, &owner)?.native_parts(py)?.is_none() {
        return Ok(None);
    }
    coroutine::make(py, plan, owner, None).map(Some)
}

pub(super) fn wait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    method(py, arguments, &WAIT)
}

pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    method(py, arguments, &ENTER)
}

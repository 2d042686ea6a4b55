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

#![forbid(unsafe_code)]

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyType};

use super::condition::{self, ConditionCore, raised_while};
use super::lock::LockCore;
use crate::coroutine::function;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::number;
use crate::ffi::object::Object;
use crate::ffi::objects::{Lazy, OBJECTS};

native_state! {
    /// The state of a barrier, under asyncio's names.
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
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(BarrierCore);

class_over_object! {
    BarrierCore, c"ferrio._ferrio.BarrierCore",
    c"The state of a barrier, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<BarrierCore>>::new()
        .instantiable()
        .attribute(Attribute::of_value(c"_state", |barrier: &BarrierCore| &barrier.phase))
        .attribute(Attribute::of_state(
            c"_cond",
            |py, barrier: &Instance<BarrierCore>| Ok(barrier.condition.get_or_none(py)),
            |_, barrier: &Instance<BarrierCore>, value| {
                barrier.is_native.set(None);
                barrier.condition.set(value.clone());
                Ok(())
            },
        ))
        .attribute(Attribute::of_state(
            c"_parties",
            |py, barrier: &Instance<BarrierCore>| Ok(barrier.parties.get_or_none(py)),
            |_, barrier: &Instance<BarrierCore>, value| {
                barrier.limit.set(number::exact_integer(value).and_then(|value| i64::try_from(value).ok()));
                barrier.parties.set(value.clone());
                Ok(())
            },
        ))
        .attribute(Attribute::of_state(
            c"_count",
            |_, barrier: &Instance<BarrierCore>| Ok(barrier.count.get()),
            |py, barrier: &Instance<BarrierCore>, value| {
                barrier.count.set(value.bind(py).extract()?);
                Ok(())
            },
        ))
        .build_over_object(py)
}

fn broken_barrier_error(py: Python<'_>, text: &'static str) -> PyErr {
    let class = OBJECTS.broken_barrier_error.bind(py).and_then(|class| Ok(class.cast::<PyType>()?));
    class.map_or_else(|error| error, |class| PyErr::from_type(class.clone(), text))
}

/// What a wait runs over.
struct Parts {
    condition: Instance<ConditionCore>,
    lock: Instance<LockCore>,
}

impl Parts {
    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.condition.notify(py, &self.lock, None)
    }
}

impl BarrierCore {
    /// Whether it is in this phase, a member of asyncio's `_BarrierState`.
    fn is_in(&self, py: Python<'_>, phase: &Lazy) -> PyResult<bool> {
        Ok(self.phase.is(phase.get(py)?))
    }

    /// The condition and its lock, if the native code may run.
    fn native_parts(&self, py: Python<'_>) -> PyResult<Option<Parts>> {
        let Some(condition) = self.condition.get() else { return Ok(None) };
        let is_native = if let Some(known) = self.is_native.get() {
            known
        } else {
            let class = condition.bind(py).get_type();
            let wait = class.getattr_opt(&names(py).wait)?;
            let found = wait.is_some_and(|wait| function::is_native_of(&wait, &class, "Condition.wait"));
            self.is_native.set(Some(found));
            found
        };
        if !is_native || self.limit.get().is_none() {
            return Ok(None);
        }
        let condition = Instance::<ConditionCore>::expect(py, &condition)?.clone();
        Ok(condition.native_lock(py)?.map(|lock| Parts { condition, lock }))
    }

    /// [`Self::native_parts`] during a wait.
    fn parts(&self, py: Python<'_>) -> PyResult<Parts> {
        self.native_parts(py)?
            .ok_or_else(|| PyRuntimeError::new_err("the barrier's condition was replaced during a wait"))
    }

    /// `_exit()`.
    fn leave(&self, py: Python<'_>, parts: &Parts) -> PyResult<()> {
        self.count.set(self.count.get().saturating_sub(1));
        if self.count.get() != 0 {
            return Ok(());
        }
        if self.is_in(py, &OBJECTS.barrier_resetting)? || self.is_in(py, &OBJECTS.barrier_draining)? {
            self.phase.set(OBJECTS.barrier_filling.get(py)?.clone());
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

fn start(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let barrier = coroutine.receiver::<BarrierCore>(py)?;
    let parts = barrier.parts(py)?;
    if parts.lock.try_lock(py)? {
        return pass(py, coroutine, &barrier, &parts);
    }
    coroutine.stage.set(stage::ENTERING);
    let future = parts.lock.join(py)?;
    coroutine.wait_for(py, future)
}

fn resume(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let barrier = coroutine.receiver::<BarrierCore>(py)?;
    let parts = barrier.parts(py)?;
    match coroutine.stage.get() {
        stage::ENTERING => {
            parts.lock.end_wait(py, coroutine, outcome)?;
            pass(py, coroutine, &barrier, &parts)
        }
        stage::BLOCKED => match outcome {
            Ok(_) => pass(py, coroutine, &barrier, &parts),
            Err(error) => unlock(py, &parts, Err(error)),
        },
        _ => match outcome {
            Ok(_) => fill(py, coroutine, &barrier, &parts),
            Err(error) => end(py, &barrier, &parts, Err(error)),
        },
    }
}

/// Waits for a notification of the condition.
fn wait_for_change(py: Python<'_>, coroutine: &CoroutineState, parts: &Parts, next: u8) -> PyResult<Step> {
    coroutine.stage.set(next);
    let wait = coroutine::make(py, &condition::WAIT, parts.condition.object().clone(), None)?;
    coroutine.wait_for(py, wait)
}

/// Passes when nobody drains or resets any more, and takes a place.
fn pass(py: Python<'_>, coroutine: &CoroutineState, barrier: &BarrierCore, parts: &Parts) -> PyResult<Step> {
    if barrier.is_in(py, &OBJECTS.barrier_draining)? || barrier.is_in(py, &OBJECTS.barrier_resetting)? {
        return wait_for_change(py, coroutine, parts, stage::BLOCKED);
    }
    if barrier.is_in(py, &OBJECTS.barrier_broken)? {
        return unlock(py, parts, Err(broken_barrier_error(py, "Barrier aborted")));
    }
    let index = barrier.count.get();
    barrier.count.set(index.saturating_add(1));
    let place = Object::new(PyInt::new(py, index));
    if Some(index.saturating_add(1)) == barrier.limit.get() {
        barrier.phase.set(OBJECTS.barrier_draining.get(py)?.clone());
        let outcome = parts.notify_all(py).map(|()| place);
        return end(py, barrier, parts, outcome);
    }
    coroutine.item.set(place);
    fill(py, coroutine, barrier, parts)
}

/// Waits until everybody is there.
fn fill(py: Python<'_>, coroutine: &CoroutineState, barrier: &BarrierCore, parts: &Parts) -> PyResult<Step> {
    if barrier.is_in(py, &OBJECTS.barrier_filling)? {
        return wait_for_change(py, coroutine, parts, stage::FILLING);
    }
    let outcome = if barrier.is_in(py, &OBJECTS.barrier_broken)? || barrier.is_in(py, &OBJECTS.barrier_resetting)? {
        Err(broken_barrier_error(py, "Abort or reset of barrier"))
    } else {
        Ok(coroutine.item.take().unwrap_or_else(|| Object::none(py)))
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
    let unlocked = parts.lock.unlock(py);
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
    let Some([barrier]) = arguments.only() else { return Ok(None) };
    if Instance::<BarrierCore>::expect(py, barrier)?.native_parts(py)?.is_none() {
        return Ok(None);
    }
    coroutine::make(py, plan, barrier.clone(), None).map(Some)
}

pub(super) fn wait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    method(py, arguments, &WAIT)
}

pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    method(py, arguments, &ENTER)
}

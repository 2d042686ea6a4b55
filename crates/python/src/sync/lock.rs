//! `Lock`: whether it is locked, and who waits, in the order of arrival.
//!
//! `release` wakes the first waiter and leaves the lock open until that one runs: a waiter that finds it taken cannot be,
//! because `acquire` lets nobody pass while somebody waits.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyRuntimeError;
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

native_state! {
    /// The state of a lock, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct LockCore {
        event_loop: Slot,
        waiters: Slot,
        locked: Plain<bool>,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(LockCore);

class_over_object! {
    LockCore, c"ferrio._ferrio.LockCore",
    c"The state of a lock, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<LockCore>>::new()
        .instantiable()
        .attribute(Attribute::of_late_value(c"_loop", |lock: &LockCore| &lock.event_loop))
        .attribute(Attribute::of_optional(c"_waiters", |lock: &LockCore| &lock.waiters))
        .attribute(Attribute::of_flag(c"_locked", |lock: &LockCore| &lock.locked))
        .build_over_object(py)
}

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
        waiting::set_result(py, &first, Object::bool(py, true))
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked.get()
    }

    /// Leaves the waiters and takes the lock, unless the wait ended badly.
    pub(super) fn end_wait(
        &self,
        py: Python<'_>,
        coroutine: &CoroutineState,
        outcome: PyResult<Object>,
    ) -> PyResult<()> {
        waiting::leave_waiters(py, &self.waiters, coroutine.future.get().as_ref())?;
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

impl Instance<LockCore> {
    /// A future at the end of the waiters, for whose wait [`LockCore::end_wait`] is the end.
    pub(super) fn join(&self, py: Python<'_>) -> PyResult<Object> {
        waiting::join_waiters(py, self.object(), &self.event_loop, &self.waiters)
    }
}

static ACQUIRE_PLAN: Plan = Plan {
    qualified_name: "Lock.acquire",
    start: |py, coroutine| start(py, coroutine, yes),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, yes),
};
static ENTER_PLAN: Plan = Plan {
    qualified_name: "Lock.__aenter__",
    start: |py, coroutine| start(py, coroutine, Object::none),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, Object::none),
};
static EXIT_PLAN: Plan = Plan { qualified_name: "Lock.__aexit__", start: start_exit, resume: resume_exit };

pub(super) const ACQUIRE: CoroutineMethod = CoroutineMethod::of(&ACQUIRE_PLAN, 0);
pub(super) const ENTER: CoroutineMethod = CoroutineMethod::of(&ENTER_PLAN, 0);
pub(super) const EXIT: CoroutineMethod = CoroutineMethod::of(&EXIT_PLAN, 3);

fn yes(py: Python<'_>) -> Object {
    Object::bool(py, true)
}

/// Unlocks, and does not wait.
pub(super) fn start_exit(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let lock = coroutine.take_receiver::<LockCore>(py)?;
    lock.ensure_initialised(py, c"_locked")?;
    lock.unlock(py).map(|()| Step::Return(Object::none(py)))
}

pub(super) fn resume_exit(_: Python<'_>, _: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome.map(Step::Return)
}

/// `acquire` and `__aenter__`, which differ in the result.
#[inline]
pub(super) fn start(
    py: Python<'_>,
    coroutine: &CoroutineState,
    result: impl FnOnce(Python<'_>) -> Object,
) -> PyResult<Step> {
    let lock = coroutine.take_receiver::<LockCore>(py)?;
    lock.ensure_initialised(py, c"_locked")?;
    if lock.try_lock(py)? {
        return Ok(Step::Return(result(py)));
    }
    let future = lock.join(py)?;
    coroutine.owner.set(lock.into_object());
    // The future is in the queue: whatever happens from here on takes it out again.
    coroutine.wait_for(py, future)
}

pub(super) fn resume(
    py: Python<'_>,
    coroutine: &CoroutineState,
    outcome: PyResult<Object>,
    result: impl FnOnce(Python<'_>) -> Object,
) -> PyResult<Step> {
    let lock = coroutine.receiver::<LockCore>(py)?;
    lock.end_wait(py, coroutine, outcome).map(|()| Step::Return(result(py)))
}

pub(super) fn locked(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([lock]) = arguments.only() else { return Ok(None) };
    let lock = Instance::<LockCore>::expect(py, lock)?;
    lock.ensure_initialised(py, c"_locked")?;
    Ok(Some(Object::bool(py, lock.is_locked())))
}

pub(super) fn release(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([lock]) = arguments.only() else { return Ok(None) };
    let lock = Instance::<LockCore>::expect(py, lock)?;
    lock.ensure_initialised(py, c"_locked")?;
    lock.unlock(py)?;
    Ok(Some(Object::none(py)))
}

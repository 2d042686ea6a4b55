//! `Semaphore`: how many may pass, and who waits, in the order of arrival.
//!
//! `release` gives its place to the first waiter at once: the count stays, and the waiter owns the place before it runs. One
//! that is cancelled in between gives it back.
//!
//! The rules are those of CPython 3.13; the package has the class where asyncio's follows them. A count that is no plain
//! integer (asyncio takes any number) is left to asyncio's own code.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{lock, waiting};
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::deque;
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::{Attribute, IntoObject};
use crate::ffi::number;
use crate::ffi::object::Object;
use crate::ffi::operator;

native_state! {
    /// The state of a semaphore, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct SemaphoreCore {
        event_loop: Slot,
        waiters: Slot,
        value: Plain<i64>,
        /// The count when it is no plain integer.
        odd: Slot,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(SemaphoreCore);

class_over_object! {
    SemaphoreCore, c"ferrio._ferrio.SemaphoreCore",
    c"The state of a semaphore, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<SemaphoreCore>>::new()
        .instantiable()
        .attribute(Attribute::of_late_value(c"_loop", |semaphore: &SemaphoreCore| &semaphore.event_loop))
        .attribute(Attribute::of_optional(c"_waiters", |semaphore: &SemaphoreCore| &semaphore.waiters))
        .attribute(Attribute::of_state(
            c"_value",
            |py, semaphore: &Instance<SemaphoreCore>| {
                Ok(semaphore.odd.get().unwrap_or_else(|| semaphore.value.get().into_object(py)))
            },
            |_, semaphore: &Instance<SemaphoreCore>, value| {
                if let Some(plain) = number::exact_integer(value).and_then(|value| i64::try_from(value).ok()) {
                    semaphore.value.set(plain);
                    drop(semaphore.odd.take());
                } else {
                    semaphore.odd.set(value.clone());
                }
                Ok(())
            },
        ))
        .build_over_object(py)
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
        for waiter in operator::items(py, &waiters)? {
            let waiter = waiter?;
            if !waiting::is_done(py, &waiter)? {
                self.add(-1);
                waiting::set_result(py, &waiter, Object::bool(py, true))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `acquire` would have to wait.
    fn locked(&self, py: Python<'_>) -> PyResult<bool> {
        let none_left = match self.odd.get() {
            Some(value) => operator::equals(py, &value, 0)?,
            None => self.value.get() == 0,
        };
        Ok(none_left || !waiting::all_cancelled(py, &self.waiters)?)
    }
}

static ACQUIRE_PLAN: Plan = Plan {
    qualified_name: "Semaphore.acquire",
    start: |py, coroutine| start(py, coroutine, yes),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, yes),
};
static ENTER_PLAN: Plan = Plan {
    qualified_name: "Semaphore.__aenter__",
    start: |py, coroutine| start(py, coroutine, Object::none),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, Object::none),
};
static EXIT_PLAN: Plan = Plan {
    qualified_name: "Semaphore.__aexit__",
    start: |py, coroutine| {
        let semaphore = coroutine.take_receiver::<SemaphoreCore>(py)?;
        semaphore.ensure_initialised(py, c"_value")?;
        semaphore.give_back(py).map(|()| Step::Return(Object::none(py)))
    },
    resume: lock::resume_exit,
};

/// A coroutine method of a semaphore that counts plainly.
const fn method(plan: &'static Plan, takes: usize) -> CoroutineMethod {
    CoroutineMethod { fits: counts_plainly, ..CoroutineMethod::of(plan, takes) }
}

fn counts_plainly(_: Python<'_>, object: &Object) -> bool {
    Instance::<SemaphoreCore>::of(object).is_some_and(|semaphore| semaphore.odd.is_empty())
}

pub(super) const ACQUIRE: CoroutineMethod = method(&ACQUIRE_PLAN, 0);
pub(super) const ENTER: CoroutineMethod = method(&ENTER_PLAN, 0);
pub(super) const EXIT: CoroutineMethod = method(&EXIT_PLAN, 3);

fn yes(py: Python<'_>) -> Object {
    Object::bool(py, true)
}

/// `acquire` and `__aenter__`, which differ in the result.
fn start(py: Python<'_>, coroutine: &CoroutineState, result: impl FnOnce(Python<'_>) -> Object) -> PyResult<Step> {
    let semaphore = coroutine.take_receiver::<SemaphoreCore>(py)?;
    semaphore.ensure_initialised(py, c"_value")?;
    if !semaphore.locked(py)? {
        semaphore.add(-1);
        return Ok(Step::Return(result(py)));
    }
    let future = waiting::join_waiters(py, semaphore.object(), &semaphore.event_loop, &semaphore.waiters)?;
    coroutine.owner.set(semaphore.into_object());
    coroutine.wait_for(py, future)
}

fn resume(
    py: Python<'_>,
    coroutine: &CoroutineState,
    outcome: PyResult<Object>,
    result: impl FnOnce(Python<'_>) -> Object,
) -> PyResult<Step> {
    let semaphore = coroutine.receiver::<SemaphoreCore>(py)?;
    let future = coroutine.future.get();
    waiting::leave_waiters(py, &semaphore.waiters, future.as_ref())?;
    if let (Err(error), Some(future)) = (&outcome, &future) {
        let cancelled = waiting::is_cancellation(py, error)?;
        if cancelled && waiting::is_done(py, future)? && !waiting::is_cancelled(py, future)? {
            // It had got a place, and is not going to use it.
            semaphore.add(1);
        }
    }
    // Waiters may have come that had to wait for their turn only.
    while semaphore.value.get() > 0 && semaphore.wake_next(py)? {}
    outcome.map(|_| Step::Return(result(py)))
}

pub(super) fn locked(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([semaphore]) = arguments.only() else { return Ok(None) };
    let semaphore = Instance::<SemaphoreCore>::expect(py, semaphore)?;
    semaphore.ensure_initialised(py, c"_value")?;
    Ok(Some(Object::bool(py, semaphore.locked(py)?)))
}

pub(super) fn release(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([semaphore]) = arguments.only() else { return Ok(None) };
    let semaphore = Instance::<SemaphoreCore>::expect(py, semaphore)?;
    semaphore.ensure_initialised(py, c"_value")?;
    if !semaphore.odd.is_empty() {
        return Ok(None);
    }
    semaphore.give_back(py)?;
    Ok(Some(Object::none(py)))
}

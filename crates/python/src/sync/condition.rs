//! `Condition`: who waits to be notified, over a lock.
//!
//! The native code is for a condition whose `locked`, `acquire` and `release` are the native methods of one [`LockCore`]: the
//! lock of Ferrio's that it was given or has made. Over any other lock, or when a program has put something else in their
//! place, asyncio's own code runs, over the same attributes.
//!
//! The rules are those of CPython 3.13; the package has the class where asyncio's follows them.
//!
//! # A wait
//! | stage | waits for | then |
//! | --- | --- | --- |
//! | `NOTIFIED` | the notification | leaves the waiters, takes the lock or goes on to `LOCKED` |
//! | `LOCKED` | the lock, whatever has become of the first wait | ends as that, or as cancelled |
//!
//! Between the two, `item` keeps how the first wait ended: nothing, or its exception. Cancelled while it waits for the lock,
//! it waits for it again, and raises the latest `CancelledError` when it has it.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple, PyType};

use super::lock::{self, LockCore};
use super::waiting;
use crate::coroutine::function;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::deque;
use crate::ffi::errors::made;
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::operator;

native_state! {
    /// The state of a condition, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct ConditionCore {
        event_loop: Slot,
        waiters: Slot,
        lock: Slot,
        locked: Slot,
        acquire: Slot,
        release: Slot,
        /// `locked`, `acquire` and `release` are those of this lock, of exactly Ferrio's class.
        native_lock: Slot,
        /// Whether `native_lock` says so of what these hold now.
        is_known: Plain<bool>,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(ConditionCore);

class_over_object! {
    ConditionCore, c"ferrio._ferrio.ConditionCore",
    c"The state of a condition, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// An attribute that says which lock it is over.
macro_rules! method_of_the_lock {
    ($name:literal, $field:ident) => {
        Attribute::of_state(
            $name,
            |py, condition: &Instance<ConditionCore>| Ok(condition.$field.get_or_none(py)),
            |_, condition: &Instance<ConditionCore>, value| {
                condition.is_known.set(false);
                condition.$field.set(value.clone());
                Ok(())
            },
        )
    };
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<ConditionCore>>::new()
        .instantiable()
        .attribute(Attribute::of_late_value(c"_loop", |condition: &ConditionCore| &condition.event_loop))
        .attribute(Attribute::of_value(c"_waiters", |condition: &ConditionCore| &condition.waiters))
        .attribute(Attribute::of_value(c"_lock", |condition: &ConditionCore| &condition.lock))
        .attribute(method_of_the_lock!(c"locked", locked))
        .attribute(method_of_the_lock!(c"acquire", acquire))
        .attribute(method_of_the_lock!(c"release", release))
        .build_over_object(py)
}

impl ConditionCore {
    /// The lock that it is over, if that is one of exactly Ferrio's class.
    #[inline]
    pub(super) fn native_lock(&self, py: Python<'_>) -> PyResult<Option<Instance<LockCore>>> {
        if !self.is_known.get() {
            self.find_native_lock(py)?;
        }
        Ok(self.known_lock())
    }

    /// [`Self::native_lock`], as it was found last.
    #[inline]
    fn known_lock(&self) -> Option<Instance<LockCore>> {
        self.native_lock.get().and_then(|lock| Instance::from_object(lock).ok())
    }

    #[cold]
    fn find_native_lock(&self, py: Python<'_>) -> PyResult<()> {
        drop(self.native_lock.take());
        self.is_known.set(true);
        let (Some(acquire), Some(release), Some(locked)) = (self.acquire.get(), self.release.get(), self.locked.get())
        else {
            return Ok(());
        };
        let Some(lock) = acquire.bind(py).getattr_opt(&names(py).__self__)? else { return Ok(()) };
        let lock = Object::new(lock);
        let is_native = function::is_method_of(py, &lock, &acquire, "Lock.acquire")?
            && function::is_method_of(py, &lock, &release, "Lock.release")?
            && operator::equals(py, &locked, lock.bind(py).getattr(&names(py).locked)?)?;
        if is_native {
            self.native_lock.set(lock);
        }
        Ok(())
    }

    /// `_notify(count)`.
    pub(super) fn notify_waiters(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        let Some(waiters) = self.waiters.get() else { return Ok(()) };
        if count == 0 || deque::length(py, &waiters)? == 0 {
            return Ok(());
        }
        let mut left = count;
        for waiter in operator::items(py, &waiters)? {
            let waiter = waiter?;
            if !waiting::is_done(py, &waiter)? {
                waiting::set_result(py, &waiter, Object::bool(py, false))?;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// `notify(count)`, or `notify_all()` for none.
    pub(super) fn notify(&self, py: Python<'_>, lock: &LockCore, count: Option<usize>) -> PyResult<()> {
        if !lock.is_locked() {
            return Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"));
        }
        self.notify_waiters(py, count.unwrap_or(usize::MAX))
    }
}

/// The stages of a wait; it begins at 0.
mod stage {
    pub(super) const NOTIFIED: u8 = 1;
    pub(super) const LOCKED: u8 = 2;
    /// A program has replaced the lock's methods during the wait: it waits for what they return.
    pub(super) const LOCKED_BY_OTHERS: u8 = 3;
}

pub(super) static WAIT: Plan = Plan { qualified_name: "Condition.wait", start: start_wait, resume: resume_wait };
static WAIT_FOR: Plan = Plan { qualified_name: "Condition.wait_for", start: start_wait_for, resume: resume_wait_for };
static ENTER: Plan = Plan {
    qualified_name: "Condition.__aenter__",
    start: |py, coroutine| lock::start(py, coroutine, Object::none),
    resume: |py, coroutine, outcome| lock::resume(py, coroutine, outcome, Object::none),
};
static EXIT: Plan = Plan { qualified_name: "Condition.__aexit__", start: lock::start_exit, resume: lock::resume_exit };

fn start_wait(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let condition = coroutine.receiver::<ConditionCore>(py)?;
    let Some(lock) = condition.native_lock(py)? else {
        return Err(PyRuntimeError::new_err("the condition's lock was replaced before the wait began"));
    };
    if !lock.is_locked() {
        return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
    }
    let future = waiting::new_future(py, condition.object(), &condition.event_loop)?;
    lock.unlock(py)?;
    let waiters = condition.waiters.get_or_none(py);
    deque::append(py, &waiters, &future)?;
    coroutine.stage.set(stage::NOTIFIED);
    coroutine.wait_for(py, future)
}

fn resume_wait(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let condition = coroutine.receiver::<ConditionCore>(py)?;
    if coroutine.stage.get() == stage::NOTIFIED {
        let left = waiting::leave_waiters(py, &condition.waiters, coroutine.future.take().as_ref());
        let error = match (outcome, left) {
            (Ok(_), Ok(())) => None,
            (Err(error), Ok(())) | (Ok(_), Err(error)) => Some(error),
            (Err(first), Err(error)) => Some(raised_while(py, first, error)),
        };
        if let Some(error) = error {
            coroutine.item.set(Object::new(made(py, error).into_value(py).into_bound(py)));
        }
        return take_lock(py, coroutine, &condition);
    }
    let locked: PyResult<()> = match (coroutine.stage.get(), condition.known_lock()) {
        (stage::LOCKED, Some(lock)) => lock.end_wait(py, coroutine, outcome),
        _ => outcome.map(drop),
    };
    match locked.map_err(|error| made(py, error)) {
        Ok(()) => end_wait(py, coroutine, &condition),
        Err(error) if waiting::is_cancellation(py, &error)? => {
            let first = coroutine.item.take();
            let first = first.map_or_else(|| Object::none(py), |first| error_at(py, first, 0));
            let latest = error.into_value(py).into_bound(py).into_any();
            coroutine.item.set(Object::new(PyTuple::new(py, [first.into_bound(py), latest])?));
            take_lock(py, coroutine, &condition)
        }
        Err(error) => fail_while_locking(py, coroutine, &condition, error),
    }
}

/// Takes the lock, or waits for it, however the wait for the notification has ended.
fn take_lock(py: Python<'_>, coroutine: &CoroutineState, condition: &ConditionCore) -> PyResult<Step> {
    let future = match condition.native_lock(py) {
        Ok(Some(lock)) => {
            coroutine.stage.set(stage::LOCKED);
            match lock.try_lock(py) {
                Ok(true) => Ok(None),
                Ok(false) => lock.join(py).map(Some),
                Err(error) => Err(error),
            }
        }
        Ok(None) => {
            coroutine.stage.set(stage::LOCKED_BY_OTHERS);
            let acquire = condition.acquire.get_or_none(py);
            call(py, &acquire, []).map(Some)
        }
        Err(error) => Err(error),
    };
    match future {
        Ok(Some(future)) => coroutine.wait_for(py, future),
        Ok(None) => end_wait(py, coroutine, condition),
        Err(error) => fail_while_locking(py, coroutine, condition, error),
    }
}

/// The lock could not be taken, and not because of a cancellation.
#[cold]
fn fail_while_locking(
    py: Python<'_>,
    coroutine: &CoroutineState,
    condition: &ConditionCore,
    error: PyErr,
) -> PyResult<Step> {
    let first = coroutine.item.take().map(|kept| error_at(py, kept, 0)).filter(|first| !first.is_none());
    let error = match first {
        Some(first) => raised_while(py, PyErr::from_value(first.into_bound(py)), error),
        None => error,
    };
    fail(py, condition, error)
}

/// It has the lock again: what the wait has come to.
fn end_wait(py: Python<'_>, coroutine: &CoroutineState, condition: &ConditionCore) -> PyResult<Step> {
    let Some(kept) = coroutine.item.take() else { return Ok(Step::Return(Object::bool(py, true))) };
    if kept.bind(py).cast::<PyTuple>().is_err() {
        return fail(py, condition, PyErr::from_value(kept.into_bound(py)));
    }
    let (first, latest) = (error_at(py, kept.clone(), 0), error_at(py, kept, 1));
    let error = PyErr::from_value(latest.into_bound(py));
    if !first.is_none() {
        return fail(py, condition, raised_while(py, PyErr::from_value(first.into_bound(py)), error));
    }
    fail(py, condition, error)
}

/// The error at `index` of a pair; of one error alone it is the first.
fn error_at(py: Python<'_>, kept: Object, index: usize) -> Object {
    match kept.bind(py).cast::<PyTuple>() {
        Ok(pair) => pair.get_item(index).map_or_else(|_| Object::none(py), Object::new),
        Err(_) => kept,
    }
}

/// The wait ends with an error: its notification, if it had one, goes to the next.
fn fail(py: Python<'_>, condition: &ConditionCore, error: PyErr) -> PyResult<Step> {
    match condition.notify_waiters(py, 1) {
        Ok(()) => Err(error),
        Err(other) => Err(raised_while(py, error, other)),
    }
}

/// `error`, raised while `first` was on its way: that is its context, as after a `finally`.
pub(super) fn raised_while(py: Python<'_>, first: PyErr, error: PyErr) -> PyErr {
    let (first, error) = (made(py, first), made(py, error));
    if !first.value(py).is(error.value(py)) {
        error.set_context(py, Some(first));
    }
    error
}

fn start_wait_for(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let predicate = coroutine.item.get_or_none(py);
    let result = call(py, &predicate, [])?;
    if operator::is_true(py, &result)? {
        return Ok(Step::Return(result));
    }
    let owner = coroutine.owner.get_or_none(py);
    coroutine.wait_for(py, coroutine::make(py, &WAIT, owner, None)?)
}

fn resume_wait_for(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome?;
    start_wait_for(py, coroutine)
}

/// The condition of a call, its native lock, and the arguments besides; `None` leaves the call to asyncio.
type Receiver<'a> = (&'a Instance<ConditionCore>, Instance<LockCore>, &'a [Object]);

fn receiver<'a>(py: Python<'_>, arguments: Arguments<'a>) -> PyResult<Option<Receiver<'a>>> {
    let ([condition, rest @ ..], true) = (arguments.positional(), arguments.has_no_keywords()) else {
        return Ok(None);
    };
    let condition = Instance::<ConditionCore>::expect(py, condition)?;
    Ok(condition.native_lock(py)?.map(|lock| (condition, lock, rest)))
}

pub(super) fn wait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((condition, _, [])) = receiver(py, arguments)? else { return Ok(None) };
    coroutine::make(py, &WAIT, condition.object().clone(), None).map(Some)
}

pub(super) fn wait_for(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((condition, _, [predicate])) = receiver(py, arguments)? else { return Ok(None) };
    coroutine::make(py, &WAIT_FOR, condition.object().clone(), Some(predicate.clone())).map(Some)
}

pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((_, lock, [])) = receiver(py, arguments)? else { return Ok(None) };
    coroutine::make(py, &ENTER, lock.into_object(), None).map(Some)
}

pub(super) fn exit(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((_, lock, [_, _, _])) = receiver(py, arguments)? else { return Ok(None) };
    coroutine::make(py, &EXIT, lock.into_object(), None).map(Some)
}

pub(super) fn notify(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((condition, lock, rest)) = receiver(py, arguments)? else { return Ok(None) };
    let count = match rest {
        [] => 1,
        [count] => {
            let count = count.bind(py).cast_exact::<PyInt>().ok().and_then(|count| count.extract::<isize>().ok());
            let Some(count) = count else { return Ok(None) };
            usize::try_from(count).unwrap_or(0)
        }
        _ => return Ok(None),
    };
    condition.notify(py, &lock, Some(count))?;
    Ok(Some(Object::none(py)))
}

pub(super) fn notify_all(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((condition, lock, [])) = receiver(py, arguments)? else { return Ok(None) };
    condition.notify(py, &lock, None)?;
    Ok(Some(Object::none(py)))
}

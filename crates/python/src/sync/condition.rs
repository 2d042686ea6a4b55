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

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use super::lock::{self, LockCore};
use super::{deque, waiting};
use crate::coroutine::function;
use crate::coroutine::{self, Plan, State, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::errors::made;
use crate::ffi::object::Object;
use crate::ffi::receiver::{self, impl_core};
use crate::ffi::trampoline::none;

/// The state of a condition, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
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
}

/// Attributes that hold any object, by asyncio's names; the last ones say which lock it is over.
macro_rules! attributes {
    ($($get:ident $set:ident $field:ident $is_known:literal)*) => {
        #[pymethods]
        impl ConditionCore {
            $(
                #[getter]
                fn $get<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
                    self.$field.get().unwrap_or_else(|| none(py)).into_bound(py)
                }

                #[setter($get)]
                fn $set(&self, value: Bound<'_, PyAny>) {
                    self.is_known.set(self.is_known.get() && $is_known);
                    self.$field.set(Object::new(value));
                }
            )*
        }
    };
}

attributes! {
    _loop set_loop event_loop true
    _waiters set_waiters waiters true
    _lock set_lock lock true
    locked set_locked locked false
    acquire set_acquire acquire false
    release set_release release false
}

#[pymethods]
impl ConditionCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.slots().into_iter().try_for_each(|slot| slot.visit(&visit))
    }

    fn __clear__(&self) {
        drop(self.slots().map(Slot::take));
    }
}

impl_core!(ConditionCore);

impl ConditionCore {
    fn slots(&self) -> [&Slot; 7] {
        [&self.event_loop, &self.waiters, &self.lock, &self.locked, &self.acquire, &self.release, &self.native_lock]
    }

    /// The lock that it is over, if that is one of exactly Ferrio's class.
    #[inline]
    pub(super) fn native_lock(&self, py: Python<'_>) -> PyResult<Option<Object>> {
        if !self.is_known.get() {
            self.find_native_lock(py)?;
        }
        Ok(self.native_lock.get())
    }

    #[cold]
    fn find_native_lock(&self, py: Python<'_>) -> PyResult<()> {
        drop(self.native_lock.take());
        self.is_known.set(true);
        let (Some(acquire), Some(release), Some(locked)) = (self.acquire.get(), self.release.get(), self.locked.get())
        else {
            return Ok(());
        };
        let Some(lock) = acquire.bind(py).getattr_opt(intern!(py, "__self__"))? else { return Ok(()) };
        let lock = Object::new(lock);
        let is_native = function::is_method_of(py, &lock, &acquire, "Lock.acquire")?
            && function::is_method_of(py, &lock, &release, "Lock.release")?
            && locked.bind(py).eq(lock.bind(py).getattr(intern!(py, "locked"))?)?;
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
        let told = PyBool::new(py, false);
        let mut left = count;
        for waiter in waiters.bind(py).try_iter()? {
            let waiter = Object::new(waiter?);
            if !waiting::is_done(py, &waiter)? {
                waiting::set_result(py, &waiter, Object::new(told.to_owned()))?;
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
    start: |py, state| lock::start(py, state, false),
    resume: |py, state, outcome| lock::resume(py, state, outcome, false),
};
static EXIT: Plan = Plan { qualified_name: "Condition.__aexit__", start: lock::start_exit, resume: lock::resume_exit };

fn start_wait(py: Python<'_>, state: &State) -> PyResult<Step> {
    let condition = state.receiver::<ConditionCore>(py)?;
    let Some(lock) = condition.native_lock(py)? else {
        return Err(PyRuntimeError::new_err("the condition's lock was replaced before the wait began"));
    };
    let lock = receiver::core_of::<LockCore>(py, &lock)?;
    if !lock.is_locked() {
        return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
    }
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let future = waiting::new_future(py, &owner, &condition.event_loop)?;
    lock.unlock(py)?;
    let waiters = condition.waiters.get().unwrap_or_else(|| none(py));
    deque::append(py, &waiters, &future)?;
    state.stage.set(stage::NOTIFIED);
    state.wait_for(py, future)
}

fn resume_wait(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let condition = state.receiver::<ConditionCore>(py)?;
    if state.stage.get() == stage::NOTIFIED {
        let left = waiting::leave_waiters(py, &condition.waiters, state.future.take().as_ref());
        let error = match (outcome, left) {
            (Ok(_), Ok(())) => None,
            (Err(error), Ok(())) | (Ok(_), Err(error)) => Some(error),
            (Err(first), Err(error)) => Some(raised_while(py, first, error)),
        };
        if let Some(error) = error {
            state.item.set(Object::new(made(py, error).into_value(py).into_bound(py)));
        }
        return take_lock(py, state, condition);
    }
    let locked: PyResult<()> = match (state.stage.get(), condition.native_lock.get()) {
        (stage::LOCKED, Some(lock)) => receiver::core_of::<LockCore>(py, &lock)?.end_wait(py, state, outcome),
        _ => outcome.map(drop),
    };
    match locked.map_err(|error| made(py, error)) {
        Ok(()) => end_wait(py, state, condition),
        Err(error) if waiting::is_cancellation(py, &error)? => {
            let first = state.item.take();
            let first = first.map_or_else(|| none(py), |first| error_at(py, first, 0));
            let latest = error.into_value(py).into_bound(py).into_any();
            state.item.set(Object::new(PyTuple::new(py, [first.into_bound(py), latest])?));
            take_lock(py, state, condition)
        }
        Err(error) => fail_while_locking(py, state, condition, error),
    }
}

/// Takes the lock, or waits for it, however the wait for the notification has ended.
fn take_lock(py: Python<'_>, state: &State, condition: &ConditionCore) -> PyResult<Step> {
    let future = match condition.native_lock(py) {
        Ok(Some(lock)) => receiver::core_of::<LockCore>(py, &lock).and_then(|core| {
            state.stage.set(stage::LOCKED);
            if core.try_lock(py)? { Ok(None) } else { core.join(py, &lock).map(Some) }
        }),
        Ok(None) => {
            state.stage.set(stage::LOCKED_BY_OTHERS);
            let acquire = condition.acquire.get().unwrap_or_else(|| none(py));
            acquire.bind(py).call0().map(|awaitable| Some(Object::new(awaitable)))
        }
        Err(error) => Err(error),
    };
    match future {
        Ok(Some(future)) => state.wait_for(py, future),
        Ok(None) => end_wait(py, state, condition),
        Err(error) => fail_while_locking(py, state, condition, error),
    }
}

/// The lock could not be taken, and not because of a cancellation.
#[cold]
fn fail_while_locking(py: Python<'_>, state: &State, condition: &ConditionCore, error: PyErr) -> PyResult<Step> {
    let first = state.item.take().map(|kept| error_at(py, kept, 0)).filter(|first| !first.bind(py).is_none());
    let error = match first {
        Some(first) => raised_while(py, PyErr::from_value(first.into_bound(py)), error),
        None => error,
    };
    fail(py, condition, error)
}

/// It has the lock again: what the wait has come to.
fn end_wait(py: Python<'_>, state: &State, condition: &ConditionCore) -> PyResult<Step> {
    let Some(kept) = state.item.take() else { return Ok(Step::Return(Object::new(PyBool::new(py, true).to_owned()))) };
    if kept.bind(py).cast::<PyTuple>().is_err() {
        return fail(py, condition, PyErr::from_value(kept.into_bound(py)));
    }
    let (first, latest) = (error_at(py, kept.clone(), 0), error_at(py, kept, 1));
    let error = PyErr::from_value(latest.into_bound(py));
    if !first.bind(py).is_none() {
        return fail(py, condition, raised_while(py, PyErr::from_value(first.into_bound(py)), error));
    }
    fail(py, condition, error)
}

/// The error at `index` of a pair; of one error alone it is the first.
fn error_at(py: Python<'_>, kept: Object, index: usize) -> Object {
    match kept.bind(py).cast::<PyTuple>() {
        Ok(pair) => pair.get_item(index).map_or_else(|_| none(py), Object::new),
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

fn start_wait_for(py: Python<'_>, state: &State) -> PyResult<Step> {
    let predicate = state.item.get().unwrap_or_else(|| none(py));
    let result = predicate.bind(py).call0()?;
    if result.is_truthy()? {
        return Ok(Step::Return(Object::new(result)));
    }
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    state.wait_for(py, coroutine::make(py, &WAIT, owner, None)?)
}

fn resume_wait_for(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome?;
    start_wait_for(py, state)
}

/// The condition of a call, its native lock, and the arguments besides; `None` leaves the call to asyncio.
fn receiver<'a>(
    py: Python<'_>,
    arguments: &Arguments<'a>,
) -> PyResult<Option<(Object, Object, &'a [*mut ffi::PyObject])>> {
    let (&[owner, ref rest @ ..], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else {
        return Ok(None);
    };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let lock = receiver::core_of::<ConditionCore>(py, &owner)?.native_lock(py)?;
    Ok(lock.map(|lock| (owner, lock, rest)))
}

pub(super) fn wait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, _, [])) = receiver(py, &arguments)? else { return Ok(None) };
    coroutine::make(py, &WAIT, owner, None).map(Some)
}

pub(super) fn wait_for(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, _, &[predicate])) = receiver(py, &arguments)? else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let predicate = unsafe { Object::from_borrowed(predicate) };
    coroutine::make(py, &WAIT_FOR, owner, Some(predicate)).map(Some)
}

pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((_, lock, [])) = receiver(py, &arguments)? else { return Ok(None) };
    coroutine::make(py, &ENTER, lock, None).map(Some)
}

pub(super) fn exit(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((_, lock, [_, _, _])) = receiver(py, &arguments)? else { return Ok(None) };
    coroutine::make(py, &EXIT, lock, None).map(Some)
}

pub(super) fn notify(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, lock, rest)) = receiver(py, &arguments)? else { return Ok(None) };
    let count = match *rest {
        [] => 1,
        [count] => {
            // SAFETY: an argument of the call under way.
            let count = unsafe { Bound::from_borrowed_ptr(py, count) };
            match count.cast_exact::<PyInt>().ok().and_then(|count| count.extract::<isize>().ok()) {
                Some(count) => usize::try_from(count).unwrap_or(0),
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let lock = receiver::core_of::<LockCore>(py, &lock)?;
    receiver::core_of::<ConditionCore>(py, &owner)?.notify(py, lock, Some(count))?;
    Ok(Some(none(py)))
}

pub(super) fn notify_all(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, lock, [])) = receiver(py, &arguments)? else { return Ok(None) };
    let lock = receiver::core_of::<LockCore>(py, &lock)?;
    receiver::core_of::<ConditionCore>(py, &owner)?.notify(py, lock, None)?;
    Ok(Some(none(py)))
}

//! What `await` asks when a future or task of ours is awaited: asyncio's `FutureIter`, for the result `None` without the
//! `StopIteration` by which an iterator tells its result.
//!
//! `iter(future)` is asyncio's own. Up to 3.13, one that has ended holds nothing and is kept whole for the next `await`;
//! from 3.14 on it holds its future until it is freed, and its memory is kept.
//!
//! A program that asks for the next by hand gets what asyncio's iterator says: up to 3.13 it ends with its future, from 3.14
//! on it repeats the answer. (There, `next` tells the result `None` as `StopIteration(None)`, and here as `StopIteration()`.)

#![forbid(unsafe_code)]

use core::ffi::CStr;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

use super::asyncio::uninitialized;
use super::future;
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::Slot;
use crate::ffi::class::{BehindHead, Builder, Class, Description, Instance, NativeClass};
use crate::ffi::fields::native_state;
use crate::ffi::future::Future;
use crate::ffi::idle_list::IdleLink;
use crate::ffi::iteration::Step;
use crate::ffi::method::Method;
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// Iterators that have ended are kept for the next: the first so many as whole objects.
const MOST_IDLE: usize = 64;
/// Of others the memory is, of so many.
const MOST_FREE: usize = 1024;

native_state! {
    pub(crate) struct FutureIterator {
        /// What is awaited; nothing once that has ended, or an exception was thrown.
        future: Slot,
        idle: IdleLink,
    }
}

impl Class for FutureIterator {
    type State = Self;
    type Layout = BehindHead;

    #[inline]
    fn description() -> &'static Description<Self> {
        static DESCRIPTION: Description<FutureIterator> = Description::new(MOST_FREE).with_idle(MOST_IDLE);
        &DESCRIPTION
    }
}

impl NativeClass for FutureIterator {
    const NAME: &'static CStr = c"ferrio._ferrio.FutureIter";
    const DOC: &'static CStr = c"What awaits a future.";

    #[inline]
    fn idle_link(state: &Self) -> Option<&IdleLink> {
        Some(&state.idle)
    }

    #[inline]
    fn is_idle(state: &Self) -> bool {
        state.future.is_empty()
    }
}

/// `__await__` of futures and tasks.
///
/// # Errors
/// `RuntimeError`: it has no loop; `MemoryError`.
#[inline]
pub(super) fn of(py: Python<'_>, future: &Future) -> PyResult<Object> {
    if future.event_loop.is_empty() {
        return Err(uninitialized());
    }
    let iterator = match Instance::<FutureIterator>::reuse() {
        Some(idle) => idle,
        None => Instance::create(py, FutureIterator { future: Slot::default(), idle: IdleLink::default() })?,
    };
    iterator.future.set(future.object().clone());
    Ok(iterator.into_object())
}

/// Whether asyncio's iterator repeats its answer when it is asked again.
const REPEATS: bool = cfg!(Py_3_14);

/// Hands a pending future to the task, once; gives the result of one that is done, after `done`, and nothing without any.
#[inline]
fn ask(py: Python<'_>, iterator: &FutureIterator, done: impl FnOnce(&FutureIterator)) -> PyResult<Option<Step>> {
    let Some(object) = iterator.future.get() else { return Ok(None) };
    let Some(future) = Future::of(&object) else { return Ok(None) };
    if future.is_pending() {
        if future.blocking().get() {
            return Err(PyRuntimeError::new_err("await wasn't used with future"));
        }
        future.blocking().set(true);
        return Ok(Some(Step::Yield(object)));
    }
    done(iterator);
    future::result_of(py, future).map(|value| Some(Step::Return(value)))
}

#[inline]
fn let_go(iterator: &FutureIterator) {
    drop(iterator.future.take());
}

/// As asked by a program, or by an `await` of the interpreter's, which cannot be told apart.
#[inline]
fn ask_for_next(py: Python<'_>, iterator: &FutureIterator) -> PyResult<Option<Step>> {
    if REPEATS { ask(py, iterator, |_| ()) } else { ask(py, iterator, let_go) }
}

/// `StopIteration`, with `value` if that is one.
fn stop(py: Python<'_>, value: Option<&Object>) -> PyErr {
    let class = py.get_type::<PyStopIteration>();
    let error = match value {
        Some(value) if REPEATS || !value.is_none() => class.call1((value.bind(py),)),
        _ => class.call0(),
    };
    error.map_or_else(|error| error, PyErr::from_value)
}

/// `next(iterator)`: what `await` asks.
fn next(py: Python<'_>, iterator: &Instance<FutureIterator>) -> PyResult<Step> {
    ask_for_next(py, iterator).map(|step| step.unwrap_or_else(|| Step::Return(Object::none(py))))
}

/// What native coroutines ask. What is sent does not matter.
fn native_send(py: Python<'_>, iterator: &Instance<FutureIterator>, _value: &Object) -> PyResult<Step> {
    next(py, iterator)
}

/// `send(value)`.
fn send(py: Python<'_>, iterator: &Instance<FutureIterator>, _value: &Object) -> PyResult<Object> {
    match ask_for_next(py, iterator)? {
        Some(Step::Yield(future)) => Ok(future),
        Some(Step::Return(value)) => Err(stop(py, Some(&value))),
        None => Err(stop(py, None)),
    }
}

/// `throw(exception)`; in any other form it is asyncio's.
fn throw(py: Python<'_>, iterator: &Instance<FutureIterator>, arguments: Arguments<'_>) -> PyResult<Object> {
    if let Some([error]) = arguments.only()
        && error.bind(py).is_instance_of::<PyBaseException>()
    {
        let_go(iterator);
        return Err(PyErr::from_value(error.bind(py).clone()));
    }
    let stand_in = future::create(py, &Object::none(py))?;
    let asyncios = Object::new(stand_in.bind(py).try_iter()?);
    let outcome = arguments.pass_to(py, Object::of(&asyncios.bind(py).getattr(&names(py).throw)?));
    // It lets go of its future before it raises what is thrown, and not for arguments that it refuses.
    if stand_in.reference_count() == 1 {
        let_go(iterator);
    }
    outcome
}

/// Makes the class and adds it to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = Builder::<Instance<FutureIterator>>::new()
        .method(Method::one_argument(c"send", send, c"Run to the next wait."))
        .method(Method::any_arguments(c"throw", throw, c"Raise an exception where it waits."))
        .method(Method::no_arguments(
            c"close",
            |_, iterator: &Instance<FutureIterator>| {
                let_go(iterator);
                Ok(())
            },
            c"Wait no more.",
        ))
        .iterator_is_itself()
        .iterates(next)
        .sends(native_send)
        .build_over_object(module.py())?;
    module.add("FutureIter", class)
}

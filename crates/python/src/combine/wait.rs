//! `wait`: which futures are done when all are, when one is, or when time is up.
//!
//! All futures have the same callback, a [`WaitCallback`], as in asyncio. Where it would only count it is skipped: see
//! [`counter`](super::counter).
#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PySet, PyString, PyTuple, PyType};

use super::callback_class::{self, callback_class};
use super::caller::{self, Awaiter, Caller};
use super::counter::Counter;
use super::is_plain_collection;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::cell::Slot;
use crate::ffi::class::{Builder, Instance};
use crate::ffi::fields::{holds_no_object, native_state};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::handle::context;
use crate::sync::waiting;
use crate::task::native_callback::NativeCallback;
use crate::task::{self, future};

/// What ends the wait, apart from all futures being done and the time being up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    All,
    First,
    FirstException,
}

holds_no_object!(Until);

impl Until {
    fn named(name: &str) -> Option<Self> {
        match name {
            "ALL_COMPLETED" => Some(Self::All),
            "FIRST_COMPLETED" => Some(Self::First),
            "FIRST_EXCEPTION" => Some(Self::FirstException),
            _ => None,
        }
    }
}

native_state! {
    /// The callback of all futures of one call.
    pub(crate) struct WaitCallback {
        until: Until,
        counter: Counter,
        waiter: Slot,
        timer: Slot,
        awaiter: Awaiter,
    }
}

callback_class!(
    WaitCallback,
    c"ferrio._ferrio.WaitCallback",
    c"The callback of all futures of one call.",
    "_wait.<locals>._on_completion"
);

/// Makes the class of the callback.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let builder = Builder::<Instance<WaitCallback>>::new()
        .called_with_one(|py, callback, future| callback.run(py, caller::child(future)?));
    callback_class::make_class(py, builder)
}

impl NativeCallback for WaitCallback {
    #[inline]
    fn skip_callback(py: Python<'_>, callback: &Instance<Self>, child: &Object) -> PyResult<bool> {
        let only_counts = match callback.until {
            Until::All => true,
            Until::First => false,
            Until::FirstException => future::has_value(child),
        };
        let skipped = callback.counter.child_is_done(only_counts);
        if skipped {
            callback.awaiter.end(py, child)?;
        }
        Ok(skipped)
    }
}

impl WaitCallback {
    /// Follows `_on_completion` of asyncio's `_wait`.
    fn run(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        let all = self.counter.callback_runs();
        if all || self.until == Until::First || (self.until == Until::FirstException && has_failed(py, child)?) {
            self.cancel_timer(py)?;
            if let Some(waiter) = self.waiter.get()
                && !waiting::is_done(py, &waiter)?
            {
                waiting::set_result(py, &waiter, Object::none(py))?;
            }
        }
        self.awaiter.end(py, child)
    }

    fn cancel_timer(&self, py: Python<'_>) -> PyResult<()> {
        self.timer.get().map_or(Ok(()), |timer| call_method(py, &names(py).cancel, [&timer]).map(drop))
    }
}

/// `not f.cancelled() and f.exception() is not None`, which counts as retrieving the exception.
fn has_failed(py: Python<'_>, child: &Object) -> PyResult<bool> {
    if future::has_value(child) || waiting::is_cancelled(py, child)? {
        return Ok(false);
    }
    call_method(py, &names(py).exception, [child]).map(|exception| !exception.is_none())
}

static WAIT: Plan = Plan { qualified_name: "wait", start, resume };

/// `wait(fs, *, timeout=None, return_when=ALL_COMPLETED)`.
pub(crate) fn wait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let [futures] = arguments.positional() else { return Ok(None) };
    let mut timeout = py.None().into_bound(py);
    let mut return_when = names(py).all_completed.bind(py).clone().into_any();
    for (name, value) in arguments.named(py) {
        match name.cast::<PyString>()?.to_str()? {
            "timeout" => timeout = value.bind(py).clone(),
            "return_when" => return_when = value.bind(py).clone(),
            _ => return Ok(None),
        }
    }
    let options = PyTuple::new(py, [timeout, return_when])?;
    coroutine::make(py, &WAIT, futures.clone(), Some(Object::new(options))).map(Some)
}

fn start(py: Python<'_>, state: &CoroutineState) -> PyResult<Step> {
    let given = state.owner.get_or_none(py);
    let options = state.item.get_or_none(py);
    let (timeout, return_when) = options.bind(py).extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
    let Some((waiting, futures)) = begin(py, given.bind(py), &timeout, &return_when)? else {
        // What is unusual is left to asyncio's own function.
        let keywords = PyDict::new(py);
        keywords.set_item(&names(py).timeout, timeout)?;
        keywords.set_item(&names(py).return_when, return_when)?;
        let original = OBJECTS.asyncio_wait.bind(py)?;
        let awaitable = original.call((given.bind(py),), Some(&keywords))?;
        return state.wait_for(py, Object::new(awaitable));
    };
    let waiter = waiting.waiter.get_or_none(py);
    state.owner.set(Object::new(futures));
    state.item.set(waiting.into_object());
    state.wait_for(py, waiter)
}

/// Adds the callback to all futures; `None` if the call is left to asyncio's own function.
fn begin<'py>(
    py: Python<'py>,
    given: &Bound<'py, PyAny>,
    timeout: &Bound<'py, PyAny>,
    return_when: &Bound<'py, PyAny>,
) -> PyResult<Option<(Instance<WaitCallback>, Bound<'py, PySet>)>> {
    let is_time =
        timeout.is_none() || timeout.is_exact_instance_of::<PyFloat>() || timeout.is_exact_instance_of::<PyInt>();
    let until = return_when.cast_exact::<PyString>().ok().and_then(|name| Until::named(name.to_str().ok()?));
    let (true, true, Some(until)) = (is_plain_collection(given), is_time, until) else { return Ok(None) };
    let Some(caller) = Caller::find(py)? else { return Ok(None) };
    for future in given.try_iter()? {
        if !caller.has_future(Object::of(&future?)) {
            return Ok(None);
        }
    }
    let futures = PySet::empty(py)?;
    let mut are_tasks = true;
    for future in given.try_iter()? {
        let future = future?;
        are_tasks &= task::is_exact(Object::of(&future));
        futures.add(future)?;
    }
    if futures.is_empty() {
        return Ok(None);
    }
    let waiter = call_method(py, &names(py).create_future, [caller.event_loop.object()])?;
    let waiting = WaitCallback {
        until,
        counter: Counter::new(futures.len(), are_tasks),
        waiter: Slot::default(),
        timer: Slot::default(),
        awaiter: caller.awaiter(),
    };
    let waiting = Instance::<WaitCallback>::create(py, waiting)?;
    if !timeout.is_none() {
        let (timeout, release) = (Object::of(timeout), OBJECTS.release_waiter.get(py)?);
        let timer = call_method(py, &names(py).call_later, [caller.event_loop.object(), timeout, release, &waiter])?;
        waiting.timer.set(timer);
    }
    waiting.waiter.set(waiter);
    let context = context::copy_current(py)?;
    for future in futures.try_iter()? {
        let future = Object::new(future?);
        future::add_callback(py, &future, waiting.object(), &context)?;
        waiting.awaiter.begin(py, &future)?;
    }
    Ok(Some((waiting, futures)))
}

fn resume(py: Python<'_>, state: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let (Some(futures), Some(callback)) = (state.owner.get(), state.item.get()) else {
        return outcome.map(Step::Return);
    };
    let (Ok(futures), Some(waiting)) =
        (futures.bind(py).cast_exact::<PySet>(), Instance::<WaitCallback>::of(&callback))
    else {
        // asyncio's own function has ended.
        return outcome.map(Step::Return);
    };
    waiting.cancel_timer(py)?;
    for future in futures.try_iter()? {
        let future = Object::new(future?);
        future::remove_callback(py, &future, &callback)?;
        waiting.awaiter.end(py, &future)?;
    }
    outcome?;
    let (done, pending) = (PySet::empty(py)?, PySet::empty(py)?);
    for future in futures.try_iter()? {
        let future = Object::new(future?);
        let set = if waiting::is_done(py, &future)? { &done } else { &pending };
        set.add(future.into_bound(py))?;
    }
    Ok(Step::Return(Object::new(PyTuple::new(py, [done, pending])?)))
}

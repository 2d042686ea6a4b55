//! `wait`: which futures are done when all are, when one is, or when time is up.
//!
//! All futures have the same callback, a [`Waiting`], as in asyncio. Where it does no more than count it is spared: see
//! [`ends`](super::ends).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use super::ends::Ends;
use super::ours;
use super::stand_in::stands_for;
use crate::coroutine::{self, CoroutineState as State, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::Slot;
use crate::ffi::object::Object;
use crate::ffi::trampoline::{caught, none};
use crate::handle::context;
use crate::sync::waiting;
use crate::task::spawning_core;
use crate::task::{self, future};

/// What ends the wait, beside the end of all and of the time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    All,
    First,
    FirstException,
}

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

/// The callback of what one call waits for.
#[pyclass(frozen, module = "ferrio._ferrio")]
pub(crate) struct Waiting {
    until: Until,
    ends: Ends,
    waiter: Slot,
    timer: Slot,
    /// The task that waits, for the call graph.
    task: Slot,
}

#[pymethods]
impl Waiting {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let child = ours(future)?;
            let all = self.ends.hears();
            if all || self.until == Until::First || (self.until == Until::FirstException && has_failed(py, &child)?) {
                self.end_timer(py)?;
                if let Some(waiter) = self.waiter.get() {
                    if !waiting::is_done(py, &waiter)? {
                        waiting::set_result(py, &waiter, none(py))?;
                    }
                }
            }
            self.no_longer_awaits(py, &child)
        })
    }
}

stands_for!(Waiting, "_wait.<locals>._on_completion", { waiter, timer, task });

impl Waiting {
    fn end_timer(&self, py: Python<'_>) -> PyResult<()> {
        self.timer.get().map_or(Ok(()), |timer| timer.bind(py).call_method0(intern!(py, "cancel")).map(drop))
    }

    /// Takes the caller out of the call graph, where it waits for `child`.
    fn no_longer_awaits(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        self.task.get().map_or(Ok(()), |task| task::no_longer_awaited_by(py, child, &task))
    }
}

/// `not f.cancelled() and f.exception() is not None`, which counts as retrieving the exception.
fn has_failed(py: Python<'_>, child: &Object) -> PyResult<bool> {
    if future::has_value(child) || waiting::is_cancelled(py, child.bind(py))? {
        return Ok(false);
    }
    Ok(!child.bind(py).call_method0(intern!(py, "exception"))?.is_none())
}

/// `child` has ended: whether its callback is spared.
#[inline]
pub(super) fn spares(py: Python<'_>, waiting: &Waiting, child: &Object) -> PyResult<bool> {
    let only_counts = match waiting.until {
        Until::All => true,
        Until::First => false,
        Until::FirstException => future::has_value(child),
    };
    let spared = waiting.ends.sees(only_counts);
    if spared {
        waiting.no_longer_awaits(py, child)?;
    }
    Ok(spared)
}

static WAIT: Plan = Plan { qualified_name: "wait", start, resume };

/// `wait(fs, *, timeout=None, return_when=ALL_COMPLETED)`.
pub(crate) fn wait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let &[futures] = arguments.positional_addresses() else { return Ok(None) };
    let mut timeout = none(py).into_bound(py);
    let mut return_when = intern!(py, "ALL_COMPLETED").clone().into_any();
    for (name, value) in arguments.keywords(py) {
        // SAFETY: an argument of the call under way.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        match name.cast::<PyString>()?.to_str()? {
            "timeout" => timeout = value,
            "return_when" => return_when = value,
            _ => return Ok(None),
        }
    }
    // SAFETY: an argument of the call under way.
    let futures = unsafe { Object::from_borrowed(futures) };
    let options = PyTuple::new(py, [timeout, return_when])?;
    coroutine::make(py, &WAIT, futures, Some(Object::new(options))).map(Some)
}

fn start(py: Python<'_>, state: &State) -> PyResult<Step> {
    let given = state.owner.get().unwrap_or_else(|| none(py));
    let options = state.item.get().unwrap_or_else(|| none(py));
    let (timeout, return_when) = options.bind(py).extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
    let Some((waiting, futures)) = begin(py, &given, &timeout, &return_when)? else {
        // What is unusual is asyncio's.
        static ORIGINAL: PyOnceLock<Object> = PyOnceLock::new();
        let original = waiting::imported(py, &ORIGINAL, "ferrio._combining", "asyncios_wait")?;
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "timeout"), timeout)?;
        keywords.set_item(intern!(py, "return_when"), return_when)?;
        let awaitable = original.call((given.bind(py),), Some(&keywords))?;
        return state.wait_for(py, Object::new(awaitable));
    };
    let waiter = waiting.get().waiter.get().unwrap_or_else(|| none(py));
    state.owner.set(Object::new(futures));
    state.item.set(Object::new(waiting));
    state.wait_for(py, waiter)
}

/// Adds the callback to all futures; `None` where that is asyncio's to do.
fn begin<'py>(
    py: Python<'py>,
    given: &Object,
    timeout: &Bound<'py, PyAny>,
    return_when: &Bound<'py, PyAny>,
) -> PyResult<Option<(Bound<'py, Waiting>, Bound<'py, PySet>)>> {
    let given = given.bind(py);
    let is_plain = given.is_exact_instance_of::<PyList>()
        || given.is_exact_instance_of::<PySet>()
        || given.is_exact_instance_of::<PyTuple>()
        || given.is_exact_instance_of::<PyFrozenSet>();
    let is_time =
        timeout.is_none() || timeout.is_exact_instance_of::<PyFloat>() || timeout.is_exact_instance_of::<PyInt>();
    let until = return_when.cast_exact::<PyString>().ok().and_then(|name| Until::named(name.to_str().ok()?));
    let (true, true, Some(until)) = (is_plain, is_time, until) else { return Ok(None) };
    let event_loop = waiting::running_loop(py)?;
    if spawning_core(py, &event_loop)?.is_none() {
        return Ok(None);
    }
    for future in given.try_iter()? {
        if !task::is_of_loop(future?.as_ptr(), event_loop.as_ptr()) {
            return Ok(None);
        }
    }
    let futures = PySet::empty(py)?;
    let mut all_tasks = true;
    for future in given.try_iter()? {
        let future = future?;
        all_tasks &= task::is_exact(future.as_ptr());
        futures.add(future)?;
    }
    let caller = task::current_task(py, &event_loop)?;
    if futures.is_empty() || caller.as_ref().is_some_and(|task| !task::is_task(task.as_ptr())) {
        return Ok(None);
    }
    let waiter = event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
    let waiting = Waiting {
        until,
        ends: Ends::new(futures.len(), all_tasks),
        waiter: Slot::default(),
        timer: Slot::default(),
        task: Slot::default(),
    };
    let waiting = Bound::new(py, waiting)?;
    if !timeout.is_none() {
        static RELEASE: PyOnceLock<Object> = PyOnceLock::new();
        let release = waiting::imported(py, &RELEASE, "asyncio.tasks", "_release_waiter")?;
        let timer = event_loop.bind(py).call_method1(intern!(py, "call_later"), (timeout, release, &waiter))?;
        waiting.get().timer.set(Object::new(timer));
    }
    waiting.get().waiter.set(Object::new(waiter));
    if let Some(task) = &caller {
        waiting.get().task.set(task.clone());
    }
    let callback = Object::new(waiting.clone());
    let context = context::copy_current(py)?;
    for future in futures.try_iter()? {
        let future = Object::new(future?);
        future::add_callback(py, &future, &callback, &context)?;
        if let Some(task) = &caller {
            task::awaited_by(py, &future, task)?;
        }
    }
    Ok(Some((waiting, futures)))
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let held = (state.owner.get().unwrap_or_else(|| none(py)), state.item.get().unwrap_or_else(|| none(py)));
    let (futures, callback) = &held;
    let (Ok(futures), Ok(waiting)) =
        (futures.bind(py).cast_exact::<PySet>(), callback.bind(py).cast_exact::<Waiting>())
    else {
        return outcome.map(Step::Return);
    };
    waiting.get().end_timer(py)?;
    for future in futures.try_iter()? {
        let future = Object::new(future?);
        future::remove_callback(py, &future, callback)?;
        waiting.get().no_longer_awaits(py, &future)?;
    }
    outcome?;
    let (done, pending) = (PySet::empty(py)?, PySet::empty(py)?);
    for future in futures.try_iter()? {
        let future = future?;
        let set = if waiting::is_done(py, &Object::new(future.clone()))? { &done } else { &pending };
        set.add(future)?;
    }
    Ok(Step::Return(Object::new(PyTuple::new(py, [done, pending])?)))
}

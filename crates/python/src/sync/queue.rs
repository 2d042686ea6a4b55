//! `Queue`: items in a `deque`, and who waits to put and to get.
//!
//! The native code is for a plain `Queue` with a plain limit, whose items are in an exact `deque`. Its subclasses keep
//! theirs as they like (`_init`, `_put`, `_get`), so for them asyncio's own code runs, over the same attributes.

use pyo3::prelude::*;
use pyo3::types::PyInt;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::cell::{Plain, Slot};
use super::coroutine::{self, Plan, State, Step};
use super::event::EventCore;
use super::waiting;
use crate::convert::arguments::Arguments;
use crate::object::Object;
use crate::trampoline::none;

/// The state of a queue, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct QueueCore {
    event_loop: Slot,
    /// As given; `limit` is its value when it is a plain integer.
    maxsize: Slot,
    limit: Plain<Option<i64>>,
    items: Slot,
    /// Whether `items` is exactly a `deque`.
    is_plain: Plain<bool>,
    getters: Slot,
    putters: Slot,
    unfinished: Plain<i64>,
    finished: Slot,
    is_shut_down: Plain<bool>,
}

/// Attributes that hold any object, by asyncio's names.
macro_rules! attributes {
    ($($get:ident $set:ident $field:ident)*) => {
        #[pymethods]
        impl QueueCore {
            $(
                #[getter]
                fn $get<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
                    self.$field.get().unwrap_or_else(|| none(py)).into_bound(py)
                }

                #[setter($get)]
                fn $set(&self, value: Bound<'_, PyAny>) {
                    self.$field.set(Object::new(value));
                }
            )*
        }
    };
}

attributes! {
    _loop set_loop event_loop
    _getters set_getters getters
    _putters set_putters putters
    _finished set_finished finished
}

#[pymethods]
impl QueueCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[getter]
    fn _maxsize<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.maxsize.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_maxsize)]
    fn set_maxsize(&self, value: Bound<'_, PyAny>) {
        let plain = if value.is_exact_instance_of::<PyInt>() { value.extract::<i64>().ok() } else { None };
        self.limit.set(plain);
        self.maxsize.set(Object::new(value));
    }

    #[getter]
    fn _queue<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.items.get().unwrap_or_else(|| none(py)).into_bound(py)
    }

    #[setter(_queue)]
    fn set_queue(&self, py: Python<'_>, value: Bound<'_, PyAny>) -> PyResult<()> {
        let value = Object::new(value);
        self.is_plain.set(waiting::is_deque(py, &value)?);
        self.items.set(value);
        Ok(())
    }

    #[getter]
    fn _unfinished_tasks(&self) -> i64 {
        self.unfinished.get()
    }

    #[setter(_unfinished_tasks)]
    fn set_unfinished_tasks(&self, value: i64) {
        self.unfinished.set(value);
    }

    #[getter]
    fn _is_shutdown(&self) -> bool {
        self.is_shut_down.get()
    }

    #[setter(_is_shutdown)]
    fn set_is_shutdown(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.is_shut_down.set(value.is_truthy()?);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.slots().into_iter().try_for_each(|slot| slot.visit(&visit))
    }

    fn __clear__(&self) {
        drop(self.slots().map(Slot::take));
    }
}

impl QueueCore {
    fn slots(&self) -> [&Slot; 6] {
        [&self.event_loop, &self.maxsize, &self.items, &self.getters, &self.putters, &self.finished]
    }

    /// Whether the native code may run.
    #[inline]
    fn is_native(&self) -> bool {
        self.is_plain.get() && self.limit.get().is_some()
    }

    #[inline]
    fn items(&self, py: Python<'_>) -> Object {
        self.items.get().unwrap_or_else(|| none(py))
    }

    fn is_full(&self, py: Python<'_>) -> PyResult<bool> {
        let limit = self.limit.get().unwrap_or(0);
        let Ok(limit) = usize::try_from(limit) else { return Ok(false) };
        Ok(limit > 0 && waiting::length(py, &self.items(py))? >= limit)
    }

    fn is_empty(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(waiting::length(py, &self.items(py))? == 0)
    }

    fn put_now(&self, py: Python<'_>, item: &Object) -> PyResult<()> {
        if self.is_shut_down.get() {
            return Err(waiting::queue_error(py, "QueueShutDown"));
        }
        if self.is_full(py)? {
            return Err(waiting::queue_error(py, "QueueFull"));
        }
        waiting::append(py, &self.items(py), item)?;
        let before = self.unfinished.get();
        self.unfinished.set(before.saturating_add(1));
        if before == 0 {
            // It was set when the last task was done; since then it is down.
            self.clear_finished(py)?;
        }
        wake_next(py, &self.getters)
    }

    fn clear_finished(&self, py: Python<'_>) -> PyResult<()> {
        let Some(finished) = self.finished.get() else { return Ok(()) };
        match finished.bind(py).cast::<EventCore>() {
            Ok(event) => event.get().clear(),
            Err(_) => drop(finished.bind(py).call_method0(intern!(py, "clear"))?),
        }
        Ok(())
    }

    fn get_now(&self, py: Python<'_>) -> PyResult<Object> {
        if self.is_empty(py)? {
            return Err(waiting::queue_error(py, if self.is_shut_down.get() { "QueueShutDown" } else { "QueueEmpty" }));
        }
        let item = waiting::pop_left(py, &self.items(py))?;
        wake_next(py, &self.putters)?;
        Ok(item)
    }

    /// A future at the end of one of the two queues of waiters.
    fn join(&self, py: Python<'_>, object: &Object, waiters: &Slot) -> PyResult<Object> {
        let future = waiting::new_future(py, object, &self.event_loop)?;
        waiting::append(py, &waiters.get().unwrap_or_else(|| none(py)), &future)?;
        Ok(future)
    }
}

/// Wakes the first waiter that is not done, and drops those before it.
fn wake_next(py: Python<'_>, waiters: &Slot) -> PyResult<()> {
    let Some(waiters) = waiters.get() else { return Ok(()) };
    while waiting::length(py, &waiters)? > 0 {
        let waiter = waiting::pop_left(py, &waiters)?;
        if !waiting::is_done(py, &waiter)? {
            return waiting::set_result(py, &waiter, none(py));
        }
    }
    Ok(())
}

/// After a wait that ended badly: the waiter leaves, and whoever may go on instead is woken.
fn give_up(
    py: Python<'_>,
    waiters: &Slot,
    waiter: Option<&Object>,
    may_go_on: impl FnOnce() -> PyResult<bool>,
) -> PyResult<()> {
    let (Some(waiter), Some(deque)) = (waiter, waiters.get()) else { return Ok(()) };
    // It may not be done yet.
    waiter.bind(py).call_method0(intern!(py, "cancel"))?;
    // Who was woken is no longer in the queue.
    waiting::remove(py, &deque, waiter)?;
    if may_go_on()? && !waiting::is_cancelled(py, waiter.bind(py))? {
        wake_next(py, waiters)?;
    }
    Ok(())
}

static PUT: Plan = Plan { qualified_name: "Queue.put", start: start_put, resume: resume_put };
static GET: Plan = Plan { qualified_name: "Queue.get", start: start_get, resume: resume_get };

fn start_put(py: Python<'_>, state: &State) -> PyResult<Step> {
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let queue = owner.bind(py).cast::<QueueCore>()?.get();
    if !queue.is_full(py)? {
        let item = state.item.take().unwrap_or_else(|| none(py));
        queue.put_now(py, &item)?;
        return Ok(Step::Return(none(py)));
    }
    if queue.is_shut_down.get() {
        return Err(waiting::queue_error(py, "QueueShutDown"));
    }
    let putter = queue.join(py, &owner, &queue.putters)?;
    state.wait_for(py, putter)
}

fn resume_put(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let Err(error) = outcome else { return start_put(py, state) };
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let queue = owner.bind(py).cast::<QueueCore>()?.get();
    give_up(py, &queue.putters, state.future.get().as_ref(), || Ok(!queue.is_full(py)?))?;
    Err(error)
}

fn start_get(py: Python<'_>, state: &State) -> PyResult<Step> {
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let queue = owner.bind(py).cast::<QueueCore>()?.get();
    if !queue.is_empty(py)? {
        return queue.get_now(py).map(Step::Return);
    }
    if queue.is_shut_down.get() {
        return Err(waiting::queue_error(py, "QueueShutDown"));
    }
    let getter = queue.join(py, &owner, &queue.getters)?;
    state.wait_for(py, getter)
}

fn resume_get(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let Err(error) = outcome else { return start_get(py, state) };
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let queue = owner.bind(py).cast::<QueueCore>()?.get();
    give_up(py, &queue.getters, state.future.get().as_ref(), || Ok(!queue.is_empty(py)?))?;
    Err(error)
}

/// The queue of a call that the native code may answer, and the arguments besides it.
fn receiver<'a>(
    py: Python<'_>,
    arguments: &Arguments<'a>,
) -> PyResult<Option<(Object, &'a [*mut pyo3::ffi::PyObject])>> {
    let (&[owner, ref rest @ ..], true) = (arguments.positional(), arguments.has_no_keywords()) else {
        return Ok(None);
    };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let is_native = owner.bind(py).cast::<QueueCore>()?.get().is_native();
    Ok(is_native.then_some((owner, rest)))
}

pub(super) fn put(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, &[item])) = receiver(py, &arguments)? else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let item = unsafe { Object::from_borrowed(item) };
    coroutine::make(py, &PUT, owner, Some(item)).map(Some)
}

pub(super) fn get(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, [])) = receiver(py, &arguments)? else { return Ok(None) };
    coroutine::make(py, &GET, owner, None).map(Some)
}

pub(super) fn put_nowait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, &[item])) = receiver(py, &arguments)? else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let item = unsafe { Object::from_borrowed(item) };
    owner.bind(py).cast::<QueueCore>()?.get().put_now(py, &item)?;
    Ok(Some(none(py)))
}

pub(super) fn get_nowait(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some((owner, [])) = receiver(py, &arguments)? else { return Ok(None) };
    owner.bind(py).cast::<QueueCore>()?.get().get_now(py).map(Some)
}

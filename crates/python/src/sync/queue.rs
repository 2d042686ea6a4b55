//! `Queue`, `LifoQueue`, `PriorityQueue`: items, and who waits to put and to get.
//!
//! The native code is for exactly these classes with a plain limit, whose items are in an exact `deque` or list; they differ
//! in their [`Order`]. Other subclasses keep their items as they like (`_init`, `_put`, `_get`), so for them asyncio's own
//! code runs, over the same attributes.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::event::EventCore;
use super::order::{FirstIn, Items, Order};
use super::waiting;
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::deque;
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::number;
use crate::ffi::object::Object;
use crate::ffi::objects::{Lazy, OBJECTS};

native_state! {
    /// The state of a queue, under asyncio's names.
    #[derive(Default)]
    pub(crate) struct QueueCore {
        event_loop: Slot,
        /// As given; `limit` is its value when it is a plain integer.
        maxsize: Slot,
        limit: Plain<Option<i64>>,
        items: Slot,
        /// What `items` is.
        kind: Plain<Items>,
        getters: Slot,
        putters: Slot,
        unfinished: Plain<i64>,
        finished: Slot,
        is_shut_down: Plain<bool>,
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(QueueCore);

class_over_object! {
    QueueCore, c"ferrio._ferrio.QueueCore",
    c"The state of a queue, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<QueueCore>>::new()
        .instantiable()
        .attribute(Attribute::of_late_value(c"_loop", |queue: &QueueCore| &queue.event_loop))
        .attribute(Attribute::of_value(c"_getters", |queue: &QueueCore| &queue.getters))
        .attribute(Attribute::of_value(c"_putters", |queue: &QueueCore| &queue.putters))
        .attribute(Attribute::of_value(c"_finished", |queue: &QueueCore| &queue.finished))
        .attribute(Attribute::of_flag(c"_is_shutdown", |queue: &QueueCore| &queue.is_shut_down))
        .attribute(Attribute::of_state(
            c"_maxsize",
            |py, queue: &Instance<QueueCore>| Ok(queue.maxsize.get_or_none(py)),
            |_, queue: &Instance<QueueCore>, value| {
                queue.limit.set(number::exact_integer(value).and_then(|value| i64::try_from(value).ok()));
                queue.maxsize.set(value.clone());
                Ok(())
            },
        ))
        .attribute(Attribute::of_state(
            c"_queue",
            |py, queue: &Instance<QueueCore>| Ok(queue.items.get_or_none(py)),
            |py, queue: &Instance<QueueCore>, value| {
                queue.kind.set(Items::of(py, value)?);
                queue.items.set(value.clone());
                Ok(())
            },
        ))
        .attribute(Attribute::of_state(
            c"_unfinished_tasks",
            |_, queue: &Instance<QueueCore>| Ok(queue.unfinished.get()),
            |py, queue: &Instance<QueueCore>, value| {
                queue.unfinished.set(value.bind(py).extract()?);
                Ok(())
            },
        ))
        .build_over_object(py)
}

impl QueueCore {
    /// Whether the native code for this order may run.
    #[inline]
    fn is_native<O: Order>(&self) -> bool {
        self.kind.get() == O::ITEMS && self.limit.get().is_some()
    }

    #[inline]
    fn items(&self, py: Python<'_>) -> Object {
        self.items.get_or_none(py)
    }

    #[inline]
    fn is_full<O: Order>(&self, py: Python<'_>) -> PyResult<bool> {
        match usize::try_from(self.limit.get().unwrap_or(0)) {
            Err(_) | Ok(0) => Ok(false),
            Ok(limit) => Ok(O::length(py, &self.items(py))? >= limit),
        }
    }

    #[inline]
    fn is_empty<O: Order>(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(O::length(py, &self.items(py))? == 0)
    }

    fn put_now<O: Order>(&self, py: Python<'_>, item: &Object) -> PyResult<()> {
        if self.is_shut_down.get() {
            return Err(queue_error(py, &OBJECTS.asyncio_queue_shut_down));
        }
        if self.is_full::<O>(py)? {
            return Err(queue_error(py, &OBJECTS.asyncio_queue_full));
        }
        self.add::<O>(py, item)
    }

    /// Puts an item in, which there is room for.
    fn add<O: Order>(&self, py: Python<'_>, item: &Object) -> PyResult<()> {
        O::put(py, &self.items(py), item)?;
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
        match Instance::<EventCore>::of(&finished) {
            Some(event) => event.clear(),
            None => drop(call_method(py, &names(py).clear, [&finished])?),
        }
        Ok(())
    }

    fn get_now<O: Order>(&self, py: Python<'_>) -> PyResult<Object> {
        if self.is_empty::<O>(py)? {
            return Err(if self.is_shut_down.get() {
                queue_error(py, &OBJECTS.asyncio_queue_shut_down)
            } else {
                queue_error(py, &OBJECTS.asyncio_queue_empty)
            });
        }
        self.take::<O>(py)
    }

    /// Takes an item out, of which there is one.
    fn take<O: Order>(&self, py: Python<'_>) -> PyResult<Object> {
        let item = O::take(py, &self.items(py))?;
        wake_next(py, &self.putters)?;
        Ok(item)
    }

    fn finish_one(&self, py: Python<'_>) -> PyResult<()> {
        let left = self.unfinished.get();
        if left <= 0 {
            return Err(PyValueError::new_err("task_done() called too many times"));
        }
        self.unfinished.set(left - 1);
        if left > 1 {
            return Ok(());
        }
        let Some(finished) = self.finished.get() else { return Ok(()) };
        match Instance::<EventCore>::of(&finished) {
            Some(event) => event.set(py),
            None => call_method(py, &names(py).set, [&finished]).map(drop),
        }
    }
}

impl Instance<QueueCore> {
    /// Waits at the end of one of the two queues of waiters.
    fn begin_to_wait(&self, py: Python<'_>, coroutine: &CoroutineState, waiters: &Slot) -> PyResult<Step> {
        let future = waiting::new_future(py, self.object(), &self.event_loop)?;
        deque::append(py, &waiters.get_or_none(py), &future)?;
        coroutine.wait_for(py, future)
    }
}

/// One of asyncio's errors of queues, without arguments.
#[cold]
fn queue_error(py: Python<'_>, class: &Lazy) -> PyErr {
    let class = class.bind(py).and_then(|class| Ok(class.cast::<PyType>()?));
    class.map_or_else(|error| error, |class| PyErr::from_type(class.clone(), ()))
}

/// Wakes the first waiter that is not done, and drops those before it.
#[inline]
fn wake_next(py: Python<'_>, waiters: &Slot) -> PyResult<()> {
    let Some(waiters) = waiters.get() else { return Ok(()) };
    if deque::is_exact(py, &waiters)? && deque::length(py, &waiters)? == 0 {
        return Ok(());
    }
    wake_first_pending(py, &waiters)
}

fn wake_first_pending(py: Python<'_>, waiters: &Object) -> PyResult<()> {
    while deque::length(py, waiters)? > 0 {
        let waiter = deque::pop_left(py, waiters)?;
        if !waiting::is_done(py, &waiter)? {
            return waiting::set_result(py, &waiter, Object::none(py));
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
    let (Some(waiter), Some(queue)) = (waiter, waiters.get()) else { return Ok(()) };
    // It may not be done yet.
    call_method(py, &names(py).cancel, [waiter])?;
    // Who was woken is no longer in the queue.
    deque::remove(py, &queue, waiter)?;
    if may_go_on()? && !waiting::is_cancelled(py, waiter)? {
        wake_next(py, waiters)?;
    }
    Ok(())
}

pub(super) const fn put_plan<O: Order>() -> Plan {
    Plan { qualified_name: "Queue.put", start: start_put::<O>, resume: resume_put::<O> }
}

pub(super) const fn get_plan<O: Order>() -> Plan {
    Plan { qualified_name: "Queue.get", start: start_get::<O>, resume: resume_get::<O> }
}

static JOIN_PLAN: Plan = Plan {
    qualified_name: "Queue.join",
    start: start_join,
    resume: |py, _, outcome| outcome.map(|_| Step::Return(Object::none(py))),
};

fn is_native<O: Order>(_: Python<'_>, object: &Object) -> bool {
    Instance::<QueueCore>::of(object).is_some_and(|queue| queue.is_native::<O>())
}

pub(super) const fn put<O: Order>() -> CoroutineMethod {
    CoroutineMethod { plan: O::PUT, takes: 1, keeps: true, fits: is_native::<O> }
}

pub(super) const fn get<O: Order>() -> CoroutineMethod {
    CoroutineMethod { fits: is_native::<O>, ..CoroutineMethod::of(O::GET, 0) }
}

pub(super) const JOIN: CoroutineMethod = CoroutineMethod::of(&JOIN_PLAN, 0);

fn start_put<O: Order>(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let queue = coroutine.receiver::<QueueCore>(py)?;
    let is_full = queue.is_full::<O>(py)?;
    if queue.is_shut_down.get() {
        return Err(queue_error(py, &OBJECTS.asyncio_queue_shut_down));
    }
    if !is_full {
        let item = coroutine.item.take().unwrap_or_else(|| Object::none(py));
        queue.add::<O>(py, &item)?;
        return Ok(Step::Return(Object::none(py)));
    }
    queue.begin_to_wait(py, coroutine, &queue.putters)
}

fn resume_put<O: Order>(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let Err(error) = outcome else { return start_put::<O>(py, coroutine) };
    let queue = coroutine.receiver::<QueueCore>(py)?;
    give_up(py, &queue.putters, coroutine.future.get().as_ref(), || Ok(!queue.is_full::<O>(py)?))?;
    Err(error)
}

/// What a coroutine that gets comes to.
pub(crate) enum Getting {
    Item(Object),
    /// It waits, and then its plan goes on.
    Waiting(Step),
}

/// Gets an item of the queue in `coroutine.owner`, or begins to wait for one.
#[inline]
fn get_or_wait<O: Order>(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Getting> {
    let queue = coroutine.receiver::<QueueCore>(py)?;
    if !queue.is_empty::<O>(py)? {
        return queue.take::<O>(py).map(Getting::Item);
    }
    if queue.is_shut_down.get() {
        return Err(queue_error(py, &OBJECTS.asyncio_queue_shut_down));
    }
    queue.begin_to_wait(py, coroutine, &queue.getters).map(Getting::Waiting)
}

/// The wait for an item has ended badly.
fn give_up_getting<O: Order>(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<()> {
    let queue = coroutine.receiver::<QueueCore>(py)?;
    give_up(py, &queue.getters, coroutine.future.get().as_ref(), || Ok(!queue.is_empty::<O>(py)?))
}

fn start_get<O: Order>(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    Ok(match get_or_wait::<O>(py, coroutine)? {
        Getting::Item(item) => Step::Return(item),
        Getting::Waiting(step) => step,
    })
}

fn resume_get<O: Order>(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let Err(error) = outcome else { return start_get::<O>(py, coroutine) };
    give_up_getting::<O>(py, coroutine)?;
    Err(error)
}

/// A `ferrio.asyncio.Queue` without a limit, for native code alone: nobody joins it, and nobody waits to put.
pub(crate) fn without_limit(py: Python<'_>) -> PyResult<Object> {
    let class = OBJECTS.ferrio_queue.get(py)?;
    let object = call_method(py, &names(py).__new__, [class, class])?;
    let queue = Instance::<QueueCore>::expect(py, &object)?;
    queue.maxsize.set(Object::new(0.into_pyobject(py)?));
    queue.limit.set(Some(0));
    let items = deque::new(py)?;
    queue.kind.set(Items::of(py, &items)?);
    queue.items.set(items);
    queue.getters.set(deque::new(py)?);
    Ok(object)
}

/// `queue.put_nowait(item)`, of a queue [`without_limit`].
pub(crate) fn put_first_in(py: Python<'_>, queue: &Object, item: &Object) -> PyResult<()> {
    Instance::<QueueCore>::expect(py, queue)?.put_now::<FirstIn>(py, item)
}

/// `queue.get()`, of a queue [`without_limit`] that a coroutine has as its `owner`.
pub(crate) fn get_first_in(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Getting> {
    get_or_wait::<FirstIn>(py, coroutine)
}

/// That has ended badly.
pub(crate) fn give_up_first_in(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<()> {
    give_up_getting::<FirstIn>(py, coroutine)
}

fn start_join(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let queue = coroutine.receiver::<QueueCore>(py)?;
    queue.ensure_initialised(py, c"_unfinished_tasks")?;
    if queue.unfinished.get() <= 0 {
        return Ok(Step::Return(Object::none(py)));
    }
    let finished = queue.finished.get_or_none(py);
    let waiting = call_method(py, &names(py).wait, [&finished])?;
    coroutine.wait_for(py, waiting)
}

pub(super) fn put_nowait<O: Order>(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([queue, item]) = arguments.only() else { return Ok(None) };
    let queue = Instance::<QueueCore>::expect(py, queue)?;
    if !queue.is_native::<O>() {
        return Ok(None);
    }
    queue.put_now::<O>(py, item)?;
    Ok(Some(Object::none(py)))
}

pub(super) fn get_nowait<O: Order>(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([queue]) = arguments.only() else { return Ok(None) };
    let queue = Instance::<QueueCore>::expect(py, queue)?;
    if !queue.is_native::<O>() {
        return Ok(None);
    }
    queue.get_now::<O>(py).map(Some)
}

pub(super) fn task_done(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([queue]) = arguments.only() else { return Ok(None) };
    let queue = Instance::<QueueCore>::expect(py, queue)?;
    queue.ensure_initialised(py, c"_unfinished_tasks")?;
    queue.finish_one(py)?;
    Ok(Some(Object::none(py)))
}

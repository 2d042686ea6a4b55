//! `as_completed`, as it is since 3.13: an object that is both a plain and an asynchronous iterator.
//!
//! Finished children go through a queue, as in asyncio, and whoever asks for the next one waits for an item of it. So all
//! children have the same callback, a [`CompletionCallback`], which runs in the turn after they are done. It is never skipped:
//! others may wait at the queue in between.
//!
//! Up to 3.12 asyncio's is a generator function: nothing happens before its first step, it has a frame, `send` and `throw`.
//! There the package uses asyncio's own.
#![forbid(unsafe_code)]

use core::ptr::null_mut;

use pyo3::exceptions::{PyKeyError, PyStopAsyncIteration, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString, PyType};

use super::callback_class::{self, callback_class};
use super::caller::{self, Awaiter, Caller};
use super::is_plain_collection;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::awaitable;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, WeakReferences, class_over_object};
use crate::ffi::fields::native_state;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::place::{Place, place};
use crate::handle::context;
use crate::sync::queue::{self, Getting};
use crate::task::future;

native_state! {
    /// The callback of all children of one call.
    pub(crate) struct CompletionCallback {
        /// The set of children that are not done.
        pending: Slot,
        /// The queue of those that are; `None` stands for one that was not done in time.
        done: Slot,
        timer: Slot,
        awaiter: Awaiter,
    }
}

callback_class!(
    CompletionCallback,
    c"ferrio._ferrio.CompletionCallback",
    c"The callback of all children of one call.",
    "_AsCompletedIterator._handle_completion"
);

/// Follows `_handle_completion` of asyncio's `_AsCompletedIterator`.
fn handle_completion(py: Python<'_>, callback: &CompletionCallback, child: &Object) -> PyResult<()> {
    let (Some(pending), Some(done)) = (callback.pending.get(), callback.done.get()) else { return Ok(()) };
    let pending = pending.bind(py).cast::<PySet>()?;
    if pending.is_empty() {
        // The time is up.
        return Ok(());
    }
    if !pending.discard(child.bind(py))? {
        return Err(PyKeyError::new_err((child.bind(py).clone().unbind(),)));
    }
    callback.awaiter.end(py, child)?;
    queue::put_first_in(py, &done, child)?;
    if pending.is_empty()
        && let Some(timer) = callback.timer.get()
    {
        call_method(py, &names(py).cancel, [&timer])?;
    }
    Ok(())
}

native_state! {
    /// What the timer calls.
    pub(crate) struct TimeoutCallback {
        /// The callback of the children.
        completion: Slot,
    }
}

callback_class!(
    TimeoutCallback,
    c"ferrio._ferrio.TimeoutCallback",
    c"What the timer calls.",
    "_AsCompletedIterator._handle_timeout"
);

/// Follows `_handle_timeout` of asyncio's `_AsCompletedIterator`.
fn handle_timeout(py: Python<'_>, timeout: &TimeoutCallback) -> PyResult<()> {
    let Some(callback) = timeout.completion.get() else { return Ok(()) };
    let Some(completion) = Instance::<CompletionCallback>::of(&callback) else { return Ok(()) };
    let (Some(pending), Some(done)) = (completion.pending.get(), completion.done.get()) else { return Ok(()) };
    let pending = pending.bind(py).cast::<PySet>()?;
    // A program's `__eq__` may run in here and change the set: an error, as in asyncio's own loop over it.
    for child in pending.try_iter()? {
        let child = Object::new(child?);
        future::remove_callback(py, &child, &callback)?;
        completion.awaiter.end(py, &child)?;
        queue::put_first_in(py, &done, &Object::none(py))?;
    }
    pending.clear();
    Ok(())
}

native_state! {
    /// Iterator over awaitables as they end: a plain one over coroutines for their results, an asynchronous one over the
    /// futures themselves.
    pub(crate) struct CompletedIterator {
        done: Slot,
        /// How many were not asked for.
        left: Plain<usize>,
        /// Whether what was asked for and not waited for is left to another.
        gives_back: bool,
        weak_references: WeakReferences,
    }
}

class_over_object! {
    CompletedIterator, c"ferrio.asyncio._AsCompletedIterator",
    c"Iterator over awaitables as they end: a plain one over coroutines for their results, an asynchronous one over the\n\
      futures themselves.";
    const WEAK_REFERENCES: Option<Place<Self, WeakReferences>> = Some(place!(CompletedIterator, weak_references));
}

/// The next one of a plain iteration: a coroutine.
fn next(py: Python<'_>, iterator: &Instance<CompletedIterator>) -> PyResult<Option<Object>> {
    if !iterator.takes_one() {
        return Ok(None);
    }
    coroutine::make(py, &RESULT, iterator.object().clone(), None).map(Some)
}

/// Makes the classes of the callbacks, and of the iterator, which is no name of the module.
pub(super) fn make_classes(py: Python<'_>) -> PyResult<[Bound<'_, PyType>; 2]> {
    Builder::<Instance<CompletedIterator>>::new()
        .iterates_by(next)
        .iterates_asynchronously_by(|py, iterator| coroutine::make(py, &NEXT, iterator.object().clone(), None))
        .build_over_object(py)?;
    let completion = Builder::<Instance<CompletionCallback>>::new()
        .called_with_one(|py, callback, future| handle_completion(py, callback, caller::child(future)?));
    let timeout =
        Builder::<Instance<TimeoutCallback>>::new().called_with_nothing(|py, callback| handle_timeout(py, callback));
    Ok([callback_class::make_class(py, completion)?, callback_class::make_class(py, timeout)?])
}

impl CompletedIterator {
    /// Whether there was one left.
    fn takes_one(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        if let Some(left) = left {
            self.left.set(left);
        }
        left.is_some()
    }
}

/// The coroutine of a plain iteration: the result of the next one.
static RESULT: Plan = Plan {
    qualified_name: "_AsCompletedIterator._wait_for_one",
    start: |py, state| begin(py, state, Returned::Outcome),
    resume: |py, state, outcome| resume(py, state, outcome, Returned::Outcome),
};

/// That of an asynchronous one: the next one.
static NEXT: Plan = Plan {
    qualified_name: "_AsCompletedIterator.__anext__",
    start: |py, state| {
        let owner = state.owner.get();
        let iterator = owner.as_ref().and_then(Instance::<CompletedIterator>::of);
        if !iterator.is_some_and(|iterator| iterator.takes_one()) {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        begin(py, state, Returned::Itself)
    },
    resume: |py, state, outcome| resume(py, state, outcome, Returned::Itself),
};

/// What a coroutine returns for a finished child.
#[derive(Clone, Copy)]
enum Returned {
    Outcome,
    Itself,
}

impl Returned {
    fn of(self, py: Python<'_>, child: Object) -> PyResult<Object> {
        match self {
            Self::Outcome => future::take_value(&child).map_or_else(|| future::result(py, &child), Ok),
            Self::Itself => Ok(child),
        }
    }
}

/// The stage of a coroutine that has given back what it took.
const GIVEN_BACK: u8 = 1;

/// The first step: the iterator moves to `item`, and the queue takes its place.
fn begin(py: Python<'_>, state: &CoroutineState, returned: Returned) -> PyResult<Step> {
    let iterator = state.owner.get_or_none(py);
    let done = Instance::<CompletedIterator>::expect(py, &iterator)?.done.get();
    state.item.set(iterator);
    state.owner.set(done.unwrap_or_else(|| Object::none(py)));
    get(py, state, returned)
}

fn resume(py: Python<'_>, state: &CoroutineState, outcome: PyResult<Object>, returned: Returned) -> PyResult<Step> {
    let Err(error) = outcome else { return get(py, state, returned) };
    let outcome = queue::give_up_first_in(py, state);
    give_back(py, state)?;
    outcome?;
    Err(error)
}

fn get(py: Python<'_>, state: &CoroutineState, returned: Returned) -> PyResult<Step> {
    match queue::get_first_in(py, state) {
        Ok(Getting::Waiting(step)) => Ok(step),
        Ok(Getting::Item(item)) if item.is_none() => Err(PyTimeoutError::new_err(())),
        Ok(Getting::Item(child)) => returned.of(py, child).map(Step::Return),
        Err(error) => {
            give_back(py, state)?;
            Err(error)
        }
    }
}

/// After a wait that failed, what it would have got is left to another, in releases of asyncio that do so.
fn give_back(py: Python<'_>, state: &CoroutineState) -> PyResult<()> {
    let Some(iterator) = state.item.get() else { return Ok(()) };
    let iterator = Instance::<CompletedIterator>::expect(py, &iterator)?;
    if iterator.gives_back && state.stage.replace(GIVEN_BACK) != GIVEN_BACK {
        iterator.left.set(iterator.left.get() + 1);
    }
    Ok(())
}

/// `as_completed(fs, *, timeout=None)`.
pub(crate) fn as_completed(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let [given] = arguments.positional() else { return Ok(None) };
    let mut timeout = Object::none(py);
    for (name, value) in arguments.named(py) {
        if name.cast::<PyString>()?.to_str()? != "timeout" {
            return Ok(None);
        }
        timeout = value.clone();
    }
    if !is_usual(py, given)? || Caller::find(py)?.is_none() {
        return Ok(None);
    }
    // Going through a generator runs the program's code.
    let given = py.get_type::<PySet>().call1((given.bind(py),))?.cast_into::<PySet>()?;
    if let Some(iterator) = iterate(py, &given, &timeout)? {
        return Ok(Some(iterator));
    }
    let keywords = PyDict::new(py);
    keywords.set_item(&names(py).timeout, timeout.bind(py))?;
    let original = OBJECTS.asyncio_as_completed.bind(py)?;
    original.call((given,), Some(&keywords)).map(|iterator| Some(Object::new(iterator)))
}

/// Whether `given` is of a kind that programs usually pass, and nothing that can be awaited.
fn is_usual(py: Python<'_>, given: &Object) -> PyResult<bool> {
    if awaitable::is_generator(given) {
        let flags = given.bind(py).getattr(&names(py).gi_code)?.getattr(&names(py).co_flags)?;
        return Ok(flags.extract::<i32>()? & awaitable::ITERABLE_COROUTINE == 0);
    }
    Ok(is_plain_collection(given.bind(py)))
}

/// The iterator over `given`; `None` if the call is left to asyncio's own function.
fn iterate<'py>(py: Python<'py>, given: &Bound<'py, PySet>, timeout: &Object) -> PyResult<Option<Object>> {
    let Some(caller) = Caller::find(py)? else { return Ok(None) };
    for child in given.try_iter()? {
        if !caller.accepts(Object::of(&child?)) {
            return Ok(None);
        }
    }
    let pending = PySet::empty(py)?;
    for child in given.try_iter()? {
        let mut child = Object::new(child?);
        if coroutine::is_coroutine(&child) {
            child = caller.spawn(py, &child)?;
        }
        pending.add(child.into_bound(py))?;
    }
    let left = Plain::new(pending.len());
    let done = queue::without_limit(py)?;
    let completion = CompletionCallback {
        pending: Object::new(pending.clone()).into(),
        done: done.clone().into(),
        timer: Slot::default(),
        awaiter: caller.awaiter(),
    };
    let completion = Instance::<CompletionCallback>::create(py, completion)?;
    let callback = completion.object();
    let context = context::copy_current(py)?;
    for child in pending.try_iter()? {
        let child = Object::new(child?);
        future::add_callback(py, &child, callback, &context)?;
        completion.awaiter.begin(py, &child)?;
    }
    if !pending.is_empty() && !timeout.is_none() {
        let on_timeout =
            Instance::<TimeoutCallback>::create(py, TimeoutCallback { completion: callback.clone().into() })?
                .into_object();
        let timer = call_method(py, &names(py).call_later, [caller.event_loop.object(), timeout, &on_timeout])?;
        completion.timer.set(timer);
    }
    let gives_back = OBJECTS.as_completed_gives_back.get(py)?.is_true();
    let weak_references = WeakReferences::new(null_mut());
    let iterator = CompletedIterator { done: done.into(), left, gives_back, weak_references };
    Instance::<CompletedIterator>::create(py, iterator).map(|iterator| Some(iterator.into_object()))
}

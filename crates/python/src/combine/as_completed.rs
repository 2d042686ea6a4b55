//! `as_completed`, as it is since 3.13: an object that is both a plain and an asynchronous iterator.
//!
//! What has ended goes through a queue, as in asyncio, and whoever asks for the next one waits for an item of it. So all
//! children have the same callback, a [`Completing`], which runs in the turn after their end: it is never spared, since
//! who comes to the queue in between waits there.
//!
//! Up to 3.12 asyncio's is a generator function: nothing happens before its first step, it has a frame, `send` and
//! `throw`. What is there is asyncio's own.

use pyo3::exceptions::{PyKeyError, PyStopAsyncIteration, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PySet, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use super::stand_in::stands_for;
use super::{is_coroutine, ours};
use crate::coroutine::{self, CoroutineState as State, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::object::Object;
use crate::ffi::trampoline::{caught, none};
use crate::handle::context;
use crate::sync::queue::{self, Getting};
use crate::sync::waiting;
use crate::task::spawning_core;
use crate::task::{self, future};

/// The callback of what one call waits for.
#[pyclass(frozen, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct Completing {
    /// The set of those that have not ended.
    todo: Slot,
    /// The queue of those that have; `None` stands for one whose time is up.
    done: Slot,
    timer: Slot,
    /// The task that called, for the call graph.
    task: Slot,
}

#[pymethods]
impl Completing {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let child = ours(future)?;
            let (Some(todo), Some(done)) = (self.todo.get(), self.done.get()) else { return Ok(()) };
            let todo = todo.bind(py).cast::<PySet>()?;
            if todo.is_empty() {
                // Its time is up.
                return Ok(());
            }
            if !todo.discard(child.bind(py))? {
                return Err(PyKeyError::new_err((child.into_bound(py).unbind(),)));
            }
            self.no_longer_awaits(py, &child)?;
            queue::put_first_in(py, &done, &child)?;
            if todo.is_empty() {
                if let Some(timer) = self.timer.get() {
                    timer.bind(py).call_method0(intern!(py, "cancel"))?;
                }
            }
            Ok(())
        })
    }
}

stands_for!(Completing, "_AsCompletedIterator._handle_completion", { todo, done, timer, task });

impl Completing {
    /// Takes the caller out of the call graph, where it waits for `child`.
    fn no_longer_awaits(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        self.task.get().map_or(Ok(()), |task| task::no_longer_awaited_by(py, child, &task))
    }
}

/// What the timer calls.
#[pyclass(frozen, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct Expiring {
    completing: Slot,
}

#[pymethods]
impl Expiring {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        caught(|| {
            let Some(callback) = self.completing.get() else { return Ok(()) };
            let completing = callback.bind(py).cast_exact::<Completing>()?.get();
            let (Some(todo), Some(done)) = (completing.todo.get(), completing.done.get()) else { return Ok(()) };
            let todo = todo.bind(py).cast::<PySet>()?;
            // Somebody's `__eq__` may run in here and change the set: an error, as for asyncio's own loop over it.
            for child in todo.try_iter()? {
                let child = Object::new(child?);
                future::remove_callback(py, &child, &callback)?;
                completing.no_longer_awaits(py, &child)?;
                queue::put_first_in(py, &done, &none(py))?;
            }
            todo.clear();
            Ok(())
        })
    }
}

stands_for!(Expiring, "_AsCompletedIterator._handle_timeout", { completing });

/// Iterator over awaitables as they end: a plain one over coroutines for their results, an asynchronous one over the
/// futures themselves.
#[pyclass(frozen, weakref, name = "_AsCompletedIterator", module = "ferrio.asyncio")]
pub(crate) struct Completed {
    done: Slot,
    /// How many have not been asked for.
    left: Plain<usize>,
    /// Whether it gets back what was asked for and not waited for.
    gets_back: bool,
}

#[pymethods]
impl Completed {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> PyResult<Option<Bound<'_, PyAny>>> {
        let py = slf.py();
        if !slf.get().takes_one() {
            return Ok(None);
        }
        let coroutine = coroutine::make(py, &RESULT, Object::new(slf), None)?;
        Ok(Some(coroutine.into_bound(py)))
    }

    fn __anext__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let py = slf.py();
        coroutine::make(py, &NEXT, Object::new(slf), None).map(|coroutine| coroutine.into_bound(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.done.visit(&visit)
    }

    fn __clear__(&self) {
        drop(self.done.take());
    }
}

impl Completed {
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
    start: |py, state| begin(py, state, Shown::Outcome),
    resume: |py, state, outcome| resume(py, state, outcome, Shown::Outcome),
};

/// That of an asynchronous one: the next one.
static NEXT: Plan = Plan {
    qualified_name: "_AsCompletedIterator.__anext__",
    start: |py, state| {
        let left = state.owner.get().is_some_and(|iterator| {
            iterator.bind(py).cast_exact::<Completed>().is_ok_and(|iterator| iterator.get().takes_one())
        });
        if !left {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        begin(py, state, Shown::Itself)
    },
    resume: |py, state, outcome| resume(py, state, outcome, Shown::Itself),
};

/// What a coroutine shows of a child that has ended.
#[derive(Clone, Copy)]
enum Shown {
    Outcome,
    Itself,
}

impl Shown {
    fn of(self, py: Python<'_>, child: Object) -> PyResult<Object> {
        match self {
            Self::Outcome => future::take_value(&child).map_or_else(|| future::result(py, &child), Ok),
            Self::Itself => Ok(child),
        }
    }
}

/// The stage of a coroutine that has given back what it took.
const GIVEN_BACK: u8 = 1;

/// The first step: the iterator goes over into `item`, and the queue comes in its place.
fn begin(py: Python<'_>, state: &State, shown: Shown) -> PyResult<Step> {
    let iterator = state.owner.get().unwrap_or_else(|| none(py));
    let done = iterator.bind(py).cast_exact::<Completed>()?.get().done.get();
    state.item.set(iterator);
    state.owner.set(done.unwrap_or_else(|| none(py)));
    get(py, state, shown)
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>, shown: Shown) -> PyResult<Step> {
    let Err(error) = outcome else { return get(py, state, shown) };
    let outcome = queue::give_up_first_in(py, state);
    give_back(py, state)?;
    outcome?;
    Err(error)
}

fn get(py: Python<'_>, state: &State, shown: Shown) -> PyResult<Step> {
    match queue::get_first_in(py, state) {
        Ok(Getting::Waiting(step)) => Ok(step),
        Ok(Getting::Item(item)) if item.bind(py).is_none() => Err(PyTimeoutError::new_err(())),
        Ok(Getting::Item(child)) => shown.of(py, child).map(Step::Return),
        Err(error) => {
            give_back(py, state)?;
            Err(error)
        }
    }
}

/// Who has not waited to the end leaves what it took to another, in releases that know that.
fn give_back(py: Python<'_>, state: &State) -> PyResult<()> {
    let Some(iterator) = state.item.get() else { return Ok(()) };
    let iterator = iterator.bind(py).cast_exact::<Completed>()?.get();
    if iterator.gets_back && state.stage.replace(GIVEN_BACK) != GIVEN_BACK {
        iterator.left.set(iterator.left.get() + 1);
    }
    Ok(())
}

/// Whether the running interpreter's is such a release.
fn gets_back(py: Python<'_>) -> PyResult<bool> {
    static ANSWER: PyOnceLock<bool> = PyOnceLock::new();
    ANSWER.get_or_try_init(py, || py.import("ferrio._combining")?.getattr("GIVES_BACK")?.is_truthy()).copied()
}

/// `as_completed(fs, *, timeout=None)`.
pub(crate) fn as_completed(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    static ORIGINAL: PyOnceLock<Object> = PyOnceLock::new();
    let &[given] = arguments.positional_addresses() else { return Ok(None) };
    let mut timeout = none(py).into_bound(py);
    for (name, value) in arguments.keywords(py) {
        if name.cast::<PyString>()?.to_str()? != "timeout" {
            return Ok(None);
        }
        // SAFETY: an argument of the call under way.
        timeout = unsafe { Bound::from_borrowed_ptr(py, value) };
    }
    // SAFETY: an argument of the call under way.
    let given = unsafe { Bound::from_borrowed_ptr(py, given) };
    if !is_plain(&given)? || spawning_core(py, &waiting::running_loop(py)?)?.is_none() {
        return Ok(None);
    }
    // Going through a generator runs the program's code.
    let given = py.get_type::<PySet>().call1((given,))?.cast_into::<PySet>()?;
    if let Some(iterator) = iterate(py, &given, &timeout)? {
        return Ok(Some(iterator));
    }
    let original = waiting::imported(py, &ORIGINAL, "ferrio._combining", "asyncios_as_completed")?;
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "timeout"), timeout)?;
    original.call((given,), Some(&keywords)).map(|iterator| Some(Object::new(iterator)))
}

/// Whether `given` is of a kind that programs usually pass, and nothing that can be awaited.
fn is_plain(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: a live object.
    if unsafe { ffi::PyGen_CheckExact(given.as_ptr()) } != 0 {
        let flags = given.getattr(intern!(given.py(), "gi_code"))?.getattr(intern!(given.py(), "co_flags"))?;
        return Ok(flags.extract::<i32>()? & ffi::CO_ITERABLE_COROUTINE == 0);
    }
    Ok(given.is_exact_instance_of::<PyList>()
        || given.is_exact_instance_of::<PySet>()
        || given.is_exact_instance_of::<PyTuple>()
        || given.is_exact_instance_of::<PyFrozenSet>())
}

/// The iterator over `given`; `None` where that is asyncio's to do.
fn iterate<'py>(py: Python<'py>, given: &Bound<'py, PySet>, timeout: &Bound<'py, PyAny>) -> PyResult<Option<Object>> {
    let event_loop = waiting::running_loop(py)?;
    let Some(core) = spawning_core(py, &event_loop)? else { return Ok(None) };
    let usual =
        |child: Bound<'_, PyAny>| is_coroutine(child.as_ptr()) || task::is_of_loop(child.as_ptr(), event_loop.as_ptr());
    let caller = task::current_task(py, &event_loop)?;
    for child in given.try_iter()? {
        if !usual(child?) {
            return Ok(None);
        }
    }
    if caller.as_ref().is_some_and(|task| !task::is_task(task.as_ptr())) {
        return Ok(None);
    }
    let todo = PySet::empty(py)?;
    for child in given.try_iter()? {
        let mut child = Object::new(child?);
        if is_coroutine(child.as_ptr()) {
            child = task::spawn(py, core, &event_loop, &child)?;
        }
        todo.add(child.into_bound(py))?;
    }
    let left = Plain::new(todo.len());
    let done = queue::without_limit(py)?;
    let completing = Bound::new(py, Completing::default())?;
    let callback = Object::new(completing.clone());
    completing.get().done.set(done.clone());
    completing.get().todo.set(Object::new(todo.clone()));
    let context = context::copy_current(py)?;
    for child in todo.try_iter()? {
        let child = Object::new(child?);
        future::add_callback(py, &child, &callback, &context)?;
        if let Some(task) = &caller {
            task::awaited_by(py, &child, task)?;
        }
    }
    if let Some(task) = caller {
        completing.get().task.set(task);
    }
    if !todo.is_empty() && !timeout.is_none() {
        let expiring = Bound::new(py, Expiring::default())?;
        expiring.get().completing.set(callback);
        let timer = event_loop.bind(py).call_method1(intern!(py, "call_later"), (timeout, expiring))?;
        completing.get().timer.set(Object::new(timer));
    }
    let completed = Completed { done: Slot::default(), left, gets_back: gets_back(py)? };
    completed.done.set(done);
    Ok(Some(Object::new(Bound::new(py, completed)?)))
}

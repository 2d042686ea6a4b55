//! `gather`: one future for the results of many.
//!
//! All children have the same callback, a [`Gathering`], as in asyncio, and the future that the program gets is
//! asyncio's own `_GatheringFuture`. If all of them are tasks, the callbacks of those that end with a value are
//! spared: see [`ends`](super::ends).

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyType};
use pyo3::{ffi, intern};

use super::ends::Ends;
use super::stand_in::stands_for;
use super::{is_coroutine, ours};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::Slot;
use crate::ffi::object::Object;
use crate::ffi::trampoline::caught;
use crate::handle::context;
use crate::sync::waiting;
use crate::task::spawning_core;
use crate::task::{self, future};

/// What the children of one call have in common: their callback.
#[pyclass(frozen, module = "ferrio._ferrio")]
pub(crate) struct Gathering {
    children: Slot,
    outer: Slot,
    /// The task that called `gather`, for the call graph.
    task: Slot,
    returns_exceptions: bool,
    ends: Ends,
}

#[pymethods]
impl Gathering {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| self.ended(py, &ours(future)?))
    }
}

stands_for!(Gathering, "gather.<locals>._done_callback", { children, outer, task });

impl Gathering {
    /// Follows `_done_callback` of asyncio's `gather`.
    fn ended(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        let all = self.ends.hears();
        self.no_longer_awaits(py, child)?;
        let Some(outer) = self.outer.get().filter(future::is_pending) else {
            if !waiting::is_cancelled(py, child.bind(py))? {
                // Marks the exception as retrieved.
                child.bind(py).call_method0(intern!(py, "exception"))?;
            }
            return Ok(());
        };
        if !self.returns_exceptions && !future::has_value(child) {
            let error = if waiting::is_cancelled(py, child.bind(py))? {
                child.bind(py).call_method0(intern!(py, "_make_cancelled_error"))?
            } else {
                child.bind(py).call_method0(intern!(py, "exception"))?
            };
            if !error.is_none() {
                if abandons_children(py)? {
                    self.abandon_children(py)?;
                }
                return outer.bind(py).call_method1(intern!(py, "set_exception"), (error,)).map(drop);
            }
        }
        if all {
            self.complete(py, &outer)?;
        }
        Ok(())
    }

    /// All children have ended.
    fn complete(&self, py: Python<'_>, outer: &Object) -> PyResult<()> {
        let Some(children) = self.children.get() else { return Ok(()) };
        let children = children.bind(py).cast::<PyList>()?;
        let mut results = Vec::with_capacity(children.len());
        for child in children.iter() {
            let child = Object::new(child);
            results.push(match future::take_value(&child) {
                Some(value) => value,
                None => outcome(py, &child)?,
            });
        }
        let results = PyList::new(py, results.into_iter().map(|result| result.into_bound(py)))?;
        if outer.bind(py).getattr(intern!(py, "_cancel_requested"))?.is_truthy()? {
            let last = children.get_item(children.len().saturating_sub(1))?;
            let error = last.call_method0(intern!(py, "_make_cancelled_error"))?;
            return outer.bind(py).call_method1(intern!(py, "set_exception"), (error,)).map(drop);
        }
        future::set_result(py, outer, Object::new(results))
    }

    /// Takes the caller out of the call graph, where it waits for `child`.
    fn no_longer_awaits(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        self.task.get().map_or(Ok(()), |task| task::no_longer_awaited_by(py, child, &task))
    }

    #[cold]
    fn abandon_children(&self, py: Python<'_>) -> PyResult<()> {
        let Some(children) = self.children.get() else { return Ok(()) };
        for child in children.bind(py).cast::<PyList>()?.iter() {
            if task::is_ours(child.as_ptr()) {
                self.no_longer_awaits(py, &Object::new(child))?;
            }
        }
        Ok(())
    }
}

/// What stands for a child that has no value, or that is no future of Ferrio's, in the list of results.
#[cold]
fn outcome(py: Python<'_>, child: &Object) -> PyResult<Object> {
    static CANCELLED: PyOnceLock<Object> = PyOnceLock::new();
    let child = child.bind(py);
    if waiting::is_cancelled(py, child)? {
        let mut message = child.getattr(intern!(py, "_cancel_message"))?;
        if message.is_none() {
            message = PyString::new(py, "").into_any();
        }
        let class = waiting::imported(py, &CANCELLED, "asyncio.exceptions", "CancelledError")?;
        return Ok(Object::new(class.call1((message,))?));
    }
    let error = child.call_method0(intern!(py, "exception"))?;
    if !error.is_none() {
        return Ok(Object::new(error));
    }
    Ok(Object::new(child.call_method0(intern!(py, "result"))?))
}

/// Whether the interpreter's `gather` takes its caller out of the call graph when the first child fails: 3.14 has
/// learnt that in a later release.
#[cold]
fn abandons_children(py: Python<'_>) -> PyResult<bool> {
    static ANSWER: PyOnceLock<bool> = PyOnceLock::new();
    ANSWER.get_or_try_init(py, || py.import("asyncio.tasks")?.hasattr("_discard_awaited_by")).copied()
}

/// `child` has ended: whether that is spared.
#[inline]
pub(super) fn spares(py: Python<'_>, gathering: &Gathering, child: &Object) -> PyResult<bool> {
    let spared = gathering.ends.sees(future::has_value(child));
    if spared {
        gathering.no_longer_awaits(py, child)?;
    }
    Ok(spared)
}

/// `gather(*aws, return_exceptions=False)`.
pub(crate) fn gather(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    static OUTER: PyOnceLock<Object> = PyOnceLock::new();
    let given = arguments.positional_addresses();
    let mut returns_exceptions = false;
    for (name, value) in arguments.keywords(py) {
        // SAFETY: an argument of the call under way.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        let (true, Ok(value)) = (name.eq("return_exceptions")?, value.cast::<PyBool>()) else { return Ok(None) };
        returns_exceptions = value.is_true();
    }
    let class = waiting::imported(py, &OUTER, "asyncio.tasks", "_GatheringFuture")?;
    if !class.cast::<PyType>().is_ok_and(future::is_class_of_natives) {
        // A program has put another class there, or asyncio has no C module.
        return Ok(None);
    }
    let event_loop = waiting::running_loop(py)?;
    let Some(core) = spawning_core(py, &event_loop)? else { return Ok(None) };
    let usual = |&value: &*mut ffi::PyObject| is_coroutine(value) || task::is_of_loop(value, event_loop.as_ptr());
    if given.is_empty() || !given.iter().all(usual) || repeats(given) {
        return Ok(None);
    }
    let caller = task::current_task(py, &event_loop)?;
    if caller.as_ref().is_some_and(|task| !task::is_task(task.as_ptr())) {
        return Ok(None);
    }
    let gathering = Gathering {
        children: Slot::default(),
        outer: Slot::default(),
        task: Slot::default(),
        returns_exceptions,
        ends: Ends::new(given.len(), given.iter().all(|&value| is_coroutine(value) || task::is_exact(value))),
    };
    let gathering = Bound::new(py, gathering)?;
    if let Some(task) = &caller {
        gathering.get().task.set(task.clone());
    }
    let callback = Object::new(gathering.clone());
    let context = context::copy_current(py)?;
    let mut done = Vec::new();
    let mut children = Vec::with_capacity(given.len());
    for &value in given {
        // SAFETY: an argument of the call under way.
        let mut child = unsafe { Object::from_borrowed(value) };
        if is_coroutine(value) {
            child = task::spawn(py, core, &event_loop, &child)?;
            // Nobody else can see to it that it ends.
            task::forget_when_pending(&child);
        }
        if HAS_DONE_AT_ONCE && !future::is_pending(&child) {
            done.push(child.clone());
        } else {
            if let Some(task) = &caller {
                task::awaited_by(py, &child, task)?;
            }
            future::add_callback(py, &child, &callback, &context)?;
        }
        children.push(child);
    }
    let children = PyList::new(py, children.into_iter().map(|child| child.into_bound(py)))?;
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "loop"), event_loop.bind(py))?;
    let outer = class.call((&children,), Some(&keywords))?;
    let outer = Object::new(outer);
    if !future::has_fields(&outer) {
        return Err(PyTypeError::new_err("a future of asyncio's was expected of _GatheringFuture()"));
    }
    gathering.get().children.set(Object::new(children));
    gathering.get().outer.set(outer.clone());
    for child in done {
        gathering.get().ended(py, &child)?;
    }
    Ok(Some(outer))
}

/// From 3.12 on, children that are done before the call count at once; earlier, in the next turn.
const HAS_DONE_AT_ONCE: bool = cfg!(Py_3_12);

/// Whether an object is there twice.
fn repeats(objects: &[*mut ffi::PyObject]) -> bool {
    let mut sorted = objects.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

//! `gather`: one future for the results of many.
//!
//! All children have the same callback, a [`GatherCallback`], as in asyncio, and the future that the program gets is asyncio's
//! own `_GatheringFuture`. If all children are tasks, the callbacks of those that end with a value are skipped: see
//! [`counter`](super::counter).
#![forbid(unsafe_code)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyType};

use super::callback_class::{self, callback_class};
use super::caller::{self, Awaiter, Caller};
use super::counter::Counter;
use crate::coroutine;
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::cell::Slot;
use crate::ffi::class::{Builder, Instance};
use crate::ffi::fields::native_state;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::handle::context;
use crate::sync::waiting;
use crate::task::native_callback::NativeCallback;
use crate::task::{self, future};

native_state! {
    /// The callback of all children of one call.
    pub(crate) struct GatherCallback {
        /// The list of children, in the order of the results.
        children: Slot,
        outer: Slot,
        awaiter: Awaiter,
        returns_exceptions: bool,
        counter: Counter,
    }
}

callback_class!(
    GatherCallback,
    c"ferrio._ferrio.GatherCallback",
    c"The callback of all children of one call.",
    "gather.<locals>._done_callback"
);

/// Makes the class of the callback.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let builder = Builder::<Instance<GatherCallback>>::new()
        .called_with_one(|py, callback, future| callback.run(py, caller::child(future)?));
    callback_class::make_class(py, builder)
}

impl NativeCallback for GatherCallback {
    #[inline]
    fn skip_callback(py: Python<'_>, callback: &Instance<Self>, child: &Object) -> PyResult<bool> {
        let skipped = callback.counter.child_is_done(future::has_value(child));
        if skipped {
            callback.awaiter.end(py, child)?;
        }
        Ok(skipped)
    }
}

impl GatherCallback {
    /// Follows `_done_callback` of asyncio's `gather`.
    fn run(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        let all = self.counter.callback_runs();
        self.awaiter.end(py, child)?;
        let Some(outer) = self.outer.get().filter(future::is_pending) else {
            if !waiting::is_cancelled(py, child)? {
                // Marks the exception as retrieved.
                call_method(py, &names(py).exception, [child])?;
            }
            return Ok(());
        };
        if !self.returns_exceptions && !future::has_value(child) {
            let error = if waiting::is_cancelled(py, child)? {
                call_method(py, &names(py)._make_cancelled_error, [child])?
            } else {
                call_method(py, &names(py).exception, [child])?
            };
            if !error.is_none() {
                if forgets_children(py)? {
                    self.forget_children(py)?;
                }
                return call_method(py, &names(py).set_exception, [&outer, &error]).map(drop);
            }
        }
        if all {
            self.complete(py, &outer)?;
        }
        Ok(())
    }

    /// Completes the outer future: all children are done.
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
        if outer.bind(py).getattr(&names(py)._cancel_requested)?.is_truthy()? {
            let last = Object::new(children.get_item(children.len().saturating_sub(1))?);
            let error = call_method(py, &names(py)._make_cancelled_error, [&last])?;
            return call_method(py, &names(py).set_exception, [outer, &error]).map(drop);
        }
        future::set_result(py, outer, Object::new(results))
    }

    /// Removes from the call graph that the caller waits for the children.
    #[cold]
    fn forget_children(&self, py: Python<'_>) -> PyResult<()> {
        let Some(children) = self.children.get() else { return Ok(()) };
        for child in children.bind(py).cast::<PyList>()?.iter() {
            let child = Object::new(child);
            if task::is_ours(&child) {
                self.awaiter.end(py, &child)?;
            }
        }
        Ok(())
    }
}

/// What stands in the list of results for a child that has no value, or that is no future of Ferrio's.
#[cold]
fn outcome(py: Python<'_>, child: &Object) -> PyResult<Object> {
    if waiting::is_cancelled(py, child)? {
        let mut message = child.bind(py).getattr(&names(py)._cancel_message)?;
        if message.is_none() {
            message = PyString::new(py, "").into_any();
        }
        return OBJECTS.asyncio_cancelled_error.bind(py)?.call1((message,)).map(Object::new);
    }
    let error = call_method(py, &names(py).exception, [child])?;
    if error.is_none() { call_method(py, &names(py).result, [child]) } else { Ok(error) }
}

/// Whether the interpreter's `gather` removes its caller from the call graph when the first child fails, as later releases of
/// 3.14 do.
#[cold]
fn forgets_children(py: Python<'_>) -> PyResult<bool> {
    OBJECTS.asyncio_tasks.bind(py)?.hasattr("_discard_awaited_by")
}

/// `gather(*aws, return_exceptions=False)`.
pub(crate) fn gather(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let given = arguments.positional();
    let mut returns_exceptions = false;
    for (name, value) in arguments.named(py) {
        let (true, Ok(value)) = (name.eq("return_exceptions")?, value.bind(py).cast::<PyBool>()) else {
            return Ok(None);
        };
        returns_exceptions = value.is_true();
    }
    let class = OBJECTS.gathering_future.bind(py)?;
    if !class.cast::<PyType>().is_ok_and(future::is_class_of_natives) {
        // A program has put another class there, or asyncio has no C module.
        return Ok(None);
    }
    let Some(caller) = Caller::find(py)? else { return Ok(None) };
    if given.is_empty() || !given.iter().all(|value| caller.accepts(value)) || has_duplicates(given) {
        return Ok(None);
    }
    let are_tasks = given.iter().all(|value| coroutine::is_coroutine(value) || task::is_exact(value));
    let gathering = GatherCallback {
        children: Slot::default(),
        outer: Slot::default(),
        awaiter: caller.awaiter(),
        returns_exceptions,
        counter: Counter::new(given.len(), are_tasks),
    };
    let gathering = Instance::<GatherCallback>::create(py, gathering)?;
    let callback = gathering.object();
    let context = context::copy_current(py)?;
    let mut done = Vec::new();
    let mut children = Vec::with_capacity(given.len());
    for value in given {
        let child = if coroutine::is_coroutine(value) {
            let task = caller.spawn(py, value)?;
            // Nothing else can await this task: no 'Task was destroyed but it is pending'.
            task::suppress_destroy_warning(&task);
            task
        } else {
            value.clone()
        };
        if HAS_DONE_AT_ONCE && !future::is_pending(&child) {
            done.push(child.clone());
        } else {
            gathering.awaiter.begin(py, &child)?;
            future::add_callback(py, &child, callback, &context)?;
        }
        children.push(child);
    }
    let children = PyList::new(py, children.into_iter().map(|child| child.into_bound(py)))?;
    let keywords = PyDict::new(py);
    keywords.set_item(&names(py).r#loop, caller.event_loop.bind(py))?;
    let outer = Object::new(class.call((&children,), Some(&keywords))?);
    if !future::has_fields(&outer) {
        return Err(PyTypeError::new_err("a future of asyncio's was expected of _GatheringFuture()"));
    }
    gathering.children.set(Object::new(children));
    gathering.outer.set(outer.clone());
    for child in done {
        gathering.run(py, &child)?;
    }
    Ok(Some(outer))
}

/// From 3.12 on, children that are done before the call count at once; earlier, in the next turn.
const HAS_DONE_AT_ONCE: bool = cfg!(Py_3_12);

/// Whether an object is there twice.
fn has_duplicates(objects: &[Object]) -> bool {
    let mut sorted: Vec<_> = objects.iter().map(Object::as_ptr).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

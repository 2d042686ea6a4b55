//! Who calls one of these functions: a loop, and the task that waits for the children.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::core::LoopCore;
use crate::coroutine;
use crate::ffi::cell::Slot;
use crate::ffi::class::Instance;
use crate::ffi::fields::{Collector, Field, Visited};
use crate::ffi::object::Object;
use crate::sync::waiting;
use crate::task;

/// The running loop and its current task.
pub(super) struct Caller {
    pub(super) event_loop: Instance<LoopCore>,
    task: Option<Object>,
}

impl Caller {
    /// `None` where the call is left to asyncio's own function: no Ferrio loop runs, or it makes other tasks, or the task that
    /// runs is of another kind.
    pub(super) fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        let event_loop = waiting::running_loop(py)?;
        let Some(event_loop) = task::spawning_core(py, &event_loop)?.cloned() else { return Ok(None) };
        let task = task::current_task(py, event_loop.object())?;
        let is_known = task.as_ref().is_none_or(task::is_task);
        Ok(is_known.then_some(Self { event_loop, task }))
    }

    /// Whether `future` is a future or task of ours, of this loop.
    #[inline]
    pub(super) fn has_future(&self, future: &Object) -> bool {
        task::is_of_loop(future, self.event_loop.object())
    }

    /// Whether `awaitable` can be a child: a coroutine, or a future or task of ours, of this loop.
    #[inline]
    pub(super) fn accepts(&self, awaitable: &Object) -> bool {
        coroutine::is_coroutine(awaitable) || self.has_future(awaitable)
    }

    /// A new task for a coroutine.
    #[inline]
    pub(super) fn spawn(&self, py: Python<'_>, coroutine: &Object) -> PyResult<Object> {
        task::spawn(py, &self.event_loop, self.event_loop.object(), coroutine)
    }

    /// The task that runs, for a callback to keep.
    pub(super) fn awaiter(&self) -> Awaiter {
        Awaiter(self.task.clone().into())
    }
}

/// The task that waits for some children, for the call graph: none before 3.14, or if no task runs.
#[derive(Default)]
pub(super) struct Awaiter(Slot);

impl Awaiter {
    /// Adds to the call graph that the task waits for `child`.
    pub(super) fn begin(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        self.0.get().map_or(Ok(()), |task| task::awaited_by(py, child, &task))
    }

    /// Removes from the call graph that the task waits for `child`.
    #[inline]
    pub(super) fn end(&self, py: Python<'_>, child: &Object) -> PyResult<()> {
        self.0.get().map_or(Ok(()), |task| task::no_longer_awaited_by(py, child, &task))
    }

    /// Whether there is a task.
    pub(super) fn is_some(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Field for Awaiter {
    fn visit_field(&self, collector: &Collector) -> Visited {
        self.0.visit_field(collector)
    }

    fn clear_field(&self) {
        self.0.clear_field();
    }
}

/// A future or task of ours that a callback was called with.
pub(super) fn child(future: &Object) -> PyResult<&Object> {
    if task::is_ours(future) { Ok(future) } else { Err(PyTypeError::new_err("a future of Ferrio's was expected")) }
}

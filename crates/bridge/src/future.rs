//! A Python awaitable as a Rust future.
//!
//! The awaitable runs as a task of the running loop, in a copy of the current context, as `asyncio.create_task` has it.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::awaitable::running_loop;
use crate::thread_bound::thread_number;

type Slot = Arc<Mutex<Option<Waker>>>;

/// Starts `awaitable` as a task of the running loop, and gives a future of its result.
///
/// # Errors
/// `RuntimeError` where no loop runs on this thread; `TypeError` if `awaitable` is none.
pub fn into_future(awaitable: &Bound<'_, PyAny>) -> PyResult<PyFuture> {
    static ENSURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = awaitable.py();
    let event_loop = running_loop(py)?;
    let task = ENSURE.import(py, "asyncio", "ensure_future")?.call1((awaitable,))?;
    let slot = Slot::default();
    task.call_method1(intern!(py, "add_done_callback"), (Bound::new(py, WakeWhenDone(Arc::clone(&slot)))?,))?;
    let event_loop = event_loop.unbind();
    Ok(PyFuture { task: Some(task.unbind()), event_loop, slot, thread: thread_number() })
}

/// The result of a Python awaitable. Dropping it cancels the awaitable's task, from whatever thread.
#[must_use = "dropping it cancels the awaitable"]
pub struct PyFuture {
    /// Nothing once the result was taken.
    task: Option<Py<PyAny>>,
    event_loop: Py<PyAny>,
    slot: Slot,
    thread: u64,
}

impl Future for PyFuture {
    type Output = PyResult<Py<PyAny>>;

    /// # Panics
    /// If it is polled again after its result was taken.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Python::attach(|py| {
            // Before the question, so that an end between the two wakes.
            let before = self.slot.lock().unwrap_or_else(PoisonError::into_inner).replace(context.waker().clone());
            drop(before);
            let Some(task) = &self.task else { panic!("a PyFuture was polled after it was ready") };
            let task = task.clone_ref(py).into_bound(py);
            let done = task.call_method0(intern!(py, "done")).and_then(|done| done.is_truthy());
            let result = match done {
                Ok(false) => return Poll::Pending,
                Ok(true) => task.call_method0(intern!(py, "result")).map(Bound::unbind),
                Err(error) => Err(error),
            };
            self.task = None;
            Poll::Ready(result)
        })
    }
}

impl Drop for PyFuture {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        // Nothing to cancel once the interpreter has ended.
        let _ = Python::try_attach(|py| {
            let cancelled = if self.thread == thread_number() {
                task.call_method0(py, intern!(py, "cancel"))
            } else {
                let cancel = task.getattr(py, intern!(py, "cancel"));
                cancel.and_then(|cancel| self.event_loop.call_method1(py, "call_soon_threadsafe", (cancel,)))
            };
            if let Err(error) = cancelled {
                let closed = self.event_loop.call_method0(py, "is_closed").and_then(|closed| closed.is_truthy(py));
                if !closed.unwrap_or(false) {
                    error.write_unraisable(py, Some(task.bind(py)));
                }
            }
        });
    }
}

/// The callback of the task.
#[pyclass(frozen, module = "ferrio_pyo3")]
struct WakeWhenDone(Slot);

#[pymethods]
impl WakeWhenDone {
    fn __call__(&self, _task: &Bound<'_, PyAny>) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

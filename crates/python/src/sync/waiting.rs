//! What waiting takes: the loop that a primitive is bound to, its queue of waiters, and a few of asyncio's names.

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::deque;
use crate::core::LoopCore;
use crate::event_loop;
use crate::ffi::cell::Slot;
use crate::ffi::object::Object;
use crate::task::{self, future};

/// What a module has under a name; looked up once.
pub(crate) fn imported<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Object>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>>
where
    'static: 'py,
{
    Ok(cell.get_or_try_init(py, || Ok::<_, PyErr>(Object::new(py.import(module)?.getattr(name)?)))?.bind(py))
}

/// The loop that runs in this thread, `None` for none.
#[inline]
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Object> {
    if let Some(event_loop) = task::running_loop() {
        return Ok(event_loop);
    }
    Ok(Object::new(get_running_loop(py)?.call0()?))
}

fn get_running_loop(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Object> = PyOnceLock::new();
    imported(py, &FUNCTION, "_asyncio", "_get_running_loop")
}

static CANCELLED_ERROR: PyOnceLock<Object> = PyOnceLock::new();

fn cancelled_error(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    imported(py, &CANCELLED_ERROR, "asyncio.exceptions", "CancelledError")
}

/// Looks up what waits that the interpreter ends ask for: it imports nothing any more then.
pub(crate) fn load(py: Python<'_>) -> PyResult<()> {
    cancelled_error(py)?;
    get_running_loop(py).map(drop)
}

/// Whether `error` is a `CancelledError`.
pub(crate) fn is_cancellation(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    error.value(py).is_instance(cancelled_error(py)?)
}

/// An error of the module `asyncio.queues`, without arguments.
#[cold]
fn queue_error(py: Python<'_>, cell: &'static PyOnceLock<Object>, name: &str) -> PyErr {
    match imported(py, cell, "asyncio.queues", name) {
        Ok(class) => class.cast::<PyType>().map_or_else(Into::into, |class| PyErr::from_type(class.clone(), ())),
        Err(error) => error,
    }
}

/// `QueueShutDown`, which asyncio has since 3.13.
pub(crate) fn queue_shut_down(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Object> = PyOnceLock::new();
    queue_error(py, &CLASS, "QueueShutDown")
}

/// `QueueFull`.
pub(crate) fn queue_full(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Object> = PyOnceLock::new();
    queue_error(py, &CLASS, "QueueFull")
}

/// `QueueEmpty`.
pub(crate) fn queue_empty(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Object> = PyOnceLock::new();
    queue_error(py, &CLASS, "QueueEmpty")
}

/// A future of the loop that `object` is bound to; `bound` is its `_loop`.
#[inline]
pub(crate) fn new_future(py: Python<'_>, object: &Object, bound: &Slot) -> PyResult<Object> {
    let mut event_loop = running_loop(py)?;
    if bound.as_ptr() != event_loop.as_ptr() || event_loop.bind(py).is_none() {
        // Binds it, or complains, in asyncio's words.
        event_loop = Object::new(object.bind(py).call_method0(intern!(py, "_get_loop"))?);
    }
    create_future(py, &event_loop)
}

/// `loop.create_future()`.
#[inline]
pub(crate) fn create_future(py: Python<'_>, event_loop: &Object) -> PyResult<Object> {
    if let Some(core) = LoopCore::find(py, event_loop.as_ptr()).filter(|core| core.waits_natively()) {
        return event_loop::new_future(py, core, event_loop.as_ptr());
    }
    Ok(Object::new(event_loop.bind(py).call_method0(intern!(py, "create_future"))?))
}

/// `future.done()`.
#[inline]
pub(crate) fn is_done(py: Python<'_>, future: &Object) -> PyResult<bool> {
    if future::is_exact(future.as_ptr()) {
        return Ok(!future::is_pending(future));
    }
    future.bind(py).call_method0(intern!(py, "done"))?.is_truthy()
}

/// `future.cancelled()`.
#[inline]
pub(crate) fn is_cancelled(py: Python<'_>, future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future.call_method0(intern!(py, "cancelled"))?.is_truthy()
}

/// `future.set_result(result)`.
#[inline]
pub(crate) fn set_result(py: Python<'_>, future: &Object, result: Object) -> PyResult<()> {
    if future::is_exact(future.as_ptr()) {
        return future::set_result(py, future, result);
    }
    future.bind(py).call_method1(intern!(py, "set_result"), (result.bind(py),)).map(drop)
}

/// Whether nobody waits: there are no waiters, or all of them are cancelled.
#[inline]
pub(crate) fn all_cancelled(py: Python<'_>, waiters: &Slot) -> PyResult<bool> {
    if waiters.is_empty() {
        return Ok(true);
    }
    let Some(waiters) = waiters.get() else { return Ok(true) };
    if deque::length(py, &waiters)? == 0 {
        return Ok(true);
    }
    for waiter in waiters.bind(py).try_iter()? {
        if !is_cancelled(py, &waiter?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds a new future to `waiters`, which are made when there are none yet.
pub(crate) fn join_waiters(py: Python<'_>, object: &Object, bound: &Slot, waiters: &Slot) -> PyResult<Object> {
    let queue = if let Some(queue) = waiters.get() {
        queue
    } else {
        let queue = deque::new(py)?;
        waiters.set(queue.clone());
        queue
    };
    let future = new_future(py, object, bound)?;
    deque::append(py, &queue, &future)?;
    Ok(future)
}

/// Takes `future` out of `waiters`.
pub(crate) fn leave_waiters(py: Python<'_>, waiters: &Slot, future: Option<&Object>) -> PyResult<()> {
    let (Some(queue), Some(future)) = (waiters.get(), future) else { return Ok(()) };
    if deque::remove(py, &queue, future)? {
        return Ok(());
    }
    Err(PyValueError::new_err("deque.remove(x): x not in deque"))
}

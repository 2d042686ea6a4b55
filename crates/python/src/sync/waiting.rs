//! What waiting takes: the loop that a primitive is bound to, its queue of waiters, and a few of asyncio's names.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{ffi, intern};

use super::cell::Slot;
use crate::object::Object;
use crate::task::future;

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
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Object> = PyOnceLock::new();
    imported(py, &FUNCTION, "_asyncio", "_get_running_loop")?.call0()
}

/// A new `collections.deque`.
pub(super) fn new_deque(py: Python<'_>) -> PyResult<Object> {
    static CLASS: PyOnceLock<Object> = PyOnceLock::new();
    Ok(Object::new(imported(py, &CLASS, "collections", "deque")?.call0()?))
}

/// Whether `object` is exactly a `collections.deque`.
pub(super) fn is_deque(py: Python<'_>, object: &Object) -> PyResult<bool> {
    static CLASS: PyOnceLock<Object> = PyOnceLock::new();
    let class = imported(py, &CLASS, "collections", "deque")?;
    // SAFETY: a live object.
    Ok(core::ptr::eq(unsafe { ffi::Py_TYPE(object.as_ptr()) }.cast(), class.as_ptr()))
}

/// Whether `error` is a `CancelledError`.
pub(super) fn is_cancellation(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static CLASS: PyOnceLock<Object> = PyOnceLock::new();
    error.value(py).is_instance(imported(py, &CLASS, "asyncio.exceptions", "CancelledError")?)
}

/// `QueueShutDown`, which asyncio has since 3.13, `QueueFull`, `QueueEmpty`.
pub(super) fn queue_error(py: Python<'_>, name: &str) -> PyErr {
    let made =
        py.import("asyncio.queues").and_then(|module| module.getattr(name)?.cast_into::<PyType>().map_err(Into::into));
    match made {
        Ok(class) => PyErr::from_type(class, ()),
        Err(error) => error,
    }
}

/// A future of the loop that `object` is bound to; `bound` is its `_loop`.
#[inline]
pub(super) fn new_future(py: Python<'_>, object: &Object, bound: &Slot) -> PyResult<Object> {
    let mut event_loop = running_loop(py)?;
    if bound.as_ptr() != event_loop.as_ptr() || event_loop.is_none() {
        // Binds it, or complains, in asyncio's words.
        event_loop = object.bind(py).call_method0(intern!(py, "_get_loop"))?;
    }
    Ok(Object::new(event_loop.call_method0(intern!(py, "create_future"))?))
}

/// The number of items in a sized object.
#[inline]
pub(super) fn length(py: Python<'_>, object: &Object) -> PyResult<usize> {
    // SAFETY: a live object.
    let length = unsafe { ffi::PyObject_Size(object.as_ptr()) };
    usize::try_from(length).map_err(|_| PyErr::fetch(py))
}

/// `object.method(argument)`.
#[inline]
pub(super) fn call_one<'py>(
    py: Python<'py>,
    object: &Object,
    method: &Bound<'py, pyo3::types::PyString>,
    argument: &Object,
) -> PyResult<Bound<'py, PyAny>> {
    object.bind(py).call_method1(method, (argument.bind(py),))
}

/// `deque.append(item)`.
#[inline]
pub(super) fn append(py: Python<'_>, deque: &Object, item: &Object) -> PyResult<()> {
    call_one(py, deque, intern!(py, "append"), item).map(drop)
}

/// `deque.remove(item)`; `false` when it is not in there.
#[inline]
pub(super) fn remove(py: Python<'_>, deque: &Object, item: &Object) -> PyResult<bool> {
    match call_one(py, deque, intern!(py, "remove"), item) {
        Ok(_) => Ok(true),
        Err(error) if error.is_instance_of::<PyValueError>(py) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `deque.popleft()`.
#[inline]
pub(super) fn pop_left(py: Python<'_>, deque: &Object) -> PyResult<Object> {
    Ok(Object::new(deque.bind(py).call_method0(intern!(py, "popleft"))?))
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
pub(crate) fn is_cancelled(py: Python<'_>, future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future.call_method0(intern!(py, "cancelled"))?.is_truthy()
}

/// `future.set_result(result)`.
#[inline]
pub(crate) fn set_result(py: Python<'_>, future: &Object, result: Object) -> PyResult<()> {
    if future::is_exact(future.as_ptr()) {
        return future::set_result(py, future, result);
    }
    call_one(py, future, intern!(py, "set_result"), &result).map(drop)
}

/// Whether nobody waits: there are no waiters, or all of them are cancelled.
pub(super) fn all_cancelled(py: Python<'_>, waiters: Option<&Object>) -> PyResult<bool> {
    let Some(waiters) = waiters else { return Ok(true) };
    if waiters.bind(py).is_none() || length(py, waiters)? == 0 {
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
pub(super) fn join_waiters(py: Python<'_>, object: &Object, bound: &Slot, waiters: &Slot) -> PyResult<Object> {
    let deque = match waiters.get() {
        Some(deque) if !deque.bind(py).is_none() => deque,
        _ => {
            let deque = new_deque(py)?;
            waiters.set(deque.clone());
            deque
        }
    };
    let future = new_future(py, object, bound)?;
    append(py, &deque, &future)?;
    Ok(future)
}

/// Takes `future` out of `waiters`.
pub(super) fn leave_waiters(py: Python<'_>, waiters: &Slot, future: Option<&Object>) -> PyResult<()> {
    let (Some(deque), Some(future)) = (waiters.get(), future) else { return Ok(()) };
    if remove(py, &deque, future)? {
        return Ok(());
    }
    Err(PyValueError::new_err("deque.remove(x): x not in deque"))
}

//! What waiting takes: the loop that a primitive is bound to, its queue of waiters, and a few of asyncio's names.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::core::LoopCore;
use crate::ffi::call::call_method;
use crate::ffi::cell::Slot;
use crate::ffi::class::Instance;
use crate::ffi::deque;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::operator;
use crate::task::{self, future};

/// The loop that runs in this thread, `None` for none.
#[inline]
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Object> {
    if let Some(event_loop) = task::running_loop() {
        return Ok(event_loop);
    }
    OBJECTS.asyncio_raw_running_loop.bind(py)?.call0().map(Object::new)
}

/// Whether `error` is a `CancelledError`.
pub(crate) fn is_cancellation(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    error.value(py).is_instance(OBJECTS.asyncio_cancelled_error.bind(py)?)
}

/// A future of the loop that `object` is bound to; `bound` is its `_loop`.
#[inline]
pub(crate) fn new_future(py: Python<'_>, object: &Object, bound: &Slot) -> PyResult<Object> {
    let mut event_loop = running_loop(py)?;
    if !bound.is(&event_loop) || event_loop.is_none() {
        // Binds it, or complains, in asyncio's words.
        event_loop = call_method(py, &names(py)._get_loop, [object])?;
    }
    create_future(py, &event_loop)
}

/// `loop.create_future()`.
#[inline]
pub(crate) fn create_future(py: Python<'_>, event_loop: &Object) -> PyResult<Object> {
    if let Some(core) = Instance::<LoopCore>::of(event_loop).filter(|core| core.waits_natively()) {
        return task::new_future(py, core);
    }
    call_method(py, &names(py).create_future, [event_loop])
}

/// [`create_future`], marked as one that an `await` hands to a task.
pub(crate) fn create_blocking(py: Python<'_>, event_loop: &Object) -> PyResult<Object> {
    let waiter = create_future(py, event_loop)?;
    if future::has_fields(&waiter) {
        future::set_blocking(&waiter);
    } else {
        waiter.bind(py).setattr(&names(py)._asyncio_future_blocking, true)?;
    }
    Ok(waiter)
}

/// `future.done()`.
#[inline]
pub(crate) fn is_done(py: Python<'_>, future: &Object) -> PyResult<bool> {
    if future::is_exact(future) {
        return Ok(!future::is_pending(future));
    }
    call_method(py, &names(py).done, [future]).and_then(|done| operator::is_true(py, &done))
}

/// `future.cancelled()`.
#[inline]
pub(crate) fn is_cancelled(py: Python<'_>, future: &Object) -> PyResult<bool> {
    call_method(py, &names(py).cancelled, [future]).and_then(|cancelled| operator::is_true(py, &cancelled))
}

/// `future.set_result(result)`.
#[inline]
pub(crate) fn set_result(py: Python<'_>, future: &Object, result: Object) -> PyResult<()> {
    if future::is_exact(future) {
        return future::set_result(py, future, result);
    }
    call_method(py, &names(py).set_result, [future, &result]).map(drop)
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
    for waiter in operator::items(py, &waiters)? {
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

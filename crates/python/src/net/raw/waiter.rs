//! What a task waits for while a socket is not ready: a future of the loop, which an [operation](super::operation) yields.
//!
//! Its result says nothing but that the operation may be tried again; the bytes are taken by the operation itself when its
//! task runs. A task that is cancelled before that has taken none.

#![forbid(unsafe_code)]

use ferrio_engine::sys::Error;
use pyo3::prelude::*;
use rustix::io::Errno;

use crate::core::LoopCore;
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::task::future;
use crate::task::new_future;

/// Makes a pending future, ready to be yielded by an awaitable.
pub(super) fn make(py: Python<'_>, event_loop: &Instance<LoopCore>) -> PyResult<Object> {
    let waiter = new_future(py, event_loop)?;
    if future::is_exact(&waiter) {
        future::set_blocking(&waiter);
    } else {
        waiter.bind(py).setattr(&names(py)._asyncio_future_blocking, true)?;
    }
    Ok(waiter)
}

/// The operation is to be tried again, or finds out that its number is another file's: its task runs in the next turn.
pub(super) fn wake(py: Python<'_>, waiter: &Object) -> PyResult<()> {
    if future::is_exact(waiter) {
        return if future::is_pending(waiter) { future::set_result(py, waiter, Object::none(py)) } else { Ok(()) };
    }
    let names = names(py);
    if !call_method(py, &names.done, [waiter])?.bind(py).is_truthy()? {
        call_method(py, &names.set_result, [waiter, &Object::none(py)])?;
    }
    Ok(())
}

/// The error of an operation whose socket's number is closed, or belongs to another file.
pub(super) fn bad_descriptor(py: Python<'_>) -> PyErr {
    os_error(py, Error::new("recv", Errno::BADF))
}

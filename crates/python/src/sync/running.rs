//! Which loop and which task run in this thread.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::task;

/// `asyncio.get_running_loop()`.
///
/// # Errors
/// `RuntimeError`: none does.
#[inline]
pub(super) fn event_loop(py: Python<'_>) -> PyResult<Object> {
    if let Some(event_loop) = task::running_loop() {
        return Ok(event_loop);
    }
    OBJECTS.asyncio_get_running_loop.bind(py)?.call0().map(Object::new)
}

/// `asyncio.current_task()`: `None` for none.
///
/// # Errors
/// `RuntimeError`: no loop runs.
#[inline]
pub(super) fn task(py: Python<'_>) -> PyResult<Object> {
    if let Some(task) = task::running_task() {
        return Ok(task);
    }
    OBJECTS.asyncio_current_task.bind(py)?.call0().map(Object::new)
}

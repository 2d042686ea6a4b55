//! Which loop and which task run in this thread.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::ffi::object::Object;
use crate::task;

/// `asyncio.get_running_loop()`.
///
/// # Errors
/// `RuntimeError`: none does.
#[inline]
pub(super) fn event_loop(py: Python<'_>) -> PyResult<Object> {
    static FUNCTION: PyOnceLock<Object> = PyOnceLock::new();
    if let Some(event_loop) = task::running_loop() {
        return Ok(event_loop);
    }
    call(py, &FUNCTION, "asyncio.events", "get_running_loop")
}

/// `asyncio.current_task()`: `None` for none.
///
/// # Errors
/// `RuntimeError`: no loop runs.
#[inline]
pub(super) fn task(py: Python<'_>) -> PyResult<Object> {
    static FUNCTION: PyOnceLock<Object> = PyOnceLock::new();
    if let Some(task) = task::running_task() {
        return Ok(task);
    }
    call(py, &FUNCTION, "asyncio.tasks", "current_task")
}

fn call(py: Python<'_>, function: &'static PyOnceLock<Object>, module: &str, name: &str) -> PyResult<Object> {
    let function = function.get_or_try_init(py, || py.import(module)?.getattr(name).map(Object::new))?;
    function.bind(py).call0().map(Object::new)
}

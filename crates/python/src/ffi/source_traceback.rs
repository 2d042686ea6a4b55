//! Where a handle, a future or a task was made, as asyncio records it in debug mode.
//!
//! A thread that runs no Python function (a callback of a foreign library's) has no frame: its traceback is empty, as in
//! asyncio.

use pyo3::ffi;
use pyo3::prelude::*;

use super::object::Object;
use super::objects::OBJECTS;

/// The stack of the Python code that makes a handle.
///
/// # Errors
/// asyncio's own function has been replaced by one that raises.
#[cold]
pub(crate) fn of_handle(py: Python<'_>) -> PyResult<Object> {
    match current_frame(py) {
        None => empty(py),
        Some(frame) => {
            OBJECTS.asyncio_format_helpers.bind(py)?.call_method1("extract_stack", (frame,)).map(Object::new)
        }
    }
}

/// The stack of the Python code that makes a future or a task.
///
/// # Errors
/// As [`of_handle`].
#[cold]
pub(crate) fn of_future(py: Python<'_>) -> PyResult<Object> {
    match current_frame(py) {
        None => empty(py),
        Some(_) => OBJECTS.traceback.bind(py)?.call_method0("extract_stack").map(Object::new),
    }
}

fn current_frame(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the thread is attached.
    let frame = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: the frame under way, or null for none.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) }
}

fn empty(py: Python<'_>) -> PyResult<Object> {
    OBJECTS.traceback.bind(py)?.getattr("StackSummary")?.call0().map(Object::new)
}

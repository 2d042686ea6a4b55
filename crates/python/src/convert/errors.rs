//! The one door from the engine's errors to Python's exceptions.

use ferrio_engine::sys::Error;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The `OSError` that CPython would raise: two arguments, from which it picks the subclass.
pub(crate) fn os_error(py: Python<'_>, error: Error) -> PyErr {
    match os_error_object(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

fn os_error_object(py: Python<'_>, error: Error) -> PyResult<Bound<'_, PyAny>> {
    let errno = error.raw_os_error();
    let text = py.import("os")?.call_method1("strerror", (errno,))?;
    py.get_type::<PyOSError>().call1(PyTuple::new(py, [errno.into_pyobject(py)?.into_any(), text])?)
}

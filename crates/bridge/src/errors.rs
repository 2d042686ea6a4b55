//! The operating system's errors as Python's exceptions.

use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// The `OSError` that CPython would raise: with the number and its text, from which it picks the subclass.
pub(crate) fn os_error(error: io::Error) -> PyErr {
    let Some(errno) = error.raw_os_error() else { return error.into() };
    Python::attach(|py| match py.import("os").and_then(|os| os.call_method1("strerror", (errno,))) {
        Ok(text) => PyOSError::new_err((errno, text.unbind())),
        Err(error) => error,
    })
}

//! Futures of `pyo3-async-runtimes`: ready, and woken by another task of tokio's.

use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::future_into_py;

/// `value`, as soon as tokio and the loop have been through it.
#[pyfunction]
fn ready(py: Python<'_>, value: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move { Ok(value) })
}

/// Nothing, once another task of tokio's has answered.
#[pyfunction]
fn hop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        tokio::task::yield_now().await;
        Ok(())
    })
}

#[pymodule]
fn futures_on_tokio(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ready, module)?)?;
    module.add_function(wrap_pyfunction!(hop, module)?)
}

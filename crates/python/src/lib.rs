//! `ferrio._ferrio`.
use pyo3::prelude::*;

#[pymodule]
fn _ferrio(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}

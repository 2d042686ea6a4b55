//! The exception that the arguments of `throw` mean.

#![forbid(unsafe_code)]

use pyo3::exceptions::{PyBaseException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::ffi::object::Object;

/// `throw(class or exception, value, traceback)`.
pub(super) fn exception(
    py: Python<'_>,
    first: &Object,
    value: Option<&Object>,
    traceback: Option<&Object>,
) -> PyResult<PyErr> {
    let first = first.bind(py);
    let value = value.filter(|value| !value.is_none()).map(|value| value.bind(py));
    let exception = if first.is_instance_of::<PyBaseException>() {
        if value.is_some() {
            return Err(PyTypeError::new_err("instance exception may not have a separate value"));
        }
        first.clone()
    } else if first.cast::<PyType>().is_ok_and(|class| class.is_subclass_of::<PyBaseException>().unwrap_or(false)) {
        match value {
            None => first.call0()?,
            Some(value) if value.is_instance(first)? => value.clone(),
            Some(value) => match value.cast::<PyTuple>() {
                Ok(args) => first.call1(args)?,
                Err(_) => first.call1((value,))?,
            },
        }
    } else {
        let name = first.get_type().name()?;
        let text = format!("exceptions must be classes or instances deriving from BaseException, not {name}");
        return Err(PyTypeError::new_err(text));
    };
    if let Some(traceback) = traceback.filter(|traceback| !traceback.is_none()) {
        exception.setattr("__traceback__", traceback.bind(py))?;
    }
    Ok(PyErr::from_value(exception))
}

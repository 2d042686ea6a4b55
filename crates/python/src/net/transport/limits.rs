//! The arguments of `set_write_buffer_limits`.

#![forbid(unsafe_code)]

use ferrio_engine::flow::WriteGate;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::ffi::arguments::Arguments;
use crate::ffi::object::Object;

/// The marks that a program asks for, in bytes; `None` follows from the other one.
pub(crate) struct Limits {
    high: Option<i64>,
    low: Option<i64>,
}

/// A mark; a number beyond all memory stands for the largest one that there can be.
fn bytes(py: Python<'_>, value: &Object) -> PyResult<Option<i64>> {
    let value = value.bind(py);
    match value.extract::<Option<i64>>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
            Ok(Some(if value.lt(0)? { i64::MIN } else { i64::MAX }))
        }
        outcome => outcome,
    }
}

impl Limits {
    /// `(high=None, low=None)`.
    pub(crate) fn from_arguments(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Self> {
        let given = arguments.parameters(py, "set_write_buffer_limits", ["high", "low"])?;
        let [high, low] = given.map(|value| value.map_or(Ok(None), |value| bytes(py, value)));
        match (high, low) {
            (Ok(high), Ok(low)) => Ok(Self { high, low }),
            (Err(error), _) | (_, Err(error)) if error.is_instance_of::<PyTypeError>(py) => {
                let [high, low] = given.map(|value| value.filter(|value| !value.is_none()).map(|value| value.bind(py)));
                Self::from_numbers(py, high, low)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Of numbers that are no integers, rounded down: sizes are whole. The rules and errors are asyncio's.
    #[cold]
    fn from_numbers(py: Python<'_>, high: Option<&Bound<'_, PyAny>>, low: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let high = match (high, low) {
            (Some(high), _) => high.clone(),
            (None, Some(low)) => PyInt::new(py, 4).mul(low)?,
            (None, None) => return Ok(Self { high: None, low: None }),
        };
        let low = match low {
            Some(low) => low.clone(),
            None => high.floor_div(4)?,
        };
        if !(high.ge(&low)? && low.ge(0)?) {
            let (high, low) = (high.repr()?, low.repr()?);
            return Err(PyValueError::new_err(format!("high ({high}) must be >= low ({low}) must be >= 0")));
        }
        let floor = |number: &Bound<'_, PyAny>| match number.call_method0("__floor__") {
            // Infinity.
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => Ok(Some(i64::MAX)),
            whole => bytes(py, &Object::new(whole?)),
        };
        Ok(Self { high: floor(&high)?, low: floor(&low)? })
    }

    /// Sets the marks of a gate.
    ///
    /// # Errors
    /// asyncio's text, when one is below zero or they are in the wrong order; the gate keeps its marks.
    pub(crate) fn set(&self, gate: &mut WriteGate) -> Result<(), String> {
        let bytes = |limit: Option<i64>| limit.map(usize::try_from).transpose();
        match (bytes(self.high), bytes(self.low)) {
            (Ok(high), Ok(low)) if gate.set_limits(high, low).is_ok() => Ok(()),
            _ => {
                let low = i128::from(self.low.unwrap_or_else(|| self.high.unwrap_or(65536).div_euclid(4)));
                let high = self.high.map_or(4 * low, i128::from);
                Err(format!("high ({high}) must be >= low ({low}) must be >= 0"))
            }
        }
    }
}

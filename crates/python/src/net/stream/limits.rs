//! The arguments of `set_write_buffer_limits`.

use ferrio_engine::flow::WriteGate;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;

use crate::ffi::arguments::{Arguments, unexpected_keyword};

/// The marks that a program asks for, in bytes; `None` follows from the other one.
pub(crate) struct Limits {
    high: Option<i64>,
    low: Option<i64>,
}

/// A mark; what is beyond all memory stands for the most that there can be.
fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    match value.extract::<Option<i64>>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Ok(Some(if value.lt(0)? { i64::MIN } else { i64::MAX }))
        }
        outcome => outcome,
    }
}

impl Limits {
    /// `(high=None, low=None)`.
    pub(crate) fn from_arguments(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Self> {
        let mut limits = [None, None];
        if arguments.positional_addresses().len() > limits.len() {
            return Err(PyTypeError::new_err("set_write_buffer_limits() takes at most high and low"));
        }
        for (place, &value) in limits.iter_mut().zip(arguments.positional_addresses()) {
            *place = Some(value);
        }
        for (name, value) in arguments.keywords(py) {
            let index = match name.to_string().as_str() {
                "high" => 0,
                "low" => 1,
                _ => return Err(unexpected_keyword("set_write_buffer_limits", &name)),
            };
            limits[index] = Some(value);
        }
        let [high, low] = limits.map(|value| {
            // SAFETY: arguments of the call.
            let value = value.map(|value| unsafe { Bound::from_borrowed_ptr(py, value) });
            value.map_or(Ok(None), |value| bytes(&value))
        });
        Ok(Self { high: high?, low: low? })
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

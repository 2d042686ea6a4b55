//! What ends a run of the loop from within, and the one door that it leaves by.
//!
//! Whatever the loop calls may raise. `SystemExit` and `KeyboardInterrupt` end the run; every other exception goes to the
//! loop's `call_exception_handler`, and the loop goes on. An [`Exit`] is made here only, and it is all that an entry of the
//! ready queue, and what follows one, may return to the turn: an exception that nobody has sorted does not fit.
//!
//! What reporting raises itself is logged, as asyncio logs what an exception handler raises: `call_exception_handler` may
//! be a program's own, and a callback may refuse to be shown.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

use crate::ffi::call::call_named;
use crate::ffi::errors::{made, while_handling};

/// An exception that leaves the loop: a `SystemExit` or a `KeyboardInterrupt`.
pub(crate) struct Exit(PyErr);

impl Exit {
    /// Keeps exits apart from what is to be reported.
    ///
    /// # Errors
    /// `error`, when it leaves the loop.
    pub(crate) fn sort(py: Python<'_>, error: PyErr) -> Result<PyErr, Self> {
        let error = made(py, error);
        if leaves_loop(py, &error) { Err(Self(error)) } else { Ok(error) }
    }
}

impl From<Exit> for PyErr {
    fn from(exit: Exit) -> Self {
        exit.0
    }
}

/// Whether the exception is one of the two that leave the loop.
pub(crate) fn leaves_loop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// Ends a piece of the loop's work: an exception that does not leave the loop is handed to `report`, which tells the
/// exception handler.
///
/// # Errors
/// What leaves the loop.
#[inline]
pub(crate) fn settle(
    py: Python<'_>,
    outcome: PyResult<()>,
    report: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<()>,
) -> Result<(), Exit> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => settle_failure(py, error, report),
    }
}

#[cold]
#[inline(never)]
fn settle_failure(
    py: Python<'_>,
    error: PyErr,
    report: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<()>,
) -> Result<(), Exit> {
    let exception = Exit::sort(py, error)?.into_value(py).into_bound(py).into_any();
    match while_handling(py, &exception, || report(&exception)) {
        Ok(()) => Ok(()),
        Err(failure) => log(py, &Exit::sort(py, failure)?),
    }
}

/// Logs what reporting has raised.
#[cold]
fn log(py: Python<'_>, failure: &PyErr) -> Result<(), Exit> {
    let logged = py
        .import("ferrio._event_loop")
        .and_then(|module| call_named(&module, "log_failed_report", (failure.value(py),)));
    if let Err(failure) = logged {
        Exit::sort(py, failure)?.write_unraisable(py, None);
    }
    Ok(())
}

//! References that PyO3 would give back later.
//!
//! PyO3 knows that a thread is attached only where it has attached the thread itself. A `PyErr` or a `Py` that is dropped
//! anywhere else in a function that CPython calls waits in PyO3's pool until PyO3 attaches a thread next. All of this module's
//! functions are called by CPython, so a loop runs within [`at_once`], and whatever makes an object, raises an exception or
//! finalizes empties the pool ([`give_back`]).

use pyo3::prelude::*;

/// Runs `body`, within which references are given back when they are dropped.
pub(crate) fn at_once<R>(_py: Python<'_>, body: impl FnOnce() -> R) -> R {
    let mut body = Some(body);
    let mut run = || body.take().map(|body| body());
    let result = Python::try_attach(|_| run()).unwrap_or_else(&mut run);
    result.expect("it runs once: with PyO3, or without it while the interpreter ends")
}

/// Gives back what waits. Runs the destructors of objects: no exception may be set.
#[cold]
pub(in crate::ffi) fn give_back(_py: Python<'_>) {
    // While the interpreter ends the references are left alone.
    let _ = Python::try_attach(|_| ());
}

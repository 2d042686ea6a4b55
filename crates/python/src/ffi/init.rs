//! `__init__` of a native class, from an ordinary function.

use core::ffi::{c_int, c_void};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, ffi};

use super::class::Builder;
use super::method::{Receiver, the};
use super::passed::This;
use super::trampoline;

impl<R: Receiver> Builder<R> {
    /// `def __init__(self, *args, **kwargs)`.
    pub(crate) fn init<F>(self, _function: F) -> Self
    where
        F: for<'a, 'b> Fn(
                Python<'a>,
                R::View<'a>,
                &'b Bound<'a, PyTuple>,
                Option<&'b Bound<'a, PyDict>>,
            ) -> PyResult<()>
            + Copy
            + 'static,
    {
        self.slot(ffi::Py_tp_init, init::<R, F> as *mut c_void)
    }
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn init<R: Receiver, F>(
    this: This<'_, R>,
    args: Borrowed<'_, '_, PyTuple>,
    kwargs: Option<Borrowed<'_, '_, PyDict>>,
) -> c_int
where
    F: for<'a, 'b> Fn(Python<'a>, R::View<'a>, &'b Bound<'a, PyTuple>, Option<&'b Bound<'a, PyDict>>) -> PyResult<()>
        + Copy
        + 'static,
{
    let py = this.py();
    trampoline::run(py, -1, || the::<F>()(py, this.view(), &args, kwargs.as_deref()).map(|()| 0))
}

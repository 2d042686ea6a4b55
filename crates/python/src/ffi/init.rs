//! `__init__` of a native class, from an ordinary function.

use core::ffi::{c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::class::Builder;
use super::method::{Receiver, the};
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

unsafe extern "C" fn init<R: Receiver, F>(
    object: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int
where
    F: for<'a, 'b> Fn(Python<'a>, R::View<'a>, &'b Bound<'a, PyTuple>, Option<&'b Bound<'a, PyDict>>) -> PyResult<()>
        + Copy
        + 'static,
{
    let body = |py: Python<'_>| {
        // SAFETY: a slot of the receiver's class.
        let receiver = unsafe { R::view(py, &object) };
        // SAFETY: CPython passes a tuple, which the call keeps alive.
        let args = unsafe { Bound::from_borrowed_ptr(py, args) }.cast_into::<PyTuple>()?;
        // SAFETY: CPython passes a dictionary, or null for none.
        let kwargs = unsafe { Bound::from_borrowed_ptr_or_opt(py, kwargs) };
        let kwargs = kwargs.map(Bound::cast_into::<PyDict>).transpose()?;
        the::<F>()(py, receiver, &args, kwargs.as_ref()).map(|()| 0)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(-1, body) }
}

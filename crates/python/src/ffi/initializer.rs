//! `__init__` from an ordinary function.

use core::ffi::{c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::class::Builder;
use super::method::{Receiver, the};
use super::trampoline;

impl<R: Receiver> Builder<R> {
    /// `__init__(self, *args, **kwargs)`.
    pub(crate) fn initializer<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &Bound<'a, PyTuple>, Option<&Bound<'a, PyDict>>) -> PyResult<()>
            + Copy
            + 'static,
    {
        self.slot(ffi::Py_tp_init, initialize::<R, F> as *mut c_void)
    }
}

unsafe extern "C" fn initialize<R: Receiver, F>(
    address: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> c_int
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &Bound<'a, PyTuple>, Option<&Bound<'a, PyDict>>) -> PyResult<()>
        + Copy
        + 'static,
{
    let body = |py: Python<'_>| -> PyResult<c_int> {
        // SAFETY: the arguments of the call, which keeps them alive.
        let arguments = unsafe { Bound::from_borrowed_ptr(py, arguments) }.cast_into::<PyTuple>()?;
        // SAFETY: null for none, else an argument of the call.
        let keywords = unsafe { Bound::from_borrowed_ptr_or_opt(py, keywords) };
        let keywords = keywords.map(Bound::cast_into::<PyDict>).transpose()?;
        // SAFETY: a slot of the receiver's class.
        let receiver = unsafe { R::view(py, &address) };
        the::<F>()(py, receiver, &arguments, keywords.as_ref()).map(|()| 0)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(-1, body) }
}

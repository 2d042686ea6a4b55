//! `StopIteration(value)`: how an iterator that `await` drives tells its result.
//!
//! `await` of anything but Python's own coroutines asks `tp_iternext`, which has no other way to give a result, and takes the
//! value out of the exception at once. So the exception is made directly, without a call of its class.

use pyo3::exceptions::{PyBaseException, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
#[cfg(Py_3_12)]
use pyo3::{PyTypeInfo, ffi};

#[cfg(Py_3_12)]
use super::arguments::tuple_of;
use super::c_api;
use super::call::call;
use super::object::Object;

/// Makes `StopIteration(value)` the current exception.
#[inline]
pub(crate) fn raise(py: Python<'_>, value: Object) {
    if let Err(error) = make(py, value) {
        error.restore(py);
    }
}

/// Before 3.12 the current exception is a class and its argument.
#[cfg(not(Py_3_12))]
#[expect(clippy::needless_pass_by_value, reason = "as its newer form")]
fn make(py: Python<'_>, value: Object) -> PyResult<()> {
    raise_by_class(py, &value)
}

#[cfg(Py_3_12)]
fn make(py: Python<'_>, value: Object) -> PyResult<()> {
    // SAFETY: the thread is attached.
    if unsafe { c_api::PyErr_GetHandledException() }.is_some() {
        // It becomes the context.
        return raise_by_class(py, &value);
    }
    // As for a generator, `None` is no argument.
    let args = if value.is_none() { &[][..] } else { core::slice::from_ref(&value) };
    let args = tuple_of(py, args)?;
    let class = PyStopIteration::type_object(py);
    // SAFETY: a ready type without variable-sized part; the memory is zeroed, as its `__new__` leaves it.
    let exception = unsafe { c_api::PyType_GenericAlloc(class.as_borrowed(), 0) };
    let exception: *mut ffi::PyStopIterationObject = c_api::object(py, exception)?.into_ptr().cast();
    // SAFETY: a new exception of that very type, whose fields are null; it takes the reference over.
    unsafe { (*exception).args = args.into_ptr() };
    // SAFETY: as above.
    unsafe { (*exception).value = value.into_ptr() };
    // SAFETY: a whole exception, whose reference it takes over.
    unsafe { ffi::PyErr_SetRaisedException(exception.cast()) };
    Ok(())
}

/// By its class, as anybody raises it.
#[cold]
fn raise_by_class(py: Python<'_>, value: &Object) -> PyResult<()> {
    let class = py.get_type::<PyStopIteration>();
    // A tuple would be taken for the arguments, an exception for the one to raise.
    let is_special = value.bind(py).is_instance_of::<PyTuple>() || value.bind(py).is_instance_of::<PyBaseException>();
    let made = if is_special { Some(call(py, Object::of(&class), [value])?) } else { None };
    let argument = made.as_ref().unwrap_or(value);
    c_api::PyErr_SetObject(Object::of(&class).lend(py), argument.lend(py));
    Ok(())
}

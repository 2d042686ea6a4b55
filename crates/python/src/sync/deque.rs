//! `collections.deque`, whose methods are called without being looked up.
//!
//! An exact `deque` has the methods of its type, which no program can replace: the functions behind them are found once.
//! Whatever else a program puts in a deque's place is asked by name.

use core::ffi::c_void;
use core::ptr::null_mut;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use pyo3::{ffi, intern};

use crate::ffi::object::Object;

/// The C function of a method that takes one argument, or none (null).
type Function = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;

struct Deque {
    class: Object,
    length: Option<ffi::lenfunc>,
    append: Option<Function>,
    pop_left: Option<Function>,
}

static DEQUE: PyOnceLock<Deque> = PyOnceLock::new();

fn deque(py: Python<'_>) -> PyResult<&'static Deque> {
    DEQUE.get_or_try_init(py, || {
        let class = py.import("collections")?.getattr("deque")?.cast_into::<PyType>()?;
        // SAFETY: a live type.
        let length = unsafe { ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_sq_length) };
        Ok(Deque {
            // SAFETY: null, or the slot's function, which has this signature.
            length: unsafe { core::mem::transmute::<*mut c_void, Option<ffi::lenfunc>>(length) },
            append: function(&class, "append", ffi::METH_O)?,
            pop_left: function(&class, "popleft", ffi::METH_NOARGS)?,
            class: Object::new(class),
        })
    })
}

/// The function behind a method, if it is called as `flags` say.
fn function(class: &Bound<'_, PyType>, name: &str, flags: core::ffi::c_int) -> PyResult<Option<Function>> {
    let method = class.getattr(name)?;
    // SAFETY: a live object.
    let kind = unsafe { ffi::Py_TYPE(method.as_ptr()) };
    if kind != &raw mut ffi::PyMethodDescr_Type {
        return Ok(None);
    }
    let descriptor: *mut ffi::PyMethodDescrObject = method.as_ptr().cast();
    // SAFETY: a method descriptor, whose first fields are a descriptor's.
    let owner = unsafe { (*descriptor).d_common.d_type };
    // A class may have taken it over from another one, for whose instances alone it is.
    if owner != class.as_type_ptr() {
        return Ok(None);
    }
    // SAFETY: a method descriptor of a type that lives for ever.
    let definition = unsafe { (*descriptor).d_method };
    // SAFETY: its definition, which lives as long.
    let definition = unsafe { &*definition };
    if definition.ml_flags & !ffi::METH_COEXIST != flags {
        return Ok(None);
    }
    // SAFETY: these flags stand for a function of that signature.
    Ok(Some(unsafe { definition.ml_meth.PyCFunction }))
}

/// A new, empty one.
pub(super) fn new(py: Python<'_>) -> PyResult<Object> {
    Ok(Object::new(deque(py)?.class.bind(py).call0()?))
}

/// Whether `object` is exactly a `deque`.
#[inline]
pub(super) fn is_exact(py: Python<'_>, object: &Object) -> PyResult<bool> {
    Ok(is_of(deque(py)?, object))
}

#[inline]
fn is_of(deque: &Deque, object: &Object) -> bool {
    // SAFETY: a live object.
    core::ptr::eq(unsafe { ffi::Py_TYPE(object.as_ptr()) }.cast(), deque.class.as_ptr())
}

/// The number of items.
#[inline]
pub(super) fn length(py: Python<'_>, object: &Object) -> PyResult<usize> {
    let deque = deque(py)?;
    let length = match deque.length {
        // SAFETY: the slot's function and a deque.
        Some(length) if is_of(deque, object) => unsafe { length(object.as_ptr()) },
        // SAFETY: a live object.
        _ => unsafe { ffi::PyObject_Size(object.as_ptr()) },
    };
    usize::try_from(length).map_err(|_| PyErr::fetch(py))
}

/// `deque.append(item)`.
#[inline]
pub(super) fn append(py: Python<'_>, object: &Object, item: &Object) -> PyResult<()> {
    let deque = deque(py)?;
    match deque.append {
        Some(append) if is_of(deque, object) => {
            // SAFETY: the method's function, a deque and an argument.
            let result = unsafe { append(object.as_ptr(), item.as_ptr()) };
            // SAFETY: a new reference, or null with an exception.
            unsafe { Object::from_owned(result) }.map(drop).ok_or_else(|| PyErr::fetch(py))
        }
        _ => call(py, object, intern!(py, "append"), item).map(drop),
    }
}

/// `deque.popleft()`.
#[inline]
pub(super) fn pop_left(py: Python<'_>, object: &Object) -> PyResult<Object> {
    let deque = deque(py)?;
    match deque.pop_left {
        Some(pop_left) if is_of(deque, object) => {
            // SAFETY: the method's function and a deque.
            let result = unsafe { pop_left(object.as_ptr(), null_mut()) };
            // SAFETY: a new reference, or null with an exception.
            unsafe { Object::from_owned(result) }.ok_or_else(|| PyErr::fetch(py))
        }
        _ => Ok(Object::new(object.bind(py).call_method0(intern!(py, "popleft"))?)),
    }
}

/// `deque.remove(item)`; `false` when it is not in there.
#[inline]
pub(super) fn remove(py: Python<'_>, object: &Object, item: &Object) -> PyResult<bool> {
    // Who waited longest is woken first: mostly it is the first, and nothing is compared with anything.
    if is_exact(py, object)? && length(py, object)? > 0 && first(py, object)?.as_ptr() == item.as_ptr() {
        return pop_left(py, object).map(|_| true);
    }
    match call(py, object, intern!(py, "remove"), item) {
        Ok(_) => Ok(true),
        Err(error) if error.is_instance_of::<PyValueError>(py) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `deque[0]`.
#[inline]
pub(super) fn first(py: Python<'_>, object: &Object) -> PyResult<Object> {
    // SAFETY: a live object.
    let first = unsafe { ffi::PySequence_GetItem(object.as_ptr(), 0) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(first) }.ok_or_else(|| PyErr::fetch(py))
}

fn call<'py>(
    py: Python<'py>,
    object: &Object,
    method: &Bound<'py, PyString>,
    argument: &Object,
) -> PyResult<Bound<'py, PyAny>> {
    object.bind(py).call_method1(method, (argument.bind(py),))
}

//! `collections.deque`, whose methods are called without being looked up.
//!
//! An exact `deque` has the methods of its type, which no program can replace: the C functions behind them are found once.
//! Whatever else a program puts in a deque's place is asked by name.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::c_api;
use super::call::call_method;
use super::names::names;
use super::nesting;
use super::object::Object;
use super::objects::OBJECTS;
use super::operator;

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
        let class = OBJECTS.collections_deque.bind(py)?.cast::<PyType>()?;
        let length = c_api::PyType_GetSlot(class.as_borrowed(), ffi::Py_sq_length);
        Ok(Deque {
            // SAFETY: null, or the slot's function, which has this signature.
            length: unsafe { core::mem::transmute::<*mut c_void, Option<ffi::lenfunc>>(length) },
            append: function(class, "append", ffi::METH_O)?,
            pop_left: function(class, "popleft", ffi::METH_NOARGS)?,
            class: Object::new(class.clone()),
        })
    })
}

/// The function behind a method, if it is called as `flags` say.
fn function(class: &Bound<'_, PyType>, name: &str, flags: c_int) -> PyResult<Option<Function>> {
    let method = class.getattr(name)?;
    if !Object::of(&method).has_class(&raw const ffi::PyMethodDescr_Type) {
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

impl Deque {
    #[inline]
    fn is_exact(&self, object: &Object) -> bool {
        object.has_class(self.class.as_ptr().cast())
    }
}

/// A new, empty one.
pub(crate) fn new(py: Python<'_>) -> PyResult<Object> {
    Ok(Object::new(deque(py)?.class.bind(py).call0()?))
}

/// Whether `object` is exactly a `deque`.
#[inline]
pub(crate) fn is_exact(py: Python<'_>, object: &Object) -> PyResult<bool> {
    Ok(deque(py)?.is_exact(object))
}

/// The number of items.
#[inline]
pub(crate) fn length(py: Python<'_>, object: &Object) -> PyResult<usize> {
    let deque = deque(py)?;
    match deque.length {
        Some(length) if deque.is_exact(object) => {
            // SAFETY: the slot's function and a deque.
            let length = unsafe { length(object.as_ptr()) };
            usize::try_from(length).map_err(|_| PyErr::fetch(py))
        }
        _ => operator::length(py, object),
    }
}

/// `deque.append(item)`.
#[inline]
pub(crate) fn append(py: Python<'_>, object: &Object, item: &Object) -> PyResult<()> {
    let deque = deque(py)?;
    match deque.append {
        Some(append) if deque.is_exact(object) => {
            // SAFETY: the method's function, a deque and an argument.
            let result = unsafe { append(object.as_ptr(), item.as_ptr()) };
            // SAFETY: a new reference, or null with an exception.
            unsafe { Object::from_result(py, result) }.map(drop)
        }
        _ => call_method(py, &names(py).append, [object, item]).map(drop),
    }
}

/// `deque.popleft()`.
#[inline]
pub(crate) fn pop_left(py: Python<'_>, object: &Object) -> PyResult<Object> {
    let deque = deque(py)?;
    match deque.pop_left {
        Some(pop_left) if deque.is_exact(object) => {
            // SAFETY: the method's function and a deque.
            let result = unsafe { pop_left(object.as_ptr(), null_mut()) };
            // SAFETY: a new reference, or null with an exception.
            unsafe { Object::from_result(py, result) }
        }
        _ => call_method(py, &names(py).popleft, [object]),
    }
}

/// `deque.remove(item)`; `false` when it is not in there.
#[inline]
pub(crate) fn remove(py: Python<'_>, object: &Object, item: &Object) -> PyResult<bool> {
    // Who waited longest is woken first: mostly it is the first, and nothing is compared with anything.
    if is_exact(py, object)? && length(py, object)? > 0 && first(py, object)?.is(item) {
        return pop_left(py, object).map(|_| true);
    }
    match call_method(py, &names(py).remove, [object, item]) {
        Ok(_) => Ok(true),
        Err(error) if error.is_instance_of::<PyValueError>(py) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `deque[0]`.
#[inline]
pub(crate) fn first(py: Python<'_>, object: &Object) -> PyResult<Object> {
    let _level = if is_exact(py, object)? { None } else { Some(nesting::enter(py)?) };
    c_api::object(py, c_api::PySequence_GetItem(object.lend(py), 0))
}

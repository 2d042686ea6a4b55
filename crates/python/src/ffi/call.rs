//! Calls of Python functions and methods with borrowed arguments, without a tuple.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use super::names::names;
use super::object::Object;

/// `function(*arguments)`.
#[inline]
pub(crate) fn call<const N: usize>(py: Python<'_>, function: &Object, arguments: [&Object; N]) -> PyResult<Object> {
    let addresses = arguments.map(Object::as_ptr);
    let keywords = core::ptr::null_mut();
    // SAFETY: live objects, which the references keep for the call.
    let result = unsafe { ffi::PyObject_Vectorcall(function.as_ptr(), addresses.as_ptr(), N, keywords) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// `function()`.
#[inline]
pub(crate) fn call_without_arguments(py: Python<'_>, function: &Object) -> PyResult<Object> {
    // SAFETY: a live object.
    let result = unsafe { ffi::PyObject_CallNoArgs(function.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// `function(*arguments)`, with room for the `self` of a bound method, which then needs no copy of them.
#[inline]
pub(crate) fn call_with_room<const N: usize>(
    py: Python<'_>,
    function: &Object,
    arguments: [&Object; N],
) -> PyResult<Object> {
    const { assert!(N > 0 && N < 4, "the room is on the stack") };
    let mut addresses = [core::ptr::null_mut(); 4];
    for (place, argument) in addresses[1..].iter_mut().zip(arguments) {
        *place = argument.as_ptr();
    }
    let (first, count) = (addresses[1..].as_mut_ptr(), N | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET);
    let keywords = core::ptr::null_mut();
    // SAFETY: live objects, which the references keep for the call; the place before the first is the function's to use.
    let result = unsafe { ffi::PyObject_Vectorcall(function.as_ptr(), first.cast(), count, keywords) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// `function(*arguments)`, without another tuple.
#[inline]
pub(crate) fn call_with_tuple(function: &Object, arguments: &Bound<'_, PyTuple>) -> PyResult<Object> {
    let (py, tuple) = (arguments.py(), arguments.as_ptr());
    // SAFETY: a tuple.
    let count = unsafe { ffi::PyTuple_GET_SIZE(tuple) };
    let result = if count == 0 {
        // SAFETY: a live object.
        unsafe { ffi::PyObject_CallNoArgs(function.as_ptr()) }
    } else {
        // SAFETY: the tuple's items lie behind one another, and the tuple outlives the call.
        let items = unsafe { (&raw const (*tuple.cast::<ffi::PyTupleObject>()).ob_item).cast() };
        // SAFETY: `count` items at `items`, no keywords.
        unsafe { ffi::PyObject_Vectorcall(function.as_ptr(), items, count.unsigned_abs(), core::ptr::null_mut()) }
    };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// `receiver.name(*arguments)`, where `arguments` begins with the receiver.
#[inline]
pub(crate) fn call_method<const N: usize>(
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
) -> PyResult<Object> {
    const { assert!(N > 0, "the receiver comes first") };
    let addresses = arguments.map(Object::as_ptr);
    let keywords = core::ptr::null_mut();
    // SAFETY: live objects, which the references keep for the call; the first one is the receiver.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name.as_ptr(), addresses.as_ptr(), N, keywords) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// [`call_method`], where the last argument is named by `keyword`, a tuple of one name.
#[inline]
pub(crate) fn call_method_with_keyword<const N: usize>(
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
    keyword: &Bound<'_, PyTuple>,
) -> PyResult<Object> {
    const { assert!(N > 1, "the receiver comes first, the named argument last") };
    assert_eq!(keyword.len(), 1, "one name for one argument");
    let addresses = arguments.map(Object::as_ptr);
    // SAFETY: live objects, which the references keep for the call; the tuple has a name for the last of them.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name.as_ptr(), addresses.as_ptr(), N - 1, keyword.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// The names of the keyword arguments of a call with `context=`.
static CONTEXT: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();

/// [`call_method_with_keyword`], where the last argument is `context`.
#[inline]
pub(crate) fn call_method_with_context<const N: usize>(
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
) -> PyResult<Object> {
    let keyword = CONTEXT.get_or_try_init(py, || PyTuple::new(py, [&names(py).context]).map(Bound::unbind))?;
    call_method_with_keyword(py, name, arguments, keyword.bind(py))
}

/// [`call_method`], with further arguments by their names.
#[cfg(not(Py_3_14))]
pub(crate) fn call_method_with_keywords<const N: usize>(
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
    named: &[(&Py<PyString>, &Object)],
) -> PyResult<Object> {
    const { assert!(N > 0, "the receiver comes first") };
    let keywords = PyTuple::new(py, named.iter().map(|(name, _)| name))?;
    let addresses: Vec<_> =
        arguments.into_iter().chain(named.iter().map(|(_, value)| *value)).map(Object::as_ptr).collect();
    // SAFETY: live objects, which the references keep for the call; the tuple has a name for each of the last ones.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name.as_ptr(), addresses.as_ptr(), N, keywords.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

/// `receiver.name(...)` with the arguments of the call under way, but for the first one.
#[cfg(Py_3_14)]
#[inline]
pub(crate) fn call_method_with_rest(
    py: Python<'_>,
    name: &Py<PyString>,
    receiver: &Object,
    arguments: super::arguments::Arguments<'_>,
) -> PyResult<Object> {
    if let Some([_, argument]) = arguments.only() {
        return call_method(py, name, [receiver, argument]);
    }
    let positional = arguments.positional().len();
    assert!(positional > 0, "the receiver takes the place of an argument");
    let mut addresses: Vec<_> = arguments.values().iter().map(Object::as_ptr).collect();
    addresses[0] = receiver.as_ptr();
    // SAFETY: live objects, which the references keep for the call; the first one is the receiver, and the names are those of
    // the last ones.
    let result =
        unsafe { ffi::PyObject_VectorcallMethod(name.as_ptr(), addresses.as_ptr(), positional, arguments.names()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, result) }
}

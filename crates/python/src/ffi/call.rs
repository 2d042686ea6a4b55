//! Calls of Python functions and methods with borrowed arguments, without a tuple.
//!
//! What an object has under a name may be a native function, which is called without a frame and may lead back to its caller.
//! [`call`] and `call_method` with its relatives are therefore levels of [`nesting`], and end with `RecursionError` when there
//! are too many. What the loop calls in its turns is bounded by the levels of these.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use pyo3::{Borrowed, BoundObject, ffi};

use super::c_api::{self, Any};
use super::names::names;
use super::nesting;
use super::object::Object;

/// How many arguments have no name.
#[inline]
fn positional(arguments: &[Any<'_>], names: Option<Borrowed<'_, '_, PyTuple>>) -> usize {
    let positional = arguments.len().checked_sub(names.map_or(0, |names| names.len()));
    positional.expect("a value for each name")
}

/// `function(*arguments)`, where the last arguments have the names in `names`.
#[inline]
pub(in crate::ffi) fn vectorcall(
    function: Any<'_>,
    arguments: &[Any<'_>],
    names: Option<Borrowed<'_, '_, PyTuple>>,
) -> PyResult<Object> {
    let positional = positional(arguments, names);
    // SAFETY: live objects, which the references keep for the call; the last of them have a name each.
    let result = unsafe { c_api::PyObject_Vectorcall(function, arguments.as_ptr(), positional, names) };
    c_api::object(function.py(), result)
}

/// [`vectorcall`] of the method `name` of the first argument.
#[inline]
fn method(
    name: Borrowed<'_, '_, PyString>,
    arguments: &[Any<'_>],
    names: Option<Borrowed<'_, '_, PyTuple>>,
    _level: &nesting::Call,
) -> PyResult<Object> {
    let positional = positional(arguments, names);
    assert!(positional > 0, "the receiver comes first");
    // SAFETY: live objects, which the references keep for the call: the receiver, and arguments the last of which have a name
    // each.
    let result = unsafe { c_api::PyObject_VectorcallMethod(name, arguments.as_ptr(), positional, names) };
    c_api::object(name.py(), result)
}

/// `function(*arguments)`, as a level of calls.
#[inline]
pub(crate) fn call<const N: usize>(py: Python<'_>, function: &Object, arguments: [&Object; N]) -> PyResult<Object> {
    let _level = nesting::enter(py)?;
    vectorcall(function.lend(py), &arguments.map(|argument| argument.lend(py)), None)
}

/// `function()`.
#[inline]
pub(crate) fn call_without_arguments(py: Python<'_>, function: &Object) -> PyResult<Object> {
    c_api::object(py, c_api::PyObject_CallNoArgs(function.lend(py)))
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
    // SAFETY: live objects, which the references keep for the call; the place before the first is the function's to use.
    let result = unsafe { c_api::PyObject_Vectorcall(function.lend(py), first.cast(), count, None) };
    c_api::object(py, result)
}

/// `function(*arguments)`, without another tuple.
#[inline]
pub(crate) fn call_with_tuple(function: &Object, arguments: Borrowed<'_, '_, PyTuple>) -> PyResult<Object> {
    let (py, count) = (arguments.py(), arguments.len());
    if count == 0 {
        return c_api::object(py, c_api::PyObject_CallNoArgs(function.lend(py)));
    }
    let tuple: *const ffi::PyTupleObject = arguments.as_ptr().cast();
    // SAFETY: a live tuple.
    let items = unsafe { &raw const (*tuple).ob_item }.cast();
    // SAFETY: the tuple's items lie behind one another, and the tuple outlives the call.
    let items = unsafe { core::slice::from_raw_parts(items, count) };
    vectorcall(function.lend(py), items, None)
}

/// `receiver.name(*arguments)` with arguments that are yet to become Python's. It is no level: the report of a
/// `RecursionError` has room for it.
///
/// # Errors
/// The receiver has no such attribute; what the call raises.
#[cold]
pub(crate) fn call_named<'py>(
    receiver: &Bound<'py, PyAny>,
    name: impl IntoPyObject<'py, Target = PyString>,
    arguments: impl IntoPyObject<'py, Target = PyTuple>,
) -> PyResult<Object> {
    let py = receiver.py();
    let name = name.into_pyobject(py).map_err(Into::into)?.into_any();
    let method = c_api::object(py, c_api::PyObject_GetAttr(receiver.as_borrowed(), name.as_borrowed()))?;
    call_with_tuple(&method, arguments.into_pyobject(py).map_err(Into::into)?.as_borrowed())
}

/// `receiver.name(*arguments)`, where `arguments` begins with the receiver, as a level of calls.
#[inline]
pub(crate) fn call_method<const N: usize>(
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
) -> PyResult<Object> {
    call_method_within(&nesting::enter(py)?, py, name, arguments)
}

/// [`call_method`], within a level that has been entered for it.
#[inline]
pub(crate) fn call_method_within<const N: usize>(
    level: &nesting::Call,
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
) -> PyResult<Object> {
    method(name.bind_borrowed(py), &arguments.map(|argument| argument.lend(py)), None, level)
}

/// [`call_method`], where the last argument is named by `keyword`, a tuple of one name.
#[inline]
pub(crate) fn call_method_with_keyword<const N: usize>(
    py: Python<'_>,
    name: &Py<PyString>,
    arguments: [&Object; N],
    keyword: &Bound<'_, PyTuple>,
) -> PyResult<Object> {
    let values = arguments.map(|argument| argument.lend(py));
    method(name.bind_borrowed(py), &values, Some(keyword.as_borrowed()), &nesting::enter(py)?)
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
    let keywords = PyTuple::new(py, named.iter().map(|(name, _)| name))?;
    let values = arguments.into_iter().chain(named.iter().map(|(_, value)| *value));
    let values: Vec<_> = values.map(|value| value.lend(py)).collect();
    method(name.bind_borrowed(py), &values, Some(keywords.as_borrowed()), &nesting::enter(py)?)
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
    let mut values = Object::lend_all(arguments.values(), py).to_vec();
    values[0] = receiver.lend(py);
    method(name.bind_borrowed(py), &values, arguments.names(), &nesting::enter(py)?)
}

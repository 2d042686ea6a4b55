//! Functions of CPython, declared with what they ask for and what they give.
//!
//! A parameter that is a live object is an [`Any`], or a reference to an object of a certain type: it proves that the object
//! lives and that the thread is attached. A result that is a new reference is an `Option<Object>`, which is laid out as the
//! address; `None` is null.
//!
//! A function that is declared `safe` accepts every object of its parameters' types: what is wrong with one is an exception.
//! A call of any other says why the rest of what it asks for holds.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::NonNull;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi};

use super::object::Object;
use super::trampoline::fetched;

/// A live object, as an attached thread passes it.
pub(in crate::ffi) type Any<'a> = Borrowed<'a, 'a, PyAny>;

/// The result of a function that gives null with an exception.
#[inline]
pub(in crate::ffi) fn object(py: Python<'_>, result: Option<Object>) -> PyResult<Object> {
    result.ok_or_else(|| fetched(py))
}

/// The result of a function that gives 0, or another number with an exception.
#[inline]
pub(in crate::ffi) fn status(py: Python<'_>, result: c_int) -> PyResult<()> {
    if result == 0 { Ok(()) } else { Err(fetched(py)) }
}

// SAFETY: the declarations agree with CPython's headers: `Borrowed` and `Option<Object>` are laid out as the address of an
// object, `Option<Borrowed>` as that or null. The `safe` ones are so for the reasons that the module gives.
unsafe extern "C" {
    // Contexts; the functions check that the object is one, and that it is entered and left in order.
    pub(in crate::ffi) fn PyContextVar_New(name: *const c_char, default: Option<Any<'_>>) -> Option<Object>;
    pub(in crate::ffi) fn PyContext_New() -> Option<Object>;
    pub(in crate::ffi) fn PyContext_CopyCurrent() -> Option<Object>;
    pub(in crate::ffi) safe fn PyContext_Enter(context: Any<'_>) -> c_int;
    pub(in crate::ffi) safe fn PyContext_Exit(context: Any<'_>) -> c_int;

    // Exceptions.
    pub(in crate::ffi) fn PyErr_GetHandledException() -> Option<Object>;
    pub(in crate::ffi) safe fn PyErr_GivenExceptionMatches(exception: Any<'_>, class: Any<'_>) -> c_int;
    pub(in crate::ffi) safe fn PyErr_SetObject(class: Any<'_>, value: Any<'_>);
    pub(in crate::ffi) safe fn PyException_GetTraceback(exception: Borrowed<'_, '_, PyBaseException>)
    -> Option<Object>;
    pub(in crate::ffi) safe fn PyException_SetTraceback(
        exception: Borrowed<'_, '_, PyBaseException>,
        traceback: Any<'_>,
    ) -> c_int;

    // Numbers and containers; -1 may stand for an exception.
    pub(in crate::ffi) safe fn PyLong_AsDouble(integer: Any<'_>) -> f64;
    pub(in crate::ffi) safe fn PyLong_AsSsize_t(integer: Any<'_>) -> ffi::Py_ssize_t;
    pub(in crate::ffi) safe fn PyNumber_Index(object: Any<'_>) -> Option<Object>;
    pub(in crate::ffi) safe fn PySequence_GetItem(sequence: Any<'_>, index: ffi::Py_ssize_t) -> Option<Object>;
    pub(in crate::ffi) fn PyTuple_New(length: ffi::Py_ssize_t) -> Option<Object>;
    pub(in crate::ffi) fn PyUnicode_DecodeFSDefaultAndSize(
        text: *const c_char,
        length: ffi::Py_ssize_t,
    ) -> Option<Object>;

    // Calls and attributes. `PyIter_Send` writes its result without a look at what was there.
    pub(in crate::ffi) safe fn PyIter_Send(
        iterator: Any<'_>,
        value: Any<'_>,
        result: &mut Option<Object>,
    ) -> ffi::PySendResult;
    pub(in crate::ffi) safe fn PyMethod_New(function: Any<'_>, object: Any<'_>) -> Option<Object>;
    pub(in crate::ffi) safe fn PyObject_CallNoArgs(function: Any<'_>) -> Option<Object>;
    pub(in crate::ffi) safe fn PyObject_GenericGetDict(
        object: Any<'_>,
        context: Option<NonNull<c_void>>,
    ) -> Option<Object>;
    pub(in crate::ffi) safe fn PyObject_GenericGetAttr(object: Any<'_>, name: Any<'_>) -> Option<Object>;
    pub(in crate::ffi) safe fn PyObject_GenericSetAttr(object: Any<'_>, name: Any<'_>, value: Option<Any<'_>>)
    -> c_int;
    pub(in crate::ffi) fn PyObject_Vectorcall(
        function: Any<'_>,
        arguments: *const Any<'_>,
        positional: usize,
        names: Option<Borrowed<'_, '_, PyTuple>>,
    ) -> Option<Object>;
    pub(in crate::ffi) fn PyObject_VectorcallMethod(
        name: Borrowed<'_, '_, PyString>,
        arguments: *const Any<'_>,
        positional: usize,
        names: Option<Borrowed<'_, '_, PyTuple>>,
    ) -> Option<Object>;

    // Types and methods.
    pub(in crate::ffi) fn PyCFunction_NewEx(
        definition: *mut ffi::PyMethodDef,
        object: Any<'_>,
        module: Option<Any<'_>>,
    ) -> Option<Object>;
    pub(in crate::ffi) safe fn PyCFunction_GetFunction(function: Any<'_>) -> *const c_void;
    pub(in crate::ffi) fn PyDescr_NewMethod(
        class: Borrowed<'_, '_, PyType>,
        definition: *mut ffi::PyMethodDef,
    ) -> Option<Object>;
    pub(in crate::ffi) fn PyModule_Create2(definition: *mut ffi::PyModuleDef, version: c_int) -> Option<Object>;
    pub(in crate::ffi) fn PyObject_Init(memory: *mut ffi::PyObject, class: Borrowed<'_, '_, PyType>) -> Option<Object>;
    pub(in crate::ffi) fn PyType_FromSpecWithBases(
        spec: *mut ffi::PyType_Spec,
        bases: Borrowed<'_, '_, PyTuple>,
    ) -> Option<Object>;
    pub(in crate::ffi) fn PyType_GenericAlloc(
        class: Borrowed<'_, '_, PyType>,
        items: ffi::Py_ssize_t,
    ) -> Option<Object>;
    pub(in crate::ffi) safe fn PyType_GetSlot(class: Borrowed<'_, '_, PyType>, slot: c_int) -> *mut c_void;
    pub(in crate::ffi) safe fn PyType_IsSubtype(
        class: Borrowed<'_, '_, PyType>,
        base: Borrowed<'_, '_, PyType>,
    ) -> c_int;

    // The collector and the end of objects; the functions take no notice of objects that are not collected, or that cannot be
    // referred to weakly. `PyObject_CallFinalizerFromDealloc` ends the process if there are references.
    pub(in crate::ffi) safe fn PyObject_CallFinalizerFromDealloc(object: Any<'_>) -> c_int;
    pub(in crate::ffi) safe fn PyObject_ClearWeakRefs(object: Any<'_>);
    pub(in crate::ffi) safe fn PyObject_GC_IsFinalized(object: Any<'_>) -> c_int;
    pub(in crate::ffi) safe fn PyObject_GC_IsTracked(object: Any<'_>) -> c_int;
}

//! Functions of CPython, declared with what they ask for and what they give.
//!
//! A parameter that is a live object is an [`Any`], or a reference to an object of a certain type: it proves that the object
//! lives and that the thread is attached. A result that is a new reference is an `Option<Object>`, which is laid out as the
//! address; `None` is null.
//!
//! A function that is declared `safe` accepts every object of its parameters' types: what is wrong with one is an exception.
//! A call of any other says why the rest of what it asks for holds.
//!
//! What is called may run Python code, where the interpreter may end the thread: each function goes through
//! [`thread_end`](super::thread_end).

use core::ffi::{c_char, c_int, c_void};
use core::ptr::NonNull;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi};

use super::object::Object;
use super::thread_end::call_of_c;
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

/// Declares the functions, each called by a Rust function of its name.
macro_rules! functions {
    () => {};
    (safe fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?; $($rest:tt)*) => {
        #[inline]
        #[expect(non_snake_case, reason = "the function's name")]
        pub(in crate::ffi) fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: see where the macro is used.
            unsafe { call_of_c!($name($($argument: $type),*) $(-> $result)?) }
        }
        functions! { $($rest)* }
    };
    (unsafe fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?; $($rest:tt)*) => {
        #[inline]
        #[expect(non_snake_case, reason = "the function's name")]
        pub(in crate::ffi) unsafe fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: passed on to the caller.
            unsafe { call_of_c!($name($($argument: $type),*) $(-> $result)?) }
        }
        functions! { $($rest)* }
    };
}

// SAFETY: the declarations agree with CPython's headers: `Borrowed` and `Option<Object>` are laid out as the address of an
// object, `Option<Borrowed>` as that or null. The `safe` ones are so for the reasons that the module gives.
functions! {
    // Contexts; the functions check that the object is one, and that it is entered and left in order.
    unsafe fn PyContextVar_New(name: *const c_char, default: Option<Any<'_>>) -> Option<Object>;
    safe fn PyContextVar_Set(variable: Any<'_>, value: Any<'_>) -> Option<Object>;
    unsafe fn PyContext_New() -> Option<Object>;
    safe fn PyContext_Copy(context: Any<'_>) -> Option<Object>;
    unsafe fn PyContext_CopyCurrent() -> Option<Object>;
    safe fn PyContext_Enter(context: Any<'_>) -> c_int;
    safe fn PyContext_Exit(context: Any<'_>) -> c_int;

    // Exceptions.
    unsafe fn PyErr_GetHandledException() -> Option<Object>;
    safe fn PyErr_GivenExceptionMatches(exception: Any<'_>, class: Any<'_>) -> c_int;
    unsafe fn PyErr_WriteUnraisable(object: *mut ffi::PyObject);
    safe fn PyErr_SetObject(class: Any<'_>, value: Any<'_>);
    safe fn PyException_GetTraceback(exception: Borrowed<'_, '_, PyBaseException>)
    -> Option<Object>;
    safe fn PyException_SetTraceback(
        exception: Borrowed<'_, '_, PyBaseException>,
        traceback: Any<'_>,
    ) -> c_int;

    // The end of objects: it gives a reference back, which is not used again.
    unsafe fn Py_DecRef(object: *mut ffi::PyObject);

    // Bytes: of so many bytes that are copied, or left for the caller to fill where there is no address.
    unsafe fn PyBytes_FromStringAndSize(data: *const c_char, size: ffi::Py_ssize_t) -> Option<Object>;
    safe fn PyBytes_FromObject(object: Any<'_>) -> Option<Object>;

    // Numbers and containers; -1 may stand for an exception.
    safe fn PyLong_AsDouble(integer: Any<'_>) -> f64;
    safe fn PyLong_AsSsize_t(integer: Any<'_>) -> ffi::Py_ssize_t;
    safe fn PyNumber_Index(object: Any<'_>) -> Option<Object>;
    safe fn PySequence_GetItem(sequence: Any<'_>, index: ffi::Py_ssize_t) -> Option<Object>;
    unsafe fn PyTuple_New(length: ffi::Py_ssize_t) -> Option<Object>;
    unsafe fn PyUnicode_DecodeFSDefaultAndSize(
        text: *const c_char,
        length: ffi::Py_ssize_t,
    ) -> Option<Object>;

    // Calls and attributes. `PyIter_Send` writes its result without a look at what was there.
    safe fn PyIter_Send(
        iterator: Any<'_>,
        value: Any<'_>,
        result: &mut Option<Object>,
    ) -> ffi::PySendResult;
    safe fn PyIter_Next(iterator: Borrowed<'_, '_, PyIterator>) -> Option<Object>;
    safe fn PyMethod_New(function: Any<'_>, object: Any<'_>) -> Option<Object>;
    safe fn PyObject_CallNoArgs(function: Any<'_>) -> Option<Object>;
    safe fn PyObject_GetAttr(object: Any<'_>, name: Any<'_>) -> Option<Object>;
    safe fn PyObject_GenericGetDict(object: Any<'_>, context: Option<NonNull<c_void>>) -> Option<Object>;
    safe fn PyObject_GetIter(object: Any<'_>) -> Option<Object>;
    safe fn PyObject_IsTrue(object: Any<'_>) -> c_int;
    safe fn PyObject_RichCompare(left: Any<'_>, right: Any<'_>, operation: c_int) -> Option<Object>;
    safe fn PyObject_Size(object: Any<'_>) -> ffi::Py_ssize_t;
    safe fn PyObject_GenericGetAttr(object: Any<'_>, name: Any<'_>) -> Option<Object>;
    safe fn PyObject_GenericSetAttr(object: Any<'_>, name: Any<'_>, value: Option<Any<'_>>)
    -> c_int;
    unsafe fn PyObject_Vectorcall(
        function: Any<'_>,
        arguments: *const Any<'_>,
        positional: usize,
        names: Option<Borrowed<'_, '_, PyTuple>>,
    ) -> Option<Object>;
    unsafe fn PyObject_VectorcallMethod(
        name: Borrowed<'_, '_, PyString>,
        arguments: *const Any<'_>,
        positional: usize,
        names: Option<Borrowed<'_, '_, PyTuple>>,
    ) -> Option<Object>;

    // Buffers: a view is filled, or an exception set; what was filled is released once.
    unsafe fn PyObject_GetBuffer(object: Any<'_>, view: *mut ffi::Py_buffer, flags: c_int) -> c_int;
    unsafe fn PyBuffer_Release(view: *mut ffi::Py_buffer);

    // Types and methods.
    unsafe fn PyCFunction_NewEx(
        definition: *mut ffi::PyMethodDef,
        object: Any<'_>,
        module: Option<Any<'_>>,
    ) -> Option<Object>;
    safe fn PyCFunction_GetFunction(function: Any<'_>) -> *const c_void;
    unsafe fn PyDescr_NewMethod(
        class: Borrowed<'_, '_, PyType>,
        definition: *mut ffi::PyMethodDef,
    ) -> Option<Object>;
    unsafe fn PyModule_Create2(definition: *mut ffi::PyModuleDef, version: c_int) -> Option<Object>;
    unsafe fn PyObject_Init(memory: *mut ffi::PyObject, class: Borrowed<'_, '_, PyType>) -> Option<Object>;
    unsafe fn PyType_FromSpecWithBases(
        spec: *mut ffi::PyType_Spec,
        bases: Borrowed<'_, '_, PyTuple>,
    ) -> Option<Object>;
    unsafe fn PyType_GenericAlloc(
        class: Borrowed<'_, '_, PyType>,
        items: ffi::Py_ssize_t,
    ) -> Option<Object>;
    safe fn PyType_GetSlot(class: Borrowed<'_, '_, PyType>, slot: c_int) -> *mut c_void;
    safe fn PyType_IsSubtype(
        class: Borrowed<'_, '_, PyType>,
        base: Borrowed<'_, '_, PyType>,
    ) -> c_int;

    // The collector and the end of objects; the functions take no notice of objects that are not collected, or that cannot be
    // referred to weakly. `PyObject_CallFinalizerFromDealloc` ends the process if there are references.
    safe fn PyObject_CallFinalizerFromDealloc(object: Any<'_>) -> c_int;
    safe fn PyObject_ClearWeakRefs(object: Any<'_>);
    safe fn PyObject_GC_IsFinalized(object: Any<'_>) -> c_int;
    safe fn PyObject_GC_IsTracked(object: Any<'_>) -> c_int;
}

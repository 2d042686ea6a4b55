//! What an object is to `await`, as far as CPython tells.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::object::Object;

/// The flag of a code object whose generators `await` accepts, of `types.coroutine`.
pub(crate) const ITERABLE_COROUTINE: i32 = ffi::CO_ITERABLE_COROUTINE;

/// Whether `object` is a coroutine of an `async def` function.
#[inline]
pub(crate) fn is_python_coroutine(object: &Object) -> bool {
    object.has_class(&raw const ffi::PyCoro_Type)
}

/// Whether `object` is a generator.
pub(crate) fn is_generator(object: &Object) -> bool {
    object.has_class(&raw const ffi::PyGen_Type)
}

/// Whether `await` does the same with `object` as with instances of `class`; false where that is nothing.
#[inline]
pub(crate) fn is_awaited_as(object: &Object, class: &Bound<'_, PyType>) -> bool {
    let address = |slot: ffi::unaryfunc| slot as usize;
    // SAFETY: the type of a live object.
    let own = unsafe { await_slot(object.class()) };
    // SAFETY: a live type.
    let other = unsafe { await_slot(class.as_type_ptr()) };
    own.is_some() && own.map(address) == other.map(address)
}

/// A type's `am_await`.
///
/// # Safety
/// A live type.
#[inline]
unsafe fn await_slot(class: *const ffi::PyTypeObject) -> Option<ffi::unaryfunc> {
    // SAFETY: passed on to the caller.
    let methods = unsafe { (*class).tp_as_async };
    // SAFETY: null or a live type's table.
    unsafe { methods.as_ref() }?.am_await
}

/// The iterator of `awaitable.__await__()`.
///
/// # Errors
/// `TypeError`: it cannot be awaited; those of `__await__`.
#[inline]
pub(crate) fn iterator_of(py: Python<'_>, awaitable: &Object) -> PyResult<Object> {
    if is_python_coroutine(awaitable) {
        // It is its own iterator, to `await` too: the object that its `__await__` makes only stands for it.
        return Ok(awaitable.clone());
    }
    // SAFETY: the type of a live object.
    let Some(method) = (unsafe { await_slot(awaitable.class()) }) else {
        let name = awaitable.bind(py).get_type().name()?;
        return Err(PyTypeError::new_err(format!("object {name} can't be used in 'await' expression")));
    };
    // SAFETY: the slot of the object's own type.
    let iterator = unsafe { method(awaitable.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_result(py, iterator) }
}

//! Built-in methods that are bound to tasks one by one, without standing in a class.

use core::cell::UnsafeCell;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;

use super::c_api;
use super::future::Task;
use super::method::Method;
use super::object::Object;

/// A method of tasks: a `static`.
pub(crate) struct TaskMethod {
    make: fn() -> Method<Task>,
    definition: OnceLock<Definition>,
}

/// CPython keeps a pointer to it, and only reads it.
struct Definition(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: nobody writes it.
unsafe impl Send for Definition {}
// SAFETY: as above.
unsafe impl Sync for Definition {}

impl TaskMethod {
    pub(crate) const fn new(make: fn() -> Method<Task>) -> Self {
        Self { make, definition: OnceLock::new() }
    }

    /// The method of `task`.
    pub(crate) fn bind(&'static self, py: Python<'_>, task: &Task) -> PyResult<Object> {
        let definition = self.definition.get_or_init(|| Definition(UnsafeCell::new((self.make)().def)));
        // SAFETY: a definition that lives for ever, for the receiver that is bound here.
        let method = unsafe { c_api::PyCFunction_NewEx(definition.0.get(), task.object().lend(py), None) };
        c_api::object(py, method)
    }
}

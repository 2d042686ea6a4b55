//! What other extension modules are given: a capsule with a table of functions, and the functions that they give in return.
//!
//! # Invariants
//! 1. A [`Callback`] tells its function the end of its data once, when it is dropped, and nothing after that.

use core::ffi::{CStr, c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;

use super::c_api::Any;
use super::fields::{Collector, Fields, Visited};
use super::guarded::assert_outside;
use super::object::Object;
use super::trampoline;

/// An object that an extension passes; null is `None`.
pub(crate) type Given<'a> = Option<Any<'a>>;

/// What an extension's function is told, beside news of its own: its data is not used again.
const END: c_int = 0;

/// A function of an extension (its data, the news).
pub(crate) type Function = unsafe extern "C" fn(*mut c_void, c_int);

/// A function of an extension with its data, which it owns.
pub(crate) struct Callback {
    function: Function,
    data: *mut c_void,
}

// SAFETY: an extension gives data that may move to, and end on, the threads that the table of functions says.
unsafe impl Send for Callback {}
// SAFETY: a shared callback is not used but by attached threads.
unsafe impl Sync for Callback {}

impl Callback {
    pub(crate) const fn new(function: Function, data: *mut c_void) -> Self {
        Self { function, data }
    }

    /// Tells the news, which are not 0. What it raises is reported to `sys.unraisablehook`.
    pub(crate) fn call(&self, py: Python<'_>, news: c_int) {
        assert_outside("an extension is called");
        // SAFETY: the extension's function with its data, which has not ended.
        unsafe { (self.function)(self.data, news) };
        if let Some(error) = PyErr::take(py) {
            trampoline::report(py, error, None);
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        assert_outside("an extension's data ends");
        // SAFETY: as in `call`; nothing comes after it.
        unsafe { (self.function)(self.data, END) }
    }
}

/// The collector does not see what an extension has.
impl Fields for Callback {
    const IS_EMPTY_WHEN_CLEARED: bool = false;

    fn visit(&self, _: &Collector) -> Visited {
        Ok(())
    }

    fn clear(&self) {}
}

/// Runs the body of a function that an extension calls with `object`. Its error is the current exception, as is that of null.
/// On a thread that is not attached nothing happens.
pub(crate) fn called_with<R>(
    object: Given<'_>,
    failure: R,
    body: impl FnOnce(Python<'_>, &Object) -> PyResult<R>,
) -> R {
    // SAFETY: it asks for nothing.
    let is_attached = unsafe { ffi::PyGILState_Check() } != 0;
    match object {
        Some(object) if is_attached => trampoline::run(object.py(), failure, || body(object.py(), Object::of(&object))),
        _ => failure,
    }
}

/// Adds a capsule with the address of `table` to the module.
pub(crate) fn add<T: Sync>(
    module: &Bound<'_, PyModule>,
    attribute: &'static CStr,
    name: &'static CStr,
    table: &'static T,
) -> PyResult<()> {
    let address: *const T = table;
    // SAFETY: the address is not null, it and the name are there for ever, and there is no destructor.
    let capsule = unsafe { ffi::PyCapsule_New(address.cast_mut().cast(), name.as_ptr(), None) };
    // SAFETY: a new reference, or null.
    let capsule = unsafe { Object::from_result(module.py(), capsule) }?;
    module.add(attribute, capsule.bind(module.py()))
}

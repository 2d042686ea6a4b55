//! Callbacks of futures that are native objects, some of which need not be called.
//!
//! When a future is done, its callbacks are scheduled for the next turn. The class of a native callback may have less to do at
//! once ([`NativeCallback`]). A future finds that by the callback's class, so this room does not know which classes there are:
//! the room that defines them registers them.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::class::{Instance, NativeClass};
use crate::ffi::class_table::ClassTable;
use crate::ffi::object::Object;

/// A class of native callbacks.
pub(crate) trait NativeCallback: NativeClass {
    /// Called when `future` is done, before `callback` is scheduled: true if it may be skipped, because what it would have
    /// done is done now.
    fn skip_callback(py: Python<'_>, callback: &Instance<Self>, future: &Object) -> PyResult<bool>;
}

/// [`NativeCallback::skip_callback`] of some class.
type SkipCallback = fn(Python<'_>, &Object, &Object) -> PyResult<bool>;

/// A class of native callbacks that is made, to be registered.
pub(crate) struct CallbackClass<'py>(Bound<'py, PyType>, SkipCallback);

impl<'py> CallbackClass<'py> {
    pub(crate) fn of<T: NativeCallback>(py: Python<'py>) -> Self {
        Self(T::class(py), |py, callback, future| match Instance::<T>::of(callback) {
            Some(callback) => T::skip_callback(py, callback, future),
            None => Ok(false),
        })
    }
}

static CLASSES: ClassTable<SkipCallback, 4> = ClassTable::new();

/// Registers all classes of native callbacks.
pub(crate) fn register(classes: [CallbackClass<'_>; 4]) {
    CLASSES.fill(classes.map(|CallbackClass(class, skip_callback)| (class, skip_callback)));
}

/// True if `callback` of the finished `future` may be skipped.
#[inline]
pub(super) fn is_skipped(py: Python<'_>, callback: &Object, future: &Object) -> PyResult<bool> {
    CLASSES.get(callback).map_or(Ok(false), |skip_callback| skip_callback(py, callback, future))
}

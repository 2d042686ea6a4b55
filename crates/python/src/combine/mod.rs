//! Functions over awaitables: `gather`, `wait`, `as_completed`, `shield`.
//!
//! Native for what is usual: coroutines, and futures and tasks of Ferrio's, on the Ferrio loop that runs, outside debug
//! mode. Any other call is handed to asyncio's own function before anything has happened.

pub(crate) mod as_completed;
mod ends;
pub(crate) mod gather;
pub(crate) mod shield;
mod stand_in;
pub(crate) mod wait;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::coroutine;
use crate::coroutine::function::Named;
use crate::coroutine::function::Native::Call;
use crate::ffi::object::Object;
use crate::task;

/// `child` has ended, one of whose callbacks is `callback`: whether that one need not be called.
#[inline]
pub(crate) fn is_spared(py: Python<'_>, callback: &Object, child: &Object) -> PyResult<bool> {
    let callback = callback.bind(py);
    if let Ok(gathering) = callback.cast_exact::<gather::Gathering>() {
        return gather::spares(py, gathering.get(), child);
    }
    if let Ok(waiting) = callback.cast_exact::<wait::Waiting>() {
        return wait::spares(py, waiting.get(), child);
    }
    if let Ok(outer) = callback.cast_exact::<shield::Outer>() {
        return Ok(shield::spares_outer(outer.get()));
    }
    match callback.cast_exact::<shield::Awaited>() {
        Ok(awaited) => shield::spares_awaited(py, awaited.get(), child),
        Err(_) => Ok(false),
    }
}

/// A future or task of Ferrio's that a callback was called with.
fn ours(future: Bound<'_, PyAny>) -> PyResult<Object> {
    if !task::is_ours(future.as_ptr()) {
        return Err(PyTypeError::new_err("a future of Ferrio's was expected"));
    }
    Ok(Object::new(future))
}

/// Whether `object` is a coroutine of an `async def` function, or one of Ferrio's, and nothing derived.
fn is_coroutine(object: *mut ffi::PyObject) -> bool {
    // SAFETY: callers pass live objects.
    let known = unsafe { crate::ffi::object::Object::from_borrowed(object) };
    coroutine::is_coroutine(&known)
}

/// The native functions of this room, by asyncio's qualified names.
pub(crate) const FUNCTIONS: &[Named] = &[
    ("gather", Call(gather::gather)),
    ("wait", Call(wait::wait)),
    ("as_completed", Call(as_completed::as_completed)),
    ("shield", Call(shield::shield)),
];

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<gather::Gathering>()?;
    module.add_class::<wait::Waiting>()?;
    module.add_class::<shield::HandingOn>()?;
    module.add_class::<shield::Outer>()?;
    module.add_class::<shield::Awaited>()?;
    module.add_class::<as_completed::Completing>()?;
    module.add_class::<as_completed::Expiring>()
}

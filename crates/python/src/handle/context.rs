//! The contexts of handles, and contexts for the rooms that keep them as plain references.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use crate::ffi::class::Instance;

use crate::ffi::context::Context;
pub(crate) use crate::ffi::context::run_in;
use crate::ffi::handle::{AnyHandle, Call};
use crate::ffi::object::Object;

/// A copy of the current context, O(1).
pub(crate) fn copy_current(py: Python<'_>) -> PyResult<Object> {
    Context::copy_current(py).map(Context::into_object)
}

/// The context of a handle, which is its own from here on; `None` if its slot is empty.
pub(super) fn own(py: Python<'_>, handle: &Instance<AnyHandle>) -> PyResult<Option<Object>> {
    let context = handle.context.get();
    if !handle.call().is_some_and(Call::shares_context) {
        return Ok(context);
    }
    let Some(shared) = context.as_ref().and_then(Context::of) else { return Ok(context) };
    // What the slot and the clone of it have alone, nobody else has.
    let own =
        if shared.object().reference_count() <= 2 { shared.object().clone() } else { shared.copy(py)?.into_object() };
    put(handle, own.clone());
    Ok(Some(own))
}

/// Gives a handle a context of its own.
pub(super) fn put(handle: &Instance<AnyHandle>, context: Object) {
    if let Some(call) = handle.call() {
        call.own_context();
    }
    handle.context.set(context);
}

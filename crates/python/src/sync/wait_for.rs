//! `wait_for`, as it is since 3.12: `async with timeout(limit): return await awaitable`, without a frame.
//!
//! Coroutines, and futures with asyncio's own `__await__`, are waited for natively. A limit of zero or less, other
//! awaitables, and whatever is not right are asyncio's own function's.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::sleep;
use super::timeout::Limit;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::awaitable;
use crate::ffi::call::call;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::task::future;

static WAIT_FOR: Plan = Plan { qualified_name: "wait_for", start, resume };

/// `wait_for(fut, timeout)`.
pub(super) fn wait_for(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([awaitable, limit]) = arguments.ending_with(py, "timeout") else { return Ok(None) };
    if !is_known(py, awaitable)? {
        return Ok(None);
    }
    coroutine::make(py, &WAIT_FOR, awaitable.clone(), Some(limit.clone())).map(Some)
}

/// Whether this file knows how to await the object: a coroutine, or a future with our own or asyncio's `__await__`.
#[inline]
fn is_known(py: Python<'_>, awaitable: &Object) -> PyResult<bool> {
    if coroutine::is_coroutine(awaitable) || future::is_awaited_as_future(awaitable) {
        return Ok(true);
    }
    Ok(awaitable::is_awaited_as(awaitable, OBJECTS.asyncio_c_future.bind(py)?.cast::<PyType>()?))
}

/// Whether nothing awaits the coroutine yet.
#[inline]
fn is_free(py: Python<'_>, awaitable: &Object) -> PyResult<bool> {
    if !awaitable::is_python_coroutine(awaitable) {
        return Ok(true);
    }
    Ok(awaitable.bind(py).getattr(&names(py).cr_await)?.is_none())
}

fn start(py: Python<'_>, state: &CoroutineState) -> PyResult<Step> {
    let awaitable = state.owner.take().unwrap_or_else(|| Object::none(py));
    let given = state.item.take().unwrap_or_else(|| Object::none(py));
    let has_time = given.is_none() || !sleep::is_over(given.bind(py))?;
    if has_time
        && is_free(py, &awaitable)?
        && let Some(limit) = Limit::enter(py, given.clone())?
    {
        state.item.set(limit.into_object());
        return state.wait_for(py, awaitable);
    }
    let coroutine = call(py, OBJECTS.wait_for.get(py)?, [&awaitable, &given])?;
    drop(awaitable);
    state.wait_for(py, coroutine)
}

fn resume(py: Python<'_>, state: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let outcome = match state.item.take().and_then(Limit::from_object) {
        Some(limit) => limit.leave(py, outcome),
        // asyncio's own function has ended.
        None => outcome,
    };
    outcome.map(Step::Return)
}

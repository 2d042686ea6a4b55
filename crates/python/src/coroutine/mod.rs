//! Coroutines without a frame: what native coroutine functions return.
//!
//! A [`Plan`] says what one does: how it begins, and how it goes on when what it waits for has ended. Between the two it holds
//! a `ferrio.Future`, or the iterator of another awaitable, or nothing, which stands for a bare `yield`
//! ([`CoroutineState`]). The class `Coroutine` shows that to Python by a coroutine's protocol ([`class`]).

#![forbid(unsafe_code)]

mod class;
pub(crate) mod function;
mod state;
mod thrown;

use pyo3::prelude::*;

use crate::ffi::awaitable;
use crate::ffi::class::Instance;
use crate::ffi::object::Object;

pub(crate) use crate::ffi::iteration::Step;
use class::Coroutine;
pub(crate) use class::register;
pub(crate) use state::CoroutineState;

/// What a coroutine does.
pub(crate) struct Plan {
    /// As in asyncio: `Lock.acquire`.
    pub(crate) qualified_name: &'static str,
    /// The first step.
    pub(crate) start: fn(Python<'_>, &CoroutineState) -> PyResult<Step>,
    /// The step after what it waited for has ended so.
    pub(crate) resume: fn(Python<'_>, &CoroutineState, PyResult<Object>) -> PyResult<Step>,
}

/// Makes a coroutine that has not begun.
#[inline]
pub(crate) fn make(py: Python<'_>, plan: &'static Plan, owner: Object, item: Option<Object>) -> PyResult<Object> {
    match Instance::<Coroutine>::reuse() {
        Some(idle) => Ok(begin_again(idle, plan, owner, item)),
        None => make_new(py, plan, owner, item),
    }
}

/// Makes a coroutine that has ended one that has not begun.
#[inline]
fn begin_again(idle: Instance<Coroutine>, plan: &'static Plan, owner: Object, item: Option<Object>) -> Object {
    idle.begin(plan, owner, item);
    idle.into_object()
}

#[cold]
fn make_new(py: Python<'_>, plan: &'static Plan, owner: Object, item: Option<Object>) -> PyResult<Object> {
    let state = CoroutineState::new(plan, owner, item);
    Instance::<Coroutine>::create(py, state).map(Instance::into_object)
}

/// Whether `object` is one.
#[inline]
pub(crate) fn is_exact(object: &Object) -> bool {
    Instance::<Coroutine>::of(object).is_some()
}

/// Whether `object` is a coroutine of an `async def` function, or one of Ferrio's, and nothing derived.
#[inline]
pub(crate) fn is_coroutine(object: &Object) -> bool {
    is_exact(object) || awaitable::is_python_coroutine(object)
}

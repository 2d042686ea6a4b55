//! Coroutines without a frame: what native coroutine functions return.
//!
//! A [`Plan`] says what one does: how it begins, and how it goes on when what it waits for has ended. Between the two it holds
//! a `ferrio.Future`, or the iterator of another awaitable, or nothing, which stands for a bare `yield`
//! ([`CoroutineState`]). The class `Coroutine` shows that to Python by a coroutine's protocol ([`class`]). What a room above
//! keeps between steps may also be a [`Body`] of its own, with a class of its own: the operations of raw sockets.

#![forbid(unsafe_code)]

mod class;
pub(crate) mod function;
mod plan;
mod state;
mod thrown;

use pyo3::prelude::*;

use crate::ffi::awaitable;
use crate::ffi::class::Instance;
use crate::ffi::object::Object;
use state::CoroutineOf;

pub(crate) use crate::ffi::iteration::Step;
pub(crate) use class::{Coroutine, await_once, builder, register};
pub(crate) use plan::CoroutineState;
pub(crate) use state::{Body, Input};

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
    match Instance::<Coroutine<CoroutineState>>::reuse() {
        Some(idle) => Ok(begin_again(idle, plan, owner, item)),
        None => make_new(py, plan, owner, item),
    }
}

/// [`make`], with a [number](CoroutineState::number) in place of an item.
#[inline]
pub(crate) fn make_numbered(py: Python<'_>, plan: &'static Plan, owner: Object, number: usize) -> PyResult<Object> {
    let coroutine = make(py, plan, owner, None)?;
    if let Some(state) = Instance::<Coroutine<CoroutineState>>::of(&coroutine) {
        state.body().number.set(number);
    }
    Ok(coroutine)
}

/// Makes a coroutine that has ended one that has not begun.
#[inline]
fn begin_again(
    idle: Instance<Coroutine<CoroutineState>>,
    plan: &'static Plan,
    owner: Object,
    item: Option<Object>,
) -> Object {
    idle.begin_again(|body| body.begin(plan, owner, item));
    idle.into_object()
}

#[cold]
fn make_new(py: Python<'_>, plan: &'static Plan, owner: Object, item: Option<Object>) -> PyResult<Object> {
    make_of(py, CoroutineState::new(plan, owner, item))
}

/// Makes a coroutine that has not begun, of any class.
#[inline]
pub(crate) fn make_of<B: Body>(py: Python<'_>, body: B) -> PyResult<Object> {
    Instance::<Coroutine<B>>::create(py, CoroutineOf::new(body)).map(Instance::into_object)
}

/// Whether `object` is one of a plan.
#[inline]
pub(crate) fn is_exact(object: &Object) -> bool {
    Instance::<Coroutine<CoroutineState>>::of(object).is_some()
}

/// Whether `object` is a coroutine of an `async def` function, or one of Ferrio's, and nothing derived.
#[inline]
pub(crate) fn is_coroutine(object: &Object) -> bool {
    is_exact(object) || awaitable::is_python_coroutine(object)
}

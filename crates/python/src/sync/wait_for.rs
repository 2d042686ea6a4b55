//! `wait_for`, as it is since 3.12: `async with timeout(limit): return await awaitable`, without a frame.
//!
//! Coroutines, and futures with asyncio's own `__await__`, are waited for natively. A limit of zero or less, other
//! awaitables, and whatever is not right are asyncio's own function's.

use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{ffi, intern};

use super::sleep;
use super::timeout::Limit;
use crate::coroutine::{self, CoroutineState as State, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;

/// asyncio's own function, as it was when this module was imported.
static ORIGINAL: PyOnceLock<Object> = PyOnceLock::new();

static WAIT_FOR: Plan = Plan { qualified_name: "wait_for", start, resume };

/// Looks asyncio's own up.
pub(super) fn load(py: Python<'_>) -> PyResult<()> {
    let _ = ORIGINAL.set(py, Object::new(py.import("asyncio.tasks")?.getattr("wait_for")?));
    Ok(())
}

/// `wait_for(fut, timeout)`.
pub(super) fn wait_for(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (awaitable, limit) = match *arguments.positional_addresses() {
        [awaitable, limit] if arguments.has_no_keywords() => (awaitable, limit),
        [awaitable] => {
            let mut keywords = arguments.keywords(py);
            let Some((name, limit)) = keywords.next() else { return Ok(None) };
            if keywords.next().is_some() || name.to_string() != "timeout" {
                return Ok(None);
            }
            (awaitable, limit)
        }
        _ => return Ok(None),
    };
    if !is_known(py, awaitable)? {
        return Ok(None);
    }
    // SAFETY: an argument of the call under way.
    let awaitable = unsafe { Object::from_borrowed(awaitable) };
    // SAFETY: as above.
    let limit = unsafe { Object::from_borrowed(limit) };
    coroutine::make(py, &WAIT_FOR, awaitable, Some(limit)).map(Some)
}

/// Whether awaiting the object is what this file knows how to do.
#[inline]
fn is_known(py: Python<'_>, awaitable: *mut ffi::PyObject) -> PyResult<bool> {
    static FUTURE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(core::ptr::null_mut());
    // SAFETY: a live object.
    let known = unsafe { Object::from_borrowed(awaitable) };
    if coroutine::is_coroutine(&known) {
        return Ok(true);
    }
    if FUTURE.load(Ordering::Relaxed).is_null() {
        // The type lives as long as the process.
        let class = py.import("_asyncio")?.getattr("Future")?.cast_into::<PyType>()?;
        FUTURE.store(class.into_ptr().cast(), Ordering::Relaxed);
    }
    // SAFETY: the type of a live object.
    let class = unsafe { ffi::Py_TYPE(awaitable) };
    Ok(await_slot(class) == await_slot(FUTURE.load(Ordering::Relaxed)))
}

/// The address of what a type does for `await`; 0 for nothing.
fn await_slot(class: *mut ffi::PyTypeObject) -> usize {
    // SAFETY: a live type.
    let methods = unsafe { (*class).tp_as_async };
    if methods.is_null() {
        return 0;
    }
    // SAFETY: a live table.
    unsafe { (*methods).am_await }.map_or(0, |slot| slot as usize)
}

/// Whether nobody awaits the coroutine yet.
#[inline]
fn is_free(py: Python<'_>, awaitable: &Object) -> PyResult<bool> {
    // SAFETY: a live object.
    if unsafe { ffi::PyCoro_CheckExact(awaitable.as_ptr()) } == 0 {
        return Ok(true);
    }
    Ok(awaitable.bind(py).getattr(intern!(py, "cr_await"))?.is_none())
}

fn start(py: Python<'_>, state: &State) -> PyResult<Step> {
    let awaitable = state.owner.take().unwrap_or_else(|| none(py));
    let given = state.item.take().unwrap_or_else(|| none(py));
    let has_time = given.bind(py).is_none() || !sleep::is_over(given.bind(py))?;
    if has_time && is_free(py, &awaitable)? {
        if let Some(limit) = Limit::enter(py, given.clone())? {
            state.item.set(limit.into_object());
            return state.wait_for(py, awaitable);
        }
    }
    let Some(original) = ORIGINAL.get(py) else { return Ok(Step::Return(none(py))) };
    let coroutine = original.bind(py).call1((awaitable.bind(py), given.bind(py)))?;
    drop(awaitable);
    state.wait_for(py, Object::new(coroutine))
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    let outcome = match state.item.take().and_then(Limit::from_object) {
        Some(limit) => limit.leave(py, outcome),
        // asyncio's own function has ended.
        None => outcome,
    };
    outcome.map(Step::Return)
}

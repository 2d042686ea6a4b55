//! `shield`: a future that can be cancelled in place of the one that it stands for.
//!
//! As in asyncio, the inner future has a callback that passes its outcome on, and the outer one a callback that removes that
//! callback again: [`InnerCallback`] and [`OuterCallback`]. From 3.14 on the inner one has an [`AwaiterCallback`], for the call
//! graph.
//!
//! # Invariants
//! 1. Both futures are Ferrio's own, of one loop. Any other call is asyncio's.
//! 2. A callback that would do nothing, or only update the call graph, is skipped as those of `gather` are: that of an outer
//!    future whose inner one is done, and the `AwaiterCallback`. [`counter`](super::counter) says what a program sees of it.
//!
//! # Releases
//! What becomes of the inner future's exception when the outer one was cancelled before differs between releases of asyncio,
//! patch releases too: [`Rules`] are read off the function that the running interpreter has.
#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::callback_class::callback_class;
use super::caller::{self, Awaiter, Caller};
use crate::coroutine;
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::cell::Slot;
use crate::ffi::class::Instance;
use crate::ffi::fields::native_state;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::trampoline::caught;
use crate::handle::context;
use crate::sync::waiting;
use crate::task::native_callback::NativeCallback;
use crate::task::{self, future};

/// What asyncio does when the outer future has been cancelled.
struct Rules {
    /// The inner future's exception counts as retrieved.
    retrieves: bool,
    /// The call graph forgets at once who waited.
    forgets: bool,
    /// The callback that the inner future gets instead.
    reporter: Option<Object>,
}

static RULES: PyOnceLock<Rules> = PyOnceLock::new();

fn rules(py: Python<'_>) -> PyResult<&'static Rules> {
    RULES.get_or_try_init(py, || {
        let found = OBJECTS.shield_rules.bind(py)?;
        let reporter = Object::new(found.getattr("reporter")?);
        Ok(Rules {
            retrieves: found.getattr("retrieves")?.is_truthy()?,
            forgets: found.getattr("forgets")?.is_truthy()?,
            reporter: reporter.unless_none(),
        })
    })
}

native_state! {
    /// The inner future's callback: passes its outcome on.
    #[pyclass(frozen, module = "ferrio._ferrio")]
    pub(crate) struct InnerCallback {
        outer: Slot,
    }
}

callback_class!(InnerCallback, "shield.<locals>._inner_done_callback");

#[pymethods]
impl InnerCallback {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let inner = caller::child(future)?;
            self.outer.get().map_or(Ok(()), |outer| pass_outcome(py, &inner, &outer))
        })
    }
}

/// Follows `_inner_done_callback` of asyncio's `shield`.
fn pass_outcome(py: Python<'_>, inner: &Object, outer: &Object) -> PyResult<()> {
    if !future::is_pending(outer) && waiting::is_cancelled(py, outer)? {
        if rules(py)?.retrieves && !waiting::is_cancelled(py, inner)? {
            call_method(py, &names(py).exception, [inner])?;
        }
        return Ok(());
    }
    if let Some(value) = future::take_value(inner) {
        return future::set_result(py, outer, value);
    }
    if waiting::is_cancelled(py, inner)? {
        return future::cancel(py, outer, Some(Object::none(py))).map(drop);
    }
    let error = call_method(py, &names(py).exception, [inner])?;
    call_method(py, &names(py).set_exception, [outer, &error]).map(drop)
}

native_state! {
    /// The outer future's callback: when that ends first, it removes the callbacks of the inner one.
    #[pyclass(frozen, module = "ferrio._ferrio")]
    pub(crate) struct OuterCallback {
        inner: Slot,
        inner_callback: Slot,
        /// The inner future's callback for the call graph, if it has one.
        awaiter_callback: Slot,
    }
}

callback_class!(OuterCallback, "shield.<locals>._outer_done_callback");

#[pymethods]
impl OuterCallback {
    fn __call__(&self, py: Python<'_>, _future: &Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let Some(inner) = self.inner.get().filter(future::is_pending) else { return Ok(()) };
            if let Some(callback) = self.inner_callback.get() {
                future::remove_callback(py, &inner, &callback)?;
            }
            let rules = rules(py)?;
            if let Some(reporter) = &rules.reporter {
                // It is there once, however often the future was shielded before.
                future::remove_callback(py, &inner, reporter)?;
                future::add_callback(py, &inner, reporter, &context::copy_current(py)?)?;
            }
            if let Some(callback) = self.awaiter_callback.get().filter(|_| rules.forgets) {
                future::remove_callback(py, &inner, &callback)?;
                if let Some(callback) = Instance::<AwaiterCallback>::of(&callback) {
                    callback.awaiter.end(py, &inner)?;
                }
            }
            Ok(())
        })
    }
}

impl NativeCallback for OuterCallback {
    fn skip_callback(_py: Python<'_>, callback: &Instance<Self>, _outer: &Object) -> PyResult<bool> {
        Ok(callback.inner.get().is_none_or(|inner| !future::is_pending(&inner)))
    }
}

native_state! {
    /// The inner future's callback that removes the caller from the call graph.
    #[pyclass(frozen, module = "ferrio._ferrio")]
    pub(crate) struct AwaiterCallback {
        awaiter: Awaiter,
    }
}

callback_class!(AwaiterCallback, "shield.<locals>._clear_awaited_by_callback");

#[pymethods]
impl AwaiterCallback {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| self.awaiter.end(py, &caller::child(future)?))
    }
}

impl NativeCallback for AwaiterCallback {
    fn skip_callback(py: Python<'_>, callback: &Instance<Self>, inner: &Object) -> PyResult<bool> {
        callback.awaiter.end(py, inner).map(|()| true)
    }
}

/// `shield(arg)`.
pub(crate) fn shield(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([argument]) = arguments.only() else { return Ok(None) };
    let Some(caller) = Caller::find(py)?.filter(|caller| caller.event_loop.waits_natively()) else { return Ok(None) };
    let is_coroutine = coroutine::is_coroutine(argument);
    if !is_coroutine {
        if !caller.has_future(argument) {
            return Ok(None);
        }
        if !future::is_pending(argument) {
            return Ok(Some(argument.clone()));
        }
    }
    let outer = task::new_future(py, &caller.event_loop)?;
    if !future::is_exact(&outer) {
        return Ok(None);
    }
    let inner = if is_coroutine { caller.spawn(py, argument)? } else { argument.clone() };
    let context = context::copy_current(py)?;
    let mut awaiter_callback = None;
    let awaiter = caller.awaiter();
    if awaiter.is_some() {
        awaiter.begin(py, &inner)?;
        let callback = Object::new(Bound::new(py, AwaiterCallback { awaiter })?);
        future::add_callback(py, &inner, &callback, &context)?;
        awaiter_callback = Some(callback);
    }
    let inner_callback = Object::new(Bound::new(py, InnerCallback { outer: outer.clone().into() })?);
    future::add_callback(py, &inner, &inner_callback, &context)?;
    let outer_callback = OuterCallback {
        inner: inner.into(),
        inner_callback: inner_callback.into(),
        awaiter_callback: awaiter_callback.into(),
    };
    future::add_callback(py, &outer, &Object::new(Bound::new(py, outer_callback)?), &context)?;
    Ok(Some(outer))
}

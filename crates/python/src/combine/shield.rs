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
use pyo3::types::PyType;

use super::callback_class::{self, callback_class};
use super::caller::{self, Awaiter, Caller};
use crate::coroutine;
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::cell::Slot;
use crate::ffi::class::{Builder, Instance};
use crate::ffi::fields::native_state;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
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
    pub(crate) struct InnerCallback {
        outer: Slot,
    }
}

callback_class!(
    InnerCallback,
    c"ferrio._ferrio.InnerCallback",
    c"The inner future's callback: passes its outcome on.",
    "shield.<locals>._inner_done_callback"
);

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
    pub(crate) struct OuterCallback {
        inner: Slot,
        inner_callback: Slot,
        /// The inner future's callback for the call graph, if it has one.
        awaiter_callback: Slot,
    }
}

callback_class!(
    OuterCallback,
    c"ferrio._ferrio.OuterCallback",
    c"The outer future's callback: when that ends first, it removes the callbacks of the inner one.",
    "shield.<locals>._outer_done_callback"
);

/// Follows `_outer_done_callback` of asyncio's `shield`.
fn forget_inner(py: Python<'_>, callback: &OuterCallback) -> PyResult<()> {
    let Some(inner) = callback.inner.get().filter(future::is_pending) else { return Ok(()) };
    if let Some(callback) = callback.inner_callback.get() {
        future::remove_callback(py, &inner, &callback)?;
    }
    let rules = rules(py)?;
    if let Some(reporter) = &rules.reporter {
        // It is there once, however often the future was shielded before.
        future::remove_callback(py, &inner, reporter)?;
        future::add_callback(py, &inner, reporter, &context::copy_current(py)?)?;
    }
    if let Some(callback) = callback.awaiter_callback.get().filter(|_| rules.forgets) {
        future::remove_callback(py, &inner, &callback)?;
        if let Some(callback) = Instance::<AwaiterCallback>::of(&callback) {
            callback.awaiter.end(py, &inner)?;
        }
    }
    Ok(())
}

impl NativeCallback for OuterCallback {
    fn skip_callback(_py: Python<'_>, callback: &Instance<Self>, _outer: &Object) -> PyResult<bool> {
        Ok(callback.inner.get().is_none_or(|inner| !future::is_pending(&inner)))
    }
}

native_state! {
    /// The inner future's callback that removes the caller from the call graph.
    pub(crate) struct AwaiterCallback {
        awaiter: Awaiter,
    }
}

callback_class!(
    AwaiterCallback,
    c"ferrio._ferrio.AwaiterCallback",
    c"The inner future's callback that removes the caller from the call graph.",
    "shield.<locals>._clear_awaited_by_callback"
);

impl NativeCallback for AwaiterCallback {
    fn skip_callback(py: Python<'_>, callback: &Instance<Self>, inner: &Object) -> PyResult<bool> {
        callback.awaiter.end(py, inner).map(|()| true)
    }
}

/// Makes the classes of the callbacks: of the inner future, of the outer one, for the call graph.
pub(super) fn make_classes(py: Python<'_>) -> PyResult<[Bound<'_, PyType>; 3]> {
    let inner = Builder::<Instance<InnerCallback>>::new().called_with_one(|py, callback, future| {
        let inner = caller::child(future)?;
        callback.outer.get().map_or(Ok(()), |outer| pass_outcome(py, inner, &outer))
    });
    let outer = Builder::<Instance<OuterCallback>>::new().called_with_one(|py, callback, _| forget_inner(py, callback));
    let awaiter = Builder::<Instance<AwaiterCallback>>::new()
        .called_with_one(|py, callback, future| callback.awaiter.end(py, caller::child(future)?));
    Ok([
        callback_class::make_class(py, inner)?,
        callback_class::make_class(py, outer)?,
        callback_class::make_class(py, awaiter)?,
    ])
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
        let callback = Instance::<AwaiterCallback>::create(py, AwaiterCallback { awaiter })?.into_object();
        future::add_callback(py, &inner, &callback, &context)?;
        awaiter_callback = Some(callback);
    }
    let inner_callback =
        Instance::<InnerCallback>::create(py, InnerCallback { outer: outer.clone().into() })?.into_object();
    future::add_callback(py, &inner, &inner_callback, &context)?;
    let outer_callback = OuterCallback {
        inner: inner.into(),
        inner_callback: inner_callback.into(),
        awaiter_callback: awaiter_callback.into(),
    };
    future::add_callback(py, &outer, Instance::<OuterCallback>::create(py, outer_callback)?.object(), &context)?;
    Ok(Some(outer))
}

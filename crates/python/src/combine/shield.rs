//! `shield`: a future that can be cancelled in place of the one that it stands for.
//!
//! As in asyncio, the inner future has a callback that hands its outcome on, and the outer one a callback that takes that
//! one away again: [`HandingOn`] and [`Outer`]. From 3.14 on a third, [`Awaited`], tells the call graph.
//!
//! # Invariants
//! 1. Both futures are Ferrio's own, of one loop. Any other call is asyncio's.
//! 2. Callbacks that would do nothing, or no more than tell the call graph, are spared as those of `gather` are: that of an
//!    outer future whose inner one has ended, and `Awaited`. See [`ends`](super::ends) for what shows of it.
//!
//! # Releases
//! What becomes of the inner future's exception when the outer one has been cancelled before differs between releases of
//! asyncio, and patch releases too: [`Rules`] are read off the function that the running interpreter has.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::stand_in::stands_for;
use super::{is_coroutine, ours};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::Slot;
use crate::ffi::object::Object;
use crate::ffi::trampoline::{caught, none};
use crate::handle::context;
use crate::sync::waiting;
use crate::task::{self, future};
use crate::task::{new_future, spawning_core};

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
        let found = py.import("ferrio._combining")?.getattr("SHIELD_RULES")?;
        let reporter = found.getattr("reporter")?;
        Ok(Rules {
            retrieves: found.getattr("retrieves")?.is_truthy()?,
            forgets: found.getattr("forgets")?.is_truthy()?,
            reporter: (!reporter.is_none()).then(|| Object::new(reporter)),
        })
    })
}

/// The inner future's callback: hands its outcome on.
#[pyclass(frozen, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct HandingOn {
    outer: Slot,
}

#[pymethods]
impl HandingOn {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let inner = ours(future)?;
            self.outer.get().map_or(Ok(()), |outer| hand_on(py, &inner, &outer))
        })
    }
}

stands_for!(HandingOn, "shield.<locals>._inner_done_callback", { outer });

/// Follows `_inner_done_callback` of asyncio's `shield`.
fn hand_on(py: Python<'_>, inner: &Object, outer: &Object) -> PyResult<()> {
    if !future::is_pending(outer) && waiting::is_cancelled(py, outer.bind(py))? {
        if rules(py)?.retrieves && !waiting::is_cancelled(py, inner.bind(py))? {
            inner.bind(py).call_method0(intern!(py, "exception"))?;
        }
        return Ok(());
    }
    if let Some(value) = future::take_value(inner) {
        return future::set_result(py, outer, value);
    }
    if waiting::is_cancelled(py, inner.bind(py))? {
        return future::cancel(py, outer, Some(none(py))).map(drop);
    }
    let error = inner.bind(py).call_method0(intern!(py, "exception"))?;
    outer.bind(py).call_method1(intern!(py, "set_exception"), (error,)).map(drop)
}

/// The outer future's callback: when it ends before the inner one, that one keeps nothing of it.
#[pyclass(frozen, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct Outer {
    inner: Slot,
    handing_on: Slot,
    /// The inner future's callback for the call graph, if it has one.
    awaited: Slot,
}

#[pymethods]
impl Outer {
    fn __call__(&self, py: Python<'_>, _future: &Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let Some(inner) = self.inner.get().filter(future::is_pending) else { return Ok(()) };
            if let Some(callback) = self.handing_on.get() {
                future::remove_callback(py, &inner, &callback)?;
            }
            let rules = rules(py)?;
            if let Some(reporter) = &rules.reporter {
                // It is there once, whoever has shielded the future before.
                future::remove_callback(py, &inner, reporter)?;
                future::add_callback(py, &inner, reporter, &context::copy_current(py)?)?;
            }
            if let Some(awaited) = self.awaited.get().filter(|_| rules.forgets) {
                future::remove_callback(py, &inner, &awaited)?;
                if let Ok(awaited) = awaited.bind(py).cast_exact::<Awaited>() {
                    awaited.get().forget(py, &inner)?;
                }
            }
            Ok(())
        })
    }
}

stands_for!(Outer, "shield.<locals>._outer_done_callback", { inner, handing_on, awaited });

/// The inner future's callback that takes the caller out of the call graph.
#[pyclass(frozen, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct Awaited {
    /// The task that called `shield`.
    task: Slot,
}

#[pymethods]
impl Awaited {
    fn __call__(&self, py: Python<'_>, future: Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| self.forget(py, &ours(future)?))
    }
}

stands_for!(Awaited, "shield.<locals>._clear_awaited_by_callback", { task });

impl Awaited {
    fn forget(&self, py: Python<'_>, inner: &Object) -> PyResult<()> {
        self.task.get().map_or(Ok(()), |task| task::no_longer_awaited_by(py, inner, &task))
    }
}

/// An outer future has ended, or been cancelled: whether its callback is spared.
pub(super) fn spares_outer(outer: &Outer) -> bool {
    // SAFETY: looking at a future's state runs no Python, so nobody comes to the slot in between.
    unsafe { outer.inner.peek() }.is_none_or(|inner| !future::is_pending(inner))
}

/// An inner future has ended: the callback for the call graph is spared.
pub(super) fn spares_awaited(py: Python<'_>, awaited: &Awaited, inner: &Object) -> PyResult<bool> {
    awaited.forget(py, inner).map(|()| true)
}

/// `shield(arg)`.
pub(crate) fn shield(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[argument], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    let event_loop = waiting::running_loop(py)?;
    let Some(core) = spawning_core(py, &event_loop)?.filter(|core| core.waits_natively()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let mut inner = unsafe { Object::from_borrowed(argument) };
    let is_new = is_coroutine(argument);
    if !is_new {
        if !task::is_of_loop(argument, event_loop.as_ptr()) {
            return Ok(None);
        }
        if !future::is_pending(&inner) {
            return Ok(Some(inner));
        }
    }
    let caller = task::current_task(py, &event_loop)?;
    if caller.as_ref().is_some_and(|task| !task::is_task(task.as_ptr())) {
        return Ok(None);
    }
    let outer = new_future(py, core)?;
    if !future::is_own(&outer) {
        return Ok(None);
    }
    if is_new {
        inner = task::spawn(py, core, &event_loop, &inner)?;
    }
    let context = context::copy_current(py)?;
    let ending = Bound::new(py, Outer::default())?;
    if let Some(task) = caller {
        task::awaited_by(py, &inner, &task)?;
        let awaited = Bound::new(py, Awaited::default())?;
        awaited.get().task.set(task);
        let awaited = Object::new(awaited);
        future::add_callback(py, &inner, &awaited, &context)?;
        ending.get().awaited.set(awaited);
    }
    let handing_on = Bound::new(py, HandingOn::default())?;
    handing_on.get().outer.set(outer.clone());
    let handing_on = Object::new(handing_on);
    future::add_callback(py, &inner, &handing_on, &context)?;
    ending.get().handing_on.set(handing_on);
    ending.get().inner.set(inner);
    future::add_callback(py, &outer, &Object::new(ending), &context)?;
    Ok(Some(outer))
}

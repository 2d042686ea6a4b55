//! The class `Coroutine`: a coroutine by its protocol, without a frame.
//!
//! One that nobody refers to any more is kept for the next: the first [`MOST_IDLE`] as whole objects that have ended; of the
//! others the memory, up to [`MOST_FREE`]. One whose finalizer has run is not.

use core::ffi::CStr;
use core::mem::offset_of;

use pyo3::exceptions::{PyRuntimeWarning, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::state::{CoroutineState, Input, Phase};
use super::{Step, thrown};
use crate::ffi::arguments::Arguments;
use crate::ffi::class::{Builder, Class, Description, Heap, Instance, NativeClass};
use crate::ffi::idle_list::IdleLink;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

const MOST_IDLE: usize = 64;
const MOST_FREE: usize = 1024;

/// The class.
pub(super) struct Coroutine;

impl Class for Coroutine {
    type State = CoroutineState;
    type Layout = Heap;

    #[inline]
    fn description() -> &'static Description<Self> {
        static DESCRIPTION: Description<Coroutine> = Description::new(MOST_FREE).with_idle(MOST_IDLE);
        &DESCRIPTION
    }
}

impl NativeClass for Coroutine {
    const NAME: &'static CStr = c"ferrio._ferrio.Coroutine";
    const DOC: &'static CStr =
        c"What a native coroutine function returns: a coroutine by its protocol, without a frame.";
    const FINALIZES: bool = true;
    const WEAK_REFERENCES: Option<usize> = Some(offset_of!(CoroutineState, weak_references));

    #[inline]
    fn needs_finalizing(state: &CoroutineState) -> bool {
        state.phase.get() != Phase::Done
    }

    /// Warns of one that never began; closes one that waits.
    fn finalize(py: Python<'_>, coroutine: &Instance<Self>) -> PyResult<()> {
        match coroutine.phase.get() {
            Phase::Created => {
                coroutine.phase.set(Phase::Done);
                warn_never_awaited(py, coroutine)
            }
            Phase::Suspended => coroutine.close(py),
            _ => Ok(()),
        }
    }

    /// It has been finalized: nobody steps it any more.
    #[inline]
    fn before_clear(_py: Python<'_>, coroutine: &Instance<Self>) {
        coroutine.phase.set(Phase::Done);
    }

    #[inline]
    fn idle_link(state: &CoroutineState) -> Option<&IdleLink> {
        Some(&state.idle)
    }

    /// It holds nothing when it has ended.
    #[inline]
    fn is_idle(state: &CoroutineState) -> bool {
        state.phase.get() == Phase::Done
    }
}

#[cold]
fn warn_never_awaited(py: Python<'_>, coroutine: &Instance<Coroutine>) -> PyResult<()> {
    let text = format!("coroutine '{}' was never awaited", coroutine.qualified_name());
    let arguments = (text, py.get_type::<PyRuntimeWarning>(), 1, coroutine.bind(py));
    // While the interpreter ends nothing is imported any more, and it warns of none of its own either.
    let Ok(warnings) = py.import("warnings") else { return Ok(()) };
    warnings.getattr("warn")?.call1(arguments).map(drop)
}

#[inline]
fn check_sent(coroutine: &CoroutineState, value: &Object) -> PyResult<()> {
    if coroutine.phase.get() == Phase::Created && !value.is_none() {
        return Err(PyTypeError::new_err("can't send non-None value to a just-started coroutine"));
    }
    Ok(())
}

#[inline]
fn native_send(py: Python<'_>, coroutine: &Instance<Coroutine>, value: &Object) -> PyResult<Step> {
    check_sent(coroutine, value)?;
    coroutine.step(py, Input::Send)
}

#[inline]
fn next(py: Python<'_>, coroutine: &Instance<Coroutine>) -> PyResult<Step> {
    coroutine.step(py, Input::Send)
}

/// What a method returns for a step: a result is the value of a `StopIteration`.
fn shown(py: Python<'_>, step: Step) -> PyResult<Object> {
    match step {
        Step::Yield(value) => Ok(value),
        Step::Return(value) => {
            let value = PyTuple::new(py, [value.into_bound(py)])?;
            Err(PyErr::from_value(py.get_type::<PyStopIteration>().call1(value)?))
        }
    }
}

fn send(py: Python<'_>, coroutine: &Instance<Coroutine>, value: &Object) -> PyResult<Object> {
    check_sent(coroutine, value)?;
    shown(py, coroutine.step(py, Input::Send)?)
}

fn throw(py: Python<'_>, coroutine: &Instance<Coroutine>, arguments: Arguments<'_>) -> PyResult<Object> {
    let given = arguments.positional();
    let ([first, rest @ ..], true) = (given, given.len() <= 3 && arguments.has_no_keywords()) else {
        return Err(PyTypeError::new_err(format!("throw expected 1 to 3 arguments, got {}", given.len())));
    };
    let error = thrown::exception(py, first, rest.first(), rest.get(1))?;
    shown(py, coroutine.step(py, Input::Throw(error))?)
}

fn close(py: Python<'_>, coroutine: &Instance<Coroutine>) -> PyResult<()> {
    coroutine.close(py)
}

/// The last part of the qualified name.
fn name(coroutine: &CoroutineState) -> &'static str {
    let name = coroutine.qualified_name();
    name.rsplit('.').next().unwrap_or(name)
}

/// Makes the class, and has it count as a coroutine.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let mut builder = Builder::<Instance<Coroutine>>::new()
        .method(Method::one_argument(c"send", send, c"Run to the next wait."))
        .method(Method::any_arguments(c"throw", throw, c"Raise an exception where it waits."))
        .method(Method::no_arguments(c"close", close, c"End it with GeneratorExit where it waits."))
        .attribute(Attribute::read_only(c"__qualname__", |py, coroutine: &Instance<Coroutine>| {
            Ok(Object::new(PyString::new(py, coroutine.qualified_name())))
        }))
        .attribute(Attribute::read_only(c"__name__", |py, coroutine: &Instance<Coroutine>| {
            Ok(Object::new(PyString::new(py, name(coroutine))))
        }))
        .attribute(Attribute::read_only(c"cr_running", |_, coroutine: &Instance<Coroutine>| {
            Ok(coroutine.phase.get() == Phase::Running)
        }))
        .not_instantiable()
        .repr(|_, coroutine: &Instance<Coroutine>| {
            Ok(format!("<coroutine object {} at {:p}>", coroutine.qualified_name(), coroutine.object().as_ptr()))
        })
        // What `__await__()` gives can be iterated by hand.
        .iterates_itself()
        .iterates(next)
        .sends(native_send);
    if py.version_info() >= (3, 14, 10) {
        // A call graph passes over a coroutine without a frame; before, it would have tried to show that.
        builder = builder
            .attribute(Attribute::read_only(c"cr_await", |_, coroutine: &Instance<Coroutine>| Ok(coroutine.awaited())))
            .attribute(Attribute::read_only(c"cr_frame", |_, _: &Instance<Coroutine>| Ok(())));
    }
    let class = builder.build(py, &py.get_type::<PyAny>())?;
    OBJECTS.abstract_coroutine.bind(py)?.call_method1("register", (&class,))?;
    module.add("Coroutine", class)
}

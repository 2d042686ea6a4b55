//! The classes of native coroutines: coroutines by their protocol, without a frame; a class for each [`Body`].
//!
//! One that nobody refers to any more is kept for the next, as the [description](Body::description) of its class says. One
//! whose finalizer has run is not.

#![forbid(unsafe_code)]

use core::ffi::CStr;
use core::marker::PhantomData;

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::state::{Body, CoroutineOf, Input, Phase};
use super::{CoroutineState, Step, thrown};
use crate::ffi::arguments::Arguments;
use crate::ffi::class::{Builder, Class, Description, Heap, Instance, NativeClass, WeakReferences};
use crate::ffi::idle_list::IdleLink;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::place::{Place, place};

/// The class of coroutines whose body is a `B`.
pub(crate) struct Coroutine<B>(PhantomData<fn() -> B>);

impl<B: Body> Class for Coroutine<B> {
    type State = CoroutineOf<B>;
    type Layout = Heap;

    #[inline]
    fn description() -> &'static Description<Self> {
        B::description()
    }
}

impl<B: Body> NativeClass for Coroutine<B> {
    const NAME: &'static CStr = B::NAME;
    const DOC: &'static CStr = B::DOC;
    const FINALIZES: bool = true;
    const WEAK_REFERENCES: Option<Place<CoroutineOf<B>, WeakReferences>> =
        Some(place!(CoroutineOf<B>, weak_references));

    #[inline]
    fn needs_finalizing(state: &CoroutineOf<B>) -> bool {
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
    fn idle_link(state: &CoroutineOf<B>) -> Option<&IdleLink> {
        Some(&state.idle)
    }

    /// It holds nothing when it has ended.
    #[inline]
    fn is_idle(state: &CoroutineOf<B>) -> bool {
        state.phase.get() == Phase::Done
    }
}

#[cold]
fn warn_never_awaited<B: Body>(py: Python<'_>, coroutine: &Instance<Coroutine<B>>) -> PyResult<()> {
    let text = format!("coroutine '{}' was never awaited", coroutine.body.qualified_name());
    let arguments = (text, py.get_type::<PyRuntimeWarning>(), 1, coroutine.bind(py));
    // While the interpreter ends nothing is imported any more, and it warns of none of its own either.
    let Ok(warnings) = py.import("warnings") else { return Ok(()) };
    warnings.getattr("warn")?.call1(arguments).map(drop)
}

#[inline]
fn check_sent<B: Body>(coroutine: &CoroutineOf<B>, value: &Object) -> PyResult<()> {
    if coroutine.phase.get() == Phase::Created && !value.is_none() {
        return Err(PyTypeError::new_err("can't send non-None value to a just-started coroutine"));
    }
    Ok(())
}

#[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
#[inline(always)]
fn native_send<B: Body>(py: Python<'_>, coroutine: &Instance<Coroutine<B>>, value: &Object) -> PyResult<Step> {
    check_sent(coroutine, value)?;
    coroutine.step(py, Input::Send)
}

#[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
#[inline(always)]
fn next<B: Body>(py: Python<'_>, coroutine: &Instance<Coroutine<B>>) -> PyResult<Step> {
    coroutine.step(py, Input::Send)
}

/// What a method returns for a step: a result is the value of a `StopIteration`.
fn shown(py: Python<'_>, step: Step) -> PyResult<Object> {
    match step {
        Step::Yield(value) => Ok(value),
        Step::Return(value) => {
            // As for a generator, `None` is no argument.
            let args = value.unless_none().map(|value| value.bind(py).clone());
            let exception = py.get_type::<PyStopIteration>().call1(PyTuple::new(py, args.as_slice())?)?;
            Err(PyErr::from_value(exception))
        }
    }
}

fn send<B: Body>(py: Python<'_>, coroutine: &Instance<Coroutine<B>>, value: &Object) -> PyResult<Object> {
    check_sent(coroutine, value)?;
    shown(py, coroutine.step(py, Input::Send)?)
}

fn throw<B: Body>(py: Python<'_>, coroutine: &Instance<Coroutine<B>>, arguments: Arguments<'_>) -> PyResult<Object> {
    let given = arguments.positional();
    let ([first, rest @ ..], true) = (given, given.len() <= 3 && arguments.has_no_keywords()) else {
        return Err(PyTypeError::new_err(format!("throw expected 1 to 3 arguments, got {}", given.len())));
    };
    let error = thrown::exception(py, first, rest.first(), rest.get(1))?;
    shown(py, coroutine.step(py, Input::Throw(error))?)
}

fn close<B: Body>(py: Python<'_>, coroutine: &Instance<Coroutine<B>>) -> PyResult<()> {
    coroutine.close(py)
}

/// The last part of the qualified name.
fn name<B: Body>(coroutine: &CoroutineOf<B>) -> &'static str {
    let name = coroutine.body.qualified_name();
    name.rsplit('.').next().unwrap_or(name)
}

/// What `await` asks: the coroutine itself.
///
/// # Errors
/// `RuntimeError`: it waits already, for somebody else.
pub(crate) fn await_once<B: Body>(_py: Python<'_>, coroutine: &Instance<Coroutine<B>>) -> PyResult<Object> {
    if coroutine.phase.get() == Phase::Suspended {
        return Err(PyRuntimeError::new_err("coroutine is being awaited already"));
    }
    Ok(coroutine.object().clone())
}

/// What makes the class, with the protocol of a coroutine.
pub(crate) fn builder<B: Body>(py: Python<'_>) -> Builder<Instance<Coroutine<B>>> {
    let builder = Builder::<Instance<Coroutine<B>>>::new()
        .method(Method::one_argument(c"send", send::<B>, c"Run to the next wait."))
        .method(Method::any_arguments(c"throw", throw::<B>, c"Raise an exception where it waits."))
        .method(Method::no_arguments(c"close", close::<B>, c"End it with GeneratorExit where it waits."))
        .attribute(Attribute::read_only(c"__qualname__", |py, coroutine: &Instance<Coroutine<B>>| {
            Ok(Object::new(PyString::new(py, coroutine.body.qualified_name())))
        }))
        .attribute(Attribute::read_only(c"__name__", |py, coroutine: &Instance<Coroutine<B>>| {
            Ok(Object::new(PyString::new(py, name(coroutine))))
        }))
        .attribute(Attribute::read_only(c"cr_running", |_, coroutine: &Instance<Coroutine<B>>| {
            Ok(coroutine.phase.get() == Phase::Running)
        }))
        .repr(|_, coroutine: &Instance<Coroutine<B>>| {
            Ok(format!("<coroutine object {} at {:p}>", coroutine.body.qualified_name(), coroutine.object().as_ptr()))
        })
        .iterates(next::<B>)
        .sends(native_send::<B>);
    if py.version_info() < (3, 14, 10) {
        return builder;
    }
    // A call graph passes over a coroutine without a frame; before, it would have tried to show that.
    builder
        .attribute(Attribute::read_only(c"cr_await", |_, coroutine: &Instance<Coroutine<B>>| {
            Ok(coroutine.body.awaited())
        }))
        .attribute(Attribute::read_only(c"cr_frame", |_, _: &Instance<Coroutine<B>>| Ok(())))
}

/// Makes the class of plans' coroutines, and has it count as a coroutine.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // What `__await__()` gives can be iterated by hand.
    let class = builder::<CoroutineState>(py).iterates_itself().build(py, &py.get_type::<PyAny>())?;
    OBJECTS.abstract_coroutine.bind(py)?.call_method1("register", (&class,))?;
    module.add("Coroutine", class)
}

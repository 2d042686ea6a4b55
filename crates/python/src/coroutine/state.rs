//! The phases of a native coroutine, whatever it does, and its steps.
//!
//! | phase | `send`, `throw` | `close` | freed |
//! | --- | --- | --- | --- |
//! | `Created` | begins; raises | nothing happens | warns that it was never awaited |
//! | `Suspended` | goes on | goes on with `GeneratorExit` | is closed |
//! | `Running` | `ValueError` | `ValueError` | cannot be |
//! | `Done` | `RuntimeError` | nothing | is freed |

#![forbid(unsafe_code)]

use core::ffi::CStr;

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::prelude::*;

use super::Step;
use super::class::Coroutine;
use crate::ffi::cell::Plain;
use crate::ffi::class::{Description, WeakReferences};
use crate::ffi::errors::made;
use crate::ffi::fields::{Collector, Fields, Visited};
use crate::ffi::idle_list::IdleLink;
use crate::ffi::object::Object;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Created,
    Running,
    Suspended,
    Done,
}

/// What a step is made with.
pub(crate) enum Input {
    Send,
    Throw(PyErr),
    Close,
}

/// What native coroutines of one class hold, and what their steps do.
pub(crate) trait Body: Fields + 'static {
    /// The full name of the class, with the module.
    const NAME: &'static CStr;
    const DOC: &'static CStr;

    /// The one description of the class: a `static`.
    fn description() -> &'static Description<Coroutine<Self>>
    where
        Self: Sized;

    /// As in asyncio: `Lock.acquire`.
    fn qualified_name(&self) -> &'static str;

    /// What it waits for.
    fn awaited(&self) -> Option<Object>;

    /// The first step.
    fn start(&self, py: Python<'_>) -> PyResult<Step>;

    /// The step after a wait.
    fn advance(&self, py: Python<'_>, input: Input) -> PyResult<Step>;

    /// Gives back everything that it holds: the coroutine has ended.
    fn release(&self);
}

/// The state of a native coroutine.
pub(crate) struct CoroutineOf<B> {
    pub(super) phase: Plain<Phase>,
    pub(super) idle: IdleLink,
    pub(super) body: B,
    pub(super) weak_references: WeakReferences,
}

impl<B: Body> Fields for CoroutineOf<B> {
    const IS_EMPTY_WHEN_CLEARED: bool = B::IS_EMPTY_WHEN_CLEARED;

    #[inline]
    fn visit(&self, collector: &Collector) -> Visited {
        self.body.visit(collector)
    }

    #[inline]
    fn clear(&self) {
        self.body.clear();
    }
}

impl<B: Body> CoroutineOf<B> {
    /// Of a coroutine that has not begun.
    #[inline]
    pub(super) fn new(body: B) -> Self {
        Self {
            phase: Plain::new(Phase::Created),
            idle: IdleLink::default(),
            body,
            weak_references: WeakReferences::new(core::ptr::null_mut()),
        }
    }

    /// Makes a coroutine that has ended one that has not begun; `begin` fills its body.
    #[inline]
    pub(super) fn begin_again(&self, begin: impl FnOnce(&B)) {
        self.phase.set(Phase::Created);
        begin(&self.body);
    }

    /// The body.
    #[inline]
    pub(super) const fn body(&self) -> &B {
        &self.body
    }

    /// One step.
    #[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
    #[inline(always)]
    pub(super) fn step(&self, py: Python<'_>, input: Input) -> PyResult<Step> {
        let phase = self.phase.get();
        match (phase, &input) {
            (Phase::Running, _) => return Err(already_executing()),
            (Phase::Done, _) => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
            _ => {}
        }
        self.phase.set(Phase::Running);
        let _running = Running(self);
        let outcome = match (phase, input) {
            (Phase::Suspended, input) => self.body.advance(py, input),
            (_, Input::Throw(error)) => Err(error),
            _ => self.body.start(py),
        };
        match outcome {
            Ok(Step::Yield(value)) => {
                self.phase.set(Phase::Suspended);
                Ok(Step::Yield(value))
            }
            Ok(result) => {
                self.end();
                Ok(result)
            }
            Err(error) => {
                self.end();
                Err(without_stop_iteration(py, error))
            }
        }
    }

    /// Ends the coroutine.
    #[expect(clippy::inline_always, reason = "a few stores, after every step that is the last")]
    #[inline(always)]
    pub(super) fn end(&self) {
        self.phase.set(Phase::Done);
        self.body.release();
    }

    pub(super) fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.phase.get() {
            Phase::Created => self.end(),
            Phase::Done => {}
            Phase::Running => return Err(already_executing()),
            Phase::Suspended => match self.step(py, Input::Close) {
                Ok(Step::Return(_)) => {}
                Ok(Step::Yield(_)) => return Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit")),
                Err(error)
                    if error.is_instance_of::<PyGeneratorExit>(py) || error.is_instance_of::<PyStopIteration>(py) => {}
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }
}

/// A step under way. When a panic passes, that is the coroutine's end.
struct Running<'a, B: Body>(&'a CoroutineOf<B>);

impl<B: Body> Drop for Running<'_, B> {
    #[inline]
    fn drop(&mut self) {
        if self.0.phase.get() == Phase::Running {
            self.0.end();
        }
    }
}

/// `GeneratorExit()`, made at once: it is asked about, and PyO3 makes no exception any more while the interpreter ends.
pub(super) fn generator_exit(py: Python<'_>) -> PyErr {
    match py.get_type::<PyGeneratorExit>().call0() {
        Ok(exit) => PyErr::from_value(exit),
        Err(error) => error,
    }
}

#[cold]
fn already_executing() -> PyErr {
    PyValueError::new_err("coroutine already executing")
}

/// The error that leaves a coroutine which has ended with `error`: no `StopIteration` does.
#[inline]
fn without_stop_iteration(py: Python<'_>, error: PyErr) -> PyErr {
    let error = made(py, error);
    if !error.is_instance_of::<PyStopIteration>(py) {
        return error;
    }
    let outer = made(py, PyRuntimeError::new_err("coroutine raised StopIteration"));
    outer.set_context(py, Some(error.clone_ref(py)));
    outer.set_cause(py, Some(error));
    outer
}

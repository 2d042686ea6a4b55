//! The state of a coroutine without a frame, and its steps.
//!
//! | phase | `send`, `throw` | `close` | freed |
//! | --- | --- | --- | --- |
//! | `Created` | begins; raises | nothing happens | warns that it was never awaited |
//! | `Suspended` | goes on | goes on with `GeneratorExit` | is closed |
//! | `Running` | `ValueError` | `ValueError` | cannot be |
//! | `Done` | `RuntimeError` | nothing | is freed |

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyStopIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::{Plan, Step};
use crate::ffi::awaitable;
use crate::ffi::call::call_method;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Class, Instance, WeakReferences};
use crate::ffi::errors::made;
use crate::ffi::fields::native_state;
use crate::ffi::idle_list::IdleLink;
use crate::ffi::iteration;
use crate::ffi::names::names;
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::task::future;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Created,
    Running,
    Suspended,
    Done,
}

native_state! {
    /// What a coroutine consists of.
    pub(crate) struct CoroutineState {
        plan: Plain<&'static Plan>,
        pub(super) phase: Plain<Phase>,
        /// How far the plan has come; 0 at first. The plan alone uses it.
        pub(crate) stage: Plain<u8>,
        pub(super) idle: IdleLink,
        /// An argument, or what the plan keeps over a wait.
        pub(crate) item: Slot,
        /// The future it waits for.
        pub(crate) future: Slot,
        /// The iterator of that; none for a `ferrio.Future`, which is asked itself.
        iterator: Slot,
        /// Whose method it is; the delay, later the timer, of `sleep`.
        pub(crate) owner: Slot,
        pub(super) weak_references: WeakReferences,
    }
}

/// What a step is made with.
pub(super) enum Input {
    Send,
    Throw(PyErr),
    Close,
}

impl CoroutineState {
    /// Of a coroutine that has not begun.
    pub(super) fn new(plan: &'static Plan, owner: Object, item: Option<Object>) -> Self {
        let state = Self {
            plan: Plain::new(plan),
            phase: Plain::new(Phase::Created),
            stage: Plain::new(0),
            idle: IdleLink::default(),
            item: Slot::default(),
            future: Slot::default(),
            iterator: Slot::default(),
            owner: Slot::default(),
            weak_references: WeakReferences::new(core::ptr::null_mut()),
        };
        state.begin(plan, owner, item);
        state
    }

    /// Makes a state that has ended one that has not begun.
    #[inline]
    pub(super) fn begin(&self, plan: &'static Plan, owner: Object, item: Option<Object>) {
        self.plan.set(plan);
        self.phase.set(Phase::Created);
        self.stage.set(0);
        self.owner.set(owner);
        if let Some(item) = item {
            self.item.set(item);
        }
    }

    pub(super) fn qualified_name(&self) -> &'static str {
        self.plan.get().qualified_name
    }

    /// What it waits for.
    pub(super) fn awaited(&self) -> Option<Object> {
        self.iterator.get().or_else(|| self.future.get())
    }

    /// The object whose method it is, for a plan's function.
    ///
    /// # Errors
    /// `TypeError`: it is of another class; `RuntimeError`: it is gone.
    #[inline]
    pub(crate) fn receiver<T: Class>(&self, _py: Python<'_>) -> PyResult<Instance<T>> {
        let Some(owner) = self.owner.get() else {
            return Err(PyRuntimeError::new_err("the coroutine has no object any more"));
        };
        Instance::from_object(owner).map_err(|_| PyTypeError::new_err("the coroutine's object is of another class"))
    }

    /// Begins to wait for `future`.
    pub(crate) fn wait_for(&self, py: Python<'_>, future: Object) -> PyResult<Step> {
        if future::can_be_yielded(&future) {
            // What its iterator would do.
            future::set_blocking(&future);
            self.future.set(future.clone());
            return Ok(Step::Yield(future));
        }
        let iterator = awaitable::iterator_of(py, &future).map_err(|error| made(py, error));
        self.future.set(future);
        match iterator {
            Ok(iterator) => {
                self.iterator.set(iterator);
                self.advance(py, Input::Send)
            }
            Err(error) => (self.plan.get().resume)(py, self, Err(error)),
        }
    }

    /// Goes on as another coroutine, which has begun: what that waits for has ended, with `error` if there is one.
    pub(crate) fn go_on_in(&self, py: Python<'_>, coroutine: Object, error: Option<PyErr>) -> PyResult<Step> {
        self.iterator.set(coroutine);
        self.advance(py, error.map_or(Input::Send, Input::Throw))
    }

    /// Moves what it waits for on; when that has ended, goes on by the plan.
    fn advance(&self, py: Python<'_>, input: Input) -> PyResult<Step> {
        let Some(iterator) = self.iterator.get() else {
            let outcome = match input {
                Input::Send => self.result(py),
                Input::Throw(error) => Err(error),
                Input::Close => Err(generator_exit(py)),
            };
            return (self.plan.get().resume)(py, self, outcome.map_err(|error| made(py, error)));
        };
        // It lasts while the plan goes on, which may wait for the next thing that ends at once.
        let level = nesting::enter(py).map_err(|error| made(py, error));
        let outcome = match (&level, input) {
            (Err(error), _) => Err(error.clone_ref(py)),
            (Ok(_), Input::Send) => match iteration::send_none(py, &iterator) {
                Ok(Step::Yield(value)) => return Ok(Step::Yield(value)),
                Ok(Step::Return(value)) => Ok(value),
                Err(error) => Err(error),
            },
            (Ok(_), Input::Throw(error)) => {
                let error = made(py, error).into_value(py).into_bound(py);
                match call_method(py, &names(py).throw, [&iterator, Object::of(&error)]) {
                    Ok(value) => return Ok(Step::Yield(value)),
                    Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                        Ok(Object::new(error.value(py).getattr(&names(py).value)?))
                    }
                    Err(error) => Err(error),
                }
            }
            (Ok(_), Input::Close) => {
                if let Some(close) = iterator.bind(py).getattr_opt(&names(py).close)? {
                    close.call0()?;
                }
                Err(generator_exit(py))
            }
        };
        drop(iterator);
        drop(self.iterator.take());
        (self.plan.get().resume)(py, self, outcome.map_err(|error| made(py, error)))
    }

    /// What the future that it waits for has come to; `None` after a bare `yield`.
    fn result(&self, py: Python<'_>) -> PyResult<Object> {
        let Some(future) = self.future.get() else { return Ok(Object::none(py)) };
        if future::is_pending(&future) {
            return Err(PyRuntimeError::new_err("await wasn't used with future"));
        }
        future::result(py, &future)
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
            (Phase::Suspended, input) => self.advance(py, input),
            (_, Input::Throw(error)) => Err(error),
            _ => (self.plan.get().start)(py, self),
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

    /// Ends the coroutine, and gives back everything that it holds.
    #[expect(clippy::inline_always, reason = "a few stores, after every step that is the last")]
    #[inline(always)]
    pub(super) fn end(&self) {
        self.phase.set(Phase::Done);
        // All are out before one is dropped: a drop may come back here.
        let owner = self.owner.take();
        if !(self.item.is_empty() && self.future.is_empty() && self.iterator.is_empty()) {
            for object in [self.item.take(), self.future.take(), self.iterator.take()].into_iter().flatten() {
                nesting::release(object);
            }
        }
        if let Some(owner) = owner {
            nesting::release(owner);
        }
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
struct Running<'a>(&'a CoroutineState);

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.phase.get() == Phase::Running {
            self.0.end();
        }
    }
}

/// `GeneratorExit()`, made at once: it is asked about, and PyO3 makes no exception any more while the interpreter ends.
fn generator_exit(py: Python<'_>) -> PyErr {
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

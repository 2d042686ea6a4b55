//! What a coroutine of a plan holds between its steps, and how it goes on.

#![forbid(unsafe_code)]

use core::ffi::CStr;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::prelude::*;

use super::class::Coroutine;
use super::state::{Body, Input, generator_exit};
use super::{Plan, Step};
use crate::ffi::awaitable;
use crate::ffi::call::call_method_within;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Class, Description, Instance};
use crate::ffi::errors::made;
use crate::ffi::fields::native_state;
use crate::ffi::iteration;
use crate::ffi::names::names;
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::task::future;

/// Coroutines that have ended are kept for the next: the first so many as whole objects.
const MOST_IDLE: usize = 64;
/// Of others the memory is, of so many.
const MOST_FREE: usize = 1024;

native_state! {
    /// What a coroutine holds.
    pub(crate) struct CoroutineState {
        plan: Plain<&'static Plan>,
        /// How far the plan has come; 0 at first. The plan alone uses it.
        pub(crate) stage: Plain<u8>,
        /// A number of the plan's; 0 at first.
        pub(crate) number: Plain<usize>,
        /// An argument, or what the plan keeps over a wait.
        pub(crate) item: Slot,
        /// The future it waits for.
        pub(crate) future: Slot,
        /// The iterator of that; none for a `ferrio.Future`, which is asked itself.
        iterator: Slot,
        /// Whose method it is; the delay, later the timer, of `sleep`.
        pub(crate) owner: Slot,
    }
}

impl CoroutineState {
    /// Of a coroutine that has not begun.
    pub(super) fn new(plan: &'static Plan, owner: Object, item: Option<Object>) -> Self {
        let state = Self {
            plan: Plain::new(plan),
            stage: Plain::new(0),
            number: Plain::new(0),
            item: Slot::default(),
            future: Slot::default(),
            iterator: Slot::default(),
            owner: Slot::default(),
        };
        state.begin(plan, owner, item);
        state
    }

    /// Makes a state that has ended one that has not begun.
    #[inline]
    pub(super) fn begin(&self, plan: &'static Plan, owner: Object, item: Option<Object>) {
        self.plan.set(plan);
        self.stage.set(0);
        self.number.set(0);
        self.owner.set(owner);
        if let Some(item) = item {
            self.item.set(item);
        }
    }

    /// The object whose method it is, for a plan's function.
    ///
    /// # Errors
    /// `TypeError`: it is of another class; `RuntimeError`: it is gone.
    #[expect(clippy::inline_always, reason = "a comparison, at the start of most steps")]
    #[inline(always)]
    pub(crate) fn receiver<T: Class>(&self, _py: Python<'_>) -> PyResult<Instance<T>> {
        receiver_of(self.owner.get())
    }

    /// [`Self::receiver`], moved out, for a step that mostly is the last. One that waits puts it back as the `owner`.
    #[expect(clippy::inline_always, reason = "a comparison, at the start of most steps")]
    #[inline(always)]
    pub(crate) fn take_receiver<T: Class>(&self, _py: Python<'_>) -> PyResult<Instance<T>> {
        receiver_of(self.owner.take())
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

    /// What the future that it waits for has come to; `None` after a bare `yield`.
    fn result(&self, py: Python<'_>) -> PyResult<Object> {
        let Some(future) = self.future.get() else { return Ok(Object::none(py)) };
        if future::is_pending(&future) {
            return Err(PyRuntimeError::new_err("await wasn't used with future"));
        }
        future::result(py, &future)
    }
}

#[expect(clippy::inline_always, reason = "a comparison, at the start of most steps")]
#[inline(always)]
fn receiver_of<T: Class>(owner: Option<Object>) -> PyResult<Instance<T>> {
    match owner.map(Instance::from_object) {
        Some(Ok(receiver)) => Ok(receiver),
        Some(Err(_)) => Err(of_another_class()),
        None => Err(without_object()),
    }
}

#[cold]
fn of_another_class() -> PyErr {
    PyTypeError::new_err("the coroutine's object is of another class")
}

#[cold]
fn without_object() -> PyErr {
    PyRuntimeError::new_err("the coroutine has no object any more")
}

impl Body for CoroutineState {
    const NAME: &'static CStr = c"ferrio._ferrio.Coroutine";
    const DOC: &'static CStr =
        c"What a native coroutine function returns: a coroutine by its protocol, without a frame.";

    #[inline]
    fn description() -> &'static Description<Coroutine<Self>> {
        static DESCRIPTION: Description<Coroutine<CoroutineState>> = Description::new(MOST_FREE).with_idle(MOST_IDLE);
        &DESCRIPTION
    }

    fn qualified_name(&self) -> &'static str {
        self.plan.get().qualified_name
    }

    fn awaited(&self) -> Option<Object> {
        self.iterator.get().or_else(|| self.future.get())
    }

    #[inline]
    fn start(&self, py: Python<'_>) -> PyResult<Step> {
        (self.plan.get().start)(py, self)
    }

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
            (Ok(level), Input::Throw(error)) => {
                let error = made(py, error).into_value(py).into_bound(py);
                match call_method_within(level, py, &names(py).throw, [&iterator, Object::of(&error)]) {
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

    #[expect(clippy::inline_always, reason = "a few stores, after every step that is the last")]
    #[inline(always)]
    fn release(&self) {
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
}

//! `_asyncio.Future` and `_asyncio.Task` as typed references whose fields are read and written in place.
//!
//! Both are C structs of the interpreter's `_asyncio` module, private and different from version to version: `v3_11`, `v3_13`
//! and `v3_14` declare them. [`check`](check::check) compares the declaration with objects that the module itself has made,
//! when Ferrio is imported; if anything is elsewhere, Ferrio leaves tasks and futures to asyncio, and never misreads one.
//!
//! [`Future`] and [`Task`] are made by a type check ([`Future::of`]), once; afterwards fields are ordinary fields.
//!
//! # Invariants
//! 1. A `Future` (`Task`) is an instance of asyncio's C type, or of a type derived from it, whose layout has been approved: the
//!    types are known to this file only from [`Approved`](check::Approved) on.
//! 2. A slot that is not null owns a reference.

#[cfg(Py_3_13)]
mod bits;
pub(crate) mod check;
pub(crate) mod class;
#[cfg_attr(Py_3_14, path = "v3_14.rs")]
#[cfg_attr(all(Py_3_13, not(Py_3_14)), path = "v3_13.rs")]
#[cfg_attr(not(Py_3_13), path = "v3_11.rs")]
mod layout;

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_uint};
use core::ops::Deref;

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PySet;

use self::class::{FUTURE, TASK};
use super::c_api;
use super::cell::{Plain, Slot};
use super::context::Context;
use super::errors::{set_traceback, traceback_of};
use super::method::{IntoObject, Receiver};
use super::object::Object;
#[cfg(Py_3_13)]
use bits::Flag;
#[cfg(not(Py_3_13))]
use layout::Flag;
use layout::{FutureObject, TaskObject};

/// Bytes of a task, and where in it the link of the list of all tasks is (3.14 on).
pub(in crate::ffi) const TASK_BYTES: usize = size_of::<TaskObject>();
pub(in crate::ffi) use layout::NODE_OFFSET;

/// What every object begins with; others count references while this is borrowed.
type Head = UnsafeCell<ffi::PyObject>;

/// How far a future has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FutureState {
    Pending = 0,
    Cancelled = 1,
    Finished = 2,
}

/// A reference to a future or task of asyncio's C types.
#[repr(transparent)]
pub(crate) struct Future {
    object: Object,
}

/// A reference to a task of asyncio's C type.
#[repr(transparent)]
pub(crate) struct Task {
    future: Future,
}

impl Future {
    /// The object as a future; `None` if it is neither a future nor a task of asyncio's C types, nor derived from one.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<&Self> {
        // SAFETY: its type has just been looked at.
        (Self::is_ours(object) || FUTURE.is_base_of(object)).then(|| unsafe { Self::assume(object) })
    }

    /// The object as a future, if it is a `ferrio.Future` or `ferrio.Task`, with nothing overridden.
    #[inline]
    pub(crate) fn ours(object: &Object) -> Option<&Self> {
        // SAFETY: its type has just been looked at.
        Self::is_ours(object).then(|| unsafe { Self::assume(object) })
    }

    /// The object as a future, if it is a `ferrio.Future` and nothing derived.
    #[inline]
    pub(crate) fn exact(object: &Object) -> Option<&Self> {
        // SAFETY: its type has just been looked at.
        FUTURE.is_class_of(object).then(|| unsafe { Self::assume(object) })
    }

    #[inline]
    fn is_ours(object: &Object) -> bool {
        FUTURE.is_class_of(object) || TASK.is_class_of(object)
    }

    /// Views an object as a future.
    ///
    /// # Safety
    /// It is one (invariant 1).
    #[inline]
    const unsafe fn assume(object: &Object) -> &Self {
        // SAFETY: laid out as the reference itself.
        unsafe { &*(&raw const *object).cast() }
    }

    /// The future as a task, if it is one.
    #[inline]
    pub(crate) fn as_task(&self) -> Option<&Task> {
        let is_task =
            !FUTURE.is_class_of(&self.object) && (TASK.is_class_of(&self.object) || TASK.is_base_of(&self.object));
        // SAFETY: its type has just been looked at.
        is_task.then(|| unsafe { Task::assume(&self.object) })
    }

    #[inline]
    pub(crate) const fn object(&self) -> &Object {
        &self.object
    }

    #[inline]
    pub(crate) fn into_object(self) -> Object {
        self.object
    }

    #[inline]
    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    #[inline]
    pub(crate) fn state(&self) -> FutureState {
        match self.state.get() {
            0 => FutureState::Pending,
            1 => FutureState::Cancelled,
            _ => FutureState::Finished,
        }
    }

    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.state.get() == FutureState::Pending as c_uint
    }

    /// Whether it has exactly the number of this state.
    fn has_state(&self, state: FutureState) -> bool {
        self.state.get() == state as c_uint
    }

    #[inline]
    pub(crate) fn set_state(&self, state: FutureState) {
        self.state.set(state as c_uint);
    }

    /// Whether it has ended with a value.
    #[inline]
    pub(crate) fn has_value(&self) -> bool {
        self.state() == FutureState::Finished && self.exception.is_empty()
    }

    /// Whether nobody is to be told when it is done.
    #[inline]
    pub(crate) fn has_no_callbacks(&self) -> bool {
        self.callback0.is_empty() && self.callbacks.is_empty()
    }

    /// Makes `callback` the first callback; there is none yet.
    #[inline]
    pub(crate) fn set_first_callback(&self, callback: Object, context: Option<Object>) {
        let before = (self.context0.replace(context), self.callback0.replace(Some(callback)));
        drop(before);
    }

    /// The callbacks behind the first one: a list of pairs with their contexts.
    #[inline]
    pub(crate) fn further_callbacks(&self) -> Option<Object> {
        self.callbacks.get()
    }

    /// [`Self::further_callbacks`], which are no longer the future's.
    #[inline]
    pub(crate) fn take_further_callbacks(&self) -> Option<Object> {
        self.callbacks.take()
    }

    /// Ends it with `exception`, in the state that this has now.
    pub(crate) fn fail(&self, exception: Bound<'_, PyBaseException>) {
        let traceback = traceback_of(&exception);
        let before =
            (self.exception.replace(Some(Object::new(exception))), self.exception_traceback.replace(traceback));
        self.set_state(FutureState::Finished);
        drop(before);
    }

    /// The exception that it has ended with, with the traceback of that moment.
    ///
    /// # Errors
    /// `TypeError`: a program has put something else there.
    #[inline]
    pub(crate) fn exception(&self, py: Python<'_>) -> PyResult<Option<Object>> {
        let Some(exception) = self.exception.get() else { return Ok(None) };
        set_traceback(exception.bind(py).cast()?, self.exception_traceback.get().as_ref())?;
        Ok(Some(exception))
    }

    /// Keeps the `CancelledError` that ends it, for whoever waits for it.
    pub(crate) fn keep_cancelled_error(&self, error: Bound<'_, PyBaseException>) {
        self.cancelled_error.set(Object::new(error));
    }

    /// The `CancelledError` that was kept, once.
    #[inline]
    pub(crate) fn take_cancelled_error(&self) -> Option<Object> {
        self.cancelled_error.take()
    }

    /// Notes in the call graph (3.14 on) that `task` waits for it.
    #[inline]
    pub(crate) fn add_waiting(&self, py: Python<'_>, task: &Object) -> PyResult<()> {
        let Some((awaited_by, is_set)) = self.awaited_by() else { return Ok(()) };
        let Some(before) = awaited_by.get() else {
            awaited_by.set(task.clone());
            return Ok(());
        };
        if is_set.get() != 0 {
            return before.bind(py).cast::<PySet>()?.add(task.bind(py));
        }
        let set = PySet::new(py, [task.bind(py), before.bind(py)])?;
        awaited_by.set(Object::new(set));
        is_set.set(1);
        Ok(())
    }

    /// Notes in the call graph that `task` no longer waits for it.
    #[inline]
    pub(crate) fn remove_waiting(&self, py: Python<'_>, task: &Object) -> PyResult<()> {
        let Some((awaited_by, is_set)) = self.awaited_by() else { return Ok(()) };
        if awaited_by.as_ptr() == task.as_ptr() {
            drop(awaited_by.take());
        } else if is_set.get() != 0 {
            let Some(set) = awaited_by.get() else { return Ok(()) };
            set.bind(py).cast::<PySet>()?.discard(task.bind(py))?;
        }
        Ok(())
    }
}

impl Task {
    /// The object as a task; `None` if it is no task of asyncio's C type, nor derived from one.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<&Self> {
        // SAFETY: its type has just been looked at.
        (TASK.is_class_of(object) || TASK.is_base_of(object)).then(|| unsafe { Self::assume(object) })
    }

    /// The object as a task, if it is a `ferrio.Task` and nothing derived.
    #[inline]
    pub(crate) fn exact(object: &Object) -> Option<&Self> {
        // SAFETY: its type has just been looked at.
        TASK.is_class_of(object).then(|| unsafe { Self::assume(object) })
    }

    /// [`Self::exact`], of a reference that is given away; it comes back if the object is none.
    #[inline]
    pub(crate) fn from_exact(object: Object) -> Result<Self, Object> {
        if TASK.is_class_of(&object) { Ok(Self { future: Future { object } }) } else { Err(object) }
    }

    /// Views an object as a task.
    ///
    /// # Safety
    /// It is one (invariant 1).
    #[inline]
    const unsafe fn assume(object: &Object) -> &Self {
        // SAFETY: laid out as the reference itself.
        unsafe { &*(&raw const *object).cast() }
    }

    #[inline]
    pub(crate) fn into_object(self) -> Object {
        self.future.object
    }

    #[inline]
    fn fields(&self) -> &TaskObject {
        // SAFETY: a task (invariant 1), which this reference keeps alive. Its fields are cells.
        unsafe { &*self.object().as_ptr().cast() }
    }

    /// The future that it waits for.
    #[inline]
    pub(crate) fn future_waiter(&self) -> &Slot {
        &self.fields().future_waiter
    }

    #[inline]
    pub(crate) fn coroutine(&self) -> &Slot {
        &self.fields().coroutine
    }

    #[inline]
    pub(crate) fn name(&self) -> &Slot {
        &self.fields().name
    }

    #[inline]
    pub(crate) fn context(&self) -> &Slot {
        &self.fields().context
    }

    /// Whether its context can be entered without `Context.run`.
    #[inline]
    pub(crate) fn has_plain_context(&self) -> bool {
        // SAFETY: looking at an object's class runs no Python, so nobody comes to the slot in between.
        unsafe { self.context().peek() }.and_then(Context::of).is_some()
    }

    #[inline]
    pub(crate) fn must_cancel(&self) -> Flag<'_> {
        self.fields().must_cancel()
    }

    #[inline]
    pub(crate) fn log_destroy_pending(&self) -> Flag<'_> {
        self.fields().log_destroy_pending()
    }

    /// How often it was asked to end.
    #[inline]
    pub(crate) fn cancels_requested(&self) -> &Plain<c_int> {
        &self.fields().cancels_requested
    }

    /// Says that this is a task to tools that read the process from outside (3.14 on).
    #[inline]
    pub(crate) fn mark_as_task(&self) {
        if let Some(mark) = self.is_task() {
            mark.set(1);
        }
    }

    /// Hides it from the garbage collector.
    #[inline]
    pub(crate) fn untrack(&self) {
        // SAFETY: a live object of a collected type; what is not tracked stays so.
        unsafe { ffi::PyObject_GC_UnTrack(self.object().as_ptr().cast()) };
    }

    /// Shows it to the garbage collector, unless that sees it already.
    #[inline]
    pub(crate) fn track(&self) {
        let object = self.object();
        if c_api::PyObject_GC_IsTracked(object.lend(object.py())) == 0 {
            // SAFETY: a live object that is not tracked; its fields are whole.
            unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
        }
    }
}

/// The fields.
impl Deref for Future {
    type Target = FutureObject;

    #[inline]
    fn deref(&self) -> &FutureObject {
        // SAFETY: a future (invariant 1), which this reference keeps alive. Its fields are cells.
        unsafe { &*self.object.as_ptr().cast() }
    }
}

/// A task is a future.
impl Deref for Task {
    type Target = Future;

    #[inline]
    fn deref(&self) -> &Future {
        &self.future
    }
}

impl Clone for Future {
    #[inline]
    fn clone(&self) -> Self {
        Self { object: self.object.clone() }
    }
}

impl Clone for Task {
    #[inline]
    fn clone(&self) -> Self {
        Self { future: self.future.clone() }
    }
}

impl IntoObject for Future {
    #[inline]
    fn into_object(self, _py: Python<'_>) -> Object {
        self.object
    }
}

impl IntoObject for Task {
    #[inline]
    fn into_object(self, _py: Python<'_>) -> Object {
        self.future.object
    }
}

// SAFETY: definitions for futures go into classes over asyncio's future or task only (`class::build`), whose layout has been
// approved.
unsafe impl Receiver for Future {
    type View<'a> = &'a Self;

    #[inline]
    unsafe fn view<'a>(_py: Python<'a>, object: &'a Object) -> &'a Self {
        // SAFETY: an instance, as the caller promises.
        unsafe { Self::assume(object) }
    }
}

// SAFETY: as above; definitions for tasks go into classes over asyncio's task, and into methods that are bound to a task.
unsafe impl Receiver for Task {
    type View<'a> = &'a Self;

    #[inline]
    unsafe fn view<'a>(_py: Python<'a>, object: &'a Object) -> &'a Self {
        // SAFETY: an instance, as the caller promises.
        unsafe { Self::assume(object) }
    }
}

//! The type `Coroutine`: a coroutine without a frame.
//!
//! A [`Plan`] says what it does: how it begins, and how it goes on when what it waits for has ended. Between the two it
//! holds a `ferrio.Future`, or the iterator of another awaitable, or nothing, which stands for a bare `yield`.
//!
//! | phase | `send`, `throw` | `close` | freed |
//! | --- | --- | --- | --- |
//! | `Created` | begins; raises | nothing happens | warns that it was never awaited |
//! | `Suspended` | goes on | goes on with `GeneratorExit` | is closed |
//! | `Running` | `ValueError` | `ValueError` | cannot be |
//! | `Done` | `RuntimeError` | nothing | is freed |
//!
//! # Memory
//! One that nobody refers to any more is kept for the next: the first [`MOST_IDLE`] on an [`IdleList`], as whole objects that
//! have ended; the others, up to [`KEPT`], on a [`FreeList`].

pub(crate) mod function;
mod idle;

use core::ffi::{c_int, c_void};
use core::mem::{offset_of, size_of};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::exceptions::{
    PyBaseException, PyGeneratorExit, PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{ffi, intern};

use crate::ffi::awaitable;
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::errors::made;
use crate::ffi::free_list::FreeList;
use crate::ffi::heap_type::{self, Builder, fast, fast_def, getter, no_arguments, no_arguments_def};
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::ffi::receiver::{self, Core};
use crate::ffi::stop_iteration;
use crate::ffi::trampoline::{self, none};
use crate::task::future;
use idle::IdleList;

/// What a step leads to.
pub(crate) enum Step {
    /// Goes up to the task.
    Yield(Object),
    Return(Object),
}

/// What a coroutine does.
pub(crate) struct Plan {
    /// As in asyncio: `Lock.acquire`.
    pub(crate) qualified_name: &'static str,
    /// The first step.
    pub(crate) start: fn(Python<'_>, &State) -> PyResult<Step>,
    /// The step after what it waited for has ended so.
    pub(crate) resume: fn(Python<'_>, &State, PyResult<Object>) -> PyResult<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Running,
    Suspended,
    Done,
}

/// The state behind an object's head.
pub(crate) struct State {
    plan: Plain<&'static Plan>,
    phase: Plain<Phase>,
    /// The collector or a drop has finalized it.
    is_finalized: Plain<bool>,
    /// How far the plan has come; 0 at first. The plan alone uses it.
    pub(crate) stage: Plain<u8>,
    /// Its place in the list of idle objects.
    idle: idle::Link,
    /// Whose method it is; the delay, later the timer, of `sleep`.
    pub(crate) owner: Slot,
    /// An argument, or what the plan keeps over a wait.
    pub(crate) item: Slot,
    /// The future it waits for.
    pub(crate) future: Slot,
    /// The iterator of that; none for a `ferrio.Future`, which is asked itself.
    iterator: Slot,
    /// CPython's own, through the offset of the type.
    weak_references: Plain<*mut ffi::PyObject>,
}

enum Input {
    Send,
    Throw(PyErr),
    Close,
}

const MOST_IDLE: usize = 64;
const KEPT: usize = 1024;

static IDLE: IdleList = IdleList::new(MOST_IDLE);
static FREED: FreeList = FreeList::new(KEPT);
static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
static OFFSET: AtomicUsize = AtomicUsize::new(0);

impl State {
    #[inline]
    fn place(object: *mut ffi::PyObject) -> *mut Self {
        // SAFETY: an instance has its state at this offset.
        unsafe { object.byte_add(OFFSET.load(Ordering::Relaxed)) }.cast()
    }

    /// # Safety
    /// `object` is a coroutine of this type, and outlives the result.
    #[inline]
    unsafe fn of<'a>(object: *mut ffi::PyObject) -> &'a Self {
        // SAFETY: passed on to the caller; `make` has filled it.
        unsafe { &*Self::place(object) }
    }

    /// The native half of the object whose method it is, for a plan's function.
    #[inline]
    pub(crate) fn receiver<'a, T: Core>(&'a self, py: Python<'a>) -> PyResult<&'a T> {
        // SAFETY: only `end` and plans that keep something else there empty the slot, and a step ends after its plan's
        // function has returned.
        match unsafe { self.owner.peek() } {
            Some(owner) => receiver::core_of(py, owner),
            None => Err(PyRuntimeError::new_err("the coroutine has no object any more")),
        }
    }

    /// Begins to wait for `future`.
    pub(crate) fn wait_for(&self, py: Python<'_>, future: Object) -> PyResult<Step> {
        if future::can_be_yielded(&future) {
            // What its iterator would do.
            future::set_blocking(&future);
            self.future.set(future.clone());
            return Ok(Step::Yield(future));
        }
        let iterator = awaited(py, &future).map_err(|error| made(py, error));
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
            (Ok(_), Input::Send) => {
                let mut result = null_mut();
                let nothing = none(py);
                // SAFETY: a live iterator, `None`, and a place for the result.
                let state = unsafe { ffi::PyIter_Send(iterator.as_ptr(), nothing.as_ptr(), &raw mut result) };
                // SAFETY: a new reference, or null with an exception.
                match (state, unsafe { Object::from_owned(result) }) {
                    (ffi::PySendResult::PYGEN_NEXT, Some(value)) => return Ok(Step::Yield(value)),
                    (ffi::PySendResult::PYGEN_RETURN, Some(value)) => Ok(value),
                    _ => Err(trampoline::fetched(py)),
                }
            }
            (Ok(_), Input::Throw(error)) => {
                match iterator.bind(py).call_method1(intern!(py, "throw"), (made(py, error).into_value(py),)) {
                    Ok(value) => return Ok(Step::Yield(Object::new(value))),
                    Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                        Ok(Object::new(error.value(py).getattr(intern!(py, "value"))?))
                    }
                    Err(error) => Err(error),
                }
            }
            (Ok(_), Input::Close) => {
                if let Some(close) = iterator.bind(py).getattr_opt(intern!(py, "close"))? {
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
        let Some(future) = self.future.get() else { return Ok(none(py)) };
        if future::is_pending(&future) {
            return Err(PyRuntimeError::new_err("await wasn't used with future"));
        }
        future::result(py, &future)
    }

    /// One step.
    #[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
    #[inline(always)]
    fn step(&self, py: Python<'_>, input: Input) -> PyResult<Step> {
        let phase = self.phase.get();
        match (phase, &input) {
            (Phase::Running, _) => return Err(already_executing()),
            (Phase::Done, _) => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
            _ => {}
        }
        self.phase.set(Phase::Running);
        let _stepping = Stepping(self);
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
                Err(not_stopping(py, error))
            }
        }
    }

    /// Lets go of everything.
    #[expect(clippy::inline_always, reason = "a few stores, after every step that is the last")]
    #[inline(always)]
    fn end(&self) {
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

    fn close(&self, py: Python<'_>) -> PyResult<()> {
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
struct Stepping<'a>(&'a State);

impl Drop for Stepping<'_> {
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

/// The iterator of `future.__await__()`.
#[inline]
fn awaited(py: Python<'_>, future: &Object) -> PyResult<Object> {
    // SAFETY: a live object.
    if unsafe { ffi::PyCoro_CheckExact(future.as_ptr()) } != 0 {
        // It is its own iterator, to `await` too: the object that its `__await__` makes only stands for it.
        return Ok(future.clone());
    }
    // SAFETY: the type of a live object.
    let class = unsafe { ffi::Py_TYPE(future.as_ptr()) };
    // SAFETY: a live type.
    let methods = unsafe { (*class).tp_as_async };
    // SAFETY: null or a live table.
    let method = if methods.is_null() { None } else { unsafe { (*methods).am_await } };
    let Some(method) = method else {
        let name = future.bind(py).get_type().name()?;
        return Err(PyTypeError::new_err(format!("object {name} can't be used in 'await' expression")));
    };
    // SAFETY: the slot of the object's own type.
    let iterator = unsafe { method(future.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(iterator) }.ok_or_else(|| PyErr::fetch(py))
}

/// A coroutine does not let a `StopIteration` out.
#[inline]
fn not_stopping(py: Python<'_>, error: PyErr) -> PyErr {
    let error = made(py, error);
    if !error.is_instance_of::<PyStopIteration>(py) {
        return error;
    }
    let outer = made(py, PyRuntimeError::new_err("coroutine raised StopIteration"));
    outer.set_context(py, Some(error.clone_ref(py)));
    outer.set_cause(py, Some(error));
    outer
}

/// Whether `object` is one.
#[inline]
pub(crate) fn is_exact(object: *mut ffi::PyObject) -> bool {
    // SAFETY: callers pass live objects.
    let class = unsafe { ffi::Py_TYPE(object) };
    class == CLASS.load(Ordering::Relaxed)
}

/// Whether `object` is a coroutine of an `async def` function, or one of Ferrio's, and nothing derived.
#[inline]
pub(crate) fn is_coroutine(object: &Object) -> bool {
    is_exact(object.as_ptr()) || awaitable::is_python_coroutine(object)
}

/// A coroutine that has ended, holds nothing, and is nobody's.
#[inline]
fn take_idle() -> Option<Object> {
    // SAFETY: coroutines alone are in the list.
    IDLE.take(|object| unsafe { &raw const (*State::place(object)).idle })
}

/// Makes a coroutine that has not begun.
#[inline]
pub(crate) fn make(py: Python<'_>, plan: &'static Plan, owner: Object, item: Option<Object>) -> PyResult<Object> {
    match take_idle() {
        Some(object) => Ok(begin_again(object, plan, owner, item)),
        None => make_new(py, plan, owner, item),
    }
}

/// [`make`] for a slot: null with an exception.
///
/// # Safety
/// Called by CPython, so by an attached thread.
#[inline]
pub(crate) unsafe fn make_in_slot(
    py: Python<'_>,
    plan: &'static Plan,
    owner: Object,
    item: Option<Object>,
) -> *mut ffi::PyObject {
    match take_idle() {
        Some(object) => begin_again(object, plan, owner, item).into_ptr(),
        // SAFETY: passed on to the caller.
        None => unsafe { trampoline::object(|_| make_new(py, plan, owner, item)) },
    }
}

/// Makes a coroutine that has ended one that has not begun.
#[inline]
fn begin_again(object: Object, plan: &'static Plan, owner: Object, item: Option<Object>) -> Object {
    // SAFETY: a whole coroutine, which has ended and holds nothing.
    let state = unsafe { State::of(object.as_ptr()) };
    state.plan.set(plan);
    state.phase.set(Phase::Created);
    state.stage.set(0);
    state.owner.set(owner);
    if let Some(item) = item {
        state.item.set(item);
    }
    // SAFETY: untracked while it was idle; its state is whole.
    unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
    object
}

/// [`make`], of memory.
#[cold]
fn make_new(py: Python<'_>, plan: &'static Plan, owner: Object, item: Option<Object>) -> PyResult<Object> {
    let class = CLASS.load(Ordering::Relaxed);
    // SAFETY: instances of the type alone are given.
    let memory = unsafe { FREED.take(py, class) };
    let object = match memory {
        Some(object) => object,
        // SAFETY: a ready type without variable-sized part.
        None => unsafe { ffi::PyType_GenericAlloc(class, 0) },
    };
    if object.is_null() {
        drop((owner, item));
        return Err(PyErr::fetch(py));
    }
    let state = State {
        plan: Plain::new(plan),
        phase: Plain::new(Phase::Created),
        is_finalized: Plain::new(false),
        stage: Plain::new(0),
        idle: Plain::new(null_mut()),
        owner: Slot::default(),
        item: Slot::default(),
        future: Slot::default(),
        iterator: Slot::default(),
        weak_references: Plain::new(null_mut()),
    };
    state.owner.set(owner);
    if let Some(item) = item {
        state.item.set(item);
    }
    // SAFETY: memory of the state's size and alignment, not a state yet, or no longer.
    unsafe { State::place(object).write(state) };
    if memory.is_some() {
        // SAFETY: untracked when it was freed; its state is whole.
        unsafe { ffi::PyObject_GC_Track(object.cast()) };
    }
    // SAFETY: a new reference.
    unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))
}

// --- the slots -------------------------------------------------------------------------------------------------------

unsafe extern "C" fn send_slot(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let body = |py: Python<'_>| {
        // SAFETY: the slot belongs to the type.
        let state = unsafe { State::of(object) };
        check_sent(state, value)?;
        state.step(py, Input::Send).map(Some)
    };
    // SAFETY: CPython calls this on an attached thread.
    let (answer, pointer) = match unsafe { trampoline::run(None, body) } {
        Some(Step::Yield(value)) => (ffi::PySendResult::PYGEN_NEXT, value.into_ptr()),
        Some(Step::Return(value)) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
        None => (ffi::PySendResult::PYGEN_ERROR, null_mut()),
    };
    // SAFETY: the caller's place for the result.
    unsafe { *result = pointer };
    answer
}

/// `next()`, and what `await` in a Python coroutine calls.
unsafe extern "C" fn next_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the slot belongs to the type.
    let state = unsafe { State::of(object) };
    let body = |py: Python<'_>| match state.step(py, Input::Send)? {
        Step::Yield(value) => Ok(value.into_ptr()),
        Step::Return(value) => {
            // Null without an exception is the end with `None`.
            if !value.bind(py).is_none() {
                stop_iteration::raise(py, value);
            }
            Ok(null_mut())
        }
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(null_mut(), body) }
}

unsafe extern "C" fn await_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object; the caller gets a reference.
    unsafe { ffi::Py_INCREF(object) };
    object
}

fn check_sent(state: &State, value: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a singleton of the interpreter.
    if state.phase.get() == Phase::Created && value != unsafe { ffi::Py_None() } {
        return Err(PyTypeError::new_err("can't send non-None value to a just-started coroutine"));
    }
    Ok(())
}

/// As a method shows it: a result is the value of a `StopIteration`.
fn shown(py: Python<'_>, step: Step) -> PyResult<Object> {
    match step {
        Step::Yield(value) => Ok(value),
        Step::Return(value) => {
            let value = PyTuple::new(py, [value.into_bound(py)])?;
            Err(PyErr::from_value(py.get_type::<PyStopIteration>().call1(value)?))
        }
    }
}

heap_type::one_argument!(send, |py, object, value| {
    // SAFETY: the method belongs to the type.
    let state = unsafe { State::of(object) };
    check_sent(state, value)?;
    shown(py, state.step(py, Input::Send)?)
});

fast!(throw, |py, object, arguments| {
    let given = arguments.positional_addresses();
    if given.is_empty() || given.len() > 3 || !arguments.has_no_keywords() {
        return Err(PyTypeError::new_err(format!("throw expected 1 to 3 arguments, got {}", given.len())));
    }
    // SAFETY: arguments of the call under way.
    let argument = |index: usize| given.get(index).map(|&value| unsafe { Bound::from_borrowed_ptr(py, value) });
    let error = thrown(py, argument(0), argument(1), argument(2))?;
    // SAFETY: the method belongs to the type.
    let state = unsafe { State::of(object) };
    shown(py, state.step(py, Input::Throw(error))?)
});

/// The exception that `throw(class or exception, value, traceback)` means.
fn thrown<'py>(
    py: Python<'py>,
    first: Option<Bound<'py, PyAny>>,
    value: Option<Bound<'py, PyAny>>,
    traceback: Option<Bound<'py, PyAny>>,
) -> PyResult<PyErr> {
    let first = first.unwrap_or_else(|| py.None().into_bound(py));
    let value = value.filter(|value| !value.is_none());
    let exception = if first.is_instance_of::<PyBaseException>() {
        if value.is_some() {
            return Err(PyTypeError::new_err("instance exception may not have a separate value"));
        }
        first
    } else if first.cast::<PyType>().is_ok_and(|class| class.is_subclass_of::<PyBaseException>().unwrap_or(false)) {
        match value {
            None => first.call0()?,
            Some(value) if value.is_instance(&first)? => value,
            Some(value) => match value.cast::<PyTuple>() {
                Ok(args) => first.call1(args)?,
                Err(_) => first.call1((value,))?,
            },
        }
    } else {
        let name = first.get_type().name()?;
        let text = format!("exceptions must be classes or instances deriving from BaseException, not {name}");
        return Err(PyTypeError::new_err(text));
    };
    if let Some(traceback) = traceback.filter(|traceback| !traceback.is_none()) {
        exception.setattr("__traceback__", traceback)?;
    }
    Ok(PyErr::from_value(exception))
}

no_arguments!(close, |py, object| {
    // SAFETY: the method belongs to the type.
    let state = unsafe { State::of(object) };
    state.close(py).map(|()| none(py))
});

getter!(qualified_name, |py, object| {
    // SAFETY: the getter belongs to the type.
    let name = unsafe { State::of(object) }.plan.get().qualified_name;
    Ok(Object::new(PyString::new(py, name)))
});

getter!(name, |py, object| {
    // SAFETY: the getter belongs to the type.
    let name = unsafe { State::of(object) }.plan.get().qualified_name;
    Ok(Object::new(PyString::new(py, name.rsplit('.').next().unwrap_or(name))))
});

getter!(is_running, |py, object| {
    // SAFETY: the getter belongs to the type.
    let running = unsafe { State::of(object) }.phase.get() == Phase::Running;
    Ok(Object::new(pyo3::types::PyBool::new(py, running).to_owned()))
});

getter!(awaits, |py, object| {
    // SAFETY: the getter belongs to the type.
    let state = unsafe { State::of(object) };
    Ok(state.iterator.get().or_else(|| state.future.get()).unwrap_or_else(|| none(py)))
});

getter!(frame, |py, _object| Ok(none(py)));

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| -> PyResult<Object> {
        // SAFETY: the slot belongs to the type.
        let name = unsafe { State::of(object) }.plan.get().qualified_name;
        let text = format!("<coroutine object {name} at {object:p}>");
        Ok(Object::new(text.into_pyobject(py)?))
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

/// Warns of one that never began; closes one that waits.
unsafe fn finalize(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: the slot belongs to the type.
    let state = unsafe { State::of(object) };
    state.is_finalized.set(true);
    match state.phase.get() {
        Phase::Created => {
            state.phase.set(Phase::Done);
            warn(py, state.plan.get().qualified_name, object)
        }
        Phase::Suspended => state.close(py),
        _ => Ok(()),
    }
}

#[cold]
fn warn(py: Python<'_>, name: &str, object: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a live object.
    let source = unsafe { Bound::from_borrowed_ptr(py, object) };
    let text = format!("coroutine '{name}' was never awaited");
    let arguments = (text, py.get_type::<PyRuntimeWarning>(), 1, source);
    // While the interpreter ends nothing is imported any more, and it warns of none of its own either.
    let Ok(warnings) = py.import("warnings") else { return Ok(()) };
    warnings.getattr("warn")?.call1(arguments).map(drop)
}

unsafe fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: an object that nobody refers to any more.
    let state = unsafe { State::of(object) };
    // SAFETY: as above.
    if state.phase.get() != Phase::Done && unsafe { ffi::PyObject_CallFinalizerFromDealloc(object) } < 0 {
        // Somebody has taken a reference.
        return;
    }
    if !state.weak_references.get().is_null() {
        // SAFETY: a tracked object. The callbacks run Python, and a collection must not meet what nobody refers to.
        unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
        // SAFETY: an object that nobody refers to any more, whole until below.
        unsafe { ffi::PyObject_ClearWeakRefs(object) };
    }
    // SAFETY: CPython frees objects on attached threads.
    let py = unsafe { Python::assume_attached() };
    // A finalized one must not look so to the interpreter when it is used again.
    let is_plain = !state.is_finalized.get();
    // It holds nothing when it has ended.
    if is_plain && state.phase.get() == Phase::Done && IDLE.give(object, &state.idle) {
        return;
    }
    // SAFETY: an object of a collected type; what is not tracked stays so.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // One that never began has been finalized, and still holds what it was given.
    state.end();
    // SAFETY: the type outlives its instances.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: untracked, empty, and nobody's.
    let keeps = is_plain && unsafe { FREED.give(py, object) };
    if !keeps {
        // SAFETY: memory from the type's allocator, untracked.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector visits live instances.
    let state = unsafe { State::of(object) };
    // SAFETY: the type of a live object.
    let class: *mut ffi::PyObject = unsafe { ffi::Py_TYPE(object) }.cast();
    let owned = [&state.owner, &state.item, &state.future, &state.iterator].map(Slot::as_ptr);
    for value in owned.into_iter().chain([class]) {
        if !value.is_null() {
            // SAFETY: `visit` takes live objects that this one owns.
            let stop = unsafe { visit(value, arg) };
            if stop != 0 {
                return stop;
            }
        }
    }
    0
}

unsafe fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: an instance, which the collector has finalized: nobody steps it any more.
    unsafe { State::of(object) }.end();
    0
}

/// Makes the type, and has it count as a coroutine.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = py.get_type::<PyAny>();
    let offset = heap_type::state_offset(&base);
    OFFSET.store(offset, Ordering::Relaxed);
    let place = offset + offset_of!(State, weak_references);
    let members =
        Box::leak(Box::new([heap_type::offset_member(c"__weaklistoffset__", place)?, ffi::PyMemberDef::default()]));
    let doc = c"What a native coroutine function returns: a coroutine by its protocol, without a frame.";
    let mut builder = Builder::new(c"ferrio._ferrio.Coroutine", doc);
    if py.version_info() >= (3, 14, 10) {
        // A call graph passes over a coroutine without a frame; before, it would have tried to show that.
        builder = builder.attribute(c"cr_await", awaits, None).attribute(c"cr_frame", frame, None);
    }
    let class = builder
        .method(heap_type::one_argument_def(c"send", send, c"Run to the next wait."))
        .method(fast_def(c"throw", throw, c"Raise an exception where it waits."))
        .method(no_arguments_def(c"close", close, c"End it with GeneratorExit where it waits."))
        .attribute(c"__qualname__", qualified_name, None)
        .attribute(c"__name__", name, None)
        .attribute(c"cr_running", is_running, None)
        .not_instantiable()
        .slots([
            trampoline::slot!(tp_dealloc, deallocate),
            trampoline::slot!(tp_finalize, finalize),
            trampoline::slot!(tp_traverse, traverse),
            trampoline::slot!(tp_clear, clear),
            // What `__await__()` gives can be iterated by hand.
            (ffi::Py_tp_iter, await_slot as *mut c_void),
            (ffi::Py_tp_iternext, next_slot as *mut c_void),
            (ffi::Py_tp_repr, repr as *mut c_void),
            (ffi::Py_tp_members, members.as_mut_ptr().cast()),
            (ffi::Py_am_await, await_slot as *mut c_void),
            (ffi::Py_am_send, send_slot as *mut c_void),
        ])
        .build(py, &base, size_of::<State>())?;
    py.import("collections.abc")?.getattr("Coroutine")?.call_method1("register", (&class,))?;
    // The type lives as long as the process.
    CLASS.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    module.add("Coroutine", class)
}

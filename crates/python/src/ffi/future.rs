//! Where `_asyncio.Future` and `_asyncio.Task` keep their state.
//!
//! Both are C structs of the interpreter's `_asyncio` module, private and different from version to version. [`check`]
//! compares this file with objects that the module itself has made, when Ferrio is imported; if anything is elsewhere,
//! Ferrio leaves tasks and futures to asyncio, and never misreads one.
//!
//! # Invariants
//! 1. A slot that is not null owns a reference.
//! 2. [`Fields`] is made for instances of asyncio's C types (and of their subclasses) only, and only after [`check`].

#[cfg(Py_3_14)]
use core::ffi::c_void;
use core::ffi::{c_int, c_uint};
use core::marker::PhantomData;
use core::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyType};

use crate::ffi::object::Object;
use crate::handle::slot_at;

type Pointer = *mut ffi::PyObject;

#[cfg(not(Py_3_13))]
#[repr(C)]
struct FutureObject {
    head: ffi::PyObject,
    event_loop: Pointer,
    callback0: Pointer,
    context0: Pointer,
    callbacks: Pointer,
    exception: Pointer,
    exception_traceback: Pointer,
    result: Pointer,
    source_traceback: Pointer,
    cancel_message: Pointer,
    state: c_uint,
    log_traceback: c_int,
    blocking: c_int,
    dict: Pointer,
    weak_references: Pointer,
    cancelled_error: Pointer,
}

#[cfg(not(Py_3_13))]
#[repr(C)]
struct TaskObject {
    future: FutureObject,
    future_waiter: Pointer,
    coroutine: Pointer,
    name: Pointer,
    context: Pointer,
    must_cancel: c_int,
    log_destroy_pending: c_int,
    cancels_requested: c_int,
}

#[cfg(all(Py_3_13, not(Py_3_14)))]
#[repr(C)]
struct FutureObject {
    head: ffi::PyObject,
    event_loop: Pointer,
    callback0: Pointer,
    context0: Pointer,
    callbacks: Pointer,
    exception: Pointer,
    exception_traceback: Pointer,
    result: Pointer,
    source_traceback: Pointer,
    cancel_message: Pointer,
    cancelled_error: Pointer,
    state: c_uint,
    bits: u8,
}

#[cfg(Py_3_14)]
#[repr(C)]
struct FutureObject {
    head: ffi::PyObject,
    event_loop: Pointer,
    callback0: Pointer,
    context0: Pointer,
    callbacks: Pointer,
    exception: Pointer,
    exception_traceback: Pointer,
    result: Pointer,
    source_traceback: Pointer,
    cancel_message: Pointer,
    cancelled_error: Pointer,
    awaited_by: Pointer,
    state: c_uint,
    is_task: u8,
    awaited_by_is_set: u8,
    bits: u8,
}

#[cfg(Py_3_13)]
#[repr(C)]
struct TaskObject {
    future: FutureObject,
    cancels_requested: c_int,
    future_waiter: Pointer,
    coroutine: Pointer,
    name: Pointer,
    context: Pointer,
    #[cfg(Py_3_14)]
    node: [*mut c_void; 2],
}

/// Bytes of a task, and where in it is the link of the list of all tasks.
#[cfg(Py_3_14)]
pub(crate) const TASK_BYTES: usize = size_of::<TaskObject>();
#[cfg(Py_3_14)]
pub(crate) const NODE_OFFSET: usize = offset_of!(TaskObject, node);

/// An object slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Loop,
    Callback0,
    Context0,
    Callbacks,
    Exception,
    ExceptionTraceback,
    Result,
    SourceTraceback,
    CancelMessage,
    CancelledError,
    #[cfg(Py_3_14)]
    AwaitedBy,
    FutureWaiter,
    Coroutine,
    Name,
    Context,
}

impl Slot {
    #[inline]
    const fn offset(self) -> usize {
        match self {
            Self::Loop => offset_of!(FutureObject, event_loop),
            Self::Callback0 => offset_of!(FutureObject, callback0),
            Self::Context0 => offset_of!(FutureObject, context0),
            Self::Callbacks => offset_of!(FutureObject, callbacks),
            Self::Exception => offset_of!(FutureObject, exception),
            Self::ExceptionTraceback => offset_of!(FutureObject, exception_traceback),
            Self::Result => offset_of!(FutureObject, result),
            Self::SourceTraceback => offset_of!(FutureObject, source_traceback),
            Self::CancelMessage => offset_of!(FutureObject, cancel_message),
            Self::CancelledError => offset_of!(FutureObject, cancelled_error),
            #[cfg(Py_3_14)]
            Self::AwaitedBy => offset_of!(FutureObject, awaited_by),
            Self::FutureWaiter => offset_of!(TaskObject, future_waiter),
            Self::Coroutine => offset_of!(TaskObject, coroutine),
            Self::Name => offset_of!(TaskObject, name),
            Self::Context => offset_of!(TaskObject, context),
        }
    }
}

/// A yes-or-no of a future or task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    LogTraceback,
    Blocking,
    MustCancel,
    LogDestroyPending,
}

/// Where a future is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Pending = 0,
    Cancelled = 1,
    Finished = 2,
}

/// The fields of one future or task; see invariant 2.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    object: *mut ffi::PyObject,
    alive: PhantomData<&'a ()>,
}

impl Fields<'_> {
    /// The fields of `object`.
    ///
    /// # Safety
    /// An instance of asyncio's C future (for a task's fields: task) that outlives the result, on an attached thread;
    /// [`check`] has approved the layout.
    #[inline]
    pub(crate) const unsafe fn of(object: *mut ffi::PyObject) -> Self {
        Self { object, alive: PhantomData }
    }

    /// What a slot shows, without a reference; null for nothing.
    #[inline]
    pub(crate) fn peek(self, slot: Slot) -> *mut ffi::PyObject {
        // SAFETY: invariant 2: the object has this slot.
        *unsafe { slot_at(self.object, slot.offset()) }
    }

    /// A reference to what a slot holds.
    #[inline]
    pub(crate) fn get(self, slot: Slot) -> Option<Object> {
        let value = self.peek(slot);
        // SAFETY: invariant 1.
        (!value.is_null()).then(|| unsafe { Object::from_borrowed(value) })
    }

    /// Fills a slot; what it held comes back and is the caller's to drop.
    #[inline]
    #[must_use = "dropping what the slot held may run Python"]
    pub(crate) fn replace(self, slot: Slot, value: Option<Object>) -> Option<Object> {
        let value = value.map_or(core::ptr::null_mut(), Object::into_ptr);
        // SAFETY: invariant 2: the object has this slot.
        let place = unsafe { slot_at(self.object, slot.offset()) };
        let before = core::mem::replace(place, value);
        // SAFETY: invariant 1: the slot owned its reference, and no longer does.
        unsafe { Object::from_owned(before) }
    }

    fn at<T>(self, offset: usize) -> *mut T {
        // SAFETY: callers pass offsets of fields of the object's struct.
        unsafe { self.object.byte_add(offset) }.cast()
    }

    fn raw_state(self) -> c_uint {
        let place: *mut c_uint = self.at(offset_of!(FutureObject, state));
        // SAFETY: a field of the object.
        unsafe { place.read() }
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        match self.raw_state() {
            0 => State::Pending,
            1 => State::Cancelled,
            _ => State::Finished,
        }
    }

    #[inline]
    pub(crate) fn is_pending(self) -> bool {
        self.raw_state() == State::Pending as c_uint
    }

    #[inline]
    pub(crate) fn set_state(self, state: State) {
        let place: *mut c_uint = self.at(offset_of!(FutureObject, state));
        // SAFETY: a field of the object.
        unsafe { place.write(state as c_uint) };
    }

    #[cfg(not(Py_3_13))]
    fn flag_at(self, flag: Flag) -> *mut c_int {
        self.at(match flag {
            Flag::LogTraceback => offset_of!(FutureObject, log_traceback),
            Flag::Blocking => offset_of!(FutureObject, blocking),
            Flag::MustCancel => offset_of!(TaskObject, must_cancel),
            Flag::LogDestroyPending => offset_of!(TaskObject, log_destroy_pending),
        })
    }

    #[cfg(not(Py_3_13))]
    #[inline]
    pub(crate) fn flag(self, flag: Flag) -> bool {
        // SAFETY: a field of the object.
        (unsafe { self.flag_at(flag).read() }) != 0
    }

    #[cfg(not(Py_3_13))]
    #[inline]
    pub(crate) fn set_flag(self, flag: Flag, value: bool) {
        // SAFETY: a field of the object.
        unsafe { self.flag_at(flag).write(c_int::from(value)) };
    }

    #[cfg(Py_3_13)]
    const fn bit(flag: Flag) -> u8 {
        match flag {
            Flag::LogTraceback => 1,
            Flag::Blocking => 2,
            Flag::MustCancel => 4,
            Flag::LogDestroyPending => 8,
        }
    }

    #[cfg(Py_3_13)]
    fn bits(self) -> *mut u8 {
        self.at(offset_of!(FutureObject, bits))
    }

    #[cfg(Py_3_13)]
    #[inline]
    pub(crate) fn flag(self, flag: Flag) -> bool {
        // SAFETY: a field of the object.
        (unsafe { self.bits().read() }) & Self::bit(flag) != 0
    }

    #[cfg(Py_3_13)]
    #[inline]
    pub(crate) fn set_flag(self, flag: Flag, value: bool) {
        // SAFETY: a field of the object.
        let bits = unsafe { self.bits().read() };
        let bits = if value { bits | Self::bit(flag) } else { bits & !Self::bit(flag) };
        // SAFETY: a field of the object.
        unsafe { self.bits().write(bits) };
    }

    /// Forgets the requests to cancel, as a task that is made anew does.
    pub(crate) fn reset_cancels(self) {
        let place: *mut c_int = self.at(offset_of!(TaskObject, cancels_requested));
        // SAFETY: a field of the object.
        unsafe { place.write(0) };
    }

    /// Makes the fields those of a new future or task; the slots are empty already.
    #[cfg(Py_3_14)]
    #[inline]
    pub(crate) fn reset(self, is_task: bool) {
        self.set_state(State::Pending);
        // SAFETY: a field of the object.
        unsafe { self.bits().write(0) };
        if is_task {
            self.reset_cancels();
        }
    }

    pub(crate) fn cancels(self) -> c_int {
        let place: *mut c_int = self.at(offset_of!(TaskObject, cancels_requested));
        // SAFETY: a field of the object.
        unsafe { place.read() }
    }

    /// Notes that this is a task, for tools that read the process from outside.
    #[cfg(Py_3_14)]
    pub(crate) fn mark_as_task(self) {
        let place: *mut u8 = self.at(offset_of!(FutureObject, is_task));
        // SAFETY: a field of the object.
        unsafe { place.write(1) };
    }

    #[cfg(not(Py_3_14))]
    #[expect(clippy::unused_self, reason = "the mark came with 3.14")]
    pub(crate) fn mark_as_task(self) {}

    #[cfg(Py_3_14)]
    pub(crate) fn awaited_by_is_set(self) -> bool {
        let place: *mut u8 = self.at(offset_of!(FutureObject, awaited_by_is_set));
        // SAFETY: a field of the object.
        (unsafe { place.read() }) != 0
    }

    #[cfg(Py_3_14)]
    pub(crate) fn set_awaited_by_is_set(self) {
        let place: *mut u8 = self.at(offset_of!(FutureObject, awaited_by_is_set));
        // SAFETY: a field of the object.
        unsafe { place.write(1) };
    }
}

/// What differs between releases of one version.
pub(crate) struct Habits {
    /// A generated name is kept as its number until somebody asks for the name.
    pub(crate) keeps_numbers_for_names: bool,
    /// A task's context has to be a `contextvars.Context`.
    pub(crate) refuses_other_contexts: bool,
}

/// Compares this file with futures and tasks that asyncio has made.
///
/// # Errors
/// `ImportError` that names what is elsewhere; any other error means that the types do not behave as known.
pub(crate) fn check(py: Python<'_>, future: &Bound<'_, PyType>, task: &Bound<'_, PyType>) -> PyResult<Habits> {
    let size = |class: &Bound<'_, PyType>| class.getattr("__basicsize__")?.extract::<usize>();
    demand("size of Future", size(future)? == size_of::<FutureObject>())?;
    demand("size of Task", size(task)? == size_of::<TaskObject>())?;
    let names = PyDict::new(py);
    names.set_item("Future", future)?;
    names.set_item("Task", task)?;
    py.run(SAMPLES, Some(&names), None)?;
    let samples = Samples(names);
    let found = samples.check_futures().and_then(|()| samples.check_tasks()).and_then(|()| samples.habits());
    // The samples are in a cycle, and the tasks would stay in `all_tasks()` until that is collected.
    samples.0.clear();
    found
}

fn demand(what: &str, holds: bool) -> PyResult<()> {
    if holds {
        return Ok(());
    }
    Err(pyo3::exceptions::PyImportError::new_err(format!("this interpreter keeps {what} elsewhere than Ferrio knows")))
}

/// Makes one object for each thing that can be seen in the fields.
const SAMPLES: &core::ffi::CStr = cr"
import contextvars

class Loop:
    def __init__(self, debug): self.debug = debug
    def get_debug(self): return self.debug
    def call_soon(self, *args, context=None): pass
    def call_exception_handler(self, context): pass

async def coroutine(): pass

loop = Loop(False)
context = contextvars.copy_context()
callback, value, message = object(), object(), object()
error = ValueError()
try:
    raise error
except ValueError:
    traceback = error.__traceback__

fresh = Future(loop=loop)
traced = Future(loop=Loop(True))
waited = Future(loop=loop)
waited.add_done_callback(callback, context=context)
waited.add_done_callback(callback, context=context)
blocking = Future(loop=loop)
blocking._asyncio_future_blocking = True
done = Future(loop=loop)
done.set_result(value)
failed = Future(loop=loop)
failed.set_exception(error)
cancelled = Future(loop=loop)
cancelled.cancel(message)

name = 'name of a task'
body, other = coroutine(), coroutine()
task = Task(body, loop=loop, name=name, context=context)
doomed = Task(other, loop=loop, name=name, context=context)
doomed.cancel(message)
for each in (task, doomed):
    each._log_destroy_pending = False
logging = Task(other, loop=loop, name=name)
try:
    Task(other, loop=loop, name=name, context=value)._log_destroy_pending = False
    refused = False
except TypeError:
    refused = True
body.close()
other.close()
";

/// The names that [`SAMPLES`] leaves behind.
struct Samples<'py>(Bound<'py, PyDict>);

impl<'py> Samples<'py> {
    fn get(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.0.as_any().get_item(name)
    }

    fn fields(&self, name: &str) -> PyResult<Fields<'_>> {
        // SAFETY: the samples are asyncio's futures and tasks, kept by the dictionary. The layout is what is being
        // checked: the objects are as large as the structs, so every read below is within them.
        Ok(unsafe { Fields::of(self.get(name)?.as_ptr()) })
    }

    /// That `slot` of the object `owner` shows the object `value`.
    fn shows(&self, owner: &str, slot: Slot, value: &str) -> PyResult<()> {
        demand(&format!("{value} of {owner}"), self.fields(owner)?.peek(slot) == self.get(value)?.as_ptr())
    }

    fn check_futures(&self) -> PyResult<()> {
        let fresh = self.fields("fresh")?;
        let empty = [Slot::Callback0, Slot::Context0, Slot::Callbacks, Slot::Exception, Slot::ExceptionTraceback];
        let empty = empty.into_iter().chain([Slot::Result, Slot::SourceTraceback, Slot::CancelMessage]);
        for slot in empty.chain([Slot::CancelledError]) {
            demand("an empty slot", fresh.peek(slot).is_null())?;
        }
        demand("state", fresh.raw_state() == State::Pending as c_uint)?;
        demand("blocking", !fresh.flag(Flag::Blocking))?;
        self.shows("fresh", Slot::Loop, "loop")?;
        let trace = self.get("traced")?.getattr("_source_traceback")?;
        demand("source_traceback", self.fields("traced")?.peek(Slot::SourceTraceback) == trace.as_ptr())?;
        self.shows("waited", Slot::Callback0, "callback")?;
        self.shows("waited", Slot::Context0, "context")?;
        let list = self.fields("waited")?.peek(Slot::Callbacks);
        let callbacks = self.get("waited")?.getattr("_callbacks")?.cast_into::<PyList>()?;
        demand("callbacks", !list.is_null() && callbacks.len() == 2)?;
        demand("blocking", self.fields("blocking")?.flag(Flag::Blocking))?;
        self.fields("blocking")?.set_flag(Flag::Blocking, false);
        demand("blocking", !self.get("blocking")?.getattr("_asyncio_future_blocking")?.is_truthy()?)?;
        self.shows("done", Slot::Result, "value")?;
        demand("state", self.fields("done")?.raw_state() == State::Finished as c_uint)?;
        self.shows("failed", Slot::Exception, "error")?;
        self.shows("failed", Slot::ExceptionTraceback, "traceback")?;
        demand("log_traceback", self.fields("failed")?.flag(Flag::LogTraceback))?;
        self.fields("failed")?.set_flag(Flag::LogTraceback, false);
        demand("log_traceback", !self.get("failed")?.getattr("_log_traceback")?.is_truthy()?)?;
        self.shows("cancelled", Slot::CancelMessage, "message")?;
        demand("state", self.fields("cancelled")?.raw_state() == State::Cancelled as c_uint)?;
        // The error is taken out of its slot by the method, with the reference that is put in here.
        let error = Object::new(self.get("error")?);
        drop(self.fields("cancelled")?.replace(Slot::CancelledError, Some(error)));
        let made = self.get("cancelled")?.call_method0("_make_cancelled_error")?;
        let left = self.fields("cancelled")?.replace(Slot::CancelledError, None);
        demand("cancelled_exc", left.is_none() && made.is(&self.get("error")?))
    }

    fn check_tasks(&self) -> PyResult<()> {
        self.shows("task", Slot::Loop, "loop")?;
        self.shows("task", Slot::Coroutine, "body")?;
        self.shows("task", Slot::Name, "name")?;
        self.shows("task", Slot::Context, "context")?;
        demand("fut_waiter", self.fields("task")?.peek(Slot::FutureWaiter).is_null())?;
        drop(self.fields("task")?.replace(Slot::FutureWaiter, Some(Object::new(self.get("value")?))));
        let shown = self.get("task")?.getattr("_fut_waiter")?;
        drop(self.fields("task")?.replace(Slot::FutureWaiter, None));
        demand("fut_waiter", shown.is(&self.get("value")?))?;
        demand("must_cancel", self.fields("doomed")?.flag(Flag::MustCancel))?;
        demand("must_cancel", !self.fields("task")?.flag(Flag::MustCancel))?;
        demand("num_cancels_requested", self.fields("doomed")?.cancels() == 1)?;
        self.shows("doomed", Slot::CancelMessage, "message")?;
        demand("log_destroy_pending", !self.fields("task")?.flag(Flag::LogDestroyPending))?;
        demand("log_destroy_pending", self.fields("logging")?.flag(Flag::LogDestroyPending))?;
        self.fields("logging")?.set_flag(Flag::LogDestroyPending, false);
        demand("log_destroy_pending", !self.get("logging")?.getattr("_log_destroy_pending")?.is_truthy()?)?;
        #[cfg(Py_3_14)]
        self.check_awaited_by()?;
        Ok(())
    }

    fn habits(&self) -> PyResult<Habits> {
        // A number in the place of a name reads as a name, or as what it is.
        let number = Object::new(0_i32.into_pyobject(self.0.py())?);
        let name = self.fields("task")?.replace(Slot::Name, Some(number));
        let shown = self.get("task")?.call_method0("get_name")?;
        drop(self.fields("task")?.replace(Slot::Name, name));
        Ok(Habits {
            keeps_numbers_for_names: shown.is_exact_instance_of::<PyString>(),
            refuses_other_contexts: self.get("refused")?.is_truthy()?,
        })
    }

    #[cfg(Py_3_14)]
    fn check_awaited_by(&self) -> PyResult<()> {
        let add = self.0.py().import("asyncio")?.getattr("future_add_to_awaited_by")?;
        let is_task = |name: &str| -> PyResult<u8> {
            let place: *mut u8 = self.fields(name)?.at(offset_of!(FutureObject, is_task));
            // SAFETY: a byte within the object.
            Ok(unsafe { place.read() })
        };
        demand("is_task", is_task("task")? == 1 && is_task("fresh")? == 0)?;
        let fresh = self.get("fresh")?;
        add.call1((&fresh, self.get("task")?))?;
        self.shows("fresh", Slot::AwaitedBy, "task")?;
        demand("awaited_by_is_set", !self.fields("fresh")?.awaited_by_is_set())?;
        add.call1((&fresh, self.get("doomed")?))?;
        demand("awaited_by_is_set", self.fields("fresh")?.awaited_by_is_set())
    }
}

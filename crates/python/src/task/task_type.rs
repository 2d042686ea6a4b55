//! `ferrio.Task`: the type, and making one.

use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

#[cfg(Py_3_14)]
use super::memory;
#[cfg(Py_3_12)]
use super::step;
use super::{asyncio, future, scheduling};
use crate::core::LoopCore;
use crate::ffi::arguments::Arguments;
use crate::ffi::future::{Fields, Flag, Habits, Slot};
use crate::ffi::heap_type;
use crate::ffi::object::Object;
use crate::ffi::source_traceback;
use crate::ffi::trampoline;
use crate::handle::context;

static TASK: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
#[cfg(Py_3_14)]
static BASE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// Whether the interpreter's tasks keep the number of a generated name, and make the text when somebody asks for it.
static NUMBERS_FOR_NAMES: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter's tasks refuse a context that is no `contextvars.Context`.
static REFUSES_OTHER_CONTEXTS: AtomicBool = AtomicBool::new(false);

/// Number of the last generated name.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Whether `object` is a `ferrio.Task` and nothing derived.
#[inline]
pub(crate) fn is_exact(object: *mut ffi::PyObject) -> bool {
    // SAFETY: callers pass live objects.
    let class = unsafe { ffi::Py_TYPE(object) };
    class == TASK.load(Ordering::Relaxed)
}

/// Whether `object` has the fields of asyncio's C task: it or anything derived from it.
#[cfg(Py_3_14)]
#[inline]
pub(super) fn is_native(object: *mut ffi::PyObject) -> bool {
    if future::is_exact(object) {
        return false;
    }
    // SAFETY: a live object and a type.
    is_exact(object) || unsafe { ffi::PyObject_TypeCheck(object, BASE.load(Ordering::Relaxed)) != 0 }
}

/// What a task is made of; `None` stands for what the program did not give.
#[derive(Clone, Copy, Default)]
struct Given {
    name: Option<*mut ffi::PyObject>,
    context: Option<*mut ffi::PyObject>,
    eager: bool,
}

/// `loop.create_task(coro, *, name, context, eager_start)` without a task factory. `None`: the arguments are unusual, and
/// asyncio's own `create_task` has the words for that.
#[inline]
pub(crate) fn create_task(
    py: Python<'_>,
    core: &LoopCore,
    event_loop: *mut ffi::PyObject,
    arguments: Arguments<'_>,
) -> PyResult<Option<Object>> {
    let &[coroutine] = arguments.positional_addresses() else { return Ok(None) };
    let mut given = Given::default();
    for (name, value) in arguments.keywords(py) {
        // SAFETY: an argument of the call, and a singleton.
        let value = (value != unsafe { ffi::Py_None() }).then_some(value);
        let name = name.cast::<PyString>()?.to_str()?;
        match name {
            "name" => given.name = value,
            "context" => given.context = value,
            "eager_start" if core.starts_eagerly() => {
                // SAFETY: an argument of the call.
                given.eager =
                    value.map_or(Ok(false), |value| unsafe { Bound::from_borrowed_ptr(py, value) }.is_truthy())?;
            }
            _ => return Ok(None),
        }
    }
    let task = allocate(py)?;
    // SAFETY: a new instance of the type: pending, with empty slots.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    // SAFETY: the loop whose method is running.
    drop(fields.replace(Slot::Loop, Some(unsafe { Object::from_borrowed(event_loop) })));
    if core.is_debug() {
        drop(fields.replace(Slot::SourceTraceback, Some(source_traceback::of_future(py)?)));
    }
    fill(py, &task, fields, coroutine, given)?;
    Ok(Some(task))
}

/// A task of the coroutine `coroutine`, as `loop.create_task` makes it.
#[inline]
pub(crate) fn spawn(py: Python<'_>, core: &LoopCore, event_loop: &Object, coroutine: &Object) -> PyResult<Object> {
    let coroutine = [coroutine.as_ptr()];
    // SAFETY: one positional argument, which the caller keeps.
    let arguments = unsafe { Arguments::new(coroutine.as_ptr(), 1, null_mut()) };
    create_task(py, core, event_loop.as_ptr(), arguments)?
        .ok_or_else(|| PyTypeError::new_err("a coroutine was expected"))
}

/// `task._log_destroy_pending = False`
pub(crate) fn forget_when_pending(task: &Object) {
    if is_exact(task.as_ptr()) {
        // SAFETY: a task of ours.
        unsafe { Fields::of(task.as_ptr()) }.set_flag(Flag::LogDestroyPending, false);
    }
}

/// Whether `object` is a future or task of ours, of the loop at `event_loop`.
#[inline]
pub(crate) fn is_of_loop(object: *mut ffi::PyObject, event_loop: *mut ffi::PyObject) -> bool {
    // SAFETY: a future or task of ours.
    future::is_ours(object) && unsafe { Fields::of(object) }.peek(Slot::Loop) == event_loop
}

/// Whether the task has the fields of asyncio's C task.
#[cfg(Py_3_14)]
pub(crate) fn is_task(object: *mut ffi::PyObject) -> bool {
    is_native(object)
}

#[cfg(not(Py_3_14))]
pub(crate) fn is_task(_object: *mut ffi::PyObject) -> bool {
    true
}

/// The task of `event_loop` that runs now, from 3.14 on, for the call graph.
#[cfg(Py_3_14)]
pub(crate) fn current_task(py: Python<'_>, event_loop: &Object) -> PyResult<Option<Object>> {
    asyncio::get(py).running(py, event_loop)
}

#[cfg(not(Py_3_14))]
#[expect(clippy::unnecessary_wraps, reason = "the call graph came with 3.14")]
pub(crate) fn current_task(_py: Python<'_>, _event_loop: &Object) -> PyResult<Option<Object>> {
    Ok(None)
}

#[cfg(Py_3_14)]
#[inline]
fn allocate(py: Python<'_>) -> PyResult<Object> {
    memory::allocate(py, memory::Kind::Task)
}

#[cfg(not(Py_3_14))]
fn allocate(py: Python<'_>) -> PyResult<Object> {
    // SAFETY: a ready type without variable-sized part.
    let object = unsafe { ffi::PyType_GenericAlloc(TASK.load(Ordering::Relaxed), 0) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))
}

/// Completes a task whose future part has been made, and starts it.
#[inline]
fn fill(
    py: Python<'_>,
    task: &Object,
    fields: Fields<'_>,
    coroutine: *mut ffi::PyObject,
    given: Given,
) -> PyResult<()> {
    let asyncio = asyncio::get(py);
    fields.mark_as_task();
    if !asyncio.is_coroutine(py, coroutine)? {
        fields.set_flag(Flag::LogDestroyPending, false);
        // SAFETY: an argument of the call under way.
        let coroutine = unsafe { Bound::from_borrowed_ptr(py, coroutine) };
        return Err(PyTypeError::new_err(format!("a coroutine was expected, got {}", coroutine.repr()?)));
    }
    let context = match given.context {
        None => context::copy_current(py)?,
        Some(context) if REFUSES_OTHER_CONTEXTS.load(Ordering::Relaxed) && !context::is_context(context) => {
            fields.set_flag(Flag::LogDestroyPending, false);
            // SAFETY: an argument of the call under way.
            let context = unsafe { Bound::from_borrowed_ptr(py, context) };
            let kind = context.get_type().name()?;
            return Err(PyTypeError::new_err(format!("a contextvars.Context was expected, got {kind}")));
        }
        // SAFETY: an argument of the call under way.
        Some(context) => unsafe { Object::from_borrowed(context) },
    };
    drop(fields.replace(Slot::Context, Some(context)));
    // SAFETY: an argument of the call under way.
    drop(fields.replace(Slot::Coroutine, Some(unsafe { Object::from_borrowed(coroutine) })));
    drop(fields.replace(Slot::Name, Some(name_of(py, given.name)?)));
    fields.set_flag(Flag::LogDestroyPending, true);
    #[cfg(Py_3_12)]
    if given.eager && is_running(py, fields)? {
        return start_eagerly(py, asyncio, task, fields);
    }
    scheduling::first_step(py, task)?;
    asyncio.register(py, task.as_ptr())
}

fn name_of(py: Python<'_>, given: Option<*mut ffi::PyObject>) -> PyResult<Object> {
    let Some(given) = given else {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        return if NUMBERS_FOR_NAMES.load(Ordering::Relaxed) {
            Ok(Object::new(number.into_pyobject(py)?))
        } else {
            Ok(Object::new(PyString::new(py, &format!("Task-{number}"))))
        };
    };
    // SAFETY: an argument of the call under way.
    let given = unsafe { Bound::from_borrowed_ptr(py, given) };
    if given.is_exact_instance_of::<PyString>() {
        return Ok(Object::new(given));
    }
    Ok(Object::new(given.str()?))
}

#[cfg(Py_3_12)]
fn is_running(py: Python<'_>, fields: Fields<'_>) -> PyResult<bool> {
    let Some(event_loop) = fields.get(Slot::Loop) else { return Ok(false) };
    match LoopCore::find(py, event_loop.as_ptr()) {
        Some(core) => Ok(core.is_running()),
        None => event_loop.bind(py).call_method0("is_running")?.is_truthy(),
    }
}

/// A task in its first, eager step, which is the running one. It is left in any case: when a panic passes, by the drop.
#[cfg(Py_3_12)]
struct Eager<'a> {
    py: Python<'a>,
    asyncio: &'a asyncio::Asyncio,
    event_loop: &'a Object,
    #[cfg_attr(Py_3_14, expect(dead_code, reason = "left by its name before 3.14 only"))]
    task: &'a Object,
    /// The task that ran before, or Python's `None`; taken when it runs again.
    around: Option<Object>,
}

#[cfg(Py_3_12)]
impl Eager<'_> {
    fn leave(mut self) -> PyResult<()> {
        self.swap_back()
    }

    /// Nothing the second time.
    fn swap_back(&mut self) -> PyResult<()> {
        let Some(around) = self.around.take() else { return Ok(()) };
        let swapped = self.asyncio.swap(self.py, self.event_loop, around.as_ptr()).map(drop);
        #[cfg(not(Py_3_14))]
        let swapped = swapped.and(self.asyncio.unregister_eager(self.py, self.task.as_ptr()));
        swapped
    }
}

#[cfg(Py_3_12)]
impl Drop for Eager<'_> {
    fn drop(&mut self) {
        drop(self.swap_back());
    }
}

/// Runs the first step of a new task at once, as a part of the task that runs now.
#[cfg(Py_3_12)]
fn start_eagerly(py: Python<'_>, asyncio: &asyncio::Asyncio, task: &Object, fields: Fields<'_>) -> PyResult<()> {
    let (Some(event_loop), Some(context)) = (fields.get(Slot::Loop), fields.get(Slot::Context)) else { return Ok(()) };
    if !context::is_context(context.as_ptr()) {
        return Err(PyTypeError::new_err("an instance of Context was expected"));
    }
    let around = asyncio.swap(py, &event_loop, task.as_ptr())?;
    let eager = Eager { py, asyncio, event_loop: &event_loop, task, around: Some(around) };
    let started = asyncio
        .register_eager(py, task.as_ptr())
        .and_then(|()| context::run_in(py, &context, || step::advance(py, asyncio, task, None)));
    started.and(eager.leave())?;
    if fields.is_pending() {
        #[cfg(not(Py_3_14))]
        asyncio.register(py, task.as_ptr())?;
    } else {
        drop(fields.replace(Slot::Coroutine, None));
    }
    Ok(())
}

/// Parameters of `Task()` behind the coroutine; `eager_start` came with 3.12.
#[cfg(Py_3_12)]
const PARAMETERS: [&str; 4] = ["loop", "name", "context", "eager_start"];
#[cfg(not(Py_3_12))]
const PARAMETERS: [&str; 3] = ["loop", "name", "context"];

/// `Task.__init__(self, coro, *, loop=None, name=None, context=None, eager_start=False)`.
unsafe extern "C" fn init(object: *mut ffi::PyObject, args: *mut ffi::PyObject, keywords: *mut ffi::PyObject) -> c_int {
    let body = |py: Python<'_>| -> PyResult<c_int> {
        // SAFETY: the object of the call.
        let task = unsafe { Object::from_borrowed(object) };
        // SAFETY: CPython passes a tuple.
        let args = unsafe { Bound::from_borrowed_ptr(py, args) }.cast_into::<PyTuple>()?;
        // SAFETY: CPython passes a dictionary, or null for none.
        let keywords = unsafe { Bound::from_borrowed_ptr_or_opt(py, keywords) };
        let keywords = keywords.map(Bound::cast_into::<PyDict>).transpose()?;
        initialize(py, &task, &args, keywords.as_ref()).map(|()| 0)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(-1, body) }
}

fn initialize(
    py: Python<'_>,
    task: &Object,
    args: &Bound<'_, PyTuple>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    if args.len() > 1 {
        let given = args.len();
        return Err(PyTypeError::new_err(format!("Task() takes at most 1 positional argument ({given} given)")));
    }
    let mut coroutine = args.iter().next();
    let mut values: [Option<Bound<'_, PyAny>>; PARAMETERS.len()] = Default::default();
    for (name, value) in keywords.into_iter().flat_map(PyDictMethods::iter) {
        let name = name.extract::<String>()?;
        if name == "coro" && coroutine.is_none() {
            coroutine = Some(value);
        } else if let Some(index) = PARAMETERS.iter().position(|&known| known == name) {
            values[index] = Some(value).filter(|value| !value.is_none());
        } else if name == "coro" {
            let text = "argument for Task() given by name ('coro') and position (1)";
            return Err(PyTypeError::new_err(text));
        } else {
            return Err(PyTypeError::new_err(format!("Task() got an unexpected keyword argument '{name}'")));
        }
    }
    let Some(coroutine) = coroutine else {
        return Err(PyTypeError::new_err("Task() missing required argument 'coro' (pos 1)"));
    };
    let asyncio = asyncio::get(py);
    if let Some(fields) = future::fields_of(task) {
        // Called again, it may fail when it has let go of the loop, which the finalizer of such a task would ask.
        fields.set_flag(Flag::LogDestroyPending, false);
    }
    let of_future = PyDict::new(py);
    of_future.set_item("loop", values[0].as_ref())?;
    asyncio.future_init.bind(py).call((task.bind(py),), Some(&of_future))?;
    // SAFETY: an instance of the type or of one derived from it.
    let fields = unsafe { Fields::of(task.as_ptr()) };
    fields.set_flag(Flag::MustCancel, false);
    fields.reset_cancels();
    drop(fields.replace(Slot::FutureWaiter, None));
    let given = Given {
        name: values[1].as_ref().map(Bound::as_ptr),
        context: values[2].as_ref().map(Bound::as_ptr),
        eager: values.get(3).and_then(Option::as_ref).map_or(Ok(false), PyAnyMethods::is_truthy)?,
    };
    fill(py, task, fields, coroutine.as_ptr(), given)
}

/// Makes the type over asyncio's; its tasks are instances of `ferrio.Future` too.
pub(super) fn make_type<'py>(
    py: Python<'py>,
    base: &Bound<'py, PyType>,
    future: &Bound<'py, PyType>,
) -> PyResult<Bound<'py, PyType>> {
    #[cfg(Py_3_14)]
    BASE.store(base.clone().into_ptr().cast(), Ordering::Relaxed);
    let builder = heap_type::Builder::new(
        c"ferrio.Task",
        c"Task(coro, *, loop=None, name=None, context=None, eager_start=False)\n--\n\n\
          A coroutine that a Ferrio loop runs; see asyncio.Task.",
    )
    .attribute(c"_callbacks", future::CALLBACKS_GETTER, None)
    .slots([(ffi::Py_tp_init, init as *mut core::ffi::c_void)])
    .collected_as_base()
    .subclassable();
    #[cfg(Py_3_14)]
    let builder = if memory::is_used() {
        builder.slots([trampoline::slot!(tp_dealloc, memory::deallocate_task)])
    } else {
        builder
    };
    let class = builder.build_over(py, base, core::slice::from_ref(future), 0)?;
    #[cfg(Py_3_14)]
    memory::keep(memory::Kind::Task, &class);
    TASK.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    Ok(class)
}

/// Does as the interpreter's own tasks do.
pub(super) fn adopt(habits: &Habits) {
    NUMBERS_FOR_NAMES.store(habits.keeps_numbers_for_names, Ordering::Relaxed);
    REFUSES_OTHER_CONTEXTS.store(habits.refuses_other_contexts, Ordering::Relaxed);
}

//! `ferrio.Task`: the type, and making one.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::{asyncio, future, future_iterator, scheduling, step};
use crate::core::LoopCore;
use crate::ffi::arguments::Arguments;
use crate::ffi::class::{Builder, Instance};
use crate::ffi::context::Context;
use crate::ffi::future::check::{Approved, Habits};
use crate::ffi::future::{Future, Task};
use crate::ffi::method::Attribute;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::source_traceback;

/// Whether the interpreter's tasks keep the number of a generated name, and make the text when somebody asks for it.
static NUMBERS_FOR_NAMES: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter's tasks refuse a context that is no `contextvars.Context`.
static REFUSES_OTHER_CONTEXTS: AtomicBool = AtomicBool::new(false);

/// Number of the last generated name.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Whether `object` is a `ferrio.Task` and nothing derived.
#[inline]
pub(crate) fn is_exact(object: &Object) -> bool {
    Task::exact(object).is_some()
}

/// What a task is made of; `None` stands for what the program did not give.
#[derive(Clone, Copy, Default)]
struct Given<'a> {
    name: Option<&'a Object>,
    context: Option<&'a Object>,
    eager: bool,
}

/// `loop.create_task(coro, *, name, context, eager_start)` without a task factory. `None`: the arguments are unusual, and
/// asyncio's own `create_task` has the words for that.
#[inline]
pub(crate) fn create_task(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    arguments: Arguments<'_>,
) -> PyResult<Option<Object>> {
    let [coroutine] = arguments.positional() else { return Ok(None) };
    let mut given = Given::default();
    for (name, value) in arguments.named(py) {
        let value = (!value.is_none()).then_some(value);
        match name.cast::<PyString>()?.to_str()? {
            "name" => given.name = value,
            "context" => given.context = value,
            "eager_start" if event_loop.starts_eagerly() => {
                given.eager = value.map_or(Ok(false), |value| value.bind(py).is_truthy())?;
            }
            _ => return Ok(None),
        }
    }
    make(py, event_loop, event_loop.object(), coroutine, given).map(Some)
}

/// A task of the coroutine `coroutine`, as `loop.create_task` makes it.
#[inline]
pub(crate) fn spawn(py: Python<'_>, core: &LoopCore, event_loop: &Object, coroutine: &Object) -> PyResult<Object> {
    make(py, core, event_loop, coroutine, Given::default())
}

#[inline]
fn make(
    py: Python<'_>,
    core: &LoopCore,
    event_loop: &Object,
    coroutine: &Object,
    given: Given<'_>,
) -> PyResult<Object> {
    let task = Task::create(py)?;
    task.event_loop.set(event_loop.clone());
    if core.is_debug() {
        task.source_traceback.set(source_traceback::of_future(py)?);
    }
    fill(py, &task, coroutine, given)?;
    Ok(task.into_object())
}

/// Suppresses "Task was destroyed but it is pending" for a task of ours.
pub(crate) fn suppress_destroy_warning(task: &Object) {
    if let Some(task) = Task::exact(task) {
        task.log_destroy_pending().set(false);
    }
}

/// Whether `object` is a future or task of ours, of the loop `event_loop`.
#[inline]
pub(crate) fn is_of_loop(object: &Object, event_loop: &Object) -> bool {
    Future::ours(object).is_some_and(|future| future.event_loop.is(event_loop))
}

/// Whether a task that runs can stand in the call graph: asyncio's C type and what is derived from it can.
pub(crate) fn is_task(object: &Object) -> bool {
    !asyncio::HAS_CALL_GRAPH || Task::of(object).is_some()
}

/// The task of `event_loop` that runs now, from 3.14 on, for the call graph.
pub(crate) fn current_task(py: Python<'_>, event_loop: &Object) -> PyResult<Option<Object>> {
    if asyncio::HAS_CALL_GRAPH { asyncio::running_task(py, event_loop) } else { Ok(None) }
}

/// Completes a task whose future part has been made, and starts it.
#[inline]
fn fill(py: Python<'_>, task: &Task, coroutine: &Object, given: Given<'_>) -> PyResult<()> {
    task.mark_as_task();
    if !asyncio::is_coroutine(py, coroutine)? {
        task.log_destroy_pending().set(false);
        return Err(PyTypeError::new_err(format!("a coroutine was expected, got {}", coroutine.bind(py).repr()?)));
    }
    let context = match given.context {
        None => Context::copy_current(py)?.into_object(),
        Some(context) if REFUSES_OTHER_CONTEXTS.load(Ordering::Relaxed) && Context::of(context).is_none() => {
            task.log_destroy_pending().set(false);
            let kind = context.bind(py).get_type().name()?;
            return Err(PyTypeError::new_err(format!("a contextvars.Context was expected, got {kind}")));
        }
        Some(context) => context.clone(),
    };
    task.context().set(context);
    task.coroutine().set(coroutine.clone());
    task.name().set(name_of(py, given.name)?);
    task.log_destroy_pending().set(true);
    if given.eager && is_running(py, task)? {
        return start_eagerly(py, task);
    }
    scheduling::first_step(py, task)?;
    asyncio::register(py, task)
}

fn name_of(py: Python<'_>, given: Option<&Object>) -> PyResult<Object> {
    let Some(given) = given else {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        return if NUMBERS_FOR_NAMES.load(Ordering::Relaxed) {
            Ok(Object::new(number.into_pyobject(py)?))
        } else {
            Ok(Object::new(PyString::new(py, &format!("Task-{number}"))))
        };
    };
    if given.bind(py).is_exact_instance_of::<PyString>() {
        return Ok(given.clone());
    }
    Ok(Object::new(given.bind(py).str()?))
}

fn is_running(py: Python<'_>, task: &Task) -> PyResult<bool> {
    let Some(event_loop) = task.event_loop.get() else { return Ok(false) };
    match Instance::<LoopCore>::of(&event_loop) {
        Some(core) => Ok(core.is_running()),
        None => event_loop.bind(py).call_method0("is_running")?.is_truthy(),
    }
}

/// A task in its first, eager step, which is the running one. It is left in any case: when a panic passes, by the drop.
struct EagerStep<'a> {
    py: Python<'a>,
    event_loop: &'a Object,
    task: &'a Task,
    /// The task that ran before, or Python's `None`; taken when it runs again.
    around: Option<Object>,
}

impl EagerStep<'_> {
    fn leave(mut self) -> PyResult<()> {
        self.swap_back()
    }

    /// Nothing the second time.
    fn swap_back(&mut self) -> PyResult<()> {
        let Some(around) = self.around.take() else { return Ok(()) };
        let swapped = asyncio::swap(self.py, self.event_loop, &around).map(drop);
        swapped.and(asyncio::unregister_eager(self.py, self.task))
    }
}

impl Drop for EagerStep<'_> {
    fn drop(&mut self) {
        drop(self.swap_back());
    }
}

/// Runs the first step of a new task at once, as a part of the task that runs now.
fn start_eagerly(py: Python<'_>, task: &Task) -> PyResult<()> {
    let (Some(event_loop), Some(context)) = (task.event_loop.get(), task.context().get()) else { return Ok(()) };
    let Some(context) = Context::of(&context) else {
        return Err(PyTypeError::new_err("an instance of Context was expected"));
    };
    let around = asyncio::swap(py, &event_loop, task.object())?;
    let eager = EagerStep { py, event_loop: &event_loop, task, around: Some(around) };
    let started = asyncio::register_eager(py, task).and_then(|()| context.run(py, || step::advance(py, task, None)));
    started.and(eager.leave())?;
    if task.is_pending() {
        return asyncio::register_after_eager_step(py, task);
    }
    drop(task.coroutine().take());
    Ok(())
}

/// Parameters of `Task()` behind the coroutine.
const PARAMETERS: [&str; 4] = ["loop", "name", "context", "eager_start"];

/// `Task.__init__(self, coro, *, loop=None, name=None, context=None, eager_start=False)`.
fn initialize(
    py: Python<'_>,
    task: &Task,
    args: &Bound<'_, PyTuple>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    if args.len() > 1 {
        let given = args.len();
        return Err(PyTypeError::new_err(format!("Task() takes at most 1 positional argument ({given} given)")));
    }
    let mut coroutine = args.iter().next();
    let known = if asyncio::HAS_EAGER_START { &PARAMETERS[..] } else { &PARAMETERS[..3] };
    let mut values: [Option<Bound<'_, PyAny>>; PARAMETERS.len()] = Default::default();
    for (name, value) in keywords.into_iter().flat_map(PyDictMethods::iter) {
        let name = name.extract::<String>()?;
        if name == "coro" && coroutine.is_none() {
            coroutine = Some(value);
        } else if let Some(index) = known.iter().position(|&known| known == name) {
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
    // Called again, it may fail when the loop has been taken out, which the finalizer of such a task would ask.
    task.log_destroy_pending().set(false);
    let of_future = PyDict::new(py);
    of_future.set_item("loop", values[0].as_ref())?;
    OBJECTS.asyncio_c_future_init.bind(py)?.call((task.bind(py),), Some(&of_future))?;
    task.must_cancel().set(false);
    task.cancels_requested().set(0);
    drop(task.future_waiter().take());
    let given = Given {
        name: values[1].as_ref().map(Object::of),
        context: values[2].as_ref().map(Object::of),
        eager: values[3].as_ref().map_or(Ok(false), PyAnyMethods::is_truthy)?,
    };
    fill(py, task, Object::of(&coroutine), given)
}

/// Makes the type over asyncio's; its tasks are instances of `ferrio.Future` too.
pub(super) fn make_type<'py>(
    py: Python<'py>,
    approved: &Approved<'py>,
    future: &Bound<'py, PyType>,
) -> PyResult<Bound<'py, PyType>> {
    adopt(&approved.habits);
    Builder::<Task>::over_asyncio(
        c"ferrio.Task",
        c"Task(coro, *, loop=None, name=None, context=None, eager_start=False)\n--\n\n\
          A coroutine that a Ferrio loop runs; see asyncio.Task.",
    )
    .attribute(Attribute::read_only(c"_callbacks", |py, task: &Task| future::callbacks(py, task)))
    .awaits(|py, task: &Task| future_iterator::of(py, task))
    .init(initialize)
    .build_over_asyncio(py, approved, &[future])
}

/// Does as the interpreter's own tasks do.
fn adopt(habits: &Habits) {
    NUMBERS_FOR_NAMES.store(habits.keeps_numbers_for_names, Ordering::Relaxed);
    REFUSES_OTHER_CONTEXTS.store(habits.refuses_other_contexts, Ordering::Relaxed);
}

//! `create_task` and `create_future`.
//!
//! Both make Ferrio's own kinds, unless the loop was told to leave that to asyncio, and both leave to asyncio's code what
//! is unusual: task factories, arguments that end in a `TypeError`, and a program that has put another class in the place
//! of `asyncio.tasks.Task` or `asyncio.futures.Future`.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use super::future;
use crate::core::{LoopBuilder, LoopCore};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call;
use crate::ffi::class::Instance;
use crate::ffi::dictionary::Entry;
use crate::ffi::method::{Method, MethodAddress};
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// asyncio's own methods, and the classes that they make.
struct Inherited {
    create_task: Object,
    create_future: Object,
    task: Place,
    future: Place,
}

/// A name of a module, and what asyncio's C module has put there.
struct Place {
    entry: Entry,
    value: Object,
}

impl Place {
    fn of(py: Python<'_>, module: &str, name: &str) -> PyResult<Self> {
        let value = Object::new(py.import("_asyncio")?.getattr(name)?);
        let dictionary = py.import(module)?.getattr("__dict__")?.cast_into::<PyDict>()?;
        Ok(Self { entry: Entry::new(dictionary, PyString::intern(py, name)), value })
    }

    /// Whether the name still shows that.
    #[inline]
    fn is_unchanged(&self, py: Python<'_>) -> bool {
        self.entry.shows(py, &self.value)
    }
}

static INHERITED: PyOnceLock<Inherited> = PyOnceLock::new();

fn inherited(py: Python<'_>) -> PyResult<&'static Inherited> {
    INHERITED.get_or_try_init(py, || {
        let class = py.import("asyncio.base_events")?.getattr("BaseEventLoop")?;
        Ok(Inherited {
            create_task: Object::new(class.getattr("create_task")?),
            create_future: Object::new(class.getattr("create_future")?),
            task: Place::of(py, "asyncio.tasks", "Task")?,
            future: Place::of(py, "asyncio.futures", "Future")?,
        })
    })
}

/// The method `create_task` of the core's class.
static CREATE_TASK: PyOnceLock<MethodAddress> = PyOnceLock::new();

fn create_task(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    let inherited = inherited(py)?;
    let flags = &event_loop.flags;
    if flags.native_tasks.get() && !flags.has_task_factory.get() && inherited.task.is_unchanged(py) {
        event_loop.check_closed()?;
        if let Some(task) = super::create_task(py, event_loop, arguments)? {
            return Ok(task);
        }
    }
    call_inherited(py, &inherited.create_task, event_loop.object(), arguments)
}

/// The loop, if it is Ferrio's, its `create_task` would do no more than [`super::spawn`], and it takes entries of tasks.
pub(crate) fn spawning_core<'a>(py: Python<'_>, event_loop: &'a Object) -> PyResult<Option<&'a Instance<LoopCore>>> {
    let Some(core) = Instance::<LoopCore>::of(event_loop) else { return Ok(None) };
    let plain = core.flags.native_tasks.get() && !core.flags.has_task_factory.get() && core.takes_task_entries();
    if !plain || !inherited(py)?.task.is_unchanged(py) {
        return Ok(None);
    }
    // A subclass, or the program, may have put another function there.
    let method = event_loop.bind(py).getattr(&names(py).create_task)?;
    let is_own = CREATE_TASK.get(py).is_some_and(|create_task| create_task.is(Object::of(&method)));
    Ok((is_own && !core.flags.closed.get()).then_some(core))
}

/// `loop.create_future()`.
pub(crate) fn new_future(py: Python<'_>, event_loop: &Instance<LoopCore>) -> PyResult<Object> {
    let inherited = inherited(py)?;
    let object = event_loop.object();
    if !event_loop.flags.native_tasks.get() || !inherited.future.is_unchanged(py) {
        return call(py, &inherited.create_future, [object]);
    }
    if event_loop.is_debug() { future::create_traced(py, object) } else { future::create(py, object) }
}

#[cold]
fn call_inherited(py: Python<'_>, method: &Object, event_loop: &Object, arguments: Arguments<'_>) -> PyResult<Object> {
    arguments.pass_on(py, method, event_loop)
}

fn create_task_method() -> Method<Instance<LoopCore>> {
    Method::any_arguments(
        c"create_task",
        create_task,
        c"create_task($self, coro, **kwargs)\n--\n\n\
          Run a coroutine as a task.\n\n\
          Args:\n    name: Name of the task.\n    context: Context to run in; a copy of the caller's when omitted.\n\
          \x20   eager_start: Run the first step at once (Python 3.14 on).\n\n\
          Returns:\n    A ferrio.Task, or what the task factory makes.\n\n\
          Raises:\n    RuntimeError: The loop is closed.\n    TypeError: This is no coroutine.\n\n\
          Follows asyncio.loop.create_task.",
    )
}

/// Adds the methods to the core's class.
pub(crate) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder.method(create_task_method()).method(Method::no_arguments(
        c"create_future",
        new_future,
        c"create_future($self)\n--\n\nA pending future of this loop: a ferrio.Future.",
    ))
}

/// Remembers the methods by which natives know a loop that makes its own tasks.
pub(crate) fn know_methods(py: Python<'_>) {
    let _ = CREATE_TASK.set(py, create_task_method().address());
}

//! `create_task` and `create_future`.
//!
//! Both make Ferrio's own kinds, unless the loop was told to leave that to asyncio, and both leave to asyncio's code what
//! is unusual: task factories, arguments that end in a `TypeError`, and a program that has put another class in the place
//! of `asyncio.tasks.Task` or `asyncio.futures.Future`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};
use pyo3::{ffi, intern};

use crate::core::LoopCore;
use crate::ffi::arguments::Arguments;
use crate::ffi::heap_type::{add_method, fast, fast_def, no_arguments, no_arguments_def};
use crate::ffi::object::Object;
use crate::task;

/// asyncio's own methods, and the classes that they make.
struct Inherited {
    create_task: Object,
    create_future: Object,
    task: Place,
    future: Place,
}

/// A name of a module, and what asyncio's C module has put there.
struct Place {
    module: Object,
    name: Object,
    value: Object,
}

impl Place {
    fn of(py: Python<'_>, module: &str, name: &str) -> PyResult<Self> {
        let value = py.import("_asyncio")?.getattr(name)?;
        let module = py.import(module)?.getattr("__dict__")?.cast_into::<PyDict>()?;
        Ok(Self {
            module: Object::new(module),
            name: Object::new(PyString::intern(py, name)),
            value: Object::new(value),
        })
    }

    /// Whether the name still shows that.
    #[inline]
    fn is_unchanged(&self) -> bool {
        // SAFETY: the module's dictionary and a string.
        let value = unsafe { ffi::PyDict_GetItemWithError(self.module.as_ptr(), self.name.as_ptr()) };
        value == self.value.as_ptr()
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

fast!(create_task, |py, object, arguments| {
    // SAFETY: a method of the core's type.
    let core = unsafe { LoopCore::of(py, object) };
    let inherited = inherited(py)?;
    if core.flags.native_tasks.get() && !core.flags.has_task_factory.get() && inherited.task.is_unchanged() {
        core.check_closed()?;
        if let Some(task) = task::create_task(py, core, object, arguments)? {
            return Ok(task);
        }
    }
    call_inherited(py, &inherited.create_task, object, arguments)
});

/// The core of a Ferrio loop whose `create_task` would do no more than [`task::spawn`], and takes entries of tasks.
pub(crate) fn spawning_core<'a>(py: Python<'a>, event_loop: &Object) -> PyResult<Option<&'a LoopCore>> {
    let Some(core) = LoopCore::find(py, event_loop.as_ptr()) else { return Ok(None) };
    let plain = core.flags.native_tasks.get() && !core.flags.has_task_factory.get() && core.takes_task_entries();
    if !plain || !inherited(py)?.task.is_unchanged() {
        return Ok(None);
    }
    // A subclass, or the program, may have put another function there.
    let method = event_loop.bind(py).getattr(intern!(py, "create_task"))?;
    // SAFETY: a live object.
    if unsafe { ffi::PyCFunction_Check(method.as_ptr()) } == 0 {
        return Ok(None);
    }
    // SAFETY: a built-in function.
    let function = unsafe { ffi::PyCFunction_GetFunction(method.as_ptr()) };
    let is_own = function.is_some_and(|function| function as *const () == create_task as *const ());
    Ok((is_own && !core.flags.closed.get()).then_some(core))
}

no_arguments!(create_future, |py, object| {
    // SAFETY: a method of the core's type.
    new_future(py, unsafe { LoopCore::of(py, object) }, object)
});

/// `loop.create_future()`, for the loop at `object`, whose core is `core`.
pub(crate) fn new_future(py: Python<'_>, core: &LoopCore, object: *mut ffi::PyObject) -> PyResult<Object> {
    let inherited = inherited(py)?;
    if !core.flags.native_tasks.get() || !inherited.future.is_unchanged() {
        // SAFETY: the method of asyncio's that this one overrides, and its object.
        let future = unsafe { ffi::PyObject_CallOneArg(inherited.create_future.as_ptr(), object) };
        // SAFETY: a new reference, or null with an exception.
        return unsafe { Object::from_owned(future) }.ok_or_else(|| PyErr::fetch(py));
    }
    if core.is_debug() { task::future::create_traced(py, object) } else { task::future::create(py, object) }
}

/// `method(object, *args, **keywords)`.
#[cold]
fn call_inherited(
    py: Python<'_>,
    method: &Object,
    object: *mut ffi::PyObject,
    arguments: Arguments<'_>,
) -> PyResult<Object> {
    let values: Vec<_> = [object].into_iter().chain(arguments.addresses().iter().copied()).collect();
    let positional = 1 + arguments.positional_addresses().len();
    // SAFETY: the arguments of the call under way, with its object before them.
    let result = unsafe { ffi::PyObject_Vectorcall(method.as_ptr(), values.as_ptr(), positional, arguments.names()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(result) }.ok_or_else(|| PyErr::fetch(py))
}

/// Adds the methods to the core's type.
pub(super) fn add(class: &Bound<'_, PyType>) -> PyResult<()> {
    add_method(
        class,
        fast_def(
            c"create_task",
            create_task,
            c"create_task($self, coro, **kwargs)\n--\n\n\
              Run a coroutine as a task.\n\n\
              Args:\n    name: Name of the task.\n    context: Context to run in; a copy of the caller's when omitted.\n\
              \x20   eager_start: Run the first step at once (Python 3.14 on).\n\n\
              Returns:\n    A ferrio.Task, or what the task factory makes.\n\n\
              Raises:\n    RuntimeError: The loop is closed.\n    TypeError: This is no coroutine.\n\n\
              Follows asyncio.loop.create_task.",
        ),
    )?;
    add_method(
        class,
        no_arguments_def(
            c"create_future",
            create_future,
            c"create_future($self)\n--\n\nA pending future of this loop: a ferrio.Future.",
        ),
    )
}

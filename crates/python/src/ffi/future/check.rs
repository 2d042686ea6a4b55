//! Compares the declared layout of futures and tasks with objects that asyncio has made.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyType};

use super::layout::{FutureObject, TaskObject};
use super::{Future, FutureState, Task};
use crate::ffi::cell::Slot;
use crate::ffi::object::Object;

/// asyncio's two types, whose layout is the declared one. [`check`] alone makes it.
pub(crate) struct Approved<'py> {
    pub(in crate::ffi) future: Bound<'py, PyType>,
    pub(in crate::ffi) task: Bound<'py, PyType>,
    pub(crate) habits: Habits,
}

/// What differs between releases of one version.
pub(crate) struct Habits {
    /// A generated name is kept as its number until somebody asks for the name.
    pub(crate) keeps_numbers_for_names: bool,
    /// A task's context has to be a `contextvars.Context`.
    pub(crate) refuses_other_contexts: bool,
}

/// Compares the declarations with futures and tasks that asyncio has made.
///
/// # Errors
/// `ImportError` that names what is elsewhere; any other error means that the types do not behave as known.
pub(crate) fn check(py: Python<'_>) -> PyResult<Approved<'_>> {
    let native = py.import("_asyncio")?;
    let future = native.getattr("Future")?.cast_into::<PyType>()?;
    let task = native.getattr("Task")?.cast_into::<PyType>()?;
    let size = |class: &Bound<'_, PyType>| class.getattr("__basicsize__")?.extract::<usize>();
    demand("size of Future", size(&future)? == size_of::<FutureObject>())?;
    demand("size of Task", size(&task)? == size_of::<TaskObject>())?;
    let samples = py.import(SAMPLES)?;
    let error = samples.call_method0("raised")?;
    let names = samples.call_method1("of_futures_and_tasks", (&future, &task, error))?.cast_into::<PyDict>()?;
    let samples = Samples { names, future: &future, task: &task };
    let habits = samples.check_futures().and_then(|()| samples.check_tasks()).and_then(|()| samples.habits());
    // The tasks would stay in `all_tasks()` as long as the samples.
    samples.names.clear();
    let habits = habits?;
    Ok(Approved { future, task, habits })
}

/// Makes one object for each thing that can be seen in the fields, for [`check`] and for `ffi/thread_state.rs`.
pub(in crate::ffi) const SAMPLES: &str = "ferrio._layout_samples";

fn demand(what: &str, holds: bool) -> PyResult<()> {
    if holds {
        return Ok(());
    }
    Err(pyo3::exceptions::PyImportError::new_err(format!("this interpreter keeps {what} elsewhere than Ferrio knows")))
}

/// What `of_futures_and_tasks` of [`SAMPLES`] returns.
struct Samples<'a, 'py> {
    names: Bound<'py, PyDict>,
    future: &'a Bound<'py, PyType>,
    task: &'a Bound<'py, PyType>,
}

impl<'py> Samples<'_, 'py> {
    fn get(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.names.as_any().get_item(name)
    }

    fn future(&self, name: &str) -> PyResult<Future> {
        let object = self.get(name)?;
        demand("a future", object.is_instance(self.future)?)?;
        // The layout is what is being checked.
        // SAFETY: an instance of asyncio's type, as large as the struct, so what is read or written lies within it.
        Ok(unsafe { Future::assume(Object::of(&object)) }.clone())
    }

    fn task(&self, name: &str) -> PyResult<Task> {
        let object = self.get(name)?;
        demand("a task", object.is_instance(self.task)?)?;
        // SAFETY: as above.
        Ok(unsafe { Task::assume(Object::of(&object)) }.clone())
    }

    /// That `slot` shows the object `value`.
    fn shows(&self, slot: &Slot, value: &str) -> PyResult<()> {
        demand(value, slot.as_ptr() == self.get(value)?.as_ptr())
    }

    fn check_futures(&self) -> PyResult<()> {
        let fresh = self.future("fresh")?;
        let empty = [&fresh.callback0, &fresh.context0, &fresh.callbacks, &fresh.exception, &fresh.exception_traceback];
        let empty = empty.into_iter().chain([&fresh.result, &fresh.source_traceback, &fresh.cancel_message]);
        for slot in empty.chain([&fresh.cancelled_error]) {
            demand("an empty slot", slot.is_empty())?;
        }
        demand("state", fresh.has_state(FutureState::Pending))?;
        demand("blocking", !fresh.blocking().get())?;
        self.shows(&fresh.event_loop, "loop")?;
        let trace = self.get("traced")?.getattr("_source_traceback")?;
        demand("source_traceback", self.future("traced")?.source_traceback.as_ptr() == trace.as_ptr())?;
        let waited = self.future("waited")?;
        self.shows(&waited.callback0, "callback")?;
        self.shows(&waited.context0, "context")?;
        let callbacks = self.get("waited")?.getattr("_callbacks")?.cast_into::<PyList>()?;
        demand("callbacks", !waited.callbacks.is_empty() && callbacks.len() == 2)?;
        let blocking = self.future("blocking")?;
        demand("blocking", blocking.blocking().get())?;
        blocking.blocking().set(false);
        demand("blocking", !self.get("blocking")?.getattr("_asyncio_future_blocking")?.is_truthy()?)?;
        let done = self.future("done")?;
        self.shows(&done.result, "value")?;
        demand("state", done.has_state(FutureState::Finished))?;
        let failed = self.future("failed")?;
        self.shows(&failed.exception, "error")?;
        self.shows(&failed.exception_traceback, "traceback")?;
        demand("log_traceback", failed.log_traceback().get())?;
        failed.log_traceback().set(false);
        demand("log_traceback", !self.get("failed")?.getattr("_log_traceback")?.is_truthy()?)?;
        let cancelled = self.future("cancelled")?;
        self.shows(&cancelled.cancel_message, "message")?;
        demand("state", cancelled.has_state(FutureState::Cancelled))?;
        // The error is taken out of its slot by the method, with the reference that is put in here.
        cancelled.cancelled_error.set(Object::new(self.get("error")?));
        let made = self.get("cancelled")?.call_method0("_make_cancelled_error")?;
        let left = cancelled.cancelled_error.take();
        demand("cancelled_exc", left.is_none() && made.is(&self.get("error")?))
    }

    fn check_tasks(&self) -> PyResult<()> {
        let (task, doomed, logging) = (self.task("task")?, self.task("doomed")?, self.task("logging")?);
        self.shows(&task.event_loop, "loop")?;
        self.shows(task.coroutine(), "body")?;
        self.shows(task.name(), "name")?;
        self.shows(task.context(), "context")?;
        demand("fut_waiter", task.future_waiter().is_empty())?;
        task.future_waiter().set(Object::new(self.get("value")?));
        let shown = self.get("task")?.getattr("_fut_waiter")?;
        drop(task.future_waiter().take());
        demand("fut_waiter", shown.is(&self.get("value")?))?;
        demand("must_cancel", doomed.must_cancel().get())?;
        demand("must_cancel", !task.must_cancel().get())?;
        demand("num_cancels_requested", doomed.cancels_requested().get() == 1)?;
        self.shows(&doomed.cancel_message, "message")?;
        demand("log_destroy_pending", !task.log_destroy_pending().get())?;
        demand("log_destroy_pending", logging.log_destroy_pending().get())?;
        logging.log_destroy_pending().set(false);
        demand("log_destroy_pending", !self.get("logging")?.getattr("_log_destroy_pending")?.is_truthy()?)?;
        self.check_call_graph()
    }

    fn habits(&self) -> PyResult<Habits> {
        // A number in the place of a name reads as a name, or as what it is.
        let task = self.task("task")?;
        let number = Object::new(0_i32.into_pyobject(self.names.py())?);
        let name = task.name().replace(Some(number));
        let shown = self.get("task")?.call_method0("get_name")?;
        drop(task.name().replace(name));
        Ok(Habits {
            keeps_numbers_for_names: shown.is_exact_instance_of::<PyString>(),
            refuses_other_contexts: self.get("refused")?.is_truthy()?,
        })
    }

    fn check_call_graph(&self) -> PyResult<()> {
        let (fresh, task) = (self.future("fresh")?, self.task("task")?);
        let (Some((awaited_by, is_set)), Some(is_task)) = (fresh.awaited_by(), task.is_task()) else { return Ok(()) };
        demand("is_task", is_task.get() == 1 && fresh.is_task().is_some_and(|is_task| is_task.get() == 0))?;
        let add = self.names.py().import("asyncio")?.getattr("future_add_to_awaited_by")?;
        add.call1((fresh.bind(self.names.py()), self.get("task")?))?;
        self.shows(awaited_by, "task")?;
        demand("awaited_by_is_set", is_set.get() == 0)?;
        add.call1((fresh.bind(self.names.py()), self.get("doomed")?))?;
        demand("awaited_by_is_set", is_set.get() != 0)
    }
}

//! `TaskGroup`: the tasks of a group, and the task that waits for them.
//!
//! Native is a group in which nothing fails: entering it, making a child, a child's end, waiting for the last. Once a
//! child has failed, the block has raised or its task is cancelled, asyncio's own methods go on from the same state, which
//! they find under asyncio's names: what is collected and what is raised differs from version to version.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyList, PyListMethods, PySet, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use super::{running, waiting};
use crate::coroutine::{self, CoroutineState as State, Plan, Step};
use crate::ffi::arguments::{self, Arguments};
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;
use crate::task;

/// The state of a group, under asyncio's names.
#[pyclass(frozen, subclass, module = "ferrio._ferrio")]
#[derive(Default)]
pub(crate) struct TaskGroupCore {
    entered: Plain<bool>,
    exiting: Plain<bool>,
    aborting: Plain<bool>,
    parent_cancel_requested: Plain<bool>,
    /// Of 3.15: it was cancelled before it was entered.
    cancel_on_enter: Plain<bool>,
    event_loop: Slot,
    parent: Slot,
    tasks: Slot,
    errors: Slot,
    base_error: Slot,
    /// The future that the last child completes.
    completed: Slot,
}

/// `attributes!(flags { field, name, get, set; ... } slots { field, name, get, set; ... })`: attributes that show the
/// fields.
macro_rules! attributes {
    (flags { $($flag:ident, $flag_name:ident, $get_flag:ident, $set_flag:ident;)* }
     slots { $($slot:ident, $slot_name:ident, $get_slot:ident, $set_slot:ident;)* }) => {
        #[pymethods]
        impl TaskGroupCore {
            $(
                #[getter($flag_name)]
                fn $get_flag(&self) -> bool {
                    self.$flag.get()
                }

                #[setter($flag_name)]
                fn $set_flag(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
                    self.$flag.set(value.is_truthy()?);
                    Ok(())
                }
            )*
            $(
                #[getter($slot_name)]
                fn $get_slot<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
                    self.$slot.get().unwrap_or_else(|| none(py)).into_bound(py)
                }

                #[setter($slot_name)]
                fn $set_slot(&self, value: Bound<'_, PyAny>) {
                    self.$slot.set(Object::new(value));
                }
            )*
        }
    };
}

attributes! {
    flags {
        entered, _entered, get_entered, set_entered;
        exiting, _exiting, get_exiting, set_exiting;
        aborting, _aborting, get_aborting, set_aborting;
        parent_cancel_requested, _parent_cancel_requested, get_parent_cancel_requested, set_parent_cancel_requested;
        cancel_on_enter, _cancel_on_enter, get_cancel_on_enter, set_cancel_on_enter;
    }
    slots {
        event_loop, _loop, get_event_loop, set_event_loop;
        parent, _parent_task, get_parent, set_parent;
        tasks, _tasks, get_tasks, set_tasks;
        errors, _errors, get_errors, set_errors;
        base_error, _base_error, get_base_error, set_base_error;
        completed, _on_completed_fut, get_completed, set_completed;
    }
}

#[pymethods]
impl TaskGroupCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let (py, group) = (slf.py(), slf.get());
        if !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty()) {
            // asyncio's own takes nothing either, and has the words for that.
            let args: Vec<_> = core::iter::once(slf.clone().into_any()).chain(args.iter()).collect();
            original(py)?.init.bind(py).call(PyTuple::new(py, args)?, kwargs)?;
            return Ok(());
        }
        let flags = [&group.entered, &group.exiting, &group.aborting, &group.parent_cancel_requested];
        for flag in flags.into_iter().chain([&group.cancel_on_enter]) {
            flag.set(false);
        }
        for slot in [&group.event_loop, &group.parent, &group.base_error, &group.completed] {
            drop(slot.take());
        }
        group.tasks.set(Object::new(PySet::empty(py)?));
        group.errors.set(Object::new(PyList::empty(py)));
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.slots().into_iter().try_for_each(|slot| slot.visit(&visit))
    }

    fn __clear__(&self) {
        drop(self.slots().map(Slot::take));
    }
}

impl TaskGroupCore {
    fn slots(&self) -> [&Slot; 6] {
        [&self.event_loop, &self.parent, &self.tasks, &self.errors, &self.base_error, &self.completed]
    }

    /// How many children have not ended; `None`: a program has put something else in the place of the set.
    #[inline]
    fn children(&self) -> Option<usize> {
        let tasks = self.tasks.as_ptr();
        // SAFETY: a live object, kept by the slot.
        if tasks.is_null() || unsafe { ffi::PySet_CheckExact(tasks) } == 0 {
            return None;
        }
        // SAFETY: a set, kept by the slot.
        Some(unsafe { ffi::PySet_GET_SIZE(tasks) }.unsigned_abs())
    }

    /// Whether nothing that ends the group with an exception has happened.
    fn is_clean(&self, py: Python<'_>) -> bool {
        let errors = self.errors.get();
        let no_errors =
            errors.is_some_and(|errors| errors.bind(py).cast::<PyList>().is_ok_and(PyListMethods::is_empty));
        no_errors && !self.parent_cancel_requested.get() && is_nothing(py, &self.base_error)
    }
}

/// Whether there is nothing in the slot, or `None`.
fn is_nothing(py: Python<'_>, slot: &Slot) -> bool {
    slot.get().is_none_or(|value| value.bind(py).is_none())
}

// --- asyncio's own ---------------------------------------------------------------------------------------------------

/// asyncio's class, as it was when this module was imported.
static CLASS: PyOnceLock<Object> = PyOnceLock::new();

/// Its methods, and what its version does.
struct Original {
    init: Object,
    enter: Object,
    exit: Object,
    /// What `__aexit__` gives when nothing has happened.
    result: Object,
    /// Whether `__aexit__` lets go of the parent and of the list of errors even then.
    forgets: bool,
    /// Whether a child gets its name from `loop.create_task`.
    #[cfg(not(Py_3_14))]
    names_at_once: bool,
    /// Whether a child that has ended in its eager step is taken note of in `create_task`.
    #[cfg(not(Py_3_14))]
    notes_at_once: bool,
}

/// Notes asyncio's class.
pub(super) fn load(py: Python<'_>) -> PyResult<()> {
    let _ = CLASS.set(py, Object::new(py.import("asyncio.taskgroups")?.getattr("TaskGroup")?));
    Ok(())
}

#[inline]
fn original(py: Python<'_>) -> PyResult<&'static Original> {
    static ORIGINAL: PyOnceLock<Original> = PyOnceLock::new();
    ORIGINAL.get_or_try_init(py, || {
        let class = CLASS.get(py).map_or_else(|| py.None().into_bound(py), |class| class.bind(py).clone());
        let names = PyDict::new(py);
        names.set_item("TaskGroup", &class)?;
        py.run(SAMPLE, Some(&names), None)?;
        let found = |name: &str| names.as_any().get_item(name);
        Ok(Original {
            init: Object::new(class.getattr("__init__")?),
            enter: Object::new(class.getattr("__aenter__")?),
            exit: Object::new(class.getattr("__aexit__")?),
            result: Object::new(found("result")?),
            forgets: found("forgets")?.is_truthy()?,
            #[cfg(not(Py_3_14))]
            names_at_once: found("names_at_once")?.is_truthy()?,
            #[cfg(not(Py_3_14))]
            notes_at_once: found("notes_at_once")?.is_truthy()?,
        })
    })
}

/// Shows what asyncio's own group does, where versions differ.
const SAMPLE: &core::ffi::CStr = cr"
class Loop:
    def create_task(self, coroutine, **given):
        self.given, self.child = given, Child()
        return self.child

class Child:
    is_linked = False
    def done(self): return True
    def cancelled(self): return True
    def set_name(self, name): pass
    def add_done_callback(self, callback): self.is_linked = True

group = TaskGroup()
group._entered, group._loop, group._parent_task = True, Loop(), Child()
group.create_task(None, name='name')
names_at_once = 'name' in group._loop.given
notes_at_once = not group._loop.child.is_linked

group = TaskGroup()
group._entered, group._parent_task = True, Child()
try:
    group.__aexit__(None, None, None).send(None)
except StopIteration as stop:
    result = stop.value
forgets = group._parent_task is None
del group
";

// --- the block -------------------------------------------------------------------------------------------------------

static ENTER: Plan = Plan { qualified_name: "TaskGroup.__aenter__", start: enter_start, resume: pass_on };
static EXIT: Plan = Plan { qualified_name: "TaskGroup.__aexit__", start: exit_start, resume: exit_resume };
/// Stands for the future that the group waited for, see [`go_on`].
static STAND_IN: Plan =
    Plan { qualified_name: "TaskGroup.__aexit__", start: |py, _| Ok(Step::Yield(none(py))), resume: pass_on };

/// asyncio's own method has ended.
fn pass_on(_: Python<'_>, _: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome.map(Step::Return)
}

/// Runs `body` with the group whose method a coroutine is.
fn owned<R>(py: Python<'_>, state: &State, body: impl FnOnce(&TaskGroupCore, &Object) -> PyResult<R>) -> PyResult<R> {
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    let group = owner.bind(py).cast::<TaskGroupCore>()?;
    body(group.get(), &owner)
}

/// Goes on as asyncio's own method, called with the group and `given`.
fn hand_over(py: Python<'_>, state: &State, method: &Object, given: &[Bound<'_, PyAny>]) -> PyResult<Step> {
    let owner = state.owner.take().unwrap_or_else(|| none(py));
    let args: Vec<_> = core::iter::once(owner.bind(py)).chain(given).collect();
    let coroutine = method.bind(py).call1(PyTuple::new(py, args)?)?;
    state.wait_for(py, Object::new(coroutine))
}

fn enter_start(py: Python<'_>, state: &State) -> PyResult<Step> {
    let entered = owned(py, state, |group, object| {
        let is_new = !group.entered.get() && !group.cancel_on_enter.get() && is_nothing(py, &group.event_loop);
        if !is_new {
            return Ok(None);
        }
        let event_loop = running::event_loop(py)?;
        let parent = running::task(py)?;
        if parent.bind(py).is_none() {
            return Ok(None);
        }
        group.event_loop.set(event_loop);
        group.parent.set(parent);
        group.entered.set(true);
        Ok(Some(object.clone()))
    })?;
    match entered {
        Some(object) => Ok(Step::Return(object)),
        None => hand_over(py, state, &original(py)?.enter, &[]),
    }
}

fn exit_start(py: Python<'_>, state: &State) -> PyResult<Step> {
    if let Some(given) = state.item.take() {
        let given: Vec<_> = given.bind(py).cast::<PyTuple>()?.iter().collect();
        return hand_over(py, state, &original(py)?.exit, &given);
    }
    let is_clean = owned(py, state, |group, _| Ok(group.children().is_some() && group.is_clean(py)))?;
    if !is_clean {
        return hand_over(py, state, &original(py)?.exit, &nothings(py));
    }
    owned(py, state, |group, _| {
        group.exiting.set(true);
        Ok(())
    })?;
    wait_for_children(py, state)
}

fn exit_resume(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    if state.owner.as_ptr().is_null() {
        // asyncio's own method has ended.
        return outcome.map(Step::Return);
    }
    match outcome {
        Ok(_) => {
            owned(py, state, |group, _| {
                drop(group.completed.take());
                Ok(())
            })?;
            wait_for_children(py, state)
        }
        Err(error) => go_on(py, state, Some(error)),
    }
}

/// Waits until there are no children, and ends the group.
fn wait_for_children(py: Python<'_>, state: &State) -> PyResult<Step> {
    enum Next {
        Wait(Object),
        End(Object),
        HandOver,
    }
    let next = owned(py, state, |group, _| match group.children() {
        Some(0) if group.is_clean(py) => {
            let original = original(py)?;
            if original.forgets {
                drop((group.parent.take(), group.errors.take()));
            }
            Ok(Next::End(original.result.clone()))
        }
        None | Some(0) => Ok(Next::HandOver),
        Some(_) => {
            if is_nothing(py, &group.completed) {
                let event_loop = group.event_loop.get().unwrap_or_else(|| none(py));
                let future = event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
                group.completed.set(Object::new(future));
            }
            Ok(Next::Wait(group.completed.get().unwrap_or_else(|| none(py))))
        }
    })?;
    match next {
        Next::Wait(future) => state.wait_for(py, future),
        Next::End(result) => Ok(Step::Return(result)),
        Next::HandOver => go_on(py, state, None),
    }
}

/// The arguments of `__aexit__` for a block that has raised nothing.
fn nothings(py: Python<'_>) -> [Bound<'_, PyAny>; 3] {
    core::array::from_fn(|_| py.None().into_bound(py))
}

/// A wait for the children has ended, with `error` if there is one: asyncio's own `__aexit__` goes on from there.
///
/// It is brought to the place where it waits, which it reaches only while there are children. For that one step,
/// something stands for the children and for the future, both of which may have ended since, and the group looks as it
/// did when the block ended: nobody had asked the parent to end.
fn go_on(py: Python<'_>, state: &State, error: Option<PyErr>) -> PyResult<Step> {
    let owner = state.owner.take().unwrap_or_else(|| none(py));
    let group = owner.bind(py).cast::<TaskGroupCore>()?.get();
    let [class, value, traceback] = nothings(py);
    let coroutine = original(py)?.exit.bind(py).call1((owner.bind(py), class, value, traceback))?;
    let before = (group.tasks.take(), group.completed.take(), group.parent_cancel_requested.get());
    group.tasks.set(Object::new(PySet::new(py, [py.None()])?));
    group.completed.set(coroutine::make(py, &STAND_IN, none(py), None)?);
    group.parent_cancel_requested.set(false);
    let stepped = coroutine.call_method1(intern!(py, "send"), (py.None(),));
    group.tasks.set(before.0.unwrap_or_else(|| none(py)));
    group.completed.set(before.1.unwrap_or_else(|| none(py)));
    group.parent_cancel_requested.set(before.2);
    stepped?;
    state.go_on_in(py, Object::new(coroutine), error)
}

/// `__aenter__(self)`.
pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    owner.bind(py).cast::<TaskGroupCore>()?;
    coroutine::make(py, &ENTER, owner, None).map(Some)
}

/// `__aexit__(self, class, error, traceback)`.
pub(super) fn exit(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let given = arguments.positional_addresses();
    let (&[owner, class, _, _], true) = (given, arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    owner.bind(py).cast::<TaskGroupCore>()?;
    // SAFETY: a singleton of the interpreter.
    let given = if class == unsafe { ffi::Py_None() } { None } else { Some(arguments::tuple(py, &given[1..])?) };
    coroutine::make(py, &EXIT, owner, given).map(Some)
}

// --- children --------------------------------------------------------------------------------------------------------

/// `create_task(self, coro, **kwargs)`.
pub(super) fn create_task(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let &[owner, coroutine] = arguments.positional_addresses() else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let group = owner.bind(py).cast::<TaskGroupCore>()?.get();
    let Some(children) = group.children() else { return Ok(None) };
    if !group.entered.get() || group.aborting.get() || (group.exiting.get() && children == 0) {
        return Ok(None);
    }
    let event_loop = group.event_loop.get().unwrap_or_else(|| none(py));
    let Some(child) = make_child(py, &event_loop, coroutine, arguments)? else { return Ok(None) };
    #[cfg(not(Py_3_14))]
    if original(py)?.notes_at_once && waiting::is_done(py, &child)? {
        owner.bind(py).call_method1(intern!(py, "_on_task_done"), (child.bind(py),))?;
        return Ok(Some(child));
    }
    task::add_awaiting(py, &child, &group.parent.get().unwrap_or_else(|| none(py)))?;
    if let Some(tasks) = group.tasks.get() {
        tasks.bind(py).cast::<PySet>()?.add(child.bind(py))?;
    }
    let callback = Object::new(owner.bind(py).getattr(intern!(py, "_on_task_done"))?);
    if !task::add_first_callback(py, &child, &callback)? {
        child.bind(py).call_method1(intern!(py, "add_done_callback"), (callback.bind(py),))?;
    }
    // Its eager step has cancelled the group.
    if group.aborting.get() && !waiting::is_done(py, &child)? {
        child.bind(py).call_method0(intern!(py, "cancel"))?;
    }
    Ok(Some(child))
}

/// `loop.create_task(coro, **kwargs)` as the version's group calls it; `None`: the keywords are not what it takes.
#[cfg(Py_3_14)]
#[inline]
fn make_child(
    py: Python<'_>,
    event_loop: &Object,
    coroutine: *mut ffi::PyObject,
    arguments: Arguments<'_>,
) -> PyResult<Option<Object>> {
    if arguments.has_no_keywords() {
        return call_create_task(py, &[event_loop.as_ptr(), coroutine], core::ptr::null_mut()).map(Some);
    }
    let mut values = arguments.addresses().to_vec();
    values[0] = event_loop.as_ptr();
    call_create_task(py, &values, arguments.names()).map(Some)
}

#[cfg(not(Py_3_14))]
fn make_child(
    py: Python<'_>,
    event_loop: &Object,
    coroutine: *mut ffi::PyObject,
    arguments: Arguments<'_>,
) -> PyResult<Option<Object>> {
    let mut name = none(py);
    let mut context = none(py);
    for (keyword, value) in arguments.keywords(py) {
        // SAFETY: an argument of the call under way.
        let value = unsafe { Object::from_borrowed(value) };
        match keyword.cast::<pyo3::types::PyString>()?.to_str()? {
            "name" => name = value,
            "context" => context = value,
            _ => return Ok(None),
        }
    }
    let names_at_once = original(py)?.names_at_once;
    let mut values = vec![event_loop.as_ptr(), coroutine];
    let mut names = Vec::new();
    if names_at_once {
        values.push(name.as_ptr());
        names.push(intern!(py, "name"));
    }
    if !context.bind(py).is_none() {
        values.push(context.as_ptr());
        names.push(intern!(py, "context"));
    }
    let names = PyTuple::new(py, names)?;
    let child = call_create_task(py, &values, names.as_ptr())?;
    if !names_at_once && !name.bind(py).is_none() {
        py.import("asyncio.tasks")?.call_method1("_set_task_name", (child.bind(py), name.bind(py)))?;
    }
    Ok(Some(child))
}

/// Calls the loop's method with `values`, the last of which have `names`: a tuple, or null for none.
#[inline]
fn call_create_task(py: Python<'_>, values: &[*mut ffi::PyObject], names: *mut ffi::PyObject) -> PyResult<Object> {
    let method = intern!(py, "create_task");
    // SAFETY: live objects that the caller keeps for the call: the loop, the coroutine, one value for each name.
    let child = unsafe { ffi::PyObject_VectorcallMethod(method.as_ptr(), values.as_ptr(), 2, names) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(child) }.ok_or_else(|| PyErr::fetch(py))
}

/// `_on_task_done(self, task)`: what a child calls when it has ended.
pub(super) fn on_task_done(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner, child], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else {
        return Ok(None);
    };
    // SAFETY: arguments of the call under way.
    let (owner, child) = (unsafe { Object::from_borrowed(owner) }, unsafe { Object::from_borrowed(child) });
    let group = owner.bind(py).cast::<TaskGroupCore>()?.get();
    if !task::has_ended_well(&child) || group.children().is_none() {
        return Ok(None);
    }
    if let Some(tasks) = group.tasks.get() {
        tasks.bind(py).cast::<PySet>()?.discard(child.bind(py))?;
    }
    task::remove_awaiting(py, &child, &group.parent.get().unwrap_or_else(|| none(py)))?;
    if group.children() == Some(0) && !is_nothing(py, &group.completed) {
        if let Some(future) = group.completed.get() {
            if !waiting::is_done(py, &future)? {
                waiting::set_result(py, &future, Object::new(PyBool::new(py, true).to_owned()))?;
            }
        }
    }
    Ok(Some(none(py)))
}

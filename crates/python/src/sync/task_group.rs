//! `TaskGroup`: the tasks of a group, and the task that waits for them.
//!
//! Native is a group in which nothing fails: entering it, making a child, a child's end, waiting for the last. When a child has
//! failed, the block has raised or the task is cancelled, asyncio's own methods continue from the same state, which they find
//! under asyncio's names: what is collected and what is raised differs from version to version.
#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyListMethods, PySet, PyTuple, PyType};

use super::{block, running, waiting};
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
#[cfg(not(Py_3_14))]
use crate::ffi::call::call_method_with_keywords;
#[cfg(Py_3_14)]
use crate::ffi::call::call_method_with_rest;
use crate::ffi::call::{call, call_method};
use crate::ffi::cell::{Plain, Slot};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::field_attributes::initialised;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::set;
use crate::task;

native_state! {
    /// The state of a group, under asyncio's names.
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
        /// One of the attributes was set.
        is_initialised: Plain<bool>,
    }
}

initialised!(TaskGroupCore);

class_over_object! {
    TaskGroupCore, c"ferrio._ferrio.TaskGroupCore",
    c"The state of a group, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

/// Makes the class.
pub(super) fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Builder::<Instance<TaskGroupCore>>::new()
        .instantiable()
        .attribute(Attribute::of_flag(c"_entered", |group: &TaskGroupCore| &group.entered))
        .attribute(Attribute::of_flag(c"_exiting", |group: &TaskGroupCore| &group.exiting))
        .attribute(Attribute::of_flag(c"_aborting", |group: &TaskGroupCore| &group.aborting))
        .attribute(Attribute::of_flag(c"_parent_cancel_requested", |group: &TaskGroupCore| {
            &group.parent_cancel_requested
        }))
        .attribute(Attribute::of_flag(c"_cancel_on_enter", |group: &TaskGroupCore| &group.cancel_on_enter))
        .attribute(Attribute::of_value(c"_loop", |group: &TaskGroupCore| &group.event_loop))
        .attribute(Attribute::of_value(c"_parent_task", |group: &TaskGroupCore| &group.parent))
        .attribute(Attribute::of_value(c"_tasks", |group: &TaskGroupCore| &group.tasks))
        .attribute(Attribute::of_value(c"_errors", |group: &TaskGroupCore| &group.errors))
        .attribute(Attribute::of_value(c"_base_error", |group: &TaskGroupCore| &group.base_error))
        .attribute(Attribute::of_value(c"_on_completed_fut", |group: &TaskGroupCore| &group.completed))
        .init(initialise)
        .build_over_object(py)
}

/// `__init__(self)`.
fn initialise(
    py: Python<'_>,
    group: &Instance<TaskGroupCore>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    if !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty()) {
        // asyncio's own takes nothing either, and has the words for that.
        let args: Vec<_> = core::iter::once(group.bind(py).clone()).chain(args.iter()).collect();
        return OBJECTS.task_group_init.bind(py)?.call(PyTuple::new(py, args)?, kwargs).map(drop);
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
    group.is_initialised.set(true);
    Ok(())
}

impl TaskGroupCore {
    /// How many children are not done; `None` if a program has put something else in the place of the set.
    #[inline]
    fn children(&self) -> Option<usize> {
        set::length(&self.tasks)
    }

    /// Whether nothing that ends the group with an exception has happened.
    fn is_clean(&self, py: Python<'_>) -> bool {
        let errors = self.errors.get();
        let no_errors =
            errors.is_some_and(|errors| errors.bind(py).cast::<PyList>().is_ok_and(PyListMethods::is_empty));
        no_errors && !self.parent_cancel_requested.get() && self.base_error.is_nothing()
    }
}

// --- asyncio's own ---------------------------------------------------------------------------------------------------

/// What the interpreter's version of asyncio's class does.
struct Version {
    /// What `__aexit__` returns when nothing has happened.
    result: Object,
    /// Whether `__aexit__` drops the parent and the list of errors even then.
    forgets: bool,
    /// Whether a child gets its name from `loop.create_task`.
    #[cfg(not(Py_3_14))]
    names_at_once: bool,
    /// Whether `create_task` handles a child that its eager step has finished.
    #[cfg(not(Py_3_14))]
    notes_at_once: bool,
}

#[inline]
fn version(py: Python<'_>) -> PyResult<&'static Version> {
    static VERSION: PyOnceLock<Version> = PyOnceLock::new();
    VERSION.get_or_try_init(py, || {
        let names = PyDict::new(py);
        names.set_item("TaskGroup", OBJECTS.task_group.bind(py)?)?;
        py.run(SAMPLE, Some(&names), None)?;
        let found = |name: &str| names.as_any().get_item(name);
        Ok(Version {
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
    Plan { qualified_name: "TaskGroup.__aexit__", start: |py, _| Ok(Step::Yield(Object::none(py))), resume: pass_on };

/// asyncio's own method has ended.
fn pass_on(_: Python<'_>, _: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome.map(Step::Return)
}

fn enter_start(py: Python<'_>, state: &CoroutineState) -> PyResult<Step> {
    let owner = state.owner.get_or_none(py);
    if enter_now(py, Instance::<TaskGroupCore>::expect(py, &owner)?)? {
        return Ok(Step::Return(owner));
    }
    drop(state.owner.take());
    let coroutine = call(py, OBJECTS.task_group_enter.get(py)?, [&owner])?;
    state.wait_for(py, coroutine)
}

/// `__aenter__`; `false`: asyncio's own is to be run.
fn enter_now(py: Python<'_>, group: &TaskGroupCore) -> PyResult<bool> {
    // asyncio's own method has the words for a group whose `__init__` was not called.
    if !group.is_initialised.get()
        || group.entered.get()
        || group.cancel_on_enter.get()
        || !group.event_loop.is_nothing()
    {
        return Ok(false);
    }
    let event_loop = running::event_loop(py)?;
    let parent = running::task(py)?;
    if parent.is_none() {
        return Ok(false);
    }
    group.event_loop.set(event_loop);
    group.parent.set(parent);
    group.entered.set(true);
    Ok(true)
}

fn exit_start(py: Python<'_>, state: &CoroutineState) -> PyResult<Step> {
    let owner = state.owner.get_or_none(py);
    let group = Instance::<TaskGroupCore>::expect(py, &owner)?;
    let raised = state.item.take();
    if raised.is_none() && group.children().is_some() && group.is_clean(py) {
        group.exiting.set(true);
        return wait_for_children(py, state, group);
    }
    drop(state.owner.take());
    let coroutine = original_exit(py, &owner, raised.as_ref())?;
    state.wait_for(py, coroutine)
}

fn exit_resume(py: Python<'_>, state: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    let Some(owner) = state.owner.get() else {
        // asyncio's own method has ended.
        return outcome.map(Step::Return);
    };
    let group = Instance::<TaskGroupCore>::expect(py, &owner)?;
    match outcome {
        Ok(_) => {
            drop(group.completed.take());
            wait_for_children(py, state, group)
        }
        Err(error) => continue_waiting(py, state, group, Some(error)),
    }
}

/// Waits until there are no children, and ends the group.
fn wait_for_children(py: Python<'_>, state: &CoroutineState, group: &Instance<TaskGroupCore>) -> PyResult<Step> {
    match group.children() {
        Some(0) if group.is_clean(py) => {
            let version = version(py)?;
            if version.forgets {
                drop((group.parent.take(), group.errors.take()));
            }
            Ok(Step::Return(version.result.clone()))
        }
        None | Some(0) => continue_waiting(py, state, group, None),
        Some(_) => {
            if group.completed.is_nothing() {
                let event_loop = group.event_loop.get_or_none(py);
                group.completed.set(call_method(py, &names(py).create_future, [&event_loop])?);
            }
            state.wait_for(py, group.completed.get_or_none(py))
        }
    }
}

/// The coroutine of asyncio's own `__aexit__`, for a block that `raised` this; see [`block::raised`].
fn original_exit(py: Python<'_>, owner: &Object, raised: Option<&Object>) -> PyResult<Object> {
    let [class, error, traceback] = block::arguments(py, raised)?;
    call(py, OBJECTS.task_group_exit.get(py)?, [owner, &class, &error, &traceback])
}

/// Continues in asyncio's own `__aexit__`, after a wait for the children that has ended, with `error` if there is one.
///
/// Its coroutine is brought to the place where it waits, which it reaches only while there are children. For that one step,
/// something stands for the children and for the future, both of which may have ended since, and the group looks as it did when
/// the block ended: nobody had asked the parent to end.
fn continue_waiting(
    py: Python<'_>,
    state: &CoroutineState,
    group: &Instance<TaskGroupCore>,
    error: Option<PyErr>,
) -> PyResult<Step> {
    drop(state.owner.take());
    let coroutine = original_exit(py, group.object(), None)?;
    let before = (group.tasks.take(), group.completed.take(), group.parent_cancel_requested.get());
    group.tasks.set(Object::new(PySet::new(py, [py.None()])?));
    group.completed.set(coroutine::make(py, &STAND_IN, Object::none(py), None)?);
    group.parent_cancel_requested.set(false);
    let stepped = call_method(py, &names(py).send, [&coroutine, &Object::none(py)]);
    group.tasks.set(before.0.unwrap_or_else(|| Object::none(py)));
    group.completed.set(before.1.unwrap_or_else(|| Object::none(py)));
    group.parent_cancel_requested.set(before.2);
    stepped?;
    state.go_on_in(py, coroutine, error)
}

/// `__aenter__(self)`.
pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner]) = arguments.only() else { return Ok(None) };
    Instance::<TaskGroupCore>::expect(py, owner)?;
    coroutine::make(py, &ENTER, owner.clone(), None).map(Some)
}

/// `__aexit__(self, class, error, traceback)`.
pub(super) fn exit(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner, raised @ ..]) = arguments.only::<4>() else { return Ok(None) };
    Instance::<TaskGroupCore>::expect(py, owner)?;
    coroutine::make(py, &EXIT, owner.clone(), block::raised(py, raised)?).map(Some)
}

// --- children --------------------------------------------------------------------------------------------------------

/// `create_task(self, coro, **kwargs)`.
pub(super) fn create_task(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let [owner, _] = arguments.positional() else { return Ok(None) };
    let group = Instance::<TaskGroupCore>::expect(py, owner)?;
    let Some(children) = group.children() else { return Ok(None) };
    if !group.entered.get() || group.aborting.get() || (group.exiting.get() && children == 0) {
        return Ok(None);
    }
    let Some(child) = make_child(py, &group.event_loop.get_or_none(py), arguments)? else { return Ok(None) };
    #[cfg(not(Py_3_14))]
    if version(py)?.notes_at_once && waiting::is_done(py, &child)? {
        call_method(py, &names(py)._on_task_done, [owner, &child])?;
        return Ok(Some(child));
    }
    task::add_awaiting(py, &child, &group.parent.get_or_none(py))?;
    if let Some(tasks) = group.tasks.get() {
        tasks.bind(py).cast::<PySet>()?.add(child.bind(py))?;
    }
    let callback = Object::new(owner.bind(py).getattr(&names(py)._on_task_done)?);
    if !task::add_first_callback(py, &child, &callback)? {
        call_method(py, &names(py).add_done_callback, [&child, &callback])?;
    }
    // Its eager step has cancelled the group.
    if group.aborting.get() && !waiting::is_done(py, &child)? {
        call_method(py, &names(py).cancel, [&child])?;
    }
    Ok(Some(child))
}

/// `loop.create_task(coro, **kwargs)` as the version's group calls it; `None`: the keywords are not what it takes.
#[cfg(Py_3_14)]
#[inline]
fn make_child(py: Python<'_>, event_loop: &Object, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    call_method_with_rest(py, &names(py).create_task, event_loop, arguments).map(Some)
}

#[cfg(not(Py_3_14))]
fn make_child(py: Python<'_>, event_loop: &Object, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let [_, coroutine] = arguments.positional() else { return Ok(None) };
    let nothing = Object::none(py);
    let (mut name, mut context) = (&nothing, &nothing);
    for (keyword, value) in arguments.named(py) {
        match keyword.cast::<pyo3::types::PyString>()?.to_str()? {
            "name" => name = value,
            "context" => context = value,
            _ => return Ok(None),
        }
    }
    let names_at_once = version(py)?.names_at_once;
    let mut named = Vec::new();
    if names_at_once {
        named.push((&names(py).name, name));
    }
    if !context.is_none() {
        named.push((&names(py).context, context));
    }
    let child = call_method_with_keywords(py, &names(py).create_task, [event_loop, coroutine], &named)?;
    if !names_at_once && !name.is_none() {
        OBJECTS.asyncio_tasks.bind(py)?.call_method1("_set_task_name", (child.bind(py), name.bind(py)))?;
    }
    Ok(Some(child))
}

/// `_on_task_done(self, task)`: what a child calls when it is done.
pub(super) fn on_task_done(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner, child]) = arguments.only() else { return Ok(None) };
    let group = Instance::<TaskGroupCore>::expect(py, owner)?;
    if !task::has_ended_well(child) || group.children().is_none() {
        return Ok(None);
    }
    if let Some(tasks) = group.tasks.get() {
        tasks.bind(py).cast::<PySet>()?.discard(child.bind(py))?;
    }
    task::remove_awaiting(py, child, &group.parent.get_or_none(py))?;
    if group.children() == Some(0)
        && let Some(future) = group.completed.get().filter(|future| !future.is_none())
        && !waiting::is_done(py, &future)?
    {
        waiting::set_result(py, &future, Object::bool(py, true))?;
    }
    Ok(Some(Object::none(py)))
}

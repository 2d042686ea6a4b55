//! `timeout`, `timeout_at` and the class `Timeout`: a limit of time for a block of code.
//!
//! Native is what happens while there is time left: making a timeout, entering it, moving its deadline, leaving it. When the
//! time is up, and for whatever is unusual, asyncio's own methods continue from the same state, which they find under asyncio's
//! names: what becomes of the exception that ends the block differs from version to version.
//!
//! | state | `__aenter__` | `reschedule` | the time is over | `__aexit__` |
//! | --- | --- | --- | --- | --- |
//! | `CREATED` | `ENTERED` | asyncio's error | cannot be | asyncio's error |
//! | `ENTERED` | asyncio's error | a new timer | cancels the task; `EXPIRING` | `EXITED` |
//! | `EXPIRING` | asyncio's error | asyncio's error | cannot be | asyncio's own: `EXPIRED` |
//! | `EXPIRED`, `EXITED` | asyncio's error | asyncio's error | cannot be | asyncio's error |

#![forbid(unsafe_code)]

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyTuple};

use super::{block, running};
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::{call, call_method};
use crate::ffi::cell::Slot;
use crate::ffi::class::{Builder, Class, Description, Heap, Instance, NativeClass};
use crate::ffi::errors::made;
use crate::ffi::fields::native_state;
use crate::ffi::method::Attribute;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::subclass::Subclass;
use crate::task;

native_state! {
    /// The state of a timeout, under asyncio's names. An empty slot is an attribute that is not there.
    #[derive(Default)]
    pub(super) struct TimeoutState {
        /// A member of asyncio's `_State`.
        state: Slot,
        timer: Slot,
        task: Slot,
        /// How often the task was asked to end when the block began.
        cancelling: Slot,
        when: Slot,
    }
}

/// The native base of the package's class.
pub(super) struct Timeout;

impl Class for Timeout {
    type State = TimeoutState;
    type Layout = Heap;

    #[inline]
    fn description() -> &'static Description<Self> {
        static DESCRIPTION: Description<Timeout> = Description::new(0);
        &DESCRIPTION
    }
}

type TimeoutAttribute = Attribute<Instance<Timeout>>;

impl NativeClass for Timeout {
    const NAME: &'static core::ffi::CStr = c"ferrio._ferrio.TimeoutCore";
    const DOC: &'static core::ffi::CStr = c"The state of a limit of time, under asyncio's names.";
    const IS_SUBCLASSABLE: bool = true;
}

impl TimeoutState {
    /// Makes the state that of a new timeout.
    fn begin(&self, py: Python<'_>, when: Object) -> PyResult<()> {
        self.state.set(OBJECTS.timeout_created.get(py)?.clone());
        self.timer.set(Object::none(py));
        self.task.set(Object::none(py));
        self.when.set(when);
        Ok(())
    }

    #[inline]
    fn cancel_timer(&self, py: Python<'_>) -> PyResult<()> {
        match self.timer.get().filter(|timer| !timer.is_none()) {
            Some(timer) => call_method(py, &names(py).cancel, [&timer]).map(drop),
            None => Ok(()),
        }
    }
}

/// Sets the timer of a timeout that is entered.
#[inline]
fn set_deadline(py: Python<'_>, timeout: &Instance<Timeout>, when: &Object) -> PyResult<()> {
    timeout.when.set(when.clone());
    timeout.cancel_timer(py)?;
    if when.is_none() {
        timeout.timer.set(Object::none(py));
        return Ok(());
    }
    let names = names(py);
    let event_loop = running::event_loop(py)?;
    let now = call_method(py, &names.time, [&event_loop])?;
    let callback = timeout.bind(py).getattr(&names._on_timeout).map(Object::new);
    let timer = if is_over(when.bind(py), now.bind(py))? {
        call_method(py, &names.call_soon, [&event_loop, &callback?])?
    } else {
        call_method(py, &names.call_at, [&event_loop, when, &callback?])?
    };
    timeout.timer.set(timer);
    Ok(())
}

/// `deadline <= time`.
#[inline]
fn is_over(deadline: &Bound<'_, PyAny>, time: &Bound<'_, PyAny>) -> PyResult<bool> {
    match (deadline.cast_exact::<PyFloat>(), time.cast_exact::<PyFloat>()) {
        (Ok(deadline), Ok(time)) => Ok(deadline.value() <= time.value()),
        _ => deadline.le(time),
    }
}

// --- making one ------------------------------------------------------------------------------------------------------

/// The package's class, as it is when the first timeout is made.
enum PackageClass {
    Native(Subclass<Timeout>),
    /// A program has put another class there.
    Other(Object),
}

impl PackageClass {
    fn find(py: Python<'_>) -> PyResult<Self> {
        let class = py.import("ferrio._timeouts")?.getattr("Timeout")?;
        Ok(Subclass::of(&class).map_or_else(|| Self::Other(Object::new(class)), Self::Native))
    }
}

/// `Timeout(when)`, of the package's class.
#[inline]
fn make(py: Python<'_>, when: Object) -> PyResult<Object> {
    static CLASS: PyOnceLock<PackageClass> = PyOnceLock::new();
    match CLASS.get_or_try_init(py, || PackageClass::find(py))? {
        PackageClass::Native(class) => {
            let timeout = class.create(py, TimeoutState::default())?;
            timeout.begin(py, when)?;
            Ok(timeout.into_object())
        }
        PackageClass::Other(class) => call(py, class, [&when]),
    }
}

/// `Timeout(loop.time() + delay)`; without a delay `Timeout(None)`.
#[inline]
fn make_relative(py: Python<'_>, delay: Object) -> PyResult<Object> {
    let event_loop = running::event_loop(py)?;
    if delay.is_none() {
        return make(py, delay);
    }
    let now = call_method(py, &names(py).time, [&event_loop])?;
    make(py, Object::new(now.bind(py).add(delay.bind(py))?))
}

/// `timeout(delay)`.
pub(super) fn timeout(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([delay]) = arguments.ending_with(py, "delay") else { return Ok(None) };
    make_relative(py, delay.clone()).map(Some)
}

/// `timeout_at(when)`.
pub(super) fn timeout_at(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([when]) = arguments.ending_with(py, "when") else { return Ok(None) };
    make(py, when.clone()).map(Some)
}

// --- its methods -----------------------------------------------------------------------------------------------------

/// A timeout that a native coroutine has entered: `async with timeout(delay)` without the block.
pub(super) struct Limit(Object);

impl Limit {
    /// Makes a timeout and enters it; `None` if no task runs, about which asyncio's own function has the words.
    #[inline]
    pub(super) fn enter(py: Python<'_>, delay: Object) -> PyResult<Option<Self>> {
        let limit = Self(make_relative(py, delay)?);
        Ok(enter_now(py, &limit.0)?.then_some(limit))
    }

    /// The object, to be kept while the block runs.
    pub(super) fn into_object(self) -> Object {
        self.0
    }

    /// The limit that [`Self::into_object`] gave; `None` for any other object.
    pub(super) fn from_object(object: Object) -> Option<Self> {
        Instance::<Timeout>::from_object(object).ok().map(|timeout| Self(timeout.into_object()))
    }

    /// Ends the block, which has come to `outcome`.
    #[inline]
    pub(super) fn leave<T>(&self, py: Python<'_>, outcome: PyResult<T>) -> PyResult<T> {
        if leave_now(py, &self.0)? {
            return outcome;
        }
        let outcome = outcome.map_err(|error| made(py, error));
        self.leave_expired(py, outcome.as_ref().err())?;
        outcome
    }

    /// Ends the block by asyncio's own `__aexit__`, which does not wait and handles `error`.
    #[cold]
    fn leave_expired(&self, py: Python<'_>, error: Option<&PyErr>) -> PyResult<()> {
        let nothing = Object::none(py);
        let (class, value, traceback) = match error {
            None => (nothing.clone(), nothing.clone(), nothing.clone()),
            Some(error) => {
                let traceback = error.traceback(py).map_or_else(|| nothing.clone(), Object::new);
                (Object::new(error.get_type(py)), Object::new(error.value(py).clone()), traceback)
            }
        };
        let coroutine = call(py, OBJECTS.timeout_exit.get(py)?, [&self.0, &class, &value, &traceback])?;
        match call_method(py, &names(py).send, [&coroutine, &nothing]) {
            Err(end) if end.is_instance_of::<PyStopIteration>(py) => Ok(()),
            Err(raised) => {
                // `async with` handles `error` while it leaves, which makes that the context of what is raised.
                if let Some(error) = error {
                    raised.set_context(py, Some(error.clone_ref(py)));
                }
                Err(raised)
            }
            Ok(_) => call_method(py, &names(py).close, [&coroutine]).map(drop),
        }
    }
}

/// The timeout `object`, if it is one in this state.
#[inline]
fn in_state<'a>(object: &'a Object, state: &Object) -> Option<&'a Instance<Timeout>> {
    Instance::<Timeout>::of(object).filter(|timeout| timeout.state.is(state))
}

/// `__aenter__`; `false`: asyncio's own is to be run.
#[inline]
fn enter_now(py: Python<'_>, object: &Object) -> PyResult<bool> {
    let Some(timeout) = in_state(object, OBJECTS.timeout_created.get(py)?) else { return Ok(false) };
    let Some(when) = timeout.when.get() else { return Ok(false) };
    let task = running::task(py)?;
    if task.is_none() {
        return Ok(false);
    }
    timeout.state.set(OBJECTS.timeout_entered.get(py)?.clone());
    timeout.task.set(task.clone());
    timeout.cancelling.set(task::cancelling(py, &task)?);
    set_deadline(py, timeout, &when)?;
    Ok(true)
}

/// `__aexit__`; `false`: asyncio's own is to be run.
#[inline]
fn leave_now(py: Python<'_>, object: &Object) -> PyResult<bool> {
    let Some(timeout) = in_state(object, OBJECTS.timeout_entered.get(py)?) else { return Ok(false) };
    timeout.cancel_timer(py)?;
    timeout.timer.set(Object::none(py));
    timeout.state.set(OBJECTS.timeout_exited.get(py)?.clone());
    Ok(true)
}

static ENTER: Plan = Plan { qualified_name: "Timeout.__aenter__", start: enter_start, resume: pass_on };
static EXIT: Plan = Plan { qualified_name: "Timeout.__aexit__", start: exit_start, resume: pass_on };

/// asyncio's own method has ended.
fn pass_on(_: Python<'_>, _: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome.map(Step::Return)
}

fn enter_start(py: Python<'_>, state: &CoroutineState) -> PyResult<Step> {
    let owner = state.owner.get_or_none(py);
    if enter_now(py, &owner)? {
        return Ok(Step::Return(owner));
    }
    let coroutine = call(py, OBJECTS.timeout_enter.get(py)?, [&owner])?;
    state.wait_for(py, coroutine)
}

fn exit_start(py: Python<'_>, state: &CoroutineState) -> PyResult<Step> {
    let owner = state.owner.get_or_none(py);
    if leave_now(py, &owner)? {
        return Ok(Step::Return(Object::none(py)));
    }
    let [class, error, traceback] = block::arguments(py, state.item.take().as_ref())?;
    let coroutine = call(py, OBJECTS.timeout_exit.get(py)?, [&owner, &class, &error, &traceback])?;
    state.wait_for(py, coroutine)
}

/// `__aenter__(self)`.
pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner]) = arguments.only() else { return Ok(None) };
    coroutine::make(py, &ENTER, owner.clone(), None).map(Some)
}

/// `__aexit__(self, class, error, traceback)`.
pub(super) fn exit(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner, raised @ ..]) = arguments.only::<4>() else { return Ok(None) };
    coroutine::make(py, &EXIT, owner.clone(), block::raised(py, raised)?).map(Some)
}

/// `reschedule(self, when)`.
pub(super) fn reschedule(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner, when]) = arguments.only() else { return Ok(None) };
    let Some(timeout) = in_state(owner, OBJECTS.timeout_entered.get(py)?) else { return Ok(None) };
    set_deadline(py, timeout, when)?;
    Ok(Some(Object::none(py)))
}

/// `_on_timeout(self)`: what the timer calls.
pub(super) fn on_timeout(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([owner]) = arguments.only() else { return Ok(None) };
    let Some(timeout) = in_state(owner, OBJECTS.timeout_entered.get(py)?) else { return Ok(None) };
    let task = timeout.task.get_or_none(py);
    call_method(py, &names(py).cancel, [&task])?;
    timeout.state.set(OBJECTS.timeout_expiring.get(py)?.clone());
    timeout.timer.set(Object::none(py));
    Ok(Some(Object::none(py)))
}

// --- the class -------------------------------------------------------------------------------------------------------

/// `__init__(self, when)`.
fn init(
    py: Python<'_>,
    timeout: &Instance<Timeout>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    if let (1, None) = (args.len(), kwargs) {
        return timeout.begin(py, Object::new(args.get_item(0)?));
    }
    // asyncio's own takes `when` by its name, and complains of what it does not take.
    let args: Vec<_> = core::iter::once(timeout.bind(py).clone()).chain(args.iter()).collect();
    OBJECTS.timeout_init.bind(py)?.call(PyTuple::new(py, args)?, kwargs).map(drop)
}

/// Makes the class and adds it to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let class = Builder::<Instance<Timeout>>::new()
        .instantiable()
        .init(init)
        .attribute(TimeoutAttribute::of_slot(c"_state", |timeout| &timeout.state))
        .attribute(TimeoutAttribute::of_slot(c"_timeout_handler", |timeout| &timeout.timer))
        .attribute(TimeoutAttribute::of_slot(c"_task", |timeout| &timeout.task))
        .attribute(TimeoutAttribute::of_slot(c"_cancelling", |timeout| &timeout.cancelling))
        .attribute(TimeoutAttribute::of_slot(c"_when", |timeout| &timeout.when))
        .build(py, &py.get_type::<PyAny>())?;
    module.add("TimeoutCore", class)
}

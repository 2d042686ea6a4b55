//! `timeout`, `timeout_at` and the class `Timeout`: a limit of time for a block of code.
//!
//! Native is what happens while there is time left: making one, entering it, moving its deadline, leaving it. For a limit
//! that was exceeded, and for whatever is unusual, asyncio's own methods go on from the same state, which they find under
//! asyncio's names: what becomes of the exception that ends the block differs from version to version.
//!
//! | state | `__aenter__` | `reschedule` | the time is over | `__aexit__` |
//! | --- | --- | --- | --- | --- |
//! | `CREATED` | `ENTERED` | asyncio's error | cannot be | asyncio's error |
//! | `ENTERED` | asyncio's error | a new timer | cancels the task; `EXPIRING` | `EXITED` |
//! | `EXPIRING` | asyncio's error | asyncio's error | cannot be | asyncio's own: `EXPIRED` |
//! | `EXPIRED`, `EXITED` | asyncio's error | asyncio's error | cannot be | asyncio's error |

use core::ffi::{c_int, c_void};
use core::mem::size_of;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::exceptions::{PyAttributeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{ffi, intern};

use super::running;
use crate::coroutine::{self, CoroutineState as Progress, Plan, Step};
use crate::ffi::arguments::{self, Arguments};
use crate::ffi::cell::Slot;
use crate::ffi::errors::made;
use crate::ffi::heap_type::{self, Builder};
use crate::ffi::object::Object;
use crate::ffi::trampoline::{self, none};
use crate::task;

/// The state behind an object's head, under asyncio's names. An empty slot is an attribute that is not there.
#[derive(Default)]
struct Timeout {
    /// A member of asyncio's `_State`.
    state: Slot,
    timer: Slot,
    task: Slot,
    /// How often the task was asked to end when the block began.
    cancelling: Slot,
    when: Slot,
}

/// asyncio's own, as it was when this module was imported.
struct Original {
    init: Object,
    enter: Object,
    exit: Object,
    created: Object,
    entered: Object,
    expiring: Object,
    exited: Object,
}

static ORIGINAL: PyOnceLock<Original> = PyOnceLock::new();
static CORE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
static OFFSET: AtomicUsize = AtomicUsize::new(0);

fn original(py: Python<'_>) -> &'static Original {
    ORIGINAL.get(py).expect("the type is made after asyncio's was looked up")
}

impl Timeout {
    fn place(object: *mut ffi::PyObject) -> *mut Self {
        // SAFETY: an instance has its state at this offset.
        unsafe { object.byte_add(OFFSET.load(Ordering::Relaxed)) }.cast()
    }

    /// # Safety
    /// `object` is an instance of the core's type, and outlives the result.
    unsafe fn of<'a>(object: *mut ffi::PyObject) -> &'a Self {
        // SAFETY: passed on to the caller; `allocate` has filled it.
        unsafe { &*Self::place(object) }
    }

    /// The state of `object`, if it is an instance of the core's type.
    #[inline]
    fn find(object: &Object) -> Option<&Self> {
        // SAFETY: a live object and a type that lives for ever.
        let fits = unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), CORE.load(Ordering::Relaxed)) } != 0;
        // SAFETY: an instance, as was just seen.
        fits.then(|| unsafe { Self::of(object.as_ptr()) })
    }

    fn is(&self, state: &Object) -> bool {
        self.state.as_ptr() == state.as_ptr()
    }

    fn begin(&self, py: Python<'_>, when: Object) {
        self.state.set(original(py).created.clone());
        self.timer.set(none(py));
        self.task.set(none(py));
        self.when.set(when);
    }

    #[inline]
    fn cancel_timer(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(timer) = self.timer.get().filter(|timer| !timer.bind(py).is_none()) {
            timer.bind(py).call_method0(intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// Sets the timer of an entered one.
    #[inline]
    fn set_deadline(&self, py: Python<'_>, myself: &Object, when: &Object) -> PyResult<()> {
        self.when.set(when.clone());
        self.cancel_timer(py)?;
        if when.bind(py).is_none() {
            self.timer.set(none(py));
            return Ok(());
        }
        let event_loop = running::event_loop(py)?;
        let event_loop = event_loop.bind(py);
        let now = event_loop.call_method0(intern!(py, "time"))?;
        let callback = myself.bind(py).getattr(intern!(py, "_on_timeout"));
        let timer = if is_over(when.bind(py), &now)? {
            event_loop.call_method1(intern!(py, "call_soon"), (callback?,))?
        } else {
            event_loop.call_method1(intern!(py, "call_at"), (when.bind(py), callback?))?
        };
        self.timer.set(Object::new(timer));
        Ok(())
    }
}

/// `deadline <= time`.
#[inline]
fn is_over(deadline: &Bound<'_, PyAny>, time: &Bound<'_, PyAny>) -> PyResult<bool> {
    let (when, now) = (deadline.as_ptr(), time.as_ptr());
    // SAFETY: a live object.
    let plain = |value: *mut ffi::PyObject| unsafe { ffi::PyFloat_CheckExact(value) } != 0;
    if plain(when) && plain(now) {
        // SAFETY: a float.
        let when = unsafe { ffi::PyFloat_AS_DOUBLE(when) };
        // SAFETY: a float.
        return Ok(when <= unsafe { ffi::PyFloat_AS_DOUBLE(now) });
    }
    deadline.le(time)
}

// --- making one ------------------------------------------------------------------------------------------------------

/// An instance of `class` whose state is empty.
#[inline]
fn allocate(py: Python<'_>, class: *mut ffi::PyTypeObject) -> PyResult<Object> {
    // SAFETY: a ready type without variable-sized part, the core's or one derived from it.
    let object = unsafe { ffi::PyType_GenericAlloc(class, 0) };
    // SAFETY: a new reference, or null with an exception.
    let object = unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))?;
    // SAFETY: zeroed memory of the state's size and alignment, not yet a state.
    unsafe { Timeout::place(object.as_ptr()).write(Timeout::default()) };
    Ok(object)
}

/// The package's class, as it is when the first one is made.
struct Class {
    object: Object,
    /// Making one by it is no more than [`allocate`] and [`Timeout::begin`]: it has this file's `__new__` and `__init__`.
    is_plain: bool,
}

impl Class {
    fn find(py: Python<'_>) -> PyResult<Self> {
        let object = py.import("ferrio._timeouts")?.getattr("Timeout")?;
        let is_plain = object.cast::<PyType>().is_ok_and(Self::is_plain);
        Ok(Self { object: Object::new(object), is_plain })
    }

    fn is_plain(class: &Bound<'_, PyType>) -> bool {
        let class = class.as_type_ptr();
        // SAFETY: two live types.
        if unsafe { ffi::PyType_IsSubtype(class, CORE.load(Ordering::Relaxed)) } == 0 {
            return false;
        }
        // SAFETY: a live type.
        let making = unsafe { (*class).tp_new };
        // SAFETY: as above.
        let beginning = unsafe { (*class).tp_init };
        making.is_some_and(|making| making as usize == new as *const () as usize)
            && beginning.is_some_and(|beginning| beginning as usize == init as *const () as usize)
    }
}

/// `Timeout(when)`, of the package's class.
#[inline]
fn make(py: Python<'_>, when: Object) -> PyResult<Object> {
    static CLASS: PyOnceLock<Class> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || Class::find(py))?;
    if !class.is_plain {
        // A program has put another one there.
        return class.object.bind(py).call1((when.bind(py),)).map(Object::new);
    }
    let object = allocate(py, class.object.as_ptr().cast())?;
    // SAFETY: an instance of the class, which is derived from the core's type (`is_plain`).
    unsafe { Timeout::of(object.as_ptr()) }.begin(py, when);
    Ok(object)
}

/// `Timeout(loop.time() + delay)`, for no delay `Timeout(None)`.
#[inline]
fn make_relative(py: Python<'_>, delay: Object) -> PyResult<Object> {
    let event_loop = running::event_loop(py)?;
    if delay.bind(py).is_none() {
        return make(py, delay);
    }
    let now = event_loop.bind(py).call_method0(intern!(py, "time"))?;
    // SAFETY: two live objects.
    let when = unsafe { ffi::PyNumber_Add(now.as_ptr(), delay.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    make(py, unsafe { Object::from_owned(when) }.ok_or_else(|| PyErr::fetch(py))?)
}

/// The one argument of a call, positional or called `name`.
#[inline]
fn only(py: Python<'_>, arguments: Arguments<'_>, name: &str) -> Option<Object> {
    let value = match *arguments.positional_addresses() {
        [value] if arguments.has_no_keywords() => value,
        [] => {
            let mut keywords = arguments.keywords(py);
            let (given, value) = keywords.next()?;
            if keywords.next().is_some() || given.to_string() != name {
                return None;
            }
            value
        }
        _ => return None,
    };
    // SAFETY: an argument of the call under way.
    Some(unsafe { Object::from_borrowed(value) })
}

/// `timeout(delay)`.
pub(super) fn timeout(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    only(py, arguments, "delay").map(|delay| make_relative(py, delay)).transpose()
}

/// `timeout_at(when)`.
pub(super) fn timeout_at(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    only(py, arguments, "when").map(|when| make(py, when)).transpose()
}

// --- its methods -----------------------------------------------------------------------------------------------------

/// A limit of time for a native coroutine: `async with timeout(delay)` without the block.
pub(super) struct Limit(Object);

impl Limit {
    /// Makes and enters one; `None`: no task runs, about which asyncio's own function has the words.
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
        Timeout::find(&object).is_some().then_some(Self(object))
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
        let nothing = none(py).into_bound(py);
        let details = match error {
            None => (nothing.clone(), nothing.clone(), nothing.clone()),
            Some(error) => {
                let traceback = error.traceback(py).map_or_else(|| nothing.clone(), Bound::into_any);
                (error.get_type(py).into_any(), error.value(py).clone().into_any(), traceback)
            }
        };
        let (class, value, traceback) = details;
        let coroutine = original(py).exit.bind(py).call1((self.0.bind(py), class, value, traceback))?;
        match coroutine.call_method1(intern!(py, "send"), (&nothing,)) {
            Err(end) if end.is_instance_of::<PyStopIteration>(py) => Ok(()),
            Err(raised) => {
                // `async with` handles `error` while it leaves, which makes that the context of what is raised.
                if let Some(error) = error {
                    raised.set_context(py, Some(error.clone_ref(py)));
                }
                Err(raised)
            }
            Ok(_) => coroutine.call_method0(intern!(py, "close")).map(drop),
        }
    }
}

/// `__aenter__`; `false`: asyncio's own is to be run.
#[inline]
fn enter_now(py: Python<'_>, object: &Object) -> PyResult<bool> {
    let Some(timeout) = Timeout::find(object) else { return Ok(false) };
    let original = original(py);
    if !timeout.is(&original.created) {
        return Ok(false);
    }
    let Some(when) = timeout.when.get() else { return Ok(false) };
    let parent = running::task(py)?;
    if parent.bind(py).is_none() {
        return Ok(false);
    }
    timeout.state.set(original.entered.clone());
    timeout.task.set(parent.clone());
    timeout.cancelling.set(task::cancelling(py, &parent)?);
    timeout.set_deadline(py, object, &when)?;
    Ok(true)
}

/// `__aexit__`; `false`: asyncio's own is to be run.
#[inline]
fn leave_now(py: Python<'_>, object: &Object) -> PyResult<bool> {
    let Some(timeout) = Timeout::find(object) else { return Ok(false) };
    let original = original(py);
    if !timeout.is(&original.entered) {
        return Ok(false);
    }
    timeout.cancel_timer(py)?;
    timeout.timer.set(none(py));
    timeout.state.set(original.exited.clone());
    Ok(true)
}

static ENTER: Plan = Plan { qualified_name: "Timeout.__aenter__", start: enter_start, resume: pass_on };
static EXIT: Plan = Plan { qualified_name: "Timeout.__aexit__", start: exit_start, resume: pass_on };

/// asyncio's own method has ended.
fn pass_on(_: Python<'_>, _: &Progress, outcome: PyResult<Object>) -> PyResult<Step> {
    outcome.map(Step::Return)
}

fn enter_start(py: Python<'_>, progress: &Progress) -> PyResult<Step> {
    let owner = progress.owner.get().unwrap_or_else(|| none(py));
    if enter_now(py, &owner)? {
        return Ok(Step::Return(owner));
    }
    let coroutine = original(py).enter.bind(py).call1((owner.bind(py),))?;
    progress.wait_for(py, Object::new(coroutine))
}

fn exit_start(py: Python<'_>, progress: &Progress) -> PyResult<Step> {
    let owner = progress.owner.get().unwrap_or_else(|| none(py));
    if leave_now(py, &owner)? {
        return Ok(Step::Return(none(py)));
    }
    let exit = original(py).exit.bind(py);
    let coroutine = match progress.item.take() {
        Some(given) => {
            let given = given.bind(py).cast::<PyTuple>()?;
            let (class, error, traceback) = (given.get_item(0)?, given.get_item(1)?, given.get_item(2)?);
            exit.call1((owner.bind(py), class, error, traceback))?
        }
        None => exit.call1((owner.bind(py), py.None(), py.None(), py.None()))?,
    };
    progress.wait_for(py, Object::new(coroutine))
}

/// `__aenter__(self)`.
pub(super) fn enter(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    coroutine::make(py, &ENTER, unsafe { Object::from_borrowed(owner) }, None).map(Some)
}

/// `__aexit__(self, class, error, traceback)`.
pub(super) fn exit(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let given = arguments.positional_addresses();
    let (&[owner, class, _, _], true) = (given, arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: a singleton of the interpreter.
    let given = if class == unsafe { ffi::Py_None() } { None } else { Some(arguments::tuple(py, &given[1..])?) };
    // SAFETY: an argument of the call under way.
    coroutine::make(py, &EXIT, unsafe { Object::from_borrowed(owner) }, given).map(Some)
}

/// `reschedule(self, when)`.
pub(super) fn reschedule(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner, when], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else {
        return Ok(None);
    };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let Some(timeout) = Timeout::find(&owner).filter(|timeout| timeout.is(&original(py).entered)) else {
        return Ok(None);
    };
    // SAFETY: an argument of the call under way.
    timeout.set_deadline(py, &owner, &unsafe { Object::from_borrowed(when) })?;
    Ok(Some(none(py)))
}

/// `_on_timeout(self)`: what the timer calls.
pub(super) fn on_timeout(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (&[owner], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else { return Ok(None) };
    // SAFETY: an argument of the call under way.
    let owner = unsafe { Object::from_borrowed(owner) };
    let original = original(py);
    let Some(timeout) = Timeout::find(&owner).filter(|timeout| timeout.is(&original.entered)) else {
        return Ok(None);
    };
    let task = timeout.task.get().unwrap_or_else(|| none(py));
    task.bind(py).call_method0(intern!(py, "cancel"))?;
    timeout.state.set(original.expiring.clone());
    timeout.timer.set(none(py));
    Ok(Some(none(py)))
}

// --- the type --------------------------------------------------------------------------------------------------------

unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls this on an attached thread, with the core's type or one derived from it.
    unsafe { trampoline::object(|py| allocate(py, class)) }
}

/// `__init__(self, when)`.
unsafe extern "C" fn init(object: *mut ffi::PyObject, args: *mut ffi::PyObject, keywords: *mut ffi::PyObject) -> c_int {
    let body = |py: Python<'_>| -> PyResult<c_int> {
        // SAFETY: CPython passes a tuple.
        let args = unsafe { Bound::from_borrowed_ptr(py, args) }.cast_into::<PyTuple>()?;
        if keywords.is_null() && args.len() == 1 {
            // SAFETY: the slot belongs to the type.
            unsafe { Timeout::of(object) }.begin(py, Object::new(args.get_item(0)?));
            return Ok(0);
        }
        // asyncio's own takes `when` by its name, and complains of what it does not take.
        // SAFETY: the object of the call.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        let args: Vec<_> = core::iter::once(object).chain(args.iter()).collect();
        // SAFETY: CPython passes a dictionary, or null for none.
        let keywords = unsafe { Bound::from_borrowed_ptr_or_opt(py, keywords) };
        let keywords = keywords.map(Bound::cast_into::<PyDict>).transpose()?;
        original(py).init.bind(py).call(PyTuple::new(py, args)?, keywords.as_ref())?;
        Ok(0)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(-1, body) }
}

unsafe fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: an object that nobody refers to any more.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: the state that `allocate` put there, ended once.
    unsafe { Timeout::place(object).drop_in_place() };
    // SAFETY: the type outlives its instances.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: a live type.
    if let Some(free) = unsafe { (*class).tp_free } {
        // SAFETY: memory from the type's allocator, untracked.
        unsafe { free(object.cast()) };
    }
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector visits live instances.
    let timeout = unsafe { Timeout::of(object) };
    // SAFETY: the type of a live object.
    let class: *mut ffi::PyObject = unsafe { ffi::Py_TYPE(object) }.cast();
    let slots = [&timeout.state, &timeout.timer, &timeout.task, &timeout.cancelling, &timeout.when];
    for value in slots.into_iter().map(Slot::as_ptr).chain([class]) {
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
    // SAFETY: an instance.
    let timeout = unsafe { Timeout::of(object) };
    let slots = [&timeout.state, &timeout.timer, &timeout.task, &timeout.cancelling, &timeout.when];
    drop(slots.map(Slot::take));
    0
}

/// `attribute!(name, get, set, field)`: an attribute that shows a slot.
macro_rules! attribute {
    ($name:literal, $get:ident, $set:ident, $field:ident) => {
        heap_type::getter!($get, |py, object| {
            // SAFETY: the getter belongs to the type.
            let slot = &unsafe { Timeout::of(object) }.$field;
            slot.get().ok_or_else(|| missing(py, object, $name))
        });

        heap_type::setter!($set, |_py, object, value| {
            // SAFETY: the setter belongs to the type.
            let slot = &unsafe { Timeout::of(object) }.$field;
            match value {
                None => drop(slot.take()),
                Some(value) => slot.set(value),
            }
            Ok(())
        });
    };
}

fn missing(py: Python<'_>, object: *mut ffi::PyObject, name: &str) -> PyErr {
    // SAFETY: the object whose attribute was asked for.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    let class = object.get_type().name().map_or_else(|_| "Timeout".to_owned(), |name| name.to_string());
    PyAttributeError::new_err(format!("'{class}' object has no attribute '{name}'"))
}

attribute!("_state", get_state, set_state, state);
attribute!("_timeout_handler", get_timer, set_timer, timer);
attribute!("_task", get_task, set_task, task);
attribute!("_cancelling", get_cancelling, set_cancelling, cancelling);
attribute!("_when", get_when, set_when, when);

/// Looks asyncio's own up, makes the type and adds it to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let asyncio = py.import("asyncio.timeouts")?;
    let (class, states) = (asyncio.getattr("Timeout")?, asyncio.getattr("_State")?);
    let method = |name: &str| class.getattr(name).map(Object::new);
    let state = |name: &str| states.getattr(name).map(Object::new);
    let found = Original {
        init: method("__init__")?,
        enter: method("__aenter__")?,
        exit: method("__aexit__")?,
        created: state("CREATED")?,
        entered: state("ENTERED")?,
        expiring: state("EXPIRING")?,
        exited: state("EXITED")?,
    };
    let _ = ORIGINAL.set(py, found);
    let base = py.get_type::<PyAny>();
    OFFSET.store(heap_type::state_offset(&base), Ordering::Relaxed);
    let class = Builder::new(c"ferrio._ferrio.TimeoutCore", c"The state of a limit of time, under asyncio's names.")
        .subclassable()
        .attribute(c"_state", get_state, Some(set_state))
        .attribute(c"_timeout_handler", get_timer, Some(set_timer))
        .attribute(c"_task", get_task, Some(set_task))
        .attribute(c"_cancelling", get_cancelling, Some(set_cancelling))
        .attribute(c"_when", get_when, Some(set_when))
        .slots([
            (ffi::Py_tp_new, new as *mut c_void),
            (ffi::Py_tp_init, init as *mut c_void),
            trampoline::slot!(tp_dealloc, deallocate),
            trampoline::slot!(tp_traverse, traverse),
            trampoline::slot!(tp_clear, clear),
        ])
        .build(py, &base, size_of::<Timeout>())?;
    // The type lives as long as the process.
    CORE.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    module.add("TimeoutCore", class)
}

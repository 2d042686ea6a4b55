//! `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`, `time`.
//!
//! The hottest methods of a loop: they are added to the type as vectorcall methods, without PyO3's argument parsing.

use ferrio_engine::sys::clock;
use ferrio_engine::time::Nanos;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyType};

use super::timer;
use crate::core::LoopCore;
use crate::ffi::arguments::{Arguments, unexpected_keyword};
use crate::ffi::heap_type::{add_method, fast, fast_def, no_arguments, no_arguments_def};
use crate::ffi::object::Object;
use crate::handle::{self, Kind, Recipe, TimerRef};
use crate::task;

/// `([delay or when,] callback, *args, context=None)`.
struct Call<'a> {
    time: Option<*mut ffi::PyObject>,
    callback: *mut ffi::PyObject,
    args: &'a [*mut ffi::PyObject],
    context: Option<*mut ffi::PyObject>,
}

/// Parses a call whose parameters before `args` are `names`: the callback, or a time and the callback.
#[expect(clippy::inline_always, reason = "four callers; the result would travel through memory otherwise")]
#[inline(always)]
fn parse<'a>(
    py: Python<'_>,
    function: &'static str,
    names: &'static [&'static str],
    arguments: Arguments<'a>,
) -> PyResult<Call<'a>> {
    if !arguments.has_no_keywords() {
        return parse_keywords(py, function, names, arguments);
    }
    match (names.len(), arguments.positional_addresses()) {
        (1, [callback, args @ ..]) => Ok(Call { time: None, callback: *callback, args, context: None }),
        (2, [time, callback, args @ ..]) => Ok(Call { time: Some(*time), callback: *callback, args, context: None }),
        (_, given) => Err(missing(function, &names[given.len()..])),
    }
}

/// [`parse`] with keywords, of which `context` is the usual one.
#[inline(never)]
fn parse_keywords<'a>(
    py: Python<'_>,
    function: &'static str,
    names: &'static [&'static str],
    arguments: Arguments<'a>,
) -> PyResult<Call<'a>> {
    let positional = arguments.positional_addresses();
    let split = positional.len().min(names.len());
    let mut given = [None; 2];
    for (place, &value) in given.iter_mut().zip(&positional[..split]) {
        *place = Some(value);
    }
    let mut context = None;
    for (name, value) in arguments.keywords(py) {
        let text = name.to_string();
        if text == "context" {
            context = Some(value);
        } else if let Some(index) = names.iter().position(|&known| known == text) {
            if given[index].replace(value).is_some() {
                return Err(PyTypeError::new_err(format!("{function}() got multiple values for argument '{text}'")));
            }
        } else {
            return Err(unexpected_keyword(function, &name));
        }
    }
    let absent: Vec<&str> =
        (0..names.len()).filter(|&index| given[index].is_none()).map(|index| names[index]).collect();
    let (Some(&callback), true) = (given[names.len() - 1].as_ref(), absent.is_empty()) else {
        return Err(missing(function, &absent));
    };
    let context = context.filter(|&context| {
        // SAFETY: a singleton of the interpreter.
        context != unsafe { ffi::Py_None() }
    });
    let time = if names.len() == 2 { given[0] } else { None };
    Ok(Call { time, callback, args: &positional[split..], context })
}

#[cold]
fn missing(function: &str, absent: &[&str]) -> PyErr {
    let names: Vec<String> = absent.iter().map(|name| format!("'{name}'")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    PyTypeError::new_err(format!(
        "{function}() missing {} required positional argument{plural}: {}",
        names.len(),
        names.join(" and ")
    ))
}

/// Debug mode's checks: the calling thread, and that the callback is a plain callable.
#[cold]
fn check_in_debug(
    py: Python<'_>,
    event_loop: *mut ffi::PyObject,
    callback: *mut ffi::PyObject,
    function: &str,
    any_thread: bool,
) -> PyResult<()> {
    // SAFETY: the object of the method call.
    let event_loop = unsafe { Bound::from_borrowed_ptr(py, event_loop) };
    // SAFETY: an argument of the call.
    let callback = unsafe { Bound::from_borrowed_ptr(py, callback) };
    if !any_thread {
        event_loop.call_method0("_check_thread")?;
    }
    event_loop.call_method1("_check_callback", (callback, function))?;
    Ok(())
}

fast!(call_soon, |py, object, arguments| {
    // SAFETY: a method of the core's type.
    let core = unsafe { LoopCore::of(py, object) };
    let call = parse(py, "call_soon", &["callback"], arguments)?;
    core.check_closed()?;
    let debug = core.is_debug();
    let callable = task::callable_in_place_of(py, call.callback)?;
    let callback = callable.as_ref().map_or(call.callback, Object::as_ptr);
    if debug {
        check_in_debug(py, object, callback, "call_soon", false)?;
    }
    let handle = Recipe {
        kind: Kind::Plain,
        event_loop: object,
        callback,
        args: call.args,
        context: call.context,
        trace: debug,
    }
    .make(py)?;
    core.push_ready(py, handle::entry(handle.clone()));
    Ok(handle)
});

fast!(call_soon_threadsafe, |py, object, arguments| {
    // SAFETY: a method of the core's type.
    let core = unsafe { LoopCore::of(py, object) };
    let call = parse(py, "call_soon_threadsafe", &["callback"], arguments)?;
    core.check_closed()?;
    let debug = core.is_debug();
    if debug {
        check_in_debug(py, object, call.callback, "call_soon_threadsafe", true)?;
    }
    // Since 3.14 cancelling such a handle from another thread waits while its callback runs.
    let handle = Recipe {
        kind: if cfg!(Py_3_14) { Kind::ThreadSafe } else { Kind::Plain },
        event_loop: object,
        callback: call.callback,
        args: call.args,
        context: call.context,
        trace: debug,
    }
    .make(py)?;
    core.push_from_any_thread(py, handle::entry(handle.clone()));
    Ok(handle)
});

/// Enters a timer for `when` seconds on the loop's clock.
fn schedule_at(
    py: Python<'_>,
    core: &LoopCore,
    object: *mut ffi::PyObject,
    when: f64,
    when_object: Option<Object>,
    call: &Call<'_>,
) -> PyResult<Object> {
    core.check_closed()?;
    let debug = core.is_debug();
    if debug {
        // asyncio's `call_later` goes through `call_at`, and so do the words of its complaint.
        check_in_debug(py, object, call.callback, "call_at", false)?;
    }
    let handle = Recipe {
        kind: Kind::Timer,
        event_loop: object,
        callback: call.callback,
        args: call.args,
        context: call.context,
        trace: debug,
    }
    .make(py)?;
    // SAFETY: a new timer handle.
    let timer = unsafe { TimerRef::schedule(py, handle.clone(), when, when_object) };
    core.with_reactor(py, |reactor| reactor.timers.push(Nanos::from_secs_f64_ceil(when), timer::of_handle(timer)));
    Ok(handle)
}

fn seconds(py: Python<'_>, value: Option<*mut ffi::PyObject>, none: &'static str) -> PyResult<f64> {
    let Some(value) = value else { return Err(PyTypeError::new_err(none)) };
    // SAFETY: an argument of the call.
    if unsafe { ffi::PyFloat_CheckExact(value) } != 0 {
        // SAFETY: a float.
        return Ok(unsafe { ffi::PyFloat_AS_DOUBLE(value) });
    }
    // SAFETY: an argument of the call.
    if unsafe { ffi::PyLong_CheckExact(value) } != 0 {
        // SAFETY: an integer; one too large for a float is an exception.
        let seconds = unsafe { ffi::PyLong_AsDouble(value) };
        #[expect(clippy::float_cmp, reason = "exactly -1 stands for an error, and for -1")]
        return if seconds == -1.0 { PyErr::take(py).map_or(Ok(seconds), Err) } else { Ok(seconds) };
    }
    // SAFETY: an argument of the call.
    let value = unsafe { Bound::from_borrowed_ptr(py, value) };
    if value.is_none() {
        return Err(PyTypeError::new_err(none));
    }
    value.extract()
}

fast!(call_later_method, |py, object, arguments| {
    let call = parse(py, "call_later", &["delay", "callback"], arguments)?;
    let delay = seconds(py, call.time, "delay must not be None")?;
    // SAFETY: a method of the core's type.
    schedule_at(py, unsafe { LoopCore::of(py, object) }, object, now_s() + delay, None, &call)
});

fast!(call_at, |py, object, arguments| {
    let call = parse(py, "call_at", &["when", "callback"], arguments)?;
    let when = seconds(py, call.time, "when cannot be None")?;
    // SAFETY: an argument of the call.
    let when_object = call.time.map(|time| unsafe { Object::from_borrowed(time) });
    // SAFETY: a method of the core's type.
    schedule_at(py, unsafe { LoopCore::of(py, object) }, object, when, when_object, &call)
});

/// Seconds on the loop's clock, exactly as `time.monotonic()` rounds them.
fn now_s() -> f64 {
    clock::now().as_secs_f64()
}

no_arguments!(time, |py, _object| Ok(Object::new(PyFloat::new(py, now_s()))));

/// Schedules from Rust: `loop.call_soon(callback, *args, context=context)`.
pub(crate) fn schedule(
    py: Python<'_>,
    event_loop: &Object,
    callback: &Bound<'_, PyAny>,
    args: &[*mut ffi::PyObject],
    context: Option<&Object>,
) -> PyResult<()> {
    let Some(core) = LoopCore::find(py, event_loop.as_ptr()) else {
        return Err(PyTypeError::new_err("a loop of Ferrio's is required here"));
    };
    core.schedule(py, event_loop.as_ptr(), callback.as_ptr(), args, context)
}

impl LoopCore {
    /// `call_soon(callback, *args, context=context)` of this core's loop.
    pub(crate) fn schedule(
        &self,
        py: Python<'_>,
        event_loop: *mut ffi::PyObject,
        callback: *mut ffi::PyObject,
        args: &[*mut ffi::PyObject],
        context: Option<&Object>,
    ) -> PyResult<()> {
        self.check_closed()?;
        let context = context.map(Object::as_ptr);
        let handle =
            Recipe { kind: Kind::Plain, event_loop, callback, args, context, trace: self.is_debug() }.make(py)?;
        self.push_ready(py, handle::entry(handle));
        Ok(())
    }
}

/// `loop.call_later(delay, callback, *args)` from Rust, of the loop at `event_loop`, whose core is `core`.
pub(crate) fn call_later(
    py: Python<'_>,
    core: &LoopCore,
    event_loop: *mut ffi::PyObject,
    delay: *mut ffi::PyObject,
    callback: *mut ffi::PyObject,
    args: &[*mut ffi::PyObject],
) -> PyResult<Object> {
    let delay = seconds(py, Some(delay), "delay must not be None")?;
    schedule_at(py, core, event_loop, now_s() + delay, None, &Call { time: None, callback, args, context: None })
}

/// Gives the pending `ferrio.Future` its result, `None`, after `delay`: a timer that needs no handle.
pub(crate) fn wake_later(py: Python<'_>, core: &LoopCore, delay: *mut ffi::PyObject, future: Object) -> PyResult<()> {
    let delay = seconds(py, Some(delay), "delay must not be None")?;
    core.check_closed()?;
    let when = Nanos::from_secs_f64_ceil(now_s() + delay);
    core.with_reactor(py, |reactor| reactor.timers.push(when, timer::of_sleep(future)));
    Ok(())
}

/// Schedules `callback(*args)` to run with what the next poll finds, behind it: for a descriptor known to be ready.
pub(crate) fn schedule_behind_poll(
    py: Python<'_>,
    core: &LoopCore,
    event_loop: *mut ffi::PyObject,
    callback: &Bound<'_, PyAny>,
    args: &[*mut ffi::PyObject],
) -> PyResult<()> {
    let recipe = Recipe {
        kind: Kind::Plain,
        event_loop,
        callback: callback.as_ptr(),
        args,
        context: None,
        trace: core.is_debug(),
    };
    core.push_behind_poll(py, handle::entry(recipe.make(py)?));
    Ok(())
}

/// Adds the methods to the core's type.
pub(super) fn add(class: &Bound<'_, PyType>) -> PyResult<()> {
    add_method(
        class,
        fast_def(
            c"call_soon",
            call_soon,
            c"call_soon($self, callback, *args, context=None)\n--\n\n\
              Run callback(*args) in the next turn.\n\n\
              Args:\n    callback: Called on the loop thread.\n    context: Context to run in; a copy of the caller's \
              when omitted.\n\nReturns:\n    A Handle that can cancel the call.\n\nRaises:\n    RuntimeError: The loop is \
              closed, or (debug mode) this is another thread.\n\nLoop thread only; elsewhere call_soon_threadsafe. Follows \
              asyncio.loop.call_soon.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"call_soon_threadsafe",
            call_soon_threadsafe,
            c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n\
              Run callback(*args) in the next turn, and wake the loop if it sleeps. From any thread.\n\n\
              Raises:\n    RuntimeError: The loop is closed.\n\n\
              From Python 3.14 on, cancelling the handle from another thread waits while its callback runs. Follows \
              asyncio.loop.call_soon_threadsafe.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"call_later",
            call_later_method,
            c"call_later($self, delay, callback, *args, context=None)\n--\n\n\
              Run callback(*args) once, no sooner than delay seconds from now.\n\n\
              Args:\n    delay: Seconds, may be fractional; 0 or less means the next turn. Counted in nanoseconds, \
              rounded up.\n\nReturns:\n    A TimerHandle.\n\nRaises:\n    RuntimeError: The loop is closed, or (debug \
              mode) this is another thread.\n    TypeError: delay is None.\n\nLoop thread only. Follows \
              asyncio.loop.call_later.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"call_at",
            call_at,
            c"call_at($self, when, callback, *args, context=None)\n--\n\n\
              Run callback(*args) once, no sooner than the loop's clock shows when.\n\n\
              Args:\n    when: Seconds on the clock of time().\n\nFollows asyncio.loop.call_at.",
        ),
    )?;
    add_method(
        class,
        no_arguments_def(
            c"time",
            time,
            c"time($self)\n--\n\nSeconds on the loop's clock, which is that of time.monotonic().",
        ),
    )
}

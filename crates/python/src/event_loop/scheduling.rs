//! `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`, `time`.
//!
//! The hottest methods of a loop: vectorcall methods that parse their arguments themselves.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use crate::core::{LoopBuilder, LoopCore};
use crate::ffi::arguments::{Arguments, unexpected_keyword};
use crate::ffi::class::Instance;
use crate::ffi::method::Method;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::handle;
use crate::handle::scheduling::{ScheduledCall, check_in_debug, now_s, schedule_at, seconds};
use crate::task;

/// Parses a call whose parameters before `args` are `names`: the callback, or a time and the callback.
#[expect(clippy::inline_always, reason = "four callers; the result would travel through memory otherwise")]
#[inline(always)]
fn parse<'a>(
    py: Python<'_>,
    function: &'static str,
    names: &'static [&'static str],
    arguments: Arguments<'a>,
) -> PyResult<ScheduledCall<'a>> {
    if !arguments.has_no_keywords() {
        return parse_keywords(py, function, names, arguments);
    }
    match (names.len(), arguments.positional()) {
        (1, [callback, args @ ..]) => Ok(ScheduledCall { time: None, callback, args, context: None }),
        (2, [time, callback, args @ ..]) => Ok(ScheduledCall { time: Some(time), callback, args, context: None }),
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
) -> PyResult<ScheduledCall<'a>> {
    let positional = arguments.positional();
    let split = positional.len().min(names.len());
    let mut given = [None; 2];
    for (place, value) in given.iter_mut().zip(&positional[..split]) {
        *place = Some(value);
    }
    let mut context = None;
    for (name, value) in arguments.named(py) {
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
    let (Some(callback), true) = (given[names.len() - 1], absent.is_empty()) else {
        return Err(missing(function, &absent));
    };
    let context = context.filter(|context: &&Object| !context.is_none());
    let time = if names.len() == 2 { given[0] } else { None };
    Ok(ScheduledCall { time, callback, args: &positional[split..], context })
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

fn call_soon(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    let call = parse(py, "call_soon", &["callback"], arguments)?;
    event_loop.check_closed()?;
    let debug = event_loop.is_debug();
    let callable = task::callable_in_place_of(py, call.callback)?;
    let callback = callable.as_ref().unwrap_or(call.callback);
    if debug {
        check_in_debug(py, event_loop, callback, "call_soon", false)?;
    }
    let handle = call.recipe(event_loop.object(), callback, debug).make_for_queue(py, event_loop)?;
    event_loop.push_ready(py, handle::entry(handle.clone()));
    Ok(handle)
}

fn call_soon_threadsafe(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    let call = parse(py, "call_soon_threadsafe", &["callback"], arguments)?;
    event_loop.check_closed()?;
    let debug = event_loop.is_debug();
    if debug {
        check_in_debug(py, event_loop, call.callback, "call_soon_threadsafe", true)?;
    }
    let handle = call.recipe(event_loop.object(), call.callback, debug).make_for_threads(py, event_loop)?;
    event_loop.push_from_any_thread(py, handle::entry(handle.clone()));
    Ok(handle)
}

fn call_later_method(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    let call = parse(py, "call_later", &["delay", "callback"], arguments)?;
    let (when, when_object) = event_loop.deadline(py, call.time)?;
    schedule_at(py, event_loop, when, when_object, &call)
}

fn call_at(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    let call = parse(py, "call_at", &["when", "callback"], arguments)?;
    let when = seconds(py, call.time, "when cannot be None")?;
    schedule_at(py, event_loop, when, call.time.cloned(), &call)
}

fn time(py: Python<'_>, event_loop: &Instance<LoopCore>) -> PyResult<Object> {
    if event_loop.follows_program() {
        // The program may have replaced it.
        return OBJECTS.time.bind(py)?.call_method0("monotonic").map(Object::new);
    }
    Ok(Object::new(PyFloat::new(py, now_s())))
}

/// Adds the methods to the core's type.
pub(super) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(Method::any_arguments(
            c"call_soon",
            call_soon,
            c"call_soon($self, callback, *args, context=None)\n--\n\n\
              Run callback(*args) in the next turn.\n\n\
              Args:\n    callback: Called on the loop thread.\n    context: Context to run in; a copy of the caller's \
              when omitted.\n\nReturns:\n    A Handle that can cancel the call.\n\nRaises:\n    RuntimeError: The loop is \
              closed, or (debug mode) this is another thread.\n\nLoop thread only; elsewhere call_soon_threadsafe. Follows \
              asyncio.loop.call_soon.",
        ))
        .method(Method::any_arguments(
            c"call_soon_threadsafe",
            call_soon_threadsafe,
            c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n\
              Run callback(*args) in the next turn, and wake the loop if it sleeps. From any thread.\n\n\
              Raises:\n    RuntimeError: The loop is closed.\n\n\
              From Python 3.14 on, cancelling the handle from another thread waits while its callback runs. Follows \
              asyncio.loop.call_soon_threadsafe.",
        ))
        .method(Method::any_arguments(
            c"call_later",
            call_later_method,
            c"call_later($self, delay, callback, *args, context=None)\n--\n\n\
              Run callback(*args) once, no sooner than delay seconds from now.\n\n\
              Args:\n    delay: Seconds, may be fractional; 0 or less means the next turn. Counted in nanoseconds, \
              rounded up.\n\nReturns:\n    A TimerHandle.\n\nRaises:\n    RuntimeError: The loop is closed, or (debug \
              mode) this is another thread.\n    TypeError: delay is None.\n\nLoop thread only. Follows \
              asyncio.loop.call_later.",
        ))
        .method(Method::any_arguments(
            c"call_at",
            call_at,
            c"call_at($self, when, callback, *args, context=None)\n--\n\n\
              Run callback(*args) once, no sooner than the loop's clock shows when.\n\n\
              Args:\n    when: Seconds on the clock of time().\n\nFollows asyncio.loop.call_at.",
        ))
        .method(Method::no_arguments(
            c"time",
            time,
            c"time($self)\n--\n\nSeconds on the loop's clock, which is that of time.monotonic().",
        ))
        .method(Method::no_arguments(
            c"_look_at_handles",
            |py, event_loop: &Instance<LoopCore>| event_loop.look_at_handles(py),
            c"Note whether a program has replaced asyncio's Handle._run. Each turn looks again.",
        ))
}

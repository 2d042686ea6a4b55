//! `_add_reader`, `_add_writer` and their removals: callbacks on descriptors, named by number.
//!
//! The table of callbacks is in `net/watch.rs`. Waiters of `sock_*` for the same number make room here.

#![forbid(unsafe_code)]

use std::os::fd::RawFd;

use ferrio_engine::backend::{Backend, Interest};
use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::core::{Direction, LoopBuilder, LoopCore};
use crate::ffi::arguments::{Arguments, unexpected_keyword};
use crate::ffi::class::Instance;
use crate::ffi::errors::made;
use crate::ffi::method::Method;
use crate::ffi::object::Object;
use crate::handle::Recipe;
use crate::net::{raw, watch};

/// The number of a descriptor or of an object with `fileno()`, with the errors of `selectors`.
fn number(file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    if file.is_instance_of::<PyInt>() {
        return whole_number(file);
    }
    let py = file.py();
    let number = file.call_method0("fileno").and_then(|number| py.get_type::<PyInt>().call1((number,)));
    whole_number(&number.map_err(|error| {
        let is_no_file = error.is_instance_of::<PyAttributeError>(py)
            || error.is_instance_of::<PyTypeError>(py)
            || error.is_instance_of::<PyValueError>(py);
        if is_no_file { PyValueError::new_err(format!("Invalid file object: {}", repr(file))) } else { error }
    })?)
}

fn whole_number(number: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    if number.lt(0)? {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {}", number.str()?)));
    }
    number
        .extract::<i64>()
        .ok()
        .and_then(|number| RawFd::try_from(number).ok())
        .ok_or_else(|| PyOverflowError::new_err("Python int too large to convert to C int"))
}

/// As [`number`], for a file that may have been closed since it was registered: it is found by itself then.
fn number_of_registered(py: Python<'_>, core: &LoopCore, file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    number(file).or_else(|error| watch::number_of(py, core, Object::of(file)).ok_or(error))
}

fn repr(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(|_| "<unprintable>".to_owned(), |text| text.to_string())
}

/// Sets the callback of one direction; a callback that it replaces is cancelled.
fn add(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    arguments: Arguments<'_>,
    direction: Direction,
) -> PyResult<Object> {
    let function = if direction == Direction::Read { "_add_reader" } else { "_add_writer" };
    event_loop.check_closed()?;
    let [file, callback, args @ ..] = arguments.positional() else {
        return Err(PyTypeError::new_err(format!("{function}() takes a file descriptor and a callback")));
    };
    let mut context = None;
    for (name, value) in arguments.named(py) {
        if name.eq("context")? {
            context = (!value.is_none()).then_some(value);
        } else {
            return Err(unexpected_keyword(function, &name));
        }
    }
    let fd = number(file.bind(py))?;
    let recipe = Recipe { event_loop: event_loop.object(), callback, args, context, trace: event_loop.is_debug() };
    let handle = recipe.make(py)?;
    let known = watch::key_of(py, event_loop, fd);
    let key = if let Some(key) = known {
        key
    } else {
        let waiting = raw::release(py, event_loop, fd, None)?;
        let key = watch::attach(py, event_loop, fd, file.clone())?;
        for (other, waiter) in waiting.into_iter().filter(|&(waiting, _)| waiting != direction) {
            raw::behind_handle(py, event_loop, fd, other, &waiter)?;
        }
        key
    };
    watch::install(py, event_loop, fd, key, direction, handle, known.is_none())
}

impl LoopCore {
    /// What is watched for a number, by `add_reader`, `add_writer` or `sock_*`.
    pub(super) fn watched(&self, py: Python<'_>, fd: RawFd) -> Interest {
        let key = watch::key_of(py, self, fd);
        let key =
            key.or_else(|| raw::numbers(py, self).into_iter().find(|&(number, _)| number == fd).map(|(_, key)| key));
        key.map_or(Interest::NONE, |key| self.with_reactor(py, |reactor| reactor.backend.watched(key)))
    }

    /// The numbers for which [`Self::watched`] tells of something.
    pub(super) fn watched_numbers(&self, py: Python<'_>) -> Vec<RawFd> {
        let sockets = raw::numbers(py, self);
        let waiting = self.with_reactor(py, |reactor| {
            sockets.into_iter().filter(|&(_, key)| !reactor.backend.watched(key).is_none()).collect::<Vec<_>>()
        });
        let mut numbers = watch::numbers(py, self);
        numbers.extend(waiting.into_iter().map(|(fd, _)| fd));
        numbers
    }
}

fn add_reader(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    add(py, event_loop, arguments, Direction::Read)
}

fn add_writer(py: Python<'_>, event_loop: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    add(py, event_loop, arguments, Direction::Write)
}

/// Ends one direction of a number, of a callback or of a waiter of `sock_*`; whether there was one.
fn remove(py: Python<'_>, core: &LoopCore, fd: RawFd, direction: Direction) -> PyResult<bool> {
    Ok(watch::remove(py, core, fd, direction)?.unwrap_or_else(|| raw::remove_waiter(py, core, fd, direction)))
}

/// [`remove`] for a file as its user names it.
fn remove_file(py: Python<'_>, core: &LoopCore, file: &Object, direction: Direction) -> PyResult<bool> {
    if core.flags.closed.get() {
        return Ok(false);
    }
    match number_of_registered(py, core, file.bind(py)).map_err(|error| made(py, error)) {
        Ok(fd) => remove(py, core, fd, direction),
        // No descriptor has such a number, so none is registered.
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_reader(py: Python<'_>, event_loop: &Instance<LoopCore>, file: &Object) -> PyResult<bool> {
    remove_file(py, event_loop, file, Direction::Read)
}

fn remove_writer(py: Python<'_>, event_loop: &Instance<LoopCore>, file: &Object) -> PyResult<bool> {
    remove_file(py, event_loop, file, Direction::Write)
}

/// Adds the methods to the core's class.
pub(super) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    let methods = [
        Method::<Instance<LoopCore>>::any_arguments(
            c"_add_reader",
            add_reader,
            c"As add_reader, without asking who else uses the number.",
        ),
        Method::any_arguments(c"_add_writer", add_writer, c"As add_writer, without asking who else uses the number."),
        Method::one_argument(c"_remove_reader", remove_reader, c"As remove_reader, without that question."),
        Method::one_argument(c"_remove_writer", remove_writer, c"As remove_writer, without that question."),
    ];
    methods.into_iter().fold(builder, LoopBuilder::method)
}

//! `_add_reader`, `_add_writer` and their removals: callbacks on descriptors, named by number.
//!
//! The descriptor is its user's: whoever registers a number keeps it open until it is removed. Registering a number again
//! asks the kernel again, so that a number which was closed and given to another file works (see the epoll backend).

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::backend::{Backend, Interest, Key, Usage};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::core::parts::{Part, part};
use crate::core::{Direction, Entry, LoopCore, PythonReactor, RunReady, Source, SourceState};
use crate::ffi::arguments::{Arguments, unexpected_keyword};
use crate::ffi::errors::{made, os_error};
use crate::ffi::guarded::Guarded;
use crate::ffi::heap_type::{add_method, fast, fast_def, one_argument, one_argument_def};
use crate::ffi::object::Object;
use crate::handle::{self, Kind, Recipe, is_called_with};
use crate::net::raw;

/// The callbacks of a descriptor.
struct Watch {
    /// What was registered: the number, or the object with `fileno()`.
    file: Object,
    reader: Option<Object>,
    writer: Option<Object>,
}

impl Watch {
    fn place(&mut self, direction: Direction) -> &mut Option<Object> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

impl SourceState for Watch {
    fn announce(&self, _key: Key, ready: Interest, push: &mut dyn FnMut(Entry)) {
        let reader = self.reader.as_ref().filter(|_| ready.reads());
        let writer = self.writer.as_ref().filter(|_| ready.writes());
        reader.into_iter().chain(writer).for_each(|handle| push(handle::entry(handle.clone())));
    }

    /// Handles are what is run: there are no entries of the source itself.
    fn run(&self) -> RunReady {
        |_, _, _, _, _| Ok(())
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.file.visit(visit)?;
        self.reader.iter().chain(&self.writer).try_for_each(|handle| handle.visit(visit))
    }
}

fn place_of(reactor: &mut PythonReactor, key: Key, direction: Direction) -> Option<&mut Option<Object>> {
    let watch: &mut Watch = reactor.sources.get_mut(key)?.state_mut()?;
    Some(watch.place(direction))
}

/// Descriptors of `add_reader` and `add_writer`, by number: the number is how these are named.
#[derive(Default)]
pub(crate) struct Watches(Guarded<HashMap<RawFd, Key>>);

part!(Watches);

impl Part for Watches {
    fn visit(&self, _py: Python<'_>, _visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        drop(self.0.with(py, core::mem::take));
    }
}

fn watches(core: &LoopCore) -> &Guarded<HashMap<RawFd, Key>> {
    &core.part::<Watches>().0
}

/// The number of a descriptor or of an object with `fileno()`, with the errors of `selectors`.
fn number(file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let number = if file.is_instance_of::<PyInt>() {
        if file.lt(0)? {
            return Err(PyValueError::new_err(format!("Invalid file descriptor: {}", file.str()?)));
        }
        file.extract::<i64>()
            .ok()
            .and_then(|number| RawFd::try_from(number).ok())
            .ok_or_else(|| PyOverflowError::new_err("Python int too large to convert to C int"))?
    } else {
        let invalid = || PyValueError::new_err(format!("Invalid file object: {}", repr(file)));
        file.call_method0("fileno").and_then(|number| number.extract()).map_err(|_| invalid())?
    };
    if number < 0 {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {number}")));
    }
    Ok(number)
}

/// As [`number`], for a file that may have been closed since it was registered: it is found by itself then.
fn number_of_registered(py: Python<'_>, core: &LoopCore, file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    number(file).or_else(|error| {
        let watched: Vec<(RawFd, Key)> =
            watches(core).with(py, |watches| watches.iter().map(|(&fd, &key)| (fd, key)).collect());
        let found = core.with_reactor(py, |reactor| {
            watched.into_iter().find(|&(_, key)| {
                let watch: Option<&Watch> = reactor.sources.get(key).and_then(Source::state);
                watch.is_some_and(|watch| watch.file.is(Object::of(file)))
            })
        });
        found.map(|(fd, _)| fd).ok_or(error)
    })
}

fn repr(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(|_| "<unprintable>".to_owned(), |text| text.to_string())
}

/// Sets the callback of one direction; a callback that it replaces is cancelled.
fn add(py: Python<'_>, object: *mut ffi::PyObject, arguments: Arguments<'_>, direction: Direction) -> PyResult<Object> {
    let function = if direction == Direction::Read { "_add_reader" } else { "_add_writer" };
    // SAFETY: a method of the core's type.
    let core = unsafe { LoopCore::of(py, object) };
    core.check_closed()?;
    let [file, callback, args @ ..] = arguments.positional_addresses() else {
        return Err(PyTypeError::new_err(format!("{function}() takes a file descriptor and a callback")));
    };
    let mut context = None;
    for (name, value) in arguments.keywords(py) {
        if name.eq("context")? {
            // SAFETY: a singleton of the interpreter.
            context = (value != unsafe { ffi::Py_None() }).then_some(value);
        } else {
            return Err(unexpected_keyword(function, &name));
        }
    }
    // SAFETY: an argument of the call.
    let file = unsafe { Bound::from_borrowed_ptr(py, *file) };
    let fd = number(&file)?;
    let handle =
        Recipe { kind: Kind::Plain, event_loop: object, callback: *callback, args, context, trace: core.is_debug() }
            .make(py)?;
    let known = watches(core).with(py, |watches| watches.get(&fd).copied());
    let key = if let Some(key) = known {
        key
    } else {
        let waiting = raw::release(py, core, fd, None)?;
        let key = attach(py, core, fd, Object::new(file))?;
        for (other, waiter) in waiting.into_iter().filter(|&(waiting, _)| waiting != direction) {
            // SAFETY: the loop whose method is running.
            let event_loop = unsafe { Object::from_borrowed(object) };
            raw::behind_handle(py, &event_loop, core, fd, other, &waiter)?;
        }
        key
    };
    install(py, core, fd, key, direction, handle, known.is_none())
}

/// Sets the callback of one direction of a key; one that it replaces is cancelled.
fn install(
    py: Python<'_>,
    core: &LoopCore,
    fd: RawFd,
    key: Key,
    direction: Direction,
    handle: Object,
    is_new: bool,
) -> PyResult<Object> {
    let replaced = core.with_reactor(py, |reactor| {
        let interest = reactor.backend.watched(key) | direction.interest();
        reactor.backend.watch(key, interest)?;
        Ok(place_of(reactor, key, direction).and_then(|place| place.replace(handle.clone())))
    });
    match replaced {
        Ok(Some(replaced)) => {
            replaced.bind(py).call_method0("cancel")?;
        }
        Ok(None) => {}
        Err(error) => {
            if is_new {
                detach(py, core, fd, key);
            }
            return Err(os_error(py, error));
        }
    }
    Ok(handle)
}

fn attach(py: Python<'_>, core: &LoopCore, fd: RawFd, file: Object) -> PyResult<Key> {
    // SAFETY: checked to be no negative number; that it stays open is its user's business, as the module says.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let key = core.attach(py, Source::new(Watch { file, reader: None, writer: None }), borrowed, Usage::Watched)?;
    watches(core).with(py, |watches| watches.insert(fd, key));
    Ok(key)
}

fn detach(py: Python<'_>, core: &LoopCore, fd: RawFd, key: Key) {
    watches(core).with(py, |watches| watches.remove(&fd));
    core.detach(py, key);
}

/// Ends one direction of a descriptor; whether there was a callback.
fn remove(py: Python<'_>, core: &LoopCore, fd: RawFd, direction: Direction) -> PyResult<bool> {
    let Some(key) = watches(core).with(py, |watches| watches.get(&fd).copied()) else {
        return Ok(raw::orphan(py, core, fd, direction));
    };
    let (removed, is_last) = core.with_reactor(py, |reactor| {
        let interest = reactor.backend.watched(key) & !direction.interest();
        // Only less is watched; a descriptor closed from outside has lost its registration already.
        let _ = reactor.backend.watch(key, interest);
        let removed = place_of(reactor, key, direction).and_then(Option::take);
        (removed, interest.is_none())
    });
    if is_last {
        detach(py, core, fd, key);
    }
    match removed {
        None => Ok(false),
        Some(handle) => {
            handle.bind(py).call_method0("cancel")?;
            Ok(true)
        }
    }
}

impl LoopCore {
    /// Ends both directions of a number that a transport takes over.
    pub(crate) fn forget_watch(&self, py: Python<'_>, fd: RawFd) -> PyResult<()> {
        remove(py, self, fd, Direction::Read)?;
        remove(py, self, fd, Direction::Write)?;
        drop(raw::release(py, self, fd, None)?);
        Ok(())
    }

    /// What is watched for a number, by `add_reader`, `add_writer` or `sock_*`.
    pub(super) fn watched(&self, py: Python<'_>, fd: RawFd) -> Interest {
        let key = watches(self).with(py, |watches| watches.get(&fd).copied());
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
        let mut numbers: Vec<RawFd> = watches(self).with(py, |watches| watches.keys().copied().collect());
        numbers.extend(waiting.into_iter().map(|(fd, _)| fd));
        numbers
    }
}

/// Whether `add_reader` or `add_writer` watch a number.
pub(crate) fn is_number_watched(py: Python<'_>, core: &LoopCore, fd: RawFd) -> bool {
    watches(core).with(py, |watches| watches.contains_key(&fd))
}

/// Makes `callback(argument)` the reader or the writer of a number that is watched.
pub(crate) fn wait_behind_handle(
    py: Python<'_>,
    event_loop: &Object,
    core: &LoopCore,
    fd: RawFd,
    direction: Direction,
    callback: &Bound<'_, PyAny>,
    argument: &Object,
) -> PyResult<Object> {
    let handle = Recipe {
        kind: Kind::Plain,
        event_loop: event_loop.as_ptr(),
        callback: callback.as_ptr(),
        args: &[argument.as_ptr()],
        context: None,
        trace: core.is_debug(),
    }
    .make(py)?;
    match watches(core).with(py, |watches| watches.get(&fd).copied()) {
        Some(key) => install(py, core, fd, key, direction, handle, false),
        None => Ok(handle),
    }
}

/// Ends a direction of a number, if its callback is one that [`wait_behind_handle`] has made for `argument`.
pub(crate) fn forget_waiter(
    py: Python<'_>,
    core: &LoopCore,
    fd: RawFd,
    direction: Direction,
    argument: &Object,
) -> PyResult<()> {
    let Some(key) = watches(core).with(py, |watches| watches.get(&fd).copied()) else { return Ok(()) };
    let handle = core.with_reactor(py, |reactor| place_of(reactor, key, direction).and_then(|place| place.clone()));
    if handle.is_some_and(|handle| is_called_with(&handle, argument)) {
        remove(py, core, fd, direction)?;
    }
    Ok(())
}

fast!(add_reader, |py, object, arguments| add(py, object, arguments, Direction::Read));
fast!(add_writer, |py, object, arguments| add(py, object, arguments, Direction::Write));

fn remove_method(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    file: *mut ffi::PyObject,
    direction: Direction,
) -> PyResult<Object> {
    // SAFETY: a method of the core's type.
    let core = unsafe { LoopCore::of(py, object) };
    // SAFETY: an argument of the call.
    let file = unsafe { Bound::from_borrowed_ptr(py, file) };
    let removed = !core.flags.closed.get()
        && match number_of_registered(py, core, &file).map_err(|error| made(py, error)) {
            Ok(fd) => remove(py, core, fd, direction)?,
            // No descriptor has such a number, so none is registered.
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => false,
            Err(error) => return Err(error),
        };
    Ok(Object::new(pyo3::types::PyBool::new(py, removed).to_owned()))
}

one_argument!(remove_reader, |py, object, file| remove_method(py, object, file, Direction::Read));
one_argument!(remove_writer, |py, object, file| remove_method(py, object, file, Direction::Write));

/// Adds the methods to the core's type.
pub(super) fn add_methods(class: &Bound<'_, PyType>) -> PyResult<()> {
    add_method(
        class,
        fast_def(c"_add_reader", add_reader, c"As add_reader, without asking who else uses the number."),
    )?;
    add_method(
        class,
        fast_def(c"_add_writer", add_writer, c"As add_writer, without asking who else uses the number."),
    )?;
    add_method(class, one_argument_def(c"_remove_reader", remove_reader, c"As remove_reader, without that question."))?;
    add_method(class, one_argument_def(c"_remove_writer", remove_writer, c"As remove_writer, without that question."))
}

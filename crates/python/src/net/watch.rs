//! Callbacks of `add_reader` and `add_writer`: descriptors that are named by their number.
//!
//! The descriptor is its user's: whoever registers a number keeps it open until it is removed. Registering a number again
//! asks the kernel again, so that a number which was closed and given to another file works (see the epoll backend). A
//! number that is watched here is not waited for by `sock_*` itself: such waits stand behind a handle among these.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::fd::RawFd;

use ferrio_engine::backend::{Backend, Interest, Key, Usage};
use pyo3::prelude::*;

use crate::core::parts::{Part, part};
use crate::core::{Direction, Entry, LoopCore, PythonReactor, RunReady, Source, SourceState};
use crate::ffi::call::call_method;
use crate::ffi::descriptor;
use crate::ffi::errors::os_error;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::{self, Recipe, is_called_with};

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

    fn visit(&self, collector: &Collector) -> Visited {
        self.file.visit(collector)?;
        self.reader.iter().chain(&self.writer).try_for_each(|handle| handle.visit(collector))
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
    fn visit(&self, _py: Python<'_>, _: &Collector) -> Visited {
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        drop(self.0.with(py, core::mem::take));
    }
}

fn watches(core: &LoopCore) -> &Guarded<HashMap<RawFd, Key>> {
    &core.part::<Watches>().0
}

/// The key of a number that is watched.
pub(crate) fn key_of(py: Python<'_>, core: &LoopCore, fd: RawFd) -> Option<Key> {
    watches(core).with(py, |watches| watches.get(&fd).copied())
}

/// The numbers that are watched.
pub(crate) fn numbers(py: Python<'_>, core: &LoopCore) -> Vec<RawFd> {
    watches(core).with(py, |watches| watches.keys().copied().collect())
}

/// The number that was registered as `file`.
pub(crate) fn number_of(py: Python<'_>, core: &LoopCore, file: &Object) -> Option<RawFd> {
    let watched: Vec<(RawFd, Key)> =
        watches(core).with(py, |watches| watches.iter().map(|(&fd, &key)| (fd, key)).collect());
    core.with_reactor(py, |reactor| {
        let found = watched.into_iter().find(|&(_, key)| {
            let watch: Option<&Watch> = reactor.sources.get(key).and_then(Source::state);
            watch.is_some_and(|watch| watch.file.is(file))
        });
        found.map(|(fd, _)| fd)
    })
}

/// Sets the callback of one direction of a key; one that it replaces is cancelled.
pub(crate) fn install(
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
            call_method(py, &names(py).cancel, [&replaced])?;
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

pub(crate) fn attach(py: Python<'_>, core: &LoopCore, fd: RawFd, file: Object) -> PyResult<Key> {
    let source = Source::new(Watch { file, reader: None, writer: None });
    let key = core.attach(py, source, descriptor::of_user(fd), Usage::Watched)?;
    watches(core).with(py, |watches| watches.insert(fd, key));
    Ok(key)
}

fn detach(py: Python<'_>, core: &LoopCore, fd: RawFd, key: Key) {
    watches(core).with(py, |watches| watches.remove(&fd));
    core.detach(py, key);
}

/// Ends one direction of a number; whether there was a callback. `None`: the number is not watched.
pub(crate) fn remove(py: Python<'_>, core: &LoopCore, fd: RawFd, direction: Direction) -> PyResult<Option<bool>> {
    let Some(key) = key_of(py, core, fd) else { return Ok(None) };
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
        None => Ok(Some(false)),
        Some(handle) => {
            call_method(py, &names(py).cancel, [&handle])?;
            Ok(Some(true))
        }
    }
}

/// Whether `add_reader` or `add_writer` watch a number.
pub(crate) fn is_number_watched(py: Python<'_>, core: &LoopCore, fd: RawFd) -> bool {
    key_of(py, core, fd).is_some()
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
    let (callback, args) = (Object::of(callback), core::slice::from_ref(argument));
    let handle = Recipe { event_loop, callback, args, context: None, trace: core.is_debug() }.make(py)?;
    match key_of(py, core, fd) {
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
    let Some(key) = key_of(py, core, fd) else { return Ok(()) };
    let handle = core.with_reactor(py, |reactor| place_of(reactor, key, direction).and_then(|place| place.clone()));
    if handle.is_some_and(|handle| is_called_with(py, &handle, argument)) {
        remove(py, core, fd, direction)?;
    }
    Ok(())
}

//! Which sockets wait, or have waited: their registrations with the kernel, by number.
//!
//! The first wait of a socket attaches its descriptor; the registration then stays, so that later waits cost no system
//! call. It goes when the socket object is collected, when another file takes the number, and when the number is given to
//! `add_reader`, `add_writer` or a transport.
//!
//! # Who a number belongs to
//! A registration names its socket by the object (weakly: its end is told by a callback) and by the kernel's identity of the
//! open socket, which is asked for when a wait begins. So these are told apart:
//!
//! | the wait is of | the number names | then |
//! | --- | --- | --- |
//! | the same object | the same socket | the registration is used |
//! | the same object | another socket (`dup2`) | it is made anew, and keeps its waiters |
//! | another object | the same socket (two objects share a number) | as above |
//! | another object | another socket (closed, and opened anew) | it is made anew; what waited for the old one fails with `EBADF`, and so does whatever the old object begins |
//!
//! A wait that has ended asks the kernel once more: an operation whose number has changed hands meanwhile fails with `EBADF`
//! instead of using it.
//!
//! # Receiving again
//! A server that answers each message receives again at once, and in nearly every case finds nothing. Where the kernel has
//! just reported an arrival at a TCP socket, and the receive that followed has brought less than there was room for, nothing
//! is left (see the epoll backend): until the turn ends the next receive waits without trying, and its wait does not ask for
//! the identity, which was asked for a moment ago. Such a wait is *unconfirmed*: the question is asked when the loop finds
//! nothing else to do and is about to sleep, and at the latest a few hundred turns later. Should the number have been given
//! away in between, the wait ends with `EBADF`.
//!
//! # Waiters
//! One for each direction, as with `add_reader`: a second wait takes the place of the first, which is then woken by nobody,
//! as in asyncio. While `add_reader` or `add_writer` watch the number, waiters wait behind handles there, so that either
//! replaces the other exactly as in asyncio.
//!
//! # Invariants
//! 1. A number in `by_number` leads to a key whose source is a [`Registration`] of that number.
//! 2. `by_weak` has the weak reference of every registration and of every stale socket, and nothing else.
//! 3. A registration holds no reference to its socket.
//! 4. A registration whose `is_listed` is set is in `unconfirmed`, once, and the loop knows that there are such.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::fd::RawFd;

use ferrio_engine::backend::{Backend, ByNumber, Interest, Key, Usage};
use ferrio_engine::sys::Error;
use ferrio_engine::sys::socket::identity;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefReference};
use rustix::io::Errno;

use super::waiter;
use crate::core::parts::{Part, part};
use crate::core::{Direction, Entry, Exit, LoopCore, PythonReactor, RunReady, Source, SourceState, settle};
use crate::ffi::class::Instance;
use crate::ffi::descriptor::{borrow, of_user};
use crate::ffi::errors::os_error;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::net::stream::{StreamPart, report_failed_waiter};
use crate::net::watch::{forget_waiter, is_number_watched, wait_behind_handle};

/// A socket's registration.
pub(crate) struct Registration {
    /// Address of the socket object, which `weak` refers to.
    socket: usize,
    weak: Object,
    /// What the kernel calls the open socket.
    identity: u64,
    /// The turn in which a receive after a wait was the last there was to receive.
    emptied_in: Option<u64>,
    /// In the list of waits to be confirmed.
    is_listed: bool,
    reader: Option<Object>,
    writer: Option<Object>,
}

impl Registration {
    fn place(&mut self, direction: Direction) -> &mut Option<Object> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

impl SourceState for Registration {
    /// An entry for each direction, as asyncio has a handle for each.
    fn announce(&self, key: Key, ready: Interest, push: &mut dyn FnMut(Entry)) {
        for direction in Direction::of(ready) {
            push(Entry::ready(key, direction.interest()));
        }
    }

    fn run(&self) -> RunReady {
        |py, core, _, key, ready| Direction::of(ready).try_for_each(|direction| on_ready(py, core, key, direction))
    }

    fn visit(&self, collector: &Collector) -> Visited {
        self.weak.visit(collector)?;
        self.reader.iter().chain(&self.writer).try_for_each(|waiter| waiter.visit(collector))
    }
}

/// Whose weak reference it is.
#[derive(Clone, Copy)]
enum Owner {
    /// Of the socket that is registered under this number.
    Number(RawFd),
    /// Of a stale socket, with its address.
    Stale(usize),
}

/// The loop's table of sockets.
#[derive(Default)]
struct Sockets {
    by_number: ByNumber<Key>,
    by_weak: HashMap<usize, Owner>,
    /// Sockets that believe to have a number which another file has got, by address: their weak reference, and what the
    /// kernel called them.
    stale: HashMap<usize, (Object, u64)>,
    /// Registrations with a wait that is to be confirmed.
    unconfirmed: Vec<(RawFd, Key)>,
    /// The dictionary of those of the loop's `_transports` that the native half does not know.
    entered: Option<Object>,
}

impl Sockets {
    fn key(&self, fd: RawFd) -> Option<Key> {
        self.by_number.get(fd).copied()
    }

    fn take_key(&mut self, fd: RawFd) -> Option<Key> {
        self.by_number.take(fd)
    }

    /// The numbers for which something waits or has waited.
    fn numbers(&self) -> impl Iterator<Item = (RawFd, Key)> {
        self.by_number.iter().map(|(fd, &key)| (fd, key))
    }

    /// Shows what it holds to the collector.
    fn visit(&self, collector: &Collector) -> Visited {
        self.stale.values().map(|(weak, _)| weak).chain(&self.entered).try_for_each(|object| object.visit(collector))
    }
}

/// The sockets of one loop.
#[derive(Default)]
pub(crate) struct RawSockets(Guarded<Sockets>);

part!(RawSockets);

impl Part for RawSockets {
    fn visit(&self, py: Python<'_>, collector: &Collector) -> Visited {
        self.0.with(py, |sockets| sockets.visit(collector))
    }

    fn clear(&self, py: Python<'_>) {
        drop(self.0.with(py, core::mem::take));
    }
}

fn sockets(core: &LoopCore) -> &Guarded<Sockets> {
    &core.part::<RawSockets>().0
}

/// The numbers for which something waits or has waited.
pub(crate) fn numbers(py: Python<'_>, core: &LoopCore) -> Vec<(RawFd, Key)> {
    sockets(core).with(py, |sockets| sockets.numbers().collect())
}

fn registration(reactor: &PythonReactor, key: Key) -> Option<&Registration> {
    reactor.sources.get(key).and_then(Source::state)
}

fn registration_mut(reactor: &mut PythonReactor, key: Key) -> Option<&mut Registration> {
    reactor.sources.get_mut(key).and_then(Source::state_mut)
}

fn address(object: &Object) -> usize {
    object.as_ptr().addr()
}

fn key_of(py: Python<'_>, core: &LoopCore, fd: RawFd) -> Option<Key> {
    sockets(core).with(py, |sockets| sockets.key(fd))
}

/// What the kernel calls the socket behind a number.
pub(super) fn identity_of(fd: RawFd) -> Result<u64, Error> {
    borrow(fd).map_or(Err(Error::new("getsockopt", Errno::BADF)), identity)
}

/// Whether the number names the socket that `key`, its registration, is about, which the kernel once called `identity`.
pub(super) fn is_named(py: Python<'_>, core: &LoopCore, key: Option<Key>, fd: RawFd, identity: u64) -> bool {
    let answer = key.and_then(|key| core.with_reactor(py, |reactor| reactor.backend.names_watched_file(key)));
    answer.unwrap_or_else(|| identity_of(fd) == Ok(identity))
}

/// Whether `socket` believes to have a number which another file has got since it last waited: it must not use it.
pub(super) fn is_stale(py: Python<'_>, core: &LoopCore, socket: &Object, fd: RawFd) -> bool {
    let known = sockets(core).with(py, |sockets| {
        if sockets.stale.is_empty() { None } else { sockets.stale.get(&address(socket)).map(|&(_, known)| known) }
    });
    known.is_some_and(|known| identity_of(fd) != Ok(known))
}

/// The registration of `socket` under its number.
pub(super) fn find(py: Python<'_>, core: &LoopCore, socket: &Object, fd: RawFd) -> Option<Key> {
    let key = key_of(py, core, fd)?;
    core.with_reactor(py, |reactor| {
        matches!(registration(reactor, key), Some(registration)
            if registration.socket == address(socket))
        .then_some(key)
    })
}

/// Whether the registration `key` is still that of the number.
pub(super) fn is_current(py: Python<'_>, core: &LoopCore, fd: RawFd, key: Key) -> bool {
    key_of(py, core, fd) == Some(key)
}

/// The socket of `key`, for which an operation has waited, has received less than there was room for.
pub(super) fn received_short(py: Python<'_>, core: &LoopCore, key: Key) {
    let turn = core.turn();
    core.with_reactor(py, |reactor| {
        let is_empty = reactor.backend.received_short(key);
        if let Some(registration) = registration_mut(reactor, key) {
            registration.emptied_in = is_empty.then_some(turn);
        }
    });
}

/// Whether nothing is left to receive at the socket of `key`, found out in this turn.
pub(super) fn is_emptied(py: Python<'_>, core: &LoopCore, key: Key) -> bool {
    let turn = core.turn();
    core.with_reactor(py, |reactor| {
        matches!(registration(reactor, key), Some(registration)
            if registration.emptied_in == Some(turn))
    })
}

/// A wait that has begun.
pub(super) struct Begun {
    /// For the operation to yield.
    pub(super) waiter: Object,
    /// What the kernel calls the socket that is waited for.
    pub(super) identity: u64,
    /// Its registration; none while `add_reader` or `add_writer` watch the number.
    pub(super) key: Option<Key>,
}

/// Waits until `socket` can make progress.
///
/// The caller's attempt has just been refused (`EAGAIN`), or it has not tried since `emptied`, the socket's registration,
/// has been found to have nothing left ([`is_emptied`]).
pub(super) fn wait(
    py: Python<'_>,
    core: &Instance<LoopCore>,
    socket: &Object,
    fd: RawFd,
    direction: Direction,
    emptied: Option<Key>,
) -> PyResult<Begun> {
    ensure_no_transport(py, core, fd)?;
    core.check_closed()?;
    if fd < 0 {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {fd}")));
    }
    if let Some(key) = emptied {
        let waiter = waiter::make(py, core)?;
        if let Some(identity) = enter_unconfirmed(py, core, fd, key, &waiter).map_err(|error| os_error(py, error))? {
            return Ok(Begun { waiter, identity, key: Some(key) });
        }
    }
    let identity = identity_of(fd).map_err(|error| os_error(py, error))?;
    let waiter = waiter::make(py, core)?;
    if is_number_watched(py, core, fd) {
        behind_handle(py, core, fd, direction, &waiter)?;
        return Ok(Begun { waiter, identity, key: None });
    }
    let known = key_of(py, core, fd);
    let current = core.with_reactor(py, |reactor| {
        known.filter(|&key| {
            matches!(registration(reactor, key), Some(registration)
            if registration.socket == address(socket) && registration.identity == identity)
        })
    });
    let key = match current {
        Some(key) => key,
        None => register(py, core, socket, fd, identity)?,
    };
    let displaced = enter(py, core, key, direction, &waiter).map_err(|error| os_error(py, error))?;
    drop(displaced);
    Ok(Begun { waiter, identity, key: Some(key) })
}

/// Begins a wait for reading at a socket that has nothing left, and lists it as unconfirmed; what the kernel called the
/// socket when that was asked last. Nothing happens, and there is no answer, for a registration that has ended.
fn enter_unconfirmed(
    py: Python<'_>,
    core: &LoopCore,
    fd: RawFd,
    key: Key,
    waiter: &Object,
) -> Result<Option<u64>, Error> {
    let entered = core.with_reactor(py, |reactor| {
        if registration(reactor, key).is_none() {
            return Ok(None);
        }
        let interest = reactor.backend.watched(key) | Interest::READ;
        reactor.backend.watch(key, interest)?;
        let Some(registration) = registration_mut(reactor, key) else { return Ok(None) };
        let displaced = registration.reader.replace(waiter.clone());
        let was_listed = core::mem::replace(&mut registration.is_listed, true);
        Ok(Some((displaced, was_listed, registration.identity)))
    })?;
    let Some((displaced, was_listed, identity)) = entered else { return Ok(None) };
    drop(displaced);
    if !was_listed {
        sockets(core).with(py, |sockets| sockets.unconfirmed.push((fd, key)));
        core.ask_before_sleep();
    }
    Ok(Some(identity))
}

/// Confirms the waits that have begun without asking who has the number: those whose number has been given away end.
///
/// # Errors
/// What leaves the loop; every wait has been looked at nevertheless.
pub(crate) fn confirm_waits(py: Python<'_>, core: &LoopCore) -> Result<(), Exit> {
    let mut outcome = Ok(());
    let mut listed = sockets(core).with(py, |sockets| core::mem::take(&mut sockets.unconfirmed));
    for (fd, key) in listed.drain(..) {
        let waited_for = core.with_reactor(py, |reactor| {
            let registration = registration_mut(reactor, key)?;
            registration.is_listed = false;
            registration.reader.is_some().then_some(registration.identity)
        });
        let Some(identity) = waited_for else { continue };
        if identity_of(fd) == Ok(identity) {
            continue;
        }
        let Some(registration) = take_out(py, core, fd) else { continue };
        let Registration { weak, reader, writer, .. } = registration;
        sockets(core).with(py, |sockets| sockets.by_weak.remove(&address(&weak)));
        for waiter in reader.iter().chain(&writer) {
            // It finds out for itself.
            outcome = outcome.and(end_wait(py, waiter));
        }
    }
    sockets(core).with(py, |sockets| {
        if sockets.unconfirmed.is_empty() {
            // The memory stays for the next turns.
            sockets.unconfirmed = listed;
        }
    });
    outcome
}

/// Wakes a waiter from the turn itself.
fn end_wait(py: Python<'_>, waiter: &Object) -> Result<(), Exit> {
    settle(py, waiter::wake(py, waiter), |exception| report_failed_waiter(py, waiter, exception))
}

/// Ends the registration of a number: the kernel's, and the table's.
fn take_out(py: Python<'_>, core: &LoopCore, fd: RawFd) -> Option<Registration> {
    let key = sockets(core).with(py, |sockets| sockets.take_key(fd))?;
    let (chain, source) = core.with_reactor(py, |reactor| (reactor.backend.detach(key), reactor.sources.remove(key)));
    drop(chain);
    source.and_then(Source::into_state)
}

/// Puts a waiter into a registration; the one that it takes the place of comes back.
fn enter(
    py: Python<'_>,
    core: &LoopCore,
    key: Key,
    direction: Direction,
    waiter: &Object,
) -> Result<Option<Object>, Error> {
    core.with_reactor(py, |reactor| {
        if direction == Direction::Read {
            reactor.backend.refused(key);
        }
        let interest = reactor.backend.watched(key) | direction.interest();
        reactor.backend.watch(key, interest)?;
        Ok(registration_mut(reactor, key).and_then(|kept| kept.place(direction).replace(waiter.clone())))
    })
}

/// Attaches a socket's descriptor; what was registered under the number goes.
fn register(py: Python<'_>, core: &Instance<LoopCore>, socket: &Object, fd: RawFd, identity: u64) -> PyResult<Key> {
    let former = release(py, core, fd, Some(socket))?;
    let forget = core.bind(py).getattr(&names(py)._forget_socket)?;
    let weak = Object::new(PyWeakrefReference::new_with(socket.bind(py), forget)?);
    let weak_address = address(&weak);
    let registration = Registration {
        socket: address(socket),
        weak,
        identity,
        emptied_in: None,
        is_listed: false,
        reader: None,
        writer: None,
    };
    // The socket object has it open; what happens when it is closed is said in the module.
    let borrowed = of_user(fd);
    let key = core.attach(py, Source::new(registration), borrowed, Usage::Attempts)?;
    let entered = sockets(core).with(py, |sockets| {
        sockets.by_number.put(borrowed, key)?;
        sockets.by_weak.insert(weak_address, Owner::Number(fd));
        let stale = sockets.stale.remove(&address(socket));
        if let Some((weak, _)) = &stale {
            sockets.by_weak.remove(&address(weak));
        }
        Ok(stale)
    });
    match entered {
        Ok(stale) => drop(stale),
        Err(error) => {
            core.detach(py, key);
            return Err(os_error(py, error));
        }
    }
    for (direction, waiter) in former {
        enter(py, core, key, direction, &waiter).map_err(|error| os_error(py, error))?;
    }
    Ok(key)
}

/// Ends the registration of a number, which is given to `taker`: a socket object, or (`None`) somebody else.
///
/// Waiters come back if the number still names the socket that they wait for. Those that wait for a socket which is gone
/// are told so.
pub(crate) fn release(
    py: Python<'_>,
    core: &LoopCore,
    fd: RawFd,
    taker: Option<&Object>,
) -> PyResult<Vec<(Direction, Object)>> {
    let Some(registration) = take_out(py, core, fd) else { return Ok(Vec::new()) };
    let Registration { socket, weak, identity, reader, writer, .. } = registration;
    let is_same_object = taker.is_some_and(|taker| address(taker) == socket);
    let is_replaced = !is_same_object && identity_of(fd) != Ok(identity);
    let weak_address = address(&weak);
    let released = sockets(core).with(py, |sockets| {
        if is_replaced {
            sockets.by_weak.insert(weak_address, Owner::Stale(socket));
            sockets.stale.insert(socket, (weak, identity)).map(|(weak, _)| weak)
        } else {
            sockets.by_weak.remove(&weak_address);
            Some(weak)
        }
    });
    drop(released);
    let waiters = [(Direction::Read, reader), (Direction::Write, writer)];
    let waiters = waiters.into_iter().filter_map(|(direction, waiter)| waiter.map(|waiter| (direction, waiter)));
    if !is_replaced {
        return Ok(waiters.collect());
    }
    let mut outcome = Ok(Vec::new());
    for (_, waiter) in waiters {
        // It finds out for itself.
        outcome = waiter::wake(py, &waiter).and(outcome);
    }
    outcome
}

/// Puts a waiter behind a handle among the callbacks of `add_reader` and `add_writer`.
pub(crate) fn behind_handle(
    py: Python<'_>,
    core: &Instance<LoopCore>,
    fd: RawFd,
    direction: Direction,
    waiter: &Object,
) -> PyResult<()> {
    let wake = core.bind(py).getattr(&names(py)._end_wait)?;
    wait_behind_handle(py, core.object(), core, fd, direction, &wake, waiter).map(drop)
}

/// A waiter is no longer interested, or has been woken.
pub(super) fn leave(py: Python<'_>, core: &LoopCore, fd: RawFd, direction: Direction, waiter: &Object) -> PyResult<()> {
    let Some(key) = key_of(py, core, fd) else { return forget_waiter(py, core, fd, direction, waiter) };
    let removed = core
        .with_reactor(py, |reactor| registration_mut(reactor, key)?.place(direction).take_if(|kept| kept.is(waiter)));
    if removed.is_some() {
        watch_rest(py, core, key, direction);
    }
    drop(removed);
    Ok(())
}

/// Removes the waiter of a direction of a number, which nobody wakes then; whether there was one.
pub(crate) fn remove_waiter(py: Python<'_>, core: &LoopCore, fd: RawFd, direction: Direction) -> bool {
    let Some(key) = key_of(py, core, fd) else { return false };
    let waiter = take(py, core, key, direction);
    waiter.is_some()
}

fn watch_rest(py: Python<'_>, core: &LoopCore, key: Key, direction: Direction) {
    core.with_reactor(py, |reactor| {
        let rest = reactor.backend.watched(key) & !direction.interest();
        // Only less is watched; a descriptor closed from outside has lost its registration already.
        let _ = reactor.backend.watch(key, rest);
    });
}

/// Takes the waiter of a direction out and watches the direction no more.
fn take(py: Python<'_>, core: &LoopCore, key: Key, direction: Direction) -> Option<Object> {
    let waiter = core.with_reactor(py, |reactor| registration_mut(reactor, key)?.place(direction).take());
    watch_rest(py, core, key, direction);
    waiter
}

/// A registered socket can make progress in `direction`.
///
/// # Errors
/// What leaves the loop.
fn on_ready(py: Python<'_>, core: &LoopCore, key: Key, direction: Direction) -> Result<(), Exit> {
    match take(py, core, key, direction) {
        Some(waiter) => end_wait(py, &waiter),
        None => Ok(()),
    }
}

/// A socket object has been collected: its registration goes.
pub(super) fn forget(py: Python<'_>, core: &LoopCore, weak: &Object) -> PyResult<()> {
    match sockets(core).with(py, |sockets| sockets.by_weak.get(&address(weak)).copied()) {
        Some(Owner::Number(fd)) => {
            for (_, waiter) in release(py, core, fd, None)? {
                // Of another object with the same number: it registers itself when it tries again.
                waiter::wake(py, &waiter)?;
            }
            // Without a socket object there is none that could use a foreign number.
            if let Some(Owner::Stale(socket)) = sockets(core).with(py, |sockets| sockets.by_weak.remove(&address(weak)))
            {
                drop(sockets(core).with(py, |sockets| sockets.stale.remove(&socket)));
            }
        }
        Some(Owner::Stale(socket)) => {
            let released = sockets(core).with(py, |sockets| {
                sockets.by_weak.remove(&address(weak));
                sockets.stale.remove(&socket)
            });
            drop(released);
        }
        None => {}
    }
    Ok(())
}

/// `RuntimeError`, in asyncio's words, when a transport uses the number.
fn ensure_no_transport(py: Python<'_>, core: &Instance<LoopCore>, fd: RawFd) -> PyResult<()> {
    let entered = sockets(core).with(py, |sockets| sockets.entered.clone());
    let entered = if let Some(entered) = entered {
        entered
    } else {
        let entered = core.bind(py).getattr("_transports")?.getattr("_entered")?.getattr("data")?;
        let entered = Object::new(entered);
        let before = sockets(core).with(py, |sockets| sockets.entered.replace(entered.clone()));
        drop(before);
        entered
    };
    let entered = entered.bind(py).cast::<PyDict>()?;
    let holder = core.part::<StreamPart>().transports.with(py, |transports| transports.get(fd));
    if holder.is_some() || (!entered.is_empty() && entered.contains(fd)?) {
        core.bind(py).call_method1("_ensure_fd_no_transport", (fd,))?;
    }
    Ok(())
}

//! The awaitable of `sock_recv` and its relatives: a coroutine, natively.
//!
//! It does nothing until it is first awaited, then tries; refused, it yields a [future](super::waiter) and tries again when
//! it is resumed. Since only the operation itself takes or gives bytes, one that is cancelled, closed or forgotten while it
//! waits has taken none.
//!
//! | phase | `send` | `throw` | `close`, the end |
//! | --- | --- | --- | --- |
//! | created | tries | raises, finished | finished (a warning when it is forgotten: never awaited) |
//! | waiting | tries again | leaves the wait, raises, finished | leaves the wait, finished |
//! | running | `ValueError` | `ValueError` | `ValueError` |
//! | finished | `RuntimeError` | `RuntimeError` | nothing |
//!
//! These, and the words of the errors, are a coroutine's. `collections.abc` recognises the type by its methods, and with
//! that `asyncio.iscoroutine` and `inspect.isawaitable`.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use std::os::fd::RawFd;

use ferrio_engine::backend::Key;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyModule, PyString, PyTuple, PyType};

use super::attempt::{Call, Outcome};
use super::layout::{is_blocking, number};
use super::native::{self, Class, Native};
use super::registration;
use super::waiter::bad_descriptor;
use crate::core::{Direction, LoopCore};
use crate::ffi::guarded::Guarded;
use crate::ffi::heap_type::{
    Builder, fast, fast_def, getter, no_arguments, no_arguments_def, one_argument, one_argument_def,
};
use crate::ffi::object::Object;
use crate::ffi::stop_iteration;
use crate::ffi::trampoline::{self, Aside, none};

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    Created,
    Waiting,
    Running,
    #[default]
    Finished,
}

/// What the operation works with; taken out while it runs.
#[derive(Default)]
struct Work {
    event_loop: Option<Object>,
    socket: Option<Object>,
    call: Call,
    wait: Option<Wait>,
}

/// A wait, from its beginning until the operation is resumed.
struct Wait {
    waiter: Object,
    direction: Direction,
    fd: RawFd,
    /// What the kernel called the socket when it began.
    identity: u64,
    /// The registration, if the number had one.
    key: Option<Key>,
}

impl Wait {
    fn leave(&self, py: Python<'_>, core: &LoopCore) -> PyResult<()> {
        registration::leave(py, core, self.fd, self.direction, &self.waiter)
    }

    /// The registration, if the number has had no other since the wait began.
    fn lasting(&self, py: Python<'_>, core: &LoopCore, fd: RawFd) -> Option<Key> {
        self.key.filter(|&key| fd == self.fd && registration::is_current(py, core, fd, key))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Operation {
    phase: Phase,
    name: &'static str,
    work: Work,
}

static CLASS: Class<Operation> = Class::new();

impl Native for Operation {
    fn class() -> &'static Class<Self> {
        &CLASS
    }

    fn each(&self, see: &mut dyn FnMut(*mut ffi::PyObject)) {
        for value in [&self.work.event_loop, &self.work.socket].into_iter().flatten() {
            see(value.as_ptr());
        }
        if let Some(wait) = &self.work.wait {
            see(wait.waiter.as_ptr());
        }
        self.work.call.each(see);
    }

    fn on_end(py: Python<'_>, object: *mut ffi::PyObject) {
        // SAFETY: an instance of the type.
        let state = unsafe { state(object) };
        let (phase, name) = state.with(py, |inner| (core::mem::take(&mut inner.phase), inner.name));
        let outcome = match phase {
            Phase::Created => warn_unawaited(py, name),
            Phase::Waiting => leave(py, state),
            Phase::Running | Phase::Finished => return,
        };
        if let Err(error) = outcome {
            trampoline::report(py, error, None);
        }
    }
}

/// The state of an operation.
///
/// # Safety
/// `object` is an operation and outlives the result.
unsafe fn state<'a>(object: *mut ffi::PyObject) -> &'a Guarded<Operation> {
    // SAFETY: passed on to the caller.
    unsafe { native::state_of::<Operation>(object) }
}

/// Makes an operation that has not begun.
///
/// `name` is the method's, `event_loop` a loop, and `socket` an exact `socket.socket`.
pub(super) fn make(
    py: Python<'_>,
    name: &'static str,
    event_loop: Object,
    socket: Object,
    call: Call,
) -> PyResult<Object> {
    let work = Work { event_loop: Some(event_loop), socket: Some(socket), call, wait: None };
    native::make(py, Operation { phase: Phase::Created, name, work })
}

#[cold]
fn warn_unawaited(py: Python<'_>, name: &str) -> PyResult<()> {
    // The exception under way, if there is one, is not the warning's.
    let _aside = Aside::take(py);
    let text = format!("coroutine 'BaseSelectorEventLoop.{name}' was never awaited");
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &std::ffi::CString::new(text)?, 1)
}

/// Leaves the wait, if there is one.
fn leave(py: Python<'_>, state: &Guarded<Operation>) -> PyResult<()> {
    let work = state.with(py, |inner| core::mem::take(&mut inner.work));
    let (Some(event_loop), Some(wait)) = (&work.event_loop, &work.wait) else { return Ok(()) };
    // SAFETY: operations are made for loops.
    wait.leave(py, unsafe { LoopCore::of(py, event_loop.as_ptr()) })
}

enum Step {
    /// The waiter, for the caller of `send`.
    Yield(Object),
    Return(Object),
}

/// An attempt under way: over, whatever comes of it.
struct Running<'a> {
    py: Python<'a>,
    state: &'a Guarded<Operation>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.state.with(self.py, |inner| inner.phase = Phase::Finished);
    }
}

/// Runs the operation until it waits or ends.
fn step(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Step> {
    // SAFETY: a method of the type.
    let state = unsafe { state(object) };
    let (phase, mut work) = state.with(py, |inner| match inner.phase {
        Phase::Running => Err(running()),
        Phase::Finished => Err(reused()),
        phase => {
            inner.phase = Phase::Running;
            Ok((phase, core::mem::take(&mut inner.work)))
        }
    })?;
    let running = Running { py, state };
    let outcome = work.run(py, phase == Phase::Created);
    drop(running);
    let finished = if let Ok(Step::Yield(_)) = &outcome {
        state.with(py, |inner| {
            inner.phase = Phase::Waiting;
            inner.work = work;
        });
        None
    } else {
        Some(work)
    };
    drop(finished);
    outcome
}

impl Work {
    fn run(&mut self, py: Python<'_>, is_first: bool) -> PyResult<Step> {
        let (Some(event_loop), Some(socket)) = (&self.event_loop, &self.socket) else { return Err(reused()) };
        // SAFETY: operations are made for loops.
        let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
        let socket = socket.bind(py);
        if is_first && core.is_debug() && is_blocking(socket)? {
            return Err(PyValueError::new_err("the socket must be non-blocking"));
        }
        let fd = number(socket)?;
        let mut awaited = None;
        if let Some(before) = self.wait.take() {
            before.leave(py, core)?;
            awaited = before.lasting(py, core, fd);
            if !registration::names(py, core, awaited, fd, before.identity) {
                return Err(bad_descriptor(py));
            }
        }
        if registration::is_stale(py, core, socket, fd) {
            return Err(bad_descriptor(py));
        }
        let emptied = if is_first && self.call.takes_stream() {
            registration::find(py, core, socket, fd).filter(|&key| registration::is_emptied(py, core, key))
        } else {
            None
        };
        match self.call.attempt(py, core, socket, fd, emptied.is_some())? {
            Outcome::Done(result) => Ok(Step::Return(result)),
            Outcome::Short(result) => {
                if let Some(key) = awaited {
                    registration::received_short(py, core, key);
                }
                Ok(Step::Return(result))
            }
            Outcome::NotYet(direction) => {
                let registration::Begun { waiter, identity, key } =
                    registration::wait(py, event_loop, socket, fd, direction, emptied)?;
                self.wait = Some(Wait { waiter: waiter.clone(), direction, fd, identity, key });
                Ok(Step::Yield(waiter))
            }
        }
    }
}

#[cold]
fn running() -> PyErr {
    PyValueError::new_err("coroutine already executing")
}

#[cold]
fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

/// The exception that carries a coroutine's result.
fn stop(py: Python<'_>, result: &Object) -> PyErr {
    let result = result.bind(py);
    let outcome = if result.is_none() { Ok(PyStopIteration::new_err(())) } else { stop_with(py, result) };
    outcome.unwrap_or_else(|error| error)
}

fn stop_with(py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    // A tuple would become the exception's arguments otherwise.
    let exception = py.get_type::<PyStopIteration>().call1(PyTuple::new(py, [result])?)?;
    Ok(PyErr::from_value(exception))
}

unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| match step(py, object)? {
        Step::Yield(waiter) => Ok(waiter.into_ptr()),
        Step::Return(result) if result.bind(py).is_none() => Ok(null_mut()),
        Step::Return(result) => {
            stop_iteration::raise(py, result);
            Ok(null_mut())
        }
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(null_mut(), body) }
}

/// Refuses a value for an operation that has not begun, as a coroutine does.
fn check_sent(py: Python<'_>, object: *mut ffi::PyObject, value: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a singleton of the interpreter.
    if value == unsafe { ffi::Py_None() } {
        return Ok(());
    }
    // SAFETY: a method of the type.
    match unsafe { state(object) }.with(py, |inner| inner.phase) {
        Phase::Created => Err(PyTypeError::new_err("can't send non-None value to a just-started coroutine")),
        _ => Ok(()),
    }
}

unsafe extern "C" fn am_send(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let body = |py: Python<'_>| {
        check_sent(py, object, value)?;
        Ok(match step(py, object)? {
            Step::Yield(waiter) => (waiter.into_ptr(), ffi::PySendResult::PYGEN_NEXT),
            Step::Return(value) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
        })
    };
    // SAFETY: CPython calls this on an attached thread.
    let (value, outcome) = unsafe { trampoline::run((null_mut(), ffi::PySendResult::PYGEN_ERROR), body) };
    // SAFETY: the place that the caller has for the result.
    unsafe { result.write(value) };
    outcome
}

one_argument!(send, |py, object, value| {
    check_sent(py, object, value)?;
    match step(py, object)? {
        Step::Yield(waiter) => Ok(waiter),
        Step::Return(result) => Err(stop(py, &result)),
    }
});

/// Leaves the wait for good; `false` when the operation had finished.
fn finish(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<bool> {
    // SAFETY: a method of the type.
    let state = unsafe { state(object) };
    let phase = state.with(py, |inner| match inner.phase {
        Phase::Running => Err(running()),
        _ => Ok(core::mem::replace(&mut inner.phase, Phase::Finished)),
    })?;
    leave(py, state)?;
    Ok(phase != Phase::Finished)
}

fast!(throw, |py, object, arguments| {
    let [kind, rest @ ..] = arguments.positional_addresses() else {
        return Err(PyTypeError::new_err("throw expected at least 1 argument, got 0"));
    };
    // SAFETY: an argument of the call.
    let kind = unsafe { Bound::from_borrowed_ptr(py, *kind) };
    // SAFETY: as above.
    let value = rest.first().map(|&value| unsafe { Bound::from_borrowed_ptr(py, value) });
    let value = value.filter(|value| !value.is_none());
    let exception = match (kind.cast::<PyType>(), value) {
        (Ok(class), Some(value)) if value.is_instance(class)? => value,
        (Ok(_), Some(value)) => kind.call1((value,))?,
        (Ok(_), None) => kind.call0()?,
        (Err(_), _) => kind.clone(),
    };
    if !exception.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return Err(PyTypeError::new_err(
            "exceptions must be classes or instances deriving from BaseException, not ".to_owned()
                + &kind.get_type().name()?.to_string(),
        ));
    }
    if let Some(&traceback) = rest.get(1) {
        // SAFETY: an argument of the call.
        exception.setattr("__traceback__", unsafe { Bound::from_borrowed_ptr(py, traceback) })?;
    }
    if finish(py, object)? { Err(PyErr::from_value(exception)) } else { Err(reused()) }
});

no_arguments!(close, |py, object| {
    finish(py, object)?;
    Ok(none(py))
});

unsafe extern "C" fn am_await(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| {
        // SAFETY: a method of the type.
        if unsafe { state(object) }.with(py, |inner| inner.phase) == Phase::Waiting {
            return Err(PyRuntimeError::new_err("coroutine is being awaited already"));
        }
        // SAFETY: the object of the method call.
        Ok(unsafe { Object::from_borrowed(object) })
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

getter!(get_name, |py, object| {
    // SAFETY: an attribute of the type.
    Ok(Object::new(PyString::new(py, unsafe { state(object) }.with(py, |inner| inner.name))))
});

getter!(get_qualname, |py, object| {
    // SAFETY: an attribute of the type.
    let name = unsafe { state(object) }.with(py, |inner| inner.name);
    Ok(Object::new(PyString::new(py, &format!("BaseSelectorEventLoop.{name}"))))
});

getter!(get_running, |py, object| {
    // SAFETY: an attribute of the type.
    let is_running = unsafe { state(object) }.with(py, |inner| inner.phase == Phase::Running);
    Ok(Object::new(PyBool::new(py, is_running).to_owned()))
});

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| {
        // SAFETY: a method of the type.
        let (name, phase) = unsafe { state(object) }.with(py, |inner| (inner.name, inner.phase));
        let phase = match phase {
            Phase::Created => "created",
            Phase::Waiting => "suspended",
            Phase::Running => "running",
            Phase::Finished => "closed",
        };
        Ok(Object::new(PyString::new(py, &format!("<SocketOperation {name} {phase} at {object:p}>"))))
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

/// Makes the type and adds it to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    const DOC: &CStr = c"The coroutine of sock_recv and its relatives.";
    let builder = Builder::new(c"ferrio._ferrio.SocketOperation", DOC)
        .method(one_argument_def(c"send", send, c"send($self, value, /)\n--\n\nRun until the next wait or the end."))
        .method(fast_def(
            c"throw",
            throw,
            c"throw($self, type, value=None, traceback=None, /)\n--\n\nLeave the wait and raise.",
        ))
        .method(no_arguments_def(c"close", close, c"close($self)\n--\n\nLeave the wait."))
        .attribute(c"__name__", get_name, None)
        .attribute(c"__qualname__", get_qualname, None)
        .attribute(c"cr_running", get_running, None)
        .slots([
            (ffi::Py_tp_iternext, next as *mut c_void),
            (ffi::Py_am_await, am_await as *mut c_void),
            (ffi::Py_am_send, am_send as *mut c_void),
            (ffi::Py_tp_repr, repr as *mut c_void),
        ]);
    module.add("SocketOperation", CLASS.build(module.py(), builder)?)
}

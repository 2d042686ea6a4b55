//! The end of a transport: `write_eof`, `close`, `abort`.

use std::os::fd::BorrowedFd;

use ferrio_engine::flow::CloseStep;
use ferrio_engine::sys::socket;
use pyo3::exceptions::PyConnectionError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use super::server;
use super::state::State;
use super::write;
use crate::core::{LoopCore, leaves_loop};
use crate::ffi::errors::{os_error, while_handling};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::schedule;

/// `write_eof()`: ends the sending direction once everything written has been sent.
pub(super) fn write_eof(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    if state.opened(py, |inner| inner.life.is_closing() || inner.is_eof_written)? {
        return Ok(());
    }
    flush_now(py, object, state)?;
    let is_drained = state.with(py, |inner| {
        // What was written may have failed just now.
        inner.is_eof_written = !inner.life.is_closing();
        inner.is_eof_written && inner.stream.pending_bytes() == 0
    });
    if is_drained { shut_down(py, state) } else { Ok(()) }
}

/// Ends the sending direction.
pub(super) fn shut_down(py: Python<'_>, state: &State) -> PyResult<()> {
    let Some(outcome) = state.with(py, |inner| {
        let fd = inner.key.is_some().then_some(inner.fd)?;
        // SAFETY: an attached descriptor; its owner is held by the state.
        Some(socket::shut_down_sending(unsafe { BorrowedFd::borrow_raw(fd) }))
    }) else {
        return Ok(());
    };
    outcome.map_err(|error| os_error(py, error))
}

/// Sends what a callback has written so far.
pub(super) fn flush_now(py: Python<'_>, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: whoever stores a loop has checked its type.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    write::flush(py, core, object, state)
}

/// `close()`: reads no more, sends what is waiting, then ends.
pub(super) fn close(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    if state.opened(py, |inner| inner.life.is_closing())? {
        return Ok(());
    }
    flush_now(py, object, state)?;
    let step = state.with(py, |inner| {
        let is_empty = inner.stream.pending_bytes() == 0;
        let _ = inner.reading.close();
        inner.life.close(is_empty)
    });
    follow(py, object, state, step, &py.None().into_bound(py))
}

/// `_force_close(exception)`: ends at once; what is waiting is lost.
pub(super) fn force_close(py: Python<'_>, object: *mut ffi::PyObject, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let step = state.opened(py, |inner| {
        let _ = inner.reading.close();
        inner.life.force_close()
    })?;
    follow(py, object, state, step, exception)
}

fn follow(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    state: &State,
    step: CloseStep,
    exception: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: whoever stores a loop has checked its type.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    match step {
        CloseStep::Nothing => Ok(()),
        CloseStep::Drain => state.apply_interest(py, core, object).map_err(|error| os_error(py, error)),
        CloseStep::ScheduleLost => {
            state.detach(py, core);
            // SAFETY: the object of the method call.
            let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
            let callback = transport.getattr(intern!(py, "_call_connection_lost"))?;
            let context = state.with(py, |inner| inner.context.clone());
            schedule(py, &event_loop, &callback, core::slice::from_ref(Object::of(exception)), context.as_ref())
        }
    }
}

/// `_release()`: lets go of everything after `connection_lost`; `(socket, server)` come back, the socket to be closed.
pub(super) fn release(py: Python<'_>, object: *mut ffi::PyObject) -> (Option<Object>, Option<Object>) {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let socket = state.let_go(py, object);
    let (server, dropped) = state.with(py, |inner| {
        let _ = inner.life.ended();
        let dropped = (inner.protocol.take(), inner.event_loop.take(), inner.context.take(), inner.io_context.take());
        (inner.server.take(), dropped)
    });
    drop(dropped);
    (socket, server)
}

/// `_call_connection_lost(exception)`: tells the protocol, closes the descriptor, leaves the server; in asyncio's order,
/// and to the end whatever fails.
pub(super) fn call_connection_lost(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    exception: *mut ffi::PyObject,
) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let (protocol, waiter) = state.with(py, |inner| (inner.protocol.clone(), inner.empty_waiter.clone()));
    let told = match protocol {
        Some(protocol) => {
            let call = [protocol.as_ptr(), exception];
            let name = names(py).connection_lost.as_ptr();
            // SAFETY: two live objects, the receiver first; no keywords.
            let result = unsafe { ffi::PyObject_VectorcallMethod(name, call.as_ptr(), 2, core::ptr::null_mut()) };
            // SAFETY: a new reference, or null with an exception.
            unsafe { Object::from_owned(result) }.map(drop).ok_or_else(|| PyErr::fetch(py))
        }
        None => Ok(()),
    };
    let (socket, server) = release(py, object);
    let closed = finally(py, told, || {
        socket.map_or(Ok(()), |socket| socket.bind(py).call_method0(intern!(py, "close")).map(drop))
    });
    let left = finally(py, closed, || server.map_or(Ok(()), |server| server::detach(py, &server, object)));
    let has_failed = left.is_err();
    finally(py, left, || {
        let Some(waiter) = waiter else { return Ok(()) };
        // Up to 3.13 asyncio does not get as far as this then, so that it is not heard of a waiter that takes no exception.
        if has_failed && !cfg!(Py_3_14) && waiter.bind(py).call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        let error = PyConnectionError::new_err("Connection is closed by peer");
        waiter.bind(py).call_method1(intern!(py, "set_exception"), (error.into_value(py),)).map(drop)
    })
}

/// Takes a `step` whatever the ones before have come to. As in a `finally` block its exception takes the place of an earlier
/// one, but not of one that leaves the loop.
pub(super) fn finally(py: Python<'_>, before: PyResult<()>, step: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
    let Err(error) = before else { return step() };
    let exception = error.value(py).clone().into_any();
    let outcome = while_handling(py, &exception, step);
    if leaves_loop(py, &error) { Err(error) } else { outcome.and(Err(error)) }
}

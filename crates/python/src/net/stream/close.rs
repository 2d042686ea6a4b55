//! The end of a transport: `write_eof`, `close`, `abort`.

#![forbid(unsafe_code)]

use ferrio_engine::flow::CloseStep;
use ferrio_engine::sys::socket;
use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;

use super::class::Stream;
use super::server;
use super::state::{detach, release_descriptor};
use super::write::flush_now;
use crate::core::leaves_loop;
use crate::ffi::call::call_method;
use crate::ffi::descriptor::borrow;
use crate::ffi::errors::{os_error, while_handling};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::schedule;
use crate::net::transport::{apply_interest, event_loop, opened, with};

/// `write_eof()`: ends the sending direction once everything written has been sent.
pub(super) fn write_eof(py: Python<'_>, transport: &Stream) -> PyResult<()> {
    if opened(py, transport, |inner| inner.common.life.is_closing() || inner.is_eof_written)? {
        return Ok(());
    }
    flush_now(py, transport)?;
    let is_drained = with(py, transport, |inner| {
        // What was written may have failed just now.
        inner.is_eof_written = !inner.common.life.is_closing();
        inner.is_eof_written && inner.stream.pending_bytes() == 0
    });
    if is_drained { shut_down(py, transport) } else { Ok(()) }
}

/// Ends the sending direction.
pub(super) fn shut_down(py: Python<'_>, transport: &Stream) -> PyResult<()> {
    let number = with(py, transport, |inner| {
        inner.ensure_number("shutdown")?;
        Ok(inner.common.key.is_some().then_some(inner.common.number))
    });
    let number = number.map_err(|error| os_error(py, error))?;
    // An attached descriptor; the state holds its owner.
    let Some(descriptor) = number.and_then(borrow) else { return Ok(()) };
    socket::shut_down_sending(descriptor).map_err(|error| os_error(py, error))
}

/// `close()`: reads no more, sends what is waiting, then ends.
pub(super) fn close(py: Python<'_>, transport: &Stream) -> PyResult<()> {
    if opened(py, transport, |inner| inner.common.life.is_closing())? {
        return Ok(());
    }
    flush_now(py, transport)?;
    let step = with(py, transport, |inner| {
        let is_empty = inner.stream.pending_bytes() == 0;
        let _ = inner.common.reading.close();
        inner.common.life.close(is_empty)
    });
    follow(py, transport, step, &Object::none(py))
}

/// `_force_close(exception)`: ends at once; what the kernel has no room for is lost. What the callback under way has written
/// leaves before, as an answer does after which a protocol raises.
pub(super) fn force_close(py: Python<'_>, transport: &Stream, exception: &Object) -> PyResult<()> {
    flush_now(py, transport)?;
    let step = opened(py, transport, |inner| {
        let _ = inner.common.reading.close();
        inner.common.life.force_close()
    })?;
    follow(py, transport, step, exception)
}

fn follow(py: Python<'_>, transport: &Stream, step: CloseStep, exception: &Object) -> PyResult<()> {
    let Some(event_loop) = event_loop(py, transport) else { return Ok(()) };
    match step {
        CloseStep::Nothing => Ok(()),
        CloseStep::Drain => apply_interest(py, &event_loop, transport).map_err(|error| os_error(py, error)),
        CloseStep::ScheduleLost => {
            detach(py, &event_loop, transport);
            let callback = transport.bind(py).getattr(&names(py)._call_connection_lost)?;
            let context = with(py, transport, |inner| inner.context.clone());
            schedule(py, event_loop.object(), &callback, core::slice::from_ref(exception), context.as_ref())
        }
    }
}

/// `_release()`: gives everything up after `connection_lost`; `(socket, server)` come back, the socket to be closed.
pub(super) fn release(py: Python<'_>, transport: &Stream) -> (Option<Object>, Option<Object>) {
    let socket = release_descriptor(py, transport);
    let (server, dropped) = with(py, transport, |inner| {
        let common = &mut inner.common;
        let _ = common.life.ended();
        let contexts = (inner.context.take(), inner.io_context.take());
        (inner.server.take(), (common.protocol.take(), common.event_loop.take(), contexts))
    });
    drop(dropped);
    (socket, server)
}

/// `_call_connection_lost(exception)`: tells the protocol, closes the descriptor, leaves the server; in asyncio's order,
/// and to the end whatever fails.
pub(super) fn call_connection_lost(py: Python<'_>, transport: &Stream, exception: &Object) -> PyResult<()> {
    let names = names(py);
    let (protocol, waiter) = with(py, transport, |inner| (inner.common.protocol.clone(), inner.empty_waiter.clone()));
    let told = match &protocol {
        Some(protocol) => call_method(py, &names.connection_lost, [protocol, exception]).map(drop),
        None => Ok(()),
    };
    drop(protocol);
    let (socket, server) = release(py, transport);
    let closed =
        finally(py, told, || socket.map_or(Ok(()), |socket| call_method(py, &names.close, [&socket]).map(drop)));
    let left = finally(py, closed, || server.map_or(Ok(()), |server| server::detach(py, &server, transport.object())));
    let has_failed = left.is_err();
    finally(py, left, || {
        let Some(waiter) = waiter else { return Ok(()) };
        // Up to 3.13 asyncio does not get as far as this then, so a waiter that takes no exception is not reported.
        if has_failed && !cfg!(Py_3_14) && call_method(py, &names.done, [&waiter])?.bind(py).is_truthy()? {
            return Ok(());
        }
        let error = PyConnectionError::new_err("Connection is closed by peer");
        waiter.bind(py).call_method1(&names.set_exception, (error.into_value(py),)).map(drop)
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

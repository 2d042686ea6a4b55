//! The end of a transport: `close`, `abort`.

#![forbid(unsafe_code)]

use ferrio_engine::flow::CloseStep;
use pyo3::prelude::*;

use super::class::Endpoint;
use super::state::{detach, strip};
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::schedule;
use crate::net::transport::{apply_interest, event_loop, opened, with};

/// `close()`: receives no more, sends what is waiting, then ends.
pub(super) fn close(py: Python<'_>, transport: &Endpoint) -> PyResult<()> {
    let step = opened(py, transport, |inner| {
        let _ = inner.common.reading.close();
        inner.common.life.close(inner.outgoing.is_empty())
    })?;
    follow(py, transport, step, &Object::none(py))
}

/// `_force_close(exception)`: ends at once; what is waiting is lost.
pub(super) fn force_close(py: Python<'_>, transport: &Endpoint, exception: &Object) -> PyResult<()> {
    let (step, lost) = opened(py, transport, |inner| {
        let _ = inner.common.reading.close();
        let step = inner.common.life.force_close();
        // Nothing is taken when it was asked before.
        let lost = (step == CloseStep::ScheduleLost)
            .then(|| (inner.outgoing.clear(inner.keeps_count), inner.write_context.take()));
        (step, lost)
    })?;
    drop(lost);
    follow(py, transport, step, exception)
}

fn follow(py: Python<'_>, transport: &Endpoint, step: CloseStep, exception: &Object) -> PyResult<()> {
    let Some(event_loop) = event_loop(py, transport) else { return Ok(()) };
    match step {
        CloseStep::Nothing => Ok(()),
        CloseStep::Drain => apply_interest(py, &event_loop, transport).map_err(|error| os_error(py, error)),
        CloseStep::ScheduleLost => {
            detach(py, transport);
            let callback = transport.bind(py).getattr(&names(py)._call_connection_lost)?;
            schedule(py, event_loop.object(), &callback, core::slice::from_ref(exception), None)
        }
    }
}

/// `_release()`: gives everything up after `connection_lost`; the socket comes back, or `None` if it did before.
pub(super) fn release(py: Python<'_>, transport: &Endpoint) -> PyResult<Option<Object>> {
    opened(py, transport, |_| ())?;
    detach(py, transport);
    drop(strip(py, transport));
    Ok(with(py, transport, |inner| {
        let _ = inner.common.life.ended();
        inner.socket.take()
    }))
}

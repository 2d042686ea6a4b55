//! The end of a transport: `close`, `abort`.

use ferrio_engine::flow::CloseStep;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use super::state::State;
use crate::core::LoopCore;
use crate::ffi::errors::os_error;
use crate::ffi::object::Object;
use crate::handle::schedule;

/// `close()`: receives no more, sends what is waiting, then ends.
pub(super) fn close(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let step = state.opened(py, |inner| {
        let _ = inner.reading.close();
        inner.life.close(inner.outgoing.is_empty())
    })?;
    follow(py, object, state, step, &py.None().into_bound(py))
}

/// `_force_close(exception)`: ends at once; what is waiting is lost.
pub(super) fn force_close(py: Python<'_>, object: *mut ffi::PyObject, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let (step, lost) = state.opened(py, |inner| {
        let _ = inner.reading.close();
        let step = inner.life.force_close();
        // Nothing is taken when it was asked before.
        let lost = (step == CloseStep::ScheduleLost)
            .then(|| (inner.outgoing.clear(inner.keeps_count), inner.write_context.take()));
        (step, lost)
    })?;
    drop(lost);
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
            schedule(py, &event_loop, &callback, core::slice::from_ref(Object::of(exception)), None)
        }
    }
}

/// `_release()`: lets go of everything after `connection_lost`; the socket comes back, or `None` if it did before.
pub(super) fn release(py: Python<'_>, object: *mut ffi::PyObject) -> Object {
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    if let Some(event_loop) = state.event_loop(py) {
        // SAFETY: whoever stores a loop has checked its type.
        state.detach(py, unsafe { LoopCore::of(py, event_loop.as_ptr()) });
    }
    drop(state.strip(py));
    let socket = state.with(py, |inner| {
        let _ = inner.life.ended();
        inner.socket.take()
    });
    socket.unwrap_or_else(|| crate::ffi::trampoline::none(py))
}

//! A server's list of its connections.
//!
//! `asyncio.Server` keeps a `WeakSet` of transports since 3.13, a counter before. For its own class the two methods are done
//! here, on the server's own attributes; another class's methods are called.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyWeakrefReference};

use crate::ffi::call::call_method;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

fn has_class(object: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> bool {
    object.get_type().is(class)
}

/// The weak set of an `asyncio.Server`, and the set of references in it; `None` for anything else, and while the weak set
/// is being iterated over or has removals to make up for.
fn clients<'py>(server: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PySet>)>> {
    let py = server.py();
    if !cfg!(Py_3_13) || !has_class(server, OBJECTS.server.bind(py)?) {
        return Ok(None);
    }
    let clients = server.getattr(&names(py)._clients)?;
    if !has_class(&clients, OBJECTS.weak_set.bind(py)?) {
        return Ok(None);
    }
    // Gone in 3.14.
    if cfg!(not(Py_3_14)) && clients.getattr(&names(py)._pending_removals)?.is_truthy()? {
        return Ok(None);
    }
    Ok(clients.getattr(&names(py).data)?.cast_into_exact::<PySet>().ok().map(|data| (clients, data)))
}

/// `server._attach(transport)`.
///
/// # Errors
/// `AssertionError` when the server has been closed.
pub(super) fn attach(py: Python<'_>, server: &Object, transport: &Object) -> PyResult<()> {
    let bound = server.bind(py);
    match clients(bound)? {
        Some((clients, data)) => {
            if bound.getattr(&names(py)._sockets)?.is_none() {
                return Err(PyAssertionError::new_err(()));
            }
            let remove = clients.getattr(&names(py)._remove)?;
            data.add(PyWeakrefReference::new_with(transport.bind(py), remove)?)
        }
        None if cfg!(Py_3_13) => call_method(py, &names(py)._attach, [server, transport]).map(drop),
        None => call_method(py, &names(py)._attach, [server]).map(drop),
    }
}

/// `server._detach(transport)`.
pub(super) fn detach(py: Python<'_>, server: &Object, transport: &Object) -> PyResult<()> {
    let bound = server.bind(py);
    match clients(bound)? {
        Some((_, data)) => {
            data.discard(PyWeakrefReference::new(transport.bind(py))?)?;
            if data.is_empty() && bound.getattr(&names(py)._sockets)?.is_none() {
                call_method(py, &names(py)._wakeup, [server])?;
            }
            Ok(())
        }
        None if cfg!(Py_3_13) => call_method(py, &names(py)._detach, [server, transport]).map(drop),
        None => call_method(py, &names(py)._detach, [server]).map(drop),
    }
}

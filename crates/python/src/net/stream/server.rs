//! A server's list of its connections.
//!
//! `asyncio.Server` keeps a `WeakSet` of transports since 3.13, a counter before. For its own class the two methods are done
//! here, on the server's own attributes; another class's methods are called.

use pyo3::exceptions::PyAssertionError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PySet;

use crate::ffi::names::names;
use crate::ffi::object::Object;

struct Classes {
    server: Object,
    weak_set: Object,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&'static Classes> {
    CLASSES.get_or_try_init(py, || {
        Ok(Classes {
            server: Object::new(py.import("asyncio.base_events")?.getattr("Server")?),
            weak_set: Object::new(py.import("weakref")?.getattr("WeakSet")?),
        })
    })
}

fn has_class(object: &Bound<'_, PyAny>, class: &Object) -> bool {
    object.get_type().as_ptr() == class.as_ptr()
}

/// The weak set of an `asyncio.Server`, and the set of references in it; `None` for anything else, and while the weak set
/// is being iterated over or has removals to make up for.
fn clients<'py>(server: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PySet>)>> {
    let py = server.py();
    let classes = classes(py)?;
    if !cfg!(Py_3_13) || !has_class(server, &classes.server) {
        return Ok(None);
    }
    let clients = server.getattr(&names(py)._clients)?;
    if !has_class(&clients, &classes.weak_set) {
        return Ok(None);
    }
    // Gone in 3.14.
    if cfg!(not(Py_3_14)) && clients.getattr(&names(py)._pending_removals)?.is_truthy()? {
        return Ok(None);
    }
    Ok(clients.getattr(&names(py).data)?.cast_into_exact::<PySet>().ok().map(|data| (clients, data)))
}

fn reference<'py>(transport: &Bound<'py, PyAny>, callback: *mut ffi::PyObject) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object, and a callable or null.
    let reference = unsafe { ffi::PyWeakref_NewRef(transport.as_ptr(), callback) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(transport.py(), reference) }
}

/// `server._attach(transport)`.
///
/// # Errors
/// `AssertionError` when the server has been closed.
pub(super) fn attach(py: Python<'_>, server: &Object, transport: &Object) -> PyResult<()> {
    let (server, transport) = (server.bind(py), transport.bind(py));
    match clients(server)? {
        Some((clients, data)) => {
            if server.getattr(&names(py)._sockets)?.is_none() {
                return Err(PyAssertionError::new_err(()));
            }
            let remove = clients.getattr(&names(py)._remove)?;
            data.add(reference(transport, remove.as_ptr())?)
        }
        None if cfg!(Py_3_13) => server.call_method1(intern!(py, "_attach"), (transport,)).map(drop),
        None => server.call_method0(intern!(py, "_attach")).map(drop),
    }
}

/// `server._detach(transport)`.
pub(super) fn detach(py: Python<'_>, server: &Object, transport: *mut ffi::PyObject) -> PyResult<()> {
    let server = server.bind(py);
    // SAFETY: the object of a method call.
    let transport = unsafe { Bound::from_borrowed_ptr(py, transport) };
    match clients(server)? {
        Some((_, data)) => {
            data.discard(reference(&transport, core::ptr::null_mut())?)?;
            if data.is_empty() && server.getattr(&names(py)._sockets)?.is_none() {
                server.call_method0(intern!(py, "_wakeup"))?;
            }
            Ok(())
        }
        None if cfg!(Py_3_13) => server.call_method1(intern!(py, "_detach"), (transport,)).map(drop),
        None => server.call_method0(intern!(py, "_detach")).map(drop),
    }
}

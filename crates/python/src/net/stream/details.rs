//! What `get_extra_info` answers, made when somebody asks.
//!
//! asyncio keeps a dictionary with three entries for each connection: the socket and two names. Here the names are kept as
//! the kernel gave them, and the dictionary is made for who wants the socket or the dictionary itself. The Python socket
//! that is made then owns the descriptor from that moment.

use core::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, IntoRawFd};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use super::begin::Opened;
use super::ctype::extra_slot;
use super::descriptor::Descriptor;
use super::state::State;
use crate::ffi::arguments::{Arguments, unexpected_keyword};
use crate::ffi::object::Object;
use crate::ffi::trampoline::{self, none};
use crate::net::raw::socket_class;
use crate::net::socket_name;

/// `ferrio._transport.TransportSocket`.
static SHOWN_SOCKET: PyOnceLock<Object> = PyOnceLock::new();

fn shown_socket(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let class = SHOWN_SOCKET
        .get_or_try_init(py, || py.import("ferrio._transport")?.getattr("TransportSocket").map(Object::new))?;
    Ok(class.bind(py))
}

/// The transport's Python socket, made when there is none yet; `None` when the descriptor has been released.
pub(super) fn socket(py: Python<'_>, state: &State) -> PyResult<Option<Object>> {
    enum Found {
        Gone,
        Socket(Object),
        Number(i32, &'static str, u16),
    }
    let found = state.with(py, |inner| match &inner.descriptor {
        Descriptor::None | Descriptor::Gone => Found::Gone,
        Descriptor::Python(socket) => Found::Socket(socket.clone()),
        Descriptor::Native { descriptor, .. } => {
            let family = socket_name::family(&inner.local).or_else(|| socket_name::family(&inner.peer));
            Found::Number(descriptor.as_raw_fd(), family.unwrap_or("AF_INET"), inner.proto)
        }
    });
    let (number, family, proto) = match found {
        Found::Gone => return Ok(None),
        Found::Socket(socket) => return Ok(Some(socket)),
        Found::Number(number, family, proto) => (number, family, proto),
    };
    let socket = make_socket(py, family, proto, Some(number))?;
    // What has just run may have ended the transport: then the number is not the new socket's to close.
    let taken = state.with(py, |inner| match core::mem::take(&mut inner.descriptor) {
        Descriptor::Native { descriptor, .. } => {
            inner.descriptor = Descriptor::Python(socket.clone());
            let _: i32 = descriptor.into_raw_fd();
            true
        }
        other => {
            inner.descriptor = other;
            false
        }
    });
    if !taken {
        socket.bind(py).call_method0(intern!(py, "detach"))?;
        return Ok(state.with(py, |inner| inner.descriptor.socket().cloned()));
    }
    socket.bind(py).call_method1(intern!(py, "setblocking"), (false,))?;
    Ok(Some(socket))
}

/// `socket.socket(family, SOCK_STREAM, proto, fileno=number)`.
fn make_socket(py: Python<'_>, family: &str, proto: u16, number: Option<i32>) -> PyResult<Object> {
    let module = py.import("socket")?;
    let arguments = (module.getattr(family)?, module.getattr(intern!(py, "SOCK_STREAM"))?, proto, number);
    socket_class(py)?.call1(arguments).map(Object::new)
}

/// Lets go of a connection that has come to nothing, as asyncio does: the Python socket that is made around it closes it,
/// with the `ResourceWarning` of a socket that nobody has closed.
pub(crate) fn abandon(py: Python<'_>, opened: Opened) -> PyResult<()> {
    let family = socket_name::family(&opened.peer).unwrap_or("AF_INET");
    let socket = make_socket(py, family, opened.proto, Some(opened.descriptor.as_raw_fd()))?;
    let _: i32 = opened.descriptor.into_raw_fd();
    drop(socket);
    Ok(())
}

/// A closed socket, for who asks after the end.
fn closed_socket(py: Python<'_>, state: &State) -> PyResult<Object> {
    let (family, proto) = state.with(py, |inner| {
        let family = socket_name::family(&inner.local).or_else(|| socket_name::family(&inner.peer));
        (family.unwrap_or("AF_INET"), inner.proto)
    });
    let socket = make_socket(py, family, proto, None)?;
    socket.bind(py).call_method0(intern!(py, "close"))?;
    Ok(socket)
}

/// The dictionary behind `get_extra_info`, made when there is none yet.
fn dictionary(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Object> {
    let slot = *extra_slot(object);
    if !slot.is_null() {
        // SAFETY: the slot owns a reference.
        return Ok(unsafe { Object::from_borrowed(slot) });
    }
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(object) };
    let details = PyDict::new(py);
    if state.with(py, |inner| !matches!(inner.descriptor, Descriptor::None)) {
        let socket = match socket(py, state)? {
            Some(socket) => socket,
            None => closed_socket(py, state)?,
        };
        // SAFETY: an instance of the type, alive during the call.
        let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
        let wrapped = shown_socket(py)?.call1((socket.bind(py), transport))?;
        details.set_item("socket", wrapped)?;
        let (local, peer) = state.with(py, |inner| (inner.local.clone(), inner.peer.clone()));
        details.set_item("sockname", socket_name::address(py, &local)?.bind(py))?;
        details.set_item("peername", socket_name::address(py, &peer)?.bind(py))?;
    }
    let details = Object::new(details);
    let slot = extra_slot(object);
    if slot.is_null() {
        *slot = details.clone().into_ptr();
    }
    Ok(details)
}

/// `get_extra_info(name, default=None)`.
pub(super) fn get_extra_info(py: Python<'_>, object: *mut ffi::PyObject, arguments: Arguments<'_>) -> PyResult<Object> {
    let mut given = [None, None];
    let positional = arguments.positional_addresses();
    if positional.len() > given.len() {
        return Err(PyTypeError::new_err("get_extra_info() takes a name and a default"));
    }
    for (place, &value) in given.iter_mut().zip(positional) {
        *place = Some(value);
    }
    for (name, value) in arguments.keywords(py) {
        let index = match name.to_string().as_str() {
            "name" => 0,
            "default" => 1,
            _ => return Err(unexpected_keyword("get_extra_info", &name)),
        };
        if given[index].replace(value).is_some() {
            return Err(PyTypeError::new_err(format!("get_extra_info() got multiple values for argument '{name}'")));
        }
    }
    let [Some(name), default] = given else {
        return Err(PyTypeError::new_err("get_extra_info() missing 1 required positional argument: 'name'"));
    };
    // SAFETY: an argument of the call.
    let name = unsafe { Bound::from_borrowed_ptr(py, name) };
    // SAFETY: an argument of the call.
    let default = default.map_or_else(|| none(py), |value| unsafe { Object::from_borrowed(value) });
    if extra_slot(object).is_null() {
        // SAFETY: an instance of the type.
        let state = unsafe { State::of(object) };
        match name.cast::<PyString>().ok().and_then(|name| name.to_str().ok()) {
            Some("peername") if state.with(py, |inner| !matches!(inner.descriptor, Descriptor::None)) => {
                let peer = state.with(py, |inner| inner.peer.clone());
                return socket_name::address(py, &peer);
            }
            Some("sockname") if state.with(py, |inner| !matches!(inner.descriptor, Descriptor::None)) => {
                let local = state.with(py, |inner| inner.local.clone());
                return socket_name::address(py, &local);
            }
            // No text may be no key: the dictionary's business.
            Some("socket") | None => {}
            Some(_) => return Ok(default),
        }
    }
    let details = dictionary(py, object)?;
    Ok(Object::new(details.bind(py).call_method1(intern!(py, "get"), (name, default.bind(py)))?))
}

pub(super) unsafe extern "C" fn get_extra(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(|py| dictionary(py, object)) }
}

pub(super) unsafe extern "C" fn set_extra(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    let body = |_: Python<'_>| {
        // SAFETY: null stands for deletion, anything else is a live object.
        let value = (!value.is_null()).then(|| unsafe { Object::from_borrowed(value) });
        let before = core::mem::replace(extra_slot(object), value.map_or(core::ptr::null_mut(), Object::into_ptr));
        // SAFETY: the slot owned its reference.
        drop(unsafe { Object::from_owned(before) });
        Ok(0)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(-1, body) }
}

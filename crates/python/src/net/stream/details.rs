//! What `get_extra_info` answers, made when somebody asks.
//!
//! asyncio keeps a dictionary with three entries for each connection: the socket and two names. Here the names are kept as
//! the kernel gave them, and the dictionary is made for who wants the socket or the dictionary itself. The Python socket
//! that is made then owns the descriptor from that moment.

#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::begin::Opened;
use super::class::{EXTRA, Stream};
use super::descriptor::Descriptor;
use super::state::Inner;
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::net::socket_name;
use crate::net::transport::{with, with_common};

impl Inner {
    /// The name of the connection's family in the `socket` module.
    fn family(&self) -> &'static str {
        socket_name::family(&self.local).or_else(|| socket_name::family(&self.peer)).unwrap_or("AF_INET")
    }
}

/// The transport's Python socket, made when there is none yet; `None` when the descriptor has been released.
///
/// # Errors
/// Those of making a socket.
pub(super) fn socket(py: Python<'_>, transport: &Stream) -> PyResult<Option<Object>> {
    enum Found {
        None,
        Socket(Object),
        Number(RawFd, &'static str, u16),
    }
    let found = with(py, transport, |inner| match &inner.descriptor {
        Descriptor::None => Found::None,
        Descriptor::Python(socket) => Found::Socket(socket.clone()),
        Descriptor::Native { descriptor, .. } => Found::Number(descriptor.as_raw_fd(), inner.family(), inner.proto),
    });
    let (number, family, proto) = match found {
        Found::None => return Ok(None),
        Found::Socket(socket) => return Ok(Some(socket)),
        Found::Number(number, family, proto) => (number, family, proto),
    };
    let socket = make_socket(py, family, proto, Some(number))?;
    // What has just run may have ended the transport: then the number is not the new socket's to close.
    let is_taken = with(py, transport, |inner| match core::mem::take(&mut inner.descriptor) {
        Descriptor::Native { descriptor, .. } => {
            inner.descriptor = Descriptor::Python(socket.clone());
            let _: RawFd = descriptor.into_raw_fd();
            true
        }
        other => {
            inner.descriptor = other;
            false
        }
    });
    if !is_taken {
        call_method(py, &names(py).detach, [&socket])?;
        return Ok(with(py, transport, |inner| inner.descriptor.socket().cloned()));
    }
    call_method(py, &names(py).setblocking, [&socket, &Object::bool(py, false)])?;
    Ok(Some(socket))
}

/// `socket.socket(family, SOCK_STREAM, proto, fileno=number)`.
fn make_socket(py: Python<'_>, family: &str, proto: u16, number: Option<RawFd>) -> PyResult<Object> {
    let module = OBJECTS.socket.bind(py)?;
    let arguments = (module.getattr(family)?, module.getattr("SOCK_STREAM")?, proto, number);
    OBJECTS.socket_class.bind(py)?.call1(arguments).map(Object::new)
}

/// Drops a connection that becomes no transport, as asyncio does: the Python socket that is made around it closes it, with
/// the `ResourceWarning` of a socket that nobody has closed.
///
/// # Errors
/// Those of making the socket; the connection is closed without a warning then.
pub(crate) fn abandon(py: Python<'_>, opened: Opened) -> PyResult<()> {
    let family = socket_name::family(&opened.peer).unwrap_or("AF_INET");
    let socket = make_socket(py, family, opened.proto, Some(opened.descriptor.as_raw_fd()))?;
    let _: RawFd = opened.descriptor.into_raw_fd();
    drop(socket);
    Ok(())
}

/// A closed socket, for who asks after the end.
fn closed_socket(py: Python<'_>, transport: &Stream) -> PyResult<Object> {
    let (family, proto) = with(py, transport, |inner| (inner.family(), inner.proto));
    let socket = make_socket(py, family, proto, None)?;
    call_method(py, &names(py).close, [&socket])?;
    Ok(socket)
}

/// The addresses of both ends: local, peer.
fn addresses(py: Python<'_>, transport: &Stream) -> PyResult<[Object; 2]> {
    let (local, peer) = with(py, transport, |inner| (inner.local.clone(), inner.peer.clone()));
    Ok([socket_name::address(py, &local)?, socket_name::address(py, &peer)?])
}

/// The dictionary behind `get_extra_info`, made when there is none yet.
///
/// # Errors
/// Those of making the socket.
pub(super) fn dictionary(py: Python<'_>, transport: &Stream) -> PyResult<Object> {
    if let Some(details) = EXTRA.get(transport) {
        return Ok(details);
    }
    let details = PyDict::new(py);
    if with_common(py, transport, |common| common.is_opened) {
        let socket = socket(py, transport)?.map_or_else(|| closed_socket(py, transport), Ok)?;
        let wrapped = OBJECTS.transport_socket.bind(py)?.call1((socket.bind(py), transport.bind(py)))?;
        details.set_item("socket", wrapped)?;
        let [local, peer] = addresses(py, transport)?;
        details.set_item("sockname", local.bind(py))?;
        details.set_item("peername", peer.bind(py))?;
    }
    let details = Object::new(details);
    if EXTRA.is_empty(transport) {
        EXTRA.set(transport, Some(details.clone()));
    }
    Ok(details)
}

/// `get_extra_info(name, default=None)`. The dictionary is made for who asks for the socket only.
pub(super) fn get_extra_info(py: Python<'_>, transport: &Stream, arguments: Arguments<'_>) -> PyResult<Object> {
    let [Some(name), default] = arguments.parameters(py, "get_extra_info", ["name", "default"])? else {
        return Err(PyTypeError::new_err("get_extra_info() missing 1 required positional argument: 'name'"));
    };
    let default = default.map_or_else(|| Object::none(py), Object::clone);
    if EXTRA.is_empty(transport) {
        let is_opened = with_common(py, transport, |common| common.is_opened);
        match name.bind(py).cast::<PyString>().ok().and_then(|name| name.to_str().ok()) {
            Some("sockname") if is_opened => {
                let local = with(py, transport, |inner| inner.local.clone());
                return socket_name::address(py, &local);
            }
            Some("peername") if is_opened => {
                let peer = with(py, transport, |inner| inner.peer.clone());
                return socket_name::address(py, &peer);
            }
            // No text may be no key: the dictionary's business.
            Some("socket") | None => {}
            Some(_) => return Ok(default),
        }
    }
    let details = dictionary(py, transport)?;
    call_method(py, &names(py).get, [&details, name, &default])
}

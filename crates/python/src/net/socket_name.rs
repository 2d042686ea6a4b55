//! A socket's name as the `socket` module shows it.

#![forbid(unsafe_code)]

use ferrio_engine::sys::socket_name::{self, SocketName};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ffi::object::Object;
use crate::ffi::text::decode_path;

/// The address that `getsockname()` or `getpeername()` would return; `None` for no name.
pub(crate) fn address(py: Python<'_>, name: &SocketName) -> PyResult<Object> {
    Ok(match name {
        SocketName::None => Object::none(py),
        SocketName::V4(name) => Object::new((name.ip().to_string(), name.port()).into_pyobject(py)?),
        SocketName::V6(name) => {
            let flow = u32::from_be(name.flowinfo());
            Object::new((socket_name::host_text(name), name.port(), flow, name.scope_id()).into_pyobject(py)?)
        }
        SocketName::UnixUnnamed => Object::new("".into_pyobject(py)?),
        SocketName::UnixPath(path) => decode_path(py, path)?,
        SocketName::UnixAbstract(name) => Object::new(PyBytes::new(py, name)),
    })
}

/// The family's name in the `socket` module.
pub(crate) fn family(name: &SocketName) -> Option<&'static str> {
    match name {
        SocketName::None => None,
        SocketName::V4(_) => Some("AF_INET"),
        SocketName::V6(_) => Some("AF_INET6"),
        SocketName::UnixUnnamed | SocketName::UnixPath(_) | SocketName::UnixAbstract(_) => Some("AF_UNIX"),
    }
}

//! A socket's name as the `socket` module shows it.

use ferrio_engine::sys::socket_name::{self, SocketName};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ffi::object::Object;
use crate::ffi::trampoline::none;

/// The address that `getsockname()` or `getpeername()` would return; `None` for no name.
pub(crate) fn address(py: Python<'_>, name: &SocketName) -> PyResult<Object> {
    Ok(match name {
        SocketName::None => none(py),
        SocketName::V4(name) => Object::new((name.ip().to_string(), name.port()).into_pyobject(py)?),
        SocketName::V6(name) => {
            let flow = u32::from_be(name.flowinfo());
            Object::new((socket_name::host_text(name), name.port(), flow, name.scope_id()).into_pyobject(py)?)
        }
        SocketName::UnixUnnamed => Object::new("".into_pyobject(py)?),
        SocketName::UnixPath(path) => {
            #[expect(clippy::cast_possible_wrap, reason = "108 at the most")]
            // SAFETY: so many bytes lie there.
            let text = unsafe { ffi::PyUnicode_DecodeFSDefaultAndSize(path.as_ptr().cast(), path.len() as isize) };
            // SAFETY: a new reference, or null with an exception.
            unsafe { Object::from_owned(text) }.ok_or_else(|| PyErr::fetch(py))?
        }
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

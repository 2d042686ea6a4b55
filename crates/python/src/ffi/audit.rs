//! The audit events of the `socket` module, for what native code does in its place.

use core::ffi::{CStr, c_char, c_int};

use pyo3::prelude::*;

use super::c_api;
use super::object::Object;

unsafe extern "C" {
    // Public in `sysmodule.h`; pyo3-ffi has no variadic functions.
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// `socket.__new__`: a socket of this family, type and protocol is made.
///
/// # Errors
/// A hook's exception.
pub(crate) fn new_socket(py: Python<'_>, socket: &Object, [family, kind, proto]: [c_int; 3]) -> PyResult<()> {
    let (event, format) = (c"socket.__new__".as_ptr(), c"Oiii".as_ptr());
    // SAFETY: the arguments are as the format says: a live object and three integers.
    c_api::status(py, unsafe { PySys_Audit(event, format, socket.as_ptr(), family, kind, proto) })
}

/// `socket.connect`: a socket is connected to `(host, port)`.
///
/// # Errors
/// A hook's exception.
pub(crate) fn connect(py: Python<'_>, socket: &Object, host: &CStr, port: u16) -> PyResult<()> {
    let (event, format) = (c"socket.connect".as_ptr(), c"O(si)".as_ptr());
    // SAFETY: the arguments are as the format says: a live object, and a tuple of a text and an integer.
    c_api::status(py, unsafe { PySys_Audit(event, format, socket.as_ptr(), host.as_ptr(), c_int::from(port)) })
}

/// `socket.sendto`: a datagram is sent to an address.
///
/// # Errors
/// A hook's exception.
pub(crate) fn send_to(py: Python<'_>, socket: &Object, address: &Object) -> PyResult<()> {
    let (event, format) = (c"socket.sendto".as_ptr(), c"OO".as_ptr());
    // SAFETY: the arguments are as the format says: two live objects.
    c_api::status(py, unsafe { PySys_Audit(event, format, socket.as_ptr(), address.as_ptr()) })
}

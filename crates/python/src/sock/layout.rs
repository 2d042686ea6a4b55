//! A socket object's number and timeout, read where `_socket.socket` keeps them.
//!
//! Every attempt asks for the number and every wait for the timeout, and the methods that tell them cost as much as a small
//! system call. [`check`] compares the layout with what the methods say when the module is imported; where they differ, the
//! methods are called.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::RawFd;

use pyo3::ffi;
use pyo3::prelude::*;

/// `PySocketSockObject`, its first fields.
#[repr(C)]
struct SocketObject {
    head: ffi::PyObject,
    fd: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
    error_handler: *const c_void,
    /// Nanoseconds; negative for none.
    timeout: i64,
}

static IS_KNOWN: AtomicBool = AtomicBool::new(false);

fn read(socket: &Bound<'_, PyAny>) -> (RawFd, i64) {
    let object: *const SocketObject = socket.as_ptr().cast();
    // SAFETY: an exact `socket.socket`, laid out as `check` has found.
    let fd = unsafe { (*object).fd };
    // SAFETY: as above.
    (fd, unsafe { (*object).timeout })
}

/// The number of an exact `socket.socket`; -1 when it is closed.
#[inline]
pub(super) fn number(socket: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    if IS_KNOWN.load(Ordering::Relaxed) {
        return Ok(read(socket).0);
    }
    socket.call_method0("fileno")?.extract()
}

/// Whether the methods of an exact `socket.socket` wait: `gettimeout() != 0`.
#[inline]
pub(super) fn is_blocking(socket: &Bound<'_, PyAny>) -> PyResult<bool> {
    if IS_KNOWN.load(Ordering::Relaxed) {
        return Ok(read(socket).1 != 0);
    }
    socket.call_method0("gettimeout")?.ne(0)
}

/// Finds out whether the interpreter's sockets have this layout.
pub(super) fn check(py: Python<'_>) -> PyResult<()> {
    let module = py.import("socket")?;
    let socket = super::class::socket_class(py)?;
    let (family, kind) = (module.getattr("AF_UNIX")?, module.getattr("SOCK_DGRAM")?);
    let class: *const ffi::PyTypeObject = socket.as_ptr().cast();
    // SAFETY: `socket.socket` is a class.
    let size = unsafe { (*class).tp_basicsize }.unsigned_abs();
    // A sandbox may refuse sockets: then there is nothing to compare with, and nothing to use.
    let Ok(socket) = socket.call1((family, kind)) else { return Ok(()) };
    let mut agrees = size >= size_of::<SocketObject>();
    for (timeout, expected) in [(Some(0.0), 0), (Some(1.5), 1_500_000_000), (Some(0.25), 250_000_000)] {
        socket.call_method1("settimeout", (timeout,))?;
        let fd: RawFd = socket.call_method0("fileno")?.extract()?;
        agrees = agrees && read(&socket) == (fd, expected);
    }
    socket.call_method1("settimeout", (py.None(),))?;
    agrees = agrees && read(&socket).1 < 0;
    socket.call_method0("close")?;
    agrees = agrees && read(&socket).0 == -1;
    IS_KNOWN.store(agrees, Ordering::Relaxed);
    Ok(())
}

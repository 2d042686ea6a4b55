//! A socket object's number and timeout, read where `_socket.socket` keeps them.
//!
//! Every attempt asks for the number and every wait for the timeout, and the methods that tell them cost as much as a small
//! system call. [`check`] compares the layout with what the methods say when the module is imported; where they differ, the
//! methods are called.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::os::fd::RawFd;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::names::names;
use super::object::Object;

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

/// `socket.socket`, as it was when this module was imported; null when its layout is another one.
static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// # Safety
/// An exact `socket.socket`, or what is at least as large.
unsafe fn read(socket: &Object) -> (RawFd, i64) {
    let object: *const SocketObject = socket.as_ptr().cast();
    // SAFETY: passed on to the caller.
    let fd = unsafe { (*object).fd };
    // SAFETY: as above.
    (fd, unsafe { (*object).timeout })
}

/// The number and the timeout of an exact `socket.socket`, laid out as [`check`] has found; `None` for any other object.
#[inline]
fn fields(socket: &Object) -> Option<(RawFd, i64)> {
    let is_exact = socket.has_class(CLASS.load(Ordering::Relaxed));
    // SAFETY: its type was just looked at.
    is_exact.then(|| unsafe { read(socket) })
}

/// Whether an exact `socket.socket` has another number than `number` by now: its owner has closed or detached it. False
/// where the layout is another one.
#[inline]
pub(crate) fn has_lost(socket: &Object, number: RawFd) -> bool {
    fields(socket).is_some_and(|(current, _)| current != number)
}

/// The number of a socket; -1 when it is closed.
///
/// # Errors
/// Those of its `fileno`.
#[inline]
pub(crate) fn number(py: Python<'_>, socket: &Object) -> PyResult<RawFd> {
    match fields(socket) {
        Some((number, _)) => Ok(number),
        None => socket.bind(py).call_method0(&names(py).fileno)?.extract(),
    }
}

/// Whether a socket's methods wait: `gettimeout() != 0`.
///
/// # Errors
/// Those of its `gettimeout`.
#[inline]
pub(crate) fn is_blocking(py: Python<'_>, socket: &Object) -> PyResult<bool> {
    match fields(socket) {
        Some((_, timeout)) => Ok(timeout != 0),
        None => socket.bind(py).call_method0(&names(py).gettimeout)?.ne(0),
    }
}

/// The version of a class, which every change of it or of a base takes away; 0 for none.
#[inline]
pub(crate) fn version_of_class(object: &Object) -> u32 {
    // SAFETY: a live object.
    let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    // SAFETY: the type of a live object.
    unsafe { (*class).tp_version_tag }
}

/// Finds out whether instances of `socket`, the genuine class, have this layout.
///
/// # Errors
/// Those of the class and its instances.
pub(crate) fn check(py: Python<'_>, socket: &Bound<'_, PyAny>) -> PyResult<()> {
    let module = py.import("socket")?;
    let (family, kind) = (module.getattr("AF_UNIX")?, module.getattr("SOCK_DGRAM")?);
    let class = socket.clone().cast_into::<PyType>()?;
    // SAFETY: a live type.
    let size = unsafe { (*class.as_type_ptr()).tp_basicsize }.unsigned_abs();
    let base = module.getattr("_socket")?.getattr("socket")?;
    if size < size_of::<SocketObject>() || !class.is_subclass(&base)? {
        return Ok(());
    }
    // A sandbox may refuse sockets: then there is nothing to compare with, and nothing to use.
    let Ok(socket) = socket.call1((family, kind)) else { return Ok(()) };
    if !socket.get_type().is(&class) {
        return Ok(());
    }
    let shown = || {
        // SAFETY: an instance of the class, whose instances are that large.
        unsafe { read(Object::of(&socket)) }
    };
    let mut agrees = true;
    for (timeout, expected) in [(Some(0.0), 0), (Some(1.5), 1_500_000_000), (Some(0.25), 250_000_000)] {
        socket.call_method1("settimeout", (timeout,))?;
        let fd: RawFd = socket.call_method0("fileno")?.extract()?;
        agrees = agrees && shown() == (fd, expected);
    }
    socket.call_method1("settimeout", (py.None(),))?;
    agrees = agrees && shown().1 < 0;
    socket.call_method0("close")?;
    agrees = agrees && shown().0 == -1;
    if agrees {
        // The class lives as long as the process.
        CLASS.store(class.into_ptr().cast(), Ordering::Relaxed);
    }
    Ok(())
}

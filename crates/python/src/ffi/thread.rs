//! Threads.

use pyo3::ffi;

/// The calling thread, as `threading.get_ident()` names it.
#[inline]
pub(crate) fn current() -> u64 {
    // SAFETY: no conditions.
    let thread = unsafe { ffi::PyThread_get_thread_ident() };
    thread as u64
}

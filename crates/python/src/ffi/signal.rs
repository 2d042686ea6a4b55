//! The process's wake-up descriptor, as CPython keeps it since 3.13.

use core::ffi::c_int;

use pyo3::prelude::*;

unsafe extern "C" {
    fn PySignal_SetWakeupFd(number: c_int) -> c_int;
}

/// Sets the descriptor unchecked, -1 for none; the result is the one before.
pub(crate) fn set_wakeup_descriptor(_: Python<'_>, number: c_int) -> c_int {
    // SAFETY: the thread is attached; the call stores a number.
    unsafe { PySignal_SetWakeupFd(number) }
}

//! Cancelling a handle of `call_soon_threadsafe` from another thread, as CPython 3.14 does it.
//!
//! When `cancel()` returns, the callback either has run to its end or never will. Another thread therefore waits while the
//! loop runs this very handle; the loop thread itself may cancel the handle it is running.
//!
//! At most one such handle runs at a time in a loop, so one gate for each loop is enough, and a loop with nobody waiting
//! pays two stores for each callback.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;

/// With the GIL, everything but the wait itself is ordered by it. Without, the loop's store and look at `waiting` must not
/// change places, nor the waiting thread's.
const ORDER: Ordering = if cfg!(Py_GIL_DISABLED) { Ordering::SeqCst } else { Ordering::Relaxed };

/// See the module.
#[derive(Default)]
pub(crate) struct RunningGate {
    running: AtomicPtr<ffi::PyObject>,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    ended: Condvar,
}

impl RunningGate {
    /// The loop starts to run `handle`. Comes back with the handle that ran around it (a nested run), to be put back.
    pub(crate) fn enter(&self, handle: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // The loop's thread alone writes it.
        let around = self.running.load(Ordering::Relaxed);
        self.running.store(handle, ORDER);
        around
    }

    /// The loop has run the handle; `around` is what `enter` returned.
    pub(crate) fn leave(&self, around: *mut ffi::PyObject) {
        self.running.store(around, ORDER);
        if self.waiting.load(ORDER) > 0 {
            let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.ended.notify_all();
        }
    }

    /// In a forked child, where no thread waits. Unless its loop is being run by the thread that forked, nobody is about to
    /// call [`Self::leave`] either.
    pub(crate) fn after_fork(&self, is_running: bool) {
        self.waiting.store(0, ORDER);
        if !is_running {
            self.running.store(core::ptr::null_mut(), ORDER);
        }
    }

    /// Waits, detached, until the loop no longer runs `handle`. Not for the loop's own thread.
    pub(crate) fn wait_until_ended(&self, py: Python<'_>, handle: *mut ffi::PyObject) {
        if self.running.load(ORDER) != handle {
            return;
        }
        self.waiting.fetch_add(1, ORDER);
        let address = handle.addr();
        py.detach(|| {
            let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            while self.running.load(ORDER).addr() == address {
                held = self.ended.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
        });
        self.waiting.fetch_sub(1, ORDER);
    }
}

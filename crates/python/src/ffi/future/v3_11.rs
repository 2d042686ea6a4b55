//! `FutureObj` and `TaskObj` of CPython 3.11 and 3.12: each flag is an `int`.

use core::ffi::{c_int, c_uint};

use super::Head;
use crate::ffi::cell::{Plain, Slot};

/// `FutureObj`.
#[repr(C)]
pub(crate) struct FutureObject {
    head: Head,
    pub(crate) event_loop: Slot,
    pub(crate) callback0: Slot,
    pub(crate) context0: Slot,
    pub(super) callbacks: Slot,
    pub(super) exception: Slot,
    pub(super) exception_traceback: Slot,
    pub(crate) result: Slot,
    pub(crate) source_traceback: Slot,
    pub(crate) cancel_message: Slot,
    pub(super) state: Plain<c_uint>,
    log_traceback: Plain<c_int>,
    blocking: Plain<c_int>,
    dict: Slot,
    weak_references: Plain<*mut ()>,
    pub(super) cancelled_error: Slot,
}

/// `TaskObj`.
#[repr(C)]
pub(super) struct TaskObject {
    future: FutureObject,
    pub(super) future_waiter: Slot,
    pub(super) coroutine: Slot,
    pub(super) name: Slot,
    pub(super) context: Slot,
    must_cancel: Plain<c_int>,
    log_destroy_pending: Plain<c_int>,
    pub(super) cancels_requested: Plain<c_int>,
}

/// Where in a task the link of the list of all tasks is.
pub(in crate::ffi) const NODE_OFFSET: Option<usize> = None;

/// A yes-or-no of a future or task.
pub(crate) struct Flag<'a>(&'a Plain<c_int>);

impl Flag<'_> {
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.get() != 0
    }

    #[inline]
    pub(crate) fn set(&self, value: bool) {
        self.0.set(c_int::from(value));
    }
}

impl FutureObject {
    /// Takes the future's flags down.
    pub(super) fn clear_flags(&self) {
        self.log_traceback().set(false);
        self.blocking().set(false);
    }

    #[inline]
    pub(crate) const fn log_traceback(&self) -> Flag<'_> {
        Flag(&self.log_traceback)
    }

    #[inline]
    pub(crate) const fn blocking(&self) -> Flag<'_> {
        Flag(&self.blocking)
    }

    /// The tasks that wait for the future, for the call graph, which came with 3.14.
    #[expect(clippy::unused_self, reason = "later versions have it")]
    pub(super) const fn awaited_by(&self) -> Option<(&Slot, &Plain<u8>)> {
        None
    }

    /// Whether tools that read the process from outside see a task here, which came with 3.14.
    #[expect(clippy::unused_self, reason = "later versions have it")]
    pub(super) const fn is_task(&self) -> Option<&Plain<u8>> {
        None
    }
}

impl TaskObject {
    #[inline]
    pub(super) const fn must_cancel(&self) -> Flag<'_> {
        Flag(&self.must_cancel)
    }

    #[inline]
    pub(super) const fn log_destroy_pending(&self) -> Flag<'_> {
        Flag(&self.log_destroy_pending)
    }
}

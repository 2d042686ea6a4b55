//! `FutureObj` and `TaskObj` of CPython 3.13: flags are bits of one byte.

use core::ffi::{c_int, c_uint};

use super::Head;
use super::bits::Bits;
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
    pub(super) cancelled_error: Slot,
    pub(super) state: Plain<c_uint>,
    pub(super) bits: Bits,
}

/// `TaskObj`.
#[repr(C)]
pub(super) struct TaskObject {
    pub(super) future: FutureObject,
    pub(super) cancels_requested: Plain<c_int>,
    pub(super) future_waiter: Slot,
    pub(super) coroutine: Slot,
    pub(super) name: Slot,
    pub(super) context: Slot,
}

/// Where in a task the link of the list of all tasks is.
pub(in crate::ffi) const NODE_OFFSET: Option<usize> = None;

impl FutureObject {
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

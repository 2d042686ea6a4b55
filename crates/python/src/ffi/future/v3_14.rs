//! `FutureObj` and `TaskObj` of CPython 3.14 and 3.15: with the call graph, and a list of all tasks.

use core::ffi::{c_int, c_uint, c_void};
use core::mem::offset_of;

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
    awaited_by: Slot,
    pub(super) state: Plain<c_uint>,
    is_task: Plain<u8>,
    awaited_by_is_set: Plain<u8>,
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
    node: [Plain<*mut c_void>; 2],
}

/// Where in a task the link of the list of all tasks is.
pub(in crate::ffi) const NODE_OFFSET: Option<usize> = Some(offset_of!(TaskObject, node));

impl FutureObject {
    /// The tasks that wait for the future, for the call graph: one, or a set of them.
    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "earlier versions have none")]
    pub(super) const fn awaited_by(&self) -> Option<(&Slot, &Plain<u8>)> {
        Some((&self.awaited_by, &self.awaited_by_is_set))
    }

    /// Whether tools that read the process from outside see a task here.
    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "earlier versions have none")]
    pub(super) const fn is_task(&self) -> Option<&Plain<u8>> {
        Some(&self.is_task)
    }
}

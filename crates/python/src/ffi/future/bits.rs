//! The flags of a future or task from CPython 3.13 on: bits of one byte, a task's too.

use super::layout::{FutureObject, TaskObject};
use crate::ffi::cell::Plain;

/// The byte.
#[repr(transparent)]
pub(super) struct Bits(Plain<u8>);

impl Bits {
    const fn flag(&self, mask: u8) -> Flag<'_> {
        Flag { bits: &self.0, mask }
    }
}

/// A yes-or-no of a future or task.
pub(crate) struct Flag<'a> {
    bits: &'a Plain<u8>,
    mask: u8,
}

impl Flag<'_> {
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.bits.get() & self.mask != 0
    }

    #[inline]
    pub(crate) fn set(&self, value: bool) {
        let bits = self.bits.get();
        self.bits.set(if value { bits | self.mask } else { bits & !self.mask });
    }
}

impl FutureObject {
    /// Takes all flags down, a task's too.
    #[inline]
    pub(super) fn clear_flags(&self) {
        self.bits.0.set(0);
    }

    #[inline]
    pub(crate) const fn log_traceback(&self) -> Flag<'_> {
        self.bits.flag(1)
    }

    #[inline]
    pub(crate) const fn blocking(&self) -> Flag<'_> {
        self.bits.flag(2)
    }
}

impl TaskObject {
    #[inline]
    pub(super) const fn must_cancel(&self) -> Flag<'_> {
        self.future.bits.flag(4)
    }

    #[inline]
    pub(super) const fn log_destroy_pending(&self) -> Flag<'_> {
        self.future.bits.flag(8)
    }
}

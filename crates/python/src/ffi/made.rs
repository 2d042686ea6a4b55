//! State in an object that may be freed before the state is made.
//!
//! Before 3.13 a new object whose attribute dictionary finds no memory is freed at once by `object.__new__`, within PyO3's
//! `tp_new`. Its memory is all zeros then, which is no state: nothing may be dropped, nor shown to the collector.

use core::mem::ManuallyDrop;
use core::ops::Deref;

/// A state, or the zeros of an object that has none yet.
pub(crate) struct Made<T> {
    /// Zero, which is false, in memory that has no state yet.
    is_made: bool,
    state: ManuallyDrop<T>,
}

impl<T> Made<T> {
    pub(crate) const fn new(state: T) -> Self {
        Self { is_made: true, state: ManuallyDrop::new(state) }
    }

    /// The state; `None` of an object that is freed before it has one.
    pub(crate) fn get(&self) -> Option<&T> {
        self.is_made.then_some(&*self.state)
    }
}

/// Methods are called on whole objects.
impl<T> Deref for Made<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        debug_assert!(self.is_made, "an object without state");
        &self.state
    }
}

impl<T> Drop for Made<T> {
    fn drop(&mut self) {
        if self.is_made {
            // SAFETY: a state that was made, dropped once.
            unsafe { ManuallyDrop::drop(&mut self.state) }
        }
    }
}

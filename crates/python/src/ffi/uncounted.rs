//! References to instances that are not counted, for tables that must not keep what is in them alive.
//!
//! # Invariants
//! 1. The memory of an instance is there while an [`Uncounted`] of it exists. Whoever makes one drops it when the instance
//!    ends, at the latest in [`NativeClass::END`](super::class::NativeClass::END). The instance's [`Anchor`] counts them, and
//!    panics if the state is dropped before them: the memory is not freed then.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use pyo3::ffi;

use super::class::{Class, Instance};
use super::fields::Field;
use super::fields::{Collector, Visited};
use super::object::Object;

/// A field of the state of instances that have uncounted references.
#[derive(Default)]
pub(crate) struct Anchor(Cell<usize>);

#[cfg(not(Py_GIL_DISABLED))]
// SAFETY: attached threads alone use it, with the GIL one at a time.
unsafe impl Sync for Anchor {}

impl Field for Anchor {
    #[inline]
    fn visit_field(&self, _: &Collector) -> Visited {
        Ok(())
    }

    #[inline]
    fn clear_field(&self) {}
}

impl Drop for Anchor {
    #[inline]
    fn drop(&mut self) {
        assert!(self.0.get() == 0, "an instance with uncounted references is not freed");
    }
}

/// A class whose instances have uncounted references.
pub(crate) trait Anchored: Class {
    /// The instance's own anchor, which lies in its state.
    fn anchor(state: &Self::State) -> &Anchor;
}

/// See the module.
pub(crate) struct Uncounted<T: Anchored> {
    address: NonNull<ffi::PyObject>,
    class: PhantomData<fn() -> T>,
}

impl<T: Anchored> Uncounted<T> {
    #[inline]
    pub(crate) fn of(instance: &Instance<T>) -> Self {
        let anchor = T::anchor(instance);
        let (start, place) = ((&raw const **instance).addr(), (&raw const *anchor).addr());
        assert!((start..start + size_of::<T::State>()).contains(&place), "the anchor lies in the state");
        anchor.0.set(anchor.0.get() + 1);
        // SAFETY: a reference is never null.
        let address = unsafe { NonNull::new_unchecked(instance.object().as_ptr()) };
        Self { address, class: PhantomData }
    }

    /// Whether it is of this instance.
    #[inline]
    pub(crate) fn is_of(&self, instance: &Instance<T>) -> bool {
        self.address.as_ptr() == instance.object().as_ptr()
    }

    /// A reference to the instance, unless it is being freed.
    pub(crate) fn get(&self) -> Option<Instance<T>> {
        let address = self.address.as_ptr();
        // SAFETY: the memory is there (invariant 1).
        let references = unsafe { ffi::Py_REFCNT(address) };
        if references <= 0 {
            return None;
        }
        // SAFETY: it has references, so it is alive.
        let object = unsafe { Object::view(&address) };
        // SAFETY: an instance, as it was when this was made.
        let instance = unsafe { Instance::<T>::assume(object) };
        Some(instance.clone())
    }
}

impl<T: Anchored> Drop for Uncounted<T> {
    #[inline]
    fn drop(&mut self) {
        let address = self.address.as_ptr();
        // SAFETY: the memory is there (invariant 1), and was that of an instance when this was made.
        let object = unsafe { Object::view(&address) };
        // SAFETY: as above.
        let instance = unsafe { Instance::<T>::assume(object) };
        let anchor = T::anchor(instance);
        anchor.0.set(anchor.0.get() - 1);
    }
}

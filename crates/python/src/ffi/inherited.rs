//! Slots of Python classes (`__slots__`): where they lie, and those that a native type inherits, which nobody but the type
//! itself shows to the collector and gives back.
//!
//! They are read off the classes when the module is imported, so one that a release of Python adds is known too, whether
//! or not anything in Ferrio uses it.

use core::ffi::c_int;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::cell::Slot;
use super::class::{Instance, NativeClass};
use super::fields::{Collector, Field};
use super::object::Object;

/// Offsets of slots in the instances of `T`.
pub(crate) struct InheritedSlots<T> {
    offsets: OnceLock<Box<[usize]>>,
    /// How many there are: mostly none, and each instance that is freed asks.
    count: AtomicUsize,
    class: PhantomData<fn() -> T>,
}

impl<T> InheritedSlots<T> {
    pub(crate) const fn new() -> Self {
        Self { offsets: OnceLock::new(), count: AtomicUsize::new(0), class: PhantomData }
    }

    /// Remembers every slot of `base`, the base of the type, and of what that is derived from, but for those at `known`
    /// offsets, which the type visits and clears itself.
    pub(crate) fn find(&self, base: &Bound<'_, PyType>, known: &[usize]) -> PyResult<()> {
        let mut found = Vec::new();
        for class in base.mro() {
            for value in class.getattr("__dict__")?.call_method0("values")?.try_iter()? {
                found.extend(slot_offset(&value?).filter(|offset| !known.contains(offset)));
            }
        }
        let count = found.len();
        if self.offsets.set(found.into()).is_ok() {
            self.count.store(count, Ordering::Relaxed);
        }
        Ok(())
    }

    #[inline]
    fn offsets(&self) -> &[usize] {
        if self.count.load(Ordering::Relaxed) == 0 { &[] } else { self.offsets.get().map_or(&[], |offsets| offsets) }
    }
}

impl<T: NativeClass> InheritedSlots<T> {
    #[inline]
    fn of<'a>(&'a self, instance: &'a Instance<T>) -> impl Iterator<Item = &'a Slot> {
        // SAFETY: offsets of object slots that `find` has read off the bases of the class.
        self.offsets().iter().map(|&offset| unsafe { slot_at(instance, offset) })
    }

    /// Shows what the slots of an instance hold.
    #[inline]
    pub(in crate::ffi) fn visit(&self, instance: &Instance<T>, collector: &Collector) -> Result<(), c_int> {
        self.of(instance).try_for_each(|slot| slot.visit_field(collector))
    }

    /// Empties the slots of an instance.
    #[inline]
    pub(crate) fn clear(&self, instance: &Instance<T>) {
        self.of(instance).for_each(Field::clear_field);
    }
}

/// One slot that the class `T` inherits and uses itself.
pub(crate) struct InheritedSlot<T> {
    offset: OnceLock<usize>,
    class: PhantomData<fn() -> T>,
}

impl<T: NativeClass> InheritedSlot<T> {
    pub(crate) const fn new() -> Self {
        Self { offset: OnceLock::new(), class: PhantomData }
    }

    /// Finds the slot `name` of `base`, over which the class has been made.
    ///
    /// # Errors
    /// The base has no such slot.
    pub(crate) fn find(&self, base: &Bound<'_, PyType>, name: &str) -> PyResult<()> {
        assert!(T::is_derived_from(base), "a slot of a base");
        let offset = offset_of(base, name)?;
        // Once: the process has one class.
        let _ = self.offset.set(offset);
        Ok(())
    }

    /// The slot; it is found before there are instances.
    #[inline]
    fn of<'a>(&self, instance: &'a Instance<T>) -> Option<&'a Slot> {
        let offset = *self.offset.get()?;
        // SAFETY: the offset of an object slot of a base of the class, as `find` has made sure.
        Some(unsafe { slot_at(instance, offset) })
    }

    /// What is in it.
    pub(crate) fn get(&self, instance: &Instance<T>) -> Option<Object> {
        self.of(instance)?.get()
    }

    #[inline]
    pub(crate) fn is_empty(&self, instance: &Instance<T>) -> bool {
        self.of(instance).is_none_or(Slot::is_empty)
    }

    /// Puts `value` in; what was there is dropped after that.
    pub(crate) fn set(&self, instance: &Instance<T>, value: Option<Object>) {
        drop(self.of(instance).map(|slot| slot.replace(value)));
    }
}

/// The slot at `offset` of an instance.
///
/// # Safety
/// A base of the class has an object slot at that offset.
unsafe fn slot_at<T: NativeClass>(instance: &Instance<T>, offset: usize) -> &Slot {
    // SAFETY: passed on to the caller.
    let address = unsafe { instance.object().as_ptr().byte_add(offset) };
    // SAFETY: a `Slot` is laid out as a slot of CPython's: null, or a reference that it owns. It lasts as long as the instance.
    unsafe { &*address.cast() }
}

/// The offset of the slot `name` of `class`, from the interpreter's own member descriptor.
///
/// # Errors
/// `ImportError`: the class has no such slot.
pub(crate) fn offset_of(class: &Bound<'_, PyType>, name: &str) -> PyResult<usize> {
    slot_offset(&class.getattr("__dict__")?.get_item(name)?).ok_or_else(|| unknown_layout(class, name))
}

/// The offset of the slot that a value of a class's dictionary stands for; `None` when it stands for none.
fn slot_offset(value: &Bound<'_, PyAny>) -> Option<usize> {
    if value.get_type_ptr() != &raw mut ffi::PyMemberDescr_Type {
        return None;
    }
    let descriptor: *const MemberDescriptor = value.as_ptr().cast();
    // SAFETY: the type was checked, and member descriptors have had this layout since Python 2.2.
    let member = unsafe { (*descriptor).member };
    // SAFETY: a descriptor's definition lives as long as its class.
    let member = unsafe { &*member };
    usize::try_from(member.offset).ok().filter(|_| member.type_code == ffi::Py_T_OBJECT_EX)
}

#[repr(C)]
struct MemberDescriptor {
    common: ffi::PyDescrObject,
    member: *const ffi::PyMemberDef,
}

/// The error for a class of asyncio's that lays its slots out in a way that this release of Ferrio does not know.
pub(in crate::ffi) fn unknown_layout(class: &Bound<'_, PyType>, name: &str) -> PyErr {
    let class = class.name().map_or_else(|_| "?".to_owned(), |class| class.to_string());
    PyImportError::new_err(format!(
        "this interpreter keeps asyncio.{class}.{name} elsewhere than Ferrio knows; \
         use the Ferrio release made for this Python version"
    ))
}

//! Slots of Python classes (`__slots__`): where they lie, and those that a native type inherits, which nobody but the type
//! itself shows to the collector and gives back.
//!
//! They are read off the classes when the module is imported, so one that a release of Python adds is known too, whether
//! or not anything in Ferrio uses it.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::class::{Instance, NativeClass};
use crate::ffi::nesting;
use crate::ffi::object::Object;

/// Offsets of slots in the instances of one type.
pub(crate) struct InheritedSlots {
    offsets: OnceLock<Box<[usize]>>,
    /// How many there are: mostly none, and a type's every end asks.
    count: AtomicUsize,
}

impl InheritedSlots {
    pub(crate) const fn new() -> Self {
        Self { offsets: OnceLock::new(), count: AtomicUsize::new(0) }
    }

    /// Remembers every slot of `base`, the base of the type, and of what that is derived from, but for those at `known`
    /// offsets, to which the type sees itself.
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

    /// Shows what the slots of `object` hold to the collector.
    ///
    /// # Safety
    /// `object` is an instance of the type; the others are as the collector gives them to `tp_traverse`.
    #[inline]
    pub(crate) unsafe fn visit(&self, object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        for &offset in self.offsets() {
            // SAFETY: a slot of the type.
            let value = *unsafe { slot_at(object, offset) };
            if !value.is_null() {
                // SAFETY: `visit` takes live objects that this one owns.
                let stop = unsafe { visit(value, arg) };
                if stop != 0 {
                    return stop;
                }
            }
        }
        0
    }

    /// Empties the slots of `object`.
    ///
    /// # Safety
    /// `object` is an instance of the type.
    #[inline]
    pub(crate) unsafe fn clear(&self, object: *mut ffi::PyObject) {
        for &offset in self.offsets() {
            // SAFETY: a slot of the type.
            let before = core::mem::replace(unsafe { slot_at(object, offset) }, core::ptr::null_mut());
            // SAFETY: the slot owned its reference.
            if let Some(before) = unsafe { Object::from_owned(before) } {
                nesting::release(before);
            }
        }
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

    /// The slot's place; it is found before there are instances.
    #[inline]
    fn place<'a>(&self, instance: &'a Instance<T>) -> Option<&'a Cell<*mut ffi::PyObject>> {
        let offset = *self.offset.get()?;
        // SAFETY: a slot of a base of the class.
        Some(Cell::from_mut(unsafe { slot_at(instance.object().as_ptr(), offset) }))
    }

    /// What is in it.
    pub(crate) fn get(&self, instance: &Instance<T>) -> Option<Object> {
        let value = self.place(instance)?.get();
        // SAFETY: the slot owns a reference.
        (!value.is_null()).then(|| unsafe { Object::from_borrowed(value) })
    }

    #[inline]
    pub(crate) fn is_empty(&self, instance: &Instance<T>) -> bool {
        self.place(instance).is_none_or(|place| place.get().is_null())
    }

    /// Puts `value` in; what was there is dropped after that.
    pub(crate) fn set(&self, instance: &Instance<T>, value: Option<Object>) {
        let Some(place) = self.place(instance) else { return };
        let before = place.replace(value.map_or(core::ptr::null_mut(), Object::into_ptr));
        // SAFETY: the slot owned its reference.
        drop(unsafe { Object::from_owned(before) });
    }
}

/// The slot at `offset` of `object`.
///
/// # Safety
/// The object's type has an object slot at that offset.
pub(crate) unsafe fn slot_at<'a>(object: *mut ffi::PyObject, offset: usize) -> &'a mut *mut ffi::PyObject {
    // SAFETY: passed on to the caller.
    let address = unsafe { object.byte_add(offset) };
    // SAFETY: passed on to the caller; an attached thread is alone with the slot.
    unsafe { &mut *address.cast() }
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

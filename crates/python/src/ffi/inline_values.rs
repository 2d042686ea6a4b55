//! Attributes of instances of Python classes, read where the interpreter keeps them.
//!
//! From 3.13 on an instance whose class has no slots has its attributes in an array behind the object, and no dictionary until
//! somebody asks for one. Which attribute has which place is the same for all instances of a class, and an attribute keeps
//! its place. [`Shape::find`] asks an instance for the places and compares what is declared here with it; where it finds
//! anything else, and before 3.13, there is no shape.
//!
//! # Invariants
//! 1. A shape's class has the flag for such arrays, which a class gets when it is made and keeps, and its places are smaller
//!    than the array's capacity, which is the class's.
//! 2. The array is the truth, and owns a reference for each place that is not null, while `is_valid` says so. An access is one
//!    move in or out, behind a look at that mark, so none lasts while Python runs.

use core::cell::Cell;
use core::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::cell::Slot;
use super::object::Object;

const INLINE_VALUES: core::ffi::c_ulong = 1 << 2;
const MANAGED_DICT: core::ffi::c_ulong = 1 << 4;

/// `_dictvalues`, as far as it has a fixed size.
#[repr(C)]
struct Values {
    capacity: Cell<u8>,
    size: Cell<u8>,
    is_embedded: Cell<u8>,
    is_valid: Cell<u8>,
    first: Slot,
}

/// Where instances of a class keep the attributes of `N` names.
pub(crate) struct Shape<const N: usize> {
    class: Object,
    /// Bytes of an instance, behind which the array begins.
    basic_size: usize,
    places: [u8; N],
}

/// The attributes of an instance of the class of a [`Shape`].
pub(crate) struct Attributes<'a, const N: usize> {
    object: &'a Object,
    shape: &'a Shape<N>,
}

impl<const N: usize> Shape<N> {
    /// Finds the places. `None` where instances are laid out in a way that is not known here.
    ///
    /// # Errors
    /// Those of making an instance without `__init__`, and of setting its attributes.
    pub(crate) fn find(class: &Bound<'_, PyType>, names: [&Bound<'_, PyString>; N]) -> PyResult<Option<Self>> {
        // SAFETY: a live type.
        let flags = unsafe { ffi::PyType_GetFlags(class.as_type_ptr()) };
        let needed = INLINE_VALUES | MANAGED_DICT;
        if !cfg!(Py_3_13) || cfg!(Py_GIL_DISABLED) || flags & needed != needed {
            return Ok(None);
        }
        let basic_size: usize = class.getattr("__basicsize__")?.extract()?;
        let sample = class.py().import("builtins")?.getattr("object")?.getattr("__new__")?.call1((class,))?;
        let mut shape = Self { class: Object::of(class).clone(), basic_size, places: [0; N] };
        let outcome = shape.look(&sample, names);
        // So that a finalizer finds what it would find of an instance that was never initialised.
        for name in names {
            if sample.hasattr(name)? {
                sample.delattr(name)?;
            }
        }
        let is_emptied =
            shape.attributes(Object::of(&sample)).is_some_and(|attributes| attributes.values().size.get() == 0);
        Ok((outcome? && is_emptied).then_some(shape))
    }

    /// Sets each attribute of `sample`, which has none yet, and finds where it has gone; whether all is as declared.
    fn look(&mut self, sample: &Bound<'_, PyAny>, names: [&Bound<'_, PyString>; N]) -> PyResult<bool> {
        let object = Object::of(sample);
        let marks = names.map(|name| name.repr());
        for (count, (name, mark)) in names.into_iter().zip(marks).enumerate() {
            let mark = mark?;
            sample.setattr(name, &mark)?;
            let Some(attributes) = self.attributes(object) else { return Ok(false) };
            let values = attributes.values();
            if values.is_embedded.get() != 1 || usize::from(values.size.get()) != count + 1 {
                return Ok(false);
            }
            let place = (0..values.capacity.get()).find(|&place| {
                // SAFETY: smaller than the capacity.
                unsafe { attributes.slot(place) }.as_ptr() == mark.as_ptr()
            });
            let Some(place) = place.filter(|place| !self.places[..count].contains(place)) else { return Ok(false) };
            self.places[count] = place;
        }
        Ok(true)
    }

    /// The attributes of `object`, if it is of exactly this class, keeps them in its array and has no dictionary.
    #[inline]
    pub(crate) fn attributes<'a>(&'a self, object: &'a Object) -> Option<Attributes<'a, N>> {
        if !object.has_class(self.class.as_ptr().cast()) {
            return None;
        }
        let attributes = Attributes { object, shape: self };
        attributes.is_current().then_some(attributes)
    }
}

impl<const N: usize> Attributes<'_, N> {
    #[inline]
    fn values(&self) -> &Values {
        // SAFETY: an instance of a class with such an array (invariant 1). Python lets it change its class only for one of the
        // same layout.
        let values: *const Values = unsafe { self.object.as_ptr().byte_add(self.shape.basic_size) }.cast();
        // SAFETY: as above; the reference keeps the instance alive, and the array's fields are cells.
        unsafe { &*values }
    }

    /// Whether the array is the truth, and the object has no dictionary, whose watchers would have to hear of changes.
    #[inline]
    fn is_current(&self) -> bool {
        const WORDS_IN_FRONT: usize = 3;
        let address: *const *mut ffi::PyObject = self.object.as_ptr().cast();
        // SAFETY: an instance of a class with a managed dictionary, the pointer to which lies in front of it.
        let place = unsafe { address.sub(WORDS_IN_FRONT) };
        // SAFETY: as above.
        let dictionary = unsafe { *place };
        dictionary.is_null() && self.values().is_valid.get() == 1
    }

    /// # Safety
    /// `place` is smaller than the capacity.
    #[inline]
    unsafe fn slot(&self, place: u8) -> &Slot {
        let values: *const Values = self.values();
        // SAFETY: the first of as many slots as the capacity says.
        let first: *const Slot = unsafe { values.byte_add(offset_of!(Values, first)) }.cast();
        // SAFETY: as the caller says.
        let slot = unsafe { first.add(usize::from(place)) };
        // SAFETY: as above; a slot is laid out as the address, or null.
        unsafe { &*slot }
    }

    /// The attribute of the name with this index; `None` if the object has none, or its attributes have gone elsewhere.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Object> {
        // SAFETY: a place of the shape (invariant 1).
        self.is_current().then(|| unsafe { self.slot(self.shape.places[index]) })?.get()
    }

    /// Replaces the attribute of the name with this index; whether that was possible: the object must have one.
    #[inline]
    pub(crate) fn replace(&self, index: usize, value: Object) -> bool {
        // SAFETY: a place of the shape (invariant 1).
        let slot = unsafe { self.slot(self.shape.places[index]) };
        if !self.is_current() || slot.is_empty() {
            return false;
        }
        slot.set(value);
        true
    }

    /// Whether the object has no attributes but those of the shape's names.
    #[inline]
    pub(crate) fn has_no_others(&self) -> bool {
        // SAFETY: places of the shape (invariant 1).
        let known = self.shape.places.iter().filter(|&&place| !unsafe { self.slot(place) }.is_empty()).count();
        self.is_current() && known == usize::from(self.values().size.get())
    }
}

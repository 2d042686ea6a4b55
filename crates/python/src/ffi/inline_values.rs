//! Attributes of instances of Python classes, read where the interpreter keeps them.
//!
//! From 3.13 on an instance whose class has no slots has its attributes in an array behind the object, and no dictionary until
//! somebody asks for one. Which attribute has which place is the same for all instances of a class, and an attribute keeps
//! its place. [`Shape::find`] asks instances for the places and compares what is declared here with them; where it finds
//! anything else, and before 3.13, there is no shape.
//!
//! A class has room for its attributes and a few more, and less with each instance that is made. A name that came too late
//! has no place, and an instance that is given this attribute keeps all of them in a dictionary.
//!
//! # Invariants
//! 1. A shape's class has the flag for such arrays, which a class gets when it is made and keeps. Its places are those of
//!    names that the class knows, and every instance has room for these, whenever it was made.
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
    /// [`NO_PLACE`] for a name for which the class has no room.
    places: [u8; N],
}

/// No array has so many places.
const NO_PLACE: u8 = u8::MAX;

/// What setting the attributes of an instance showed.
enum Look {
    /// Each is where the shape says.
    AsDeclared,
    /// There was no room for the name with this index.
    NoRoom(usize),
    /// Something that is not known here.
    Otherwise,
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
        let make = class.py().import("builtins")?.getattr("object")?.getattr("__new__")?;
        let mut shape = Self { class: Object::of(class).clone(), basic_size, places: [0; N] };
        loop {
            let sample = make.call1((class,))?;
            let outcome = shape.look(&sample, names);
            // A finalizer of the class's shall find an instance that was never initialised.
            for name in names {
                if sample.hasattr(name)? {
                    sample.delattr(name)?;
                }
            }
            match outcome? {
                Look::AsDeclared => {
                    let attributes = shape.attributes(Object::of(&sample));
                    let is_emptied = attributes.is_some_and(|attributes| attributes.values().size.get() == 0);
                    return Ok(is_emptied.then_some(shape));
                }
                Look::NoRoom(index) => shape.places[index] = NO_PLACE,
                Look::Otherwise => return Ok(None),
            }
        }
    }

    /// Sets each attribute of `sample`, which has none yet, and finds where it has gone. Those that have no place are left out.
    fn look(&mut self, sample: &Bound<'_, PyAny>, names: [&Bound<'_, PyString>; N]) -> PyResult<Look> {
        let object = Object::of(sample);
        let marks = names.map(|name| name.repr());
        let mut found = Vec::with_capacity(N);
        for (index, (name, mark)) in names.into_iter().zip(marks).enumerate() {
            if self.places[index] == NO_PLACE {
                continue;
            }
            let mark = mark?;
            sample.setattr(name, &mark)?;
            let Some(attributes) = self.attributes(object) else { return Ok(Look::NoRoom(index)) };
            let values = attributes.values();
            if values.is_embedded.get() != 1 || usize::from(values.size.get()) != found.len() + 1 {
                return Ok(Look::Otherwise);
            }
            let place = (0..values.capacity.get()).find(|&place| {
                // SAFETY: smaller than the capacity.
                unsafe { attributes.slot(place) }.as_ptr() == mark.as_ptr()
            });
            let Some(place) = place.filter(|place| !found.contains(place)) else { return Ok(Look::Otherwise) };
            self.places[index] = place;
            found.push(place);
        }
        Ok(Look::AsDeclared)
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

    /// The slot of the name with this index, if it has one.
    #[inline]
    fn slot_of(&self, index: usize) -> Option<&Slot> {
        let place = self.shape.places[index];
        // SAFETY: a place of the shape (invariant 1).
        (place != NO_PLACE).then(|| unsafe { self.slot(place) })
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
        self.is_current().then(|| self.slot_of(index))??.get()
    }

    /// Replaces the attribute of the name with this index; whether that was possible: the object must have one.
    #[inline]
    pub(crate) fn replace(&self, index: usize, value: Object) -> bool {
        let Some(slot) = self.slot_of(index) else { return false };
        if !self.is_current() || slot.is_empty() {
            return false;
        }
        slot.set(value);
        true
    }

    /// Whether the object has no attributes but those of the shape's names.
    #[inline]
    pub(crate) fn has_no_others(&self) -> bool {
        let known = (0..N).filter(|&index| self.slot_of(index).is_some_and(|slot| !slot.is_empty())).count();
        self.is_current() && known == usize::from(self.values().size.get())
    }
}

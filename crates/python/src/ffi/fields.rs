//! The fields of native state, listed once: what the collector visits, clears and frees follows from the list.
//!
//! [`native_state!`] declares a struct and implements [`Fields`] over every field of it, so a field that is added is visited
//! and cleared without anybody thinking of it. A type that may be a field says by [`Field`] what it refers to.

use core::cell::Cell;
use core::ffi::{c_int, c_void};

use pyo3::{Python, ffi};

use super::cell::{Plain, Slot, Takeable};
use super::class::{Class, Instance};
use super::guarded::Guarded;
use super::nesting;
use super::object::Object;

/// What becomes of showing an object to the collector: an error ends the visit.
pub(crate) type Visited = Result<(), c_int>;

/// The collector, while it looks: the arguments of `tp_traverse`.
pub(crate) struct Collector {
    visit: ffi::visitproc,
    arg: *mut c_void,
}

impl Collector {
    /// # Safety
    /// Both are as the collector gave them to `tp_traverse`, which has not returned.
    pub(in crate::ffi) const unsafe fn new(visit: ffi::visitproc, arg: *mut c_void) -> Self {
        Self { visit, arg }
    }

    /// The token of the thread that visits.
    #[inline]
    #[expect(clippy::unused_self, reason = "the collector runs on an attached thread")]
    pub(crate) fn py(&self) -> Python<'_> {
        // SAFETY: one is made in `tp_traverse` only.
        unsafe { Python::assume_attached() }
    }

    /// Shows an object that the visited one refers to.
    #[inline]
    pub(crate) fn object(&self, object: &Object) -> Visited {
        // SAFETY: the collector's function with its argument (see `new`) and a live object.
        match unsafe { (self.visit)(object.as_ptr(), self.arg) } {
            0 => Ok(()),
            stop => Err(stop),
        }
    }

    /// Shows the class of an instance of a heap type, which owns a reference to it.
    #[inline]
    pub(in crate::ffi) fn class_of(&self, object: &Object) -> Visited {
        let class = object.class().cast();
        // SAFETY: the object keeps its class alive.
        self.object(unsafe { Object::view(&class) })
    }
}

/// All fields of one native state.
pub(crate) trait Fields {
    /// Whether nothing is left to drop of a state that was cleared.
    const IS_EMPTY_WHEN_CLEARED: bool;

    /// Shows what the fields refer to.
    fn visit(&self, collector: &Collector) -> Visited;

    /// Empties the fields. What they held is given back as in a deallocation.
    fn clear(&self);
}

/// One field.
pub(crate) trait Field {
    /// Whether nothing is left to drop of a field that was cleared.
    const IS_EMPTY_WHEN_CLEARED: bool = false;

    /// Shows what the field refers to.
    fn visit_field(&self, collector: &Collector) -> Visited;

    /// Empties the field, and gives back what it held.
    fn clear_field(&self);
}

/// `holds_no_object!(A, B)`: types whose values refer to no Python object.
macro_rules! holds_no_object {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::ffi::fields::Field for $type {
            #[inline]
            fn visit_field(&self, _: &$crate::ffi::fields::Collector) -> $crate::ffi::fields::Visited {
                Ok(())
            }

            #[inline]
            fn clear_field(&self) {}
        }

        $crate::ffi::fields::owns_no_object!($type);)*
    };
}

/// As `holds_no_object!`, for types in a `Guarded` only.
macro_rules! owns_no_object {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::ffi::fields::Owner for $type {
            #[inline]
            fn visit_objects(&self, _: &$crate::ffi::fields::Collector) -> $crate::ffi::fields::Visited {
                Ok(())
            }

            #[inline]
            fn take_objects(&mut self, _: &mut Vec<$crate::ffi::object::Object>) {}
        })*
    };
}

pub(crate) use owns_no_object;

holds_no_object!(bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f64, &'static str, String);

impl<T: Copy> Field for Plain<T> {
    const IS_EMPTY_WHEN_CLEARED: bool = true;

    #[inline]
    fn visit_field(&self, _: &Collector) -> Visited {
        Ok(())
    }

    #[inline]
    fn clear_field(&self) {}
}

impl<T: Copy> Field for Cell<T> {
    const IS_EMPTY_WHEN_CLEARED: bool = true;

    #[inline]
    fn visit_field(&self, _: &Collector) -> Visited {
        Ok(())
    }

    #[inline]
    fn clear_field(&self) {}
}

impl Field for Slot {
    const IS_EMPTY_WHEN_CLEARED: bool = true;

    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        // SAFETY: a visit runs no Python, so nobody comes to the slot in between.
        unsafe { self.peek() }.map_or(Ok(()), |object| collector.object(object))
    }

    #[inline]
    fn clear_field(&self) {
        if let Some(object) = self.take() {
            nesting::release(object);
        }
    }
}

impl<T: Fields> Field for Takeable<T> {
    const IS_EMPTY_WHEN_CLEARED: bool = true;

    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        // SAFETY: a visit runs no Python.
        unsafe { self.peek(|value| value.visit(collector)) }.unwrap_or(Ok(()))
    }

    #[inline]
    fn clear_field(&self) {
        drop(self.take());
    }
}

/// As [`Held`](nesting::Held).
impl Field for Object {
    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        collector.object(self)
    }

    #[inline]
    fn clear_field(&self) {}
}

/// As [`Held`](nesting::Held).
impl<T: Class> Field for Instance<T> {
    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        collector.object(self.object())
    }

    #[inline]
    fn clear_field(&self) {}
}

/// It stays to the end of the state: who holds one relies on it, and other objects of a cycle break that.
impl Field for nesting::Held {
    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        collector.object(self)
    }

    #[inline]
    fn clear_field(&self) {}
}

impl<T: Owner> Field for Guarded<T> {
    fn visit_field(&self, collector: &Collector) -> Visited {
        // SAFETY: the collector visits on an attached thread.
        let py = unsafe { Python::assume_attached() };
        self.with(py, |state| state.visit_objects(collector))
    }

    fn clear_field(&self) {
        // SAFETY: objects are cleared and freed on attached threads.
        let py = unsafe { Python::assume_attached() };
        let mut taken = Vec::new();
        self.with(py, |state| state.take_objects(&mut taken));
        taken.into_iter().for_each(nesting::release);
    }
}

/// A value that owns objects, in a [`Guarded`] or in another such value: it is emptied within a section, and what it held is
/// given back outside.
pub(crate) trait Owner {
    /// Shows the objects.
    fn visit_objects(&self, collector: &Collector) -> Visited;

    /// Moves the objects to `taken`.
    fn take_objects(&mut self, taken: &mut Vec<Object>);
}

impl Owner for Option<Object> {
    #[inline]
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.as_ref().map_or(Ok(()), |object| collector.object(object))
    }

    #[inline]
    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        taken.extend(self.take());
    }
}

impl<T: Class> Owner for Option<Instance<T>> {
    #[inline]
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.as_ref().map_or(Ok(()), |instance| collector.object(instance.object()))
    }

    #[inline]
    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        taken.extend(self.take().map(Instance::into_object));
    }
}

impl Owner for Vec<Object> {
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.iter().try_for_each(|object| collector.object(object))
    }

    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        taken.append(self);
    }
}

/// `native_state! { struct ... }`: declares the state of a native class; see the module. Every field's type is a [`Field`].
macro_rules! native_state {
    (
        $(#[$attribute:meta])*
        $visible:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field_visible:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        $visible struct $name {
            $($(#[$field_attribute])* $field_visible $field: $type,)*
        }

        impl $crate::ffi::fields::Fields for $name {
            const IS_EMPTY_WHEN_CLEARED: bool =
                true $(&& <$type as $crate::ffi::fields::Field>::IS_EMPTY_WHEN_CLEARED)*;

            #[inline]
            fn visit(&self, collector: &$crate::ffi::fields::Collector) -> $crate::ffi::fields::Visited {
                $($crate::ffi::fields::Field::visit_field(&self.$field, collector)?;)*
                Ok(())
            }

            #[inline]
            fn clear(&self) {
                $($crate::ffi::fields::Field::clear_field(&self.$field);)*
            }
        }
    };
}

/// `owner! { struct ... }`: declares a value that lies in a [`Guarded`](crate::ffi::guarded::Guarded); every field's type is an
/// [`Owner`].
macro_rules! owner {
    (
        $(#[$attribute:meta])*
        $visible:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field_visible:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        $visible struct $name {
            $($(#[$field_attribute])* $field_visible $field: $type,)*
        }

        impl $crate::ffi::fields::Owner for $name {
            fn visit_objects(&self, collector: &$crate::ffi::fields::Collector) -> $crate::ffi::fields::Visited {
                $($crate::ffi::fields::Owner::visit_objects(&self.$field, collector)?;)*
                Ok(())
            }

            fn take_objects(&mut self, taken: &mut Vec<$crate::ffi::object::Object>) {
                $($crate::ffi::fields::Owner::take_objects(&mut self.$field, taken);)*
            }
        }
    };
}

pub(crate) use {holds_no_object, native_state, owner};

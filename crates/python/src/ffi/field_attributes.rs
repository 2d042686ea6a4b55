//! Attributes that show fields of a native state under the names of asyncio's.
//!
//! They cannot be deleted, and what is empty shows as `None`. Before anything was set they are missing, as those of an object
//! of asyncio's whose `__init__` was not called: mostly of a class whose own `__init__` forgets that.

use core::ffi::CStr;

use super::cell::{Plain, Slot};
use super::class::{Class, Instance};
use super::method::{Attribute, the};
use super::operator;

/// State that is there once one of its attributes was set.
pub(crate) trait Initialised {
    /// Whether one was.
    fn is_initialised(&self) -> &Plain<bool>;
}

/// `initialised!(State)`: for a state with a field of that name.
macro_rules! initialised {
    ($state:ty) => {
        impl $crate::ffi::field_attributes::Initialised for $state {
            #[inline]
            fn is_initialised(&self) -> &$crate::ffi::cell::Plain<bool> {
                &self.is_initialised
            }
        }
    };
}

pub(crate) use initialised;

impl<T: Class> Attribute<Instance<T>>
where
    T::State: Initialised,
{
    /// An attribute that shows a slot. Nothing in it is shown as `None`; `None` that a program sets is kept as such.
    pub(crate) fn of_value<F>(name: &'static CStr, _slot: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
    {
        Self::of_state(
            name,
            |py, this: &Instance<T>| Ok(the::<F>()(this).get_or_none(py)),
            |_, this: &Instance<T>, value| {
                the::<F>()(this).set(value.clone());
                Ok(())
            },
        )
    }

    /// As [`of_value`](Self::of_value), of a slot that `None` empties.
    pub(crate) fn of_optional<F>(name: &'static CStr, _slot: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
    {
        Self::of_state(
            name,
            |py, this: &Instance<T>| Ok(the::<F>()(this).get_or_none(py)),
            |_, this: &Instance<T>, value| {
                drop(the::<F>()(this).replace(value.unless_none()));
                Ok(())
            },
        )
    }

    /// An attribute that shows a flag, which becomes whether the value that is set is true.
    pub(crate) fn of_flag<F>(name: &'static CStr, _flag: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Plain<bool> + Copy + 'static,
    {
        Self::of_state(
            name,
            |_, this: &Instance<T>| Ok(the::<F>()(this).get()),
            |py, this: &Instance<T>, value| {
                let value = operator::is_true(py, value)?;
                the::<F>()(this).set(value);
                Ok(())
            },
        )
    }
}

impl<T: Class> Attribute<Instance<T>> {
    /// As [`of_value`](Self::of_value), of what asyncio's classes have themselves: it is never missing.
    pub(crate) fn of_late_value<F>(name: &'static CStr, _slot: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
    {
        Self::read_only(name, |py, this: &Instance<T>| Ok(the::<F>()(this).get_or_none(py))).assignable(
            |_, this: &Instance<T>, value| {
                the::<F>()(this).set(value.clone());
                Ok(())
            },
        )
    }
}

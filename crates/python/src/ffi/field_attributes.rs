//! Attributes that show fields of a native state under the names of asyncio's.
//!
//! They are never missing, and cannot be deleted: what is empty shows as `None`.

use super::cell::{Plain, Slot};
use super::class::{Class, Instance};
use super::method::{Attribute, the};
use super::operator;

impl<T: Class> Attribute<Instance<T>> {
    /// An attribute that shows a slot. Nothing in it is shown as `None`; `None` that a program sets is kept as such.
    pub(crate) fn of_value<F>(name: &'static core::ffi::CStr, _slot: F) -> Self
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

    /// As [`of_value`](Self::of_value), of a slot that `None` empties.
    pub(crate) fn of_optional<F>(name: &'static core::ffi::CStr, _slot: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Slot + Copy + 'static,
    {
        Self::read_only(name, |py, this: &Instance<T>| Ok(the::<F>()(this).get_or_none(py))).assignable(
            |_, this: &Instance<T>, value| {
                drop(the::<F>()(this).replace(value.unless_none()));
                Ok(())
            },
        )
    }

    /// An attribute that shows a flag, which becomes whether the value that is set is true.
    pub(crate) fn of_flag<F>(name: &'static core::ffi::CStr, _flag: F) -> Self
    where
        F: for<'a> Fn(&'a T::State) -> &'a Plain<bool> + Copy + 'static,
    {
        Self::read_only(name, |_, this: &Instance<T>| Ok(the::<F>()(this).get())).assignable(
            |py, this: &Instance<T>, value| {
                let value = operator::is_true(py, value)?;
                the::<F>()(this).set(value);
                Ok(())
            },
        )
    }
}

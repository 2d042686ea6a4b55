//! What all callback classes of this folder have: the names of asyncio's function that each stands for.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::class::{BehindHead, Builder, Instance, NativeClass};
use crate::ffi::method::Attribute;

/// A class whose instances stand for a function of asyncio's.
pub(super) trait Callback: NativeClass<Layout = BehindHead> {
    /// The function's qualified name.
    const FUNCTION: &'static str;
}

/// Makes the class, whose calls `builder` has defined.
pub(super) fn make_class<T: Callback>(py: Python<'_>, builder: Builder<Instance<T>>) -> PyResult<Bound<'_, PyType>> {
    builder
        .attribute(Attribute::read_only(c"__qualname__", |_, _: &Instance<T>| Ok(T::FUNCTION)))
        .attribute(Attribute::read_only(c"__name__", |_, _: &Instance<T>| {
            Ok(T::FUNCTION.rsplit_once('.').map_or(T::FUNCTION, |(_, name)| name))
        }))
        .build_over_object(py)
}

/// `callback_class!(WaitCallback, c"ferrio._ferrio.WaitCallback", c"What it is.", "_wait.<locals>._on_completion")`: a
/// [`native_state!`], the class of which it is the state, and the qualified name of its function.
///
/// [`native_state!`]: crate::ffi::fields::native_state
macro_rules! callback_class {
    ($class:ty, $name:literal, $doc:literal, $function:literal) => {
        $crate::ffi::class::class_over_object! {
            $class, $name,
            $doc;
        }

        impl $crate::combine::callback_class::Callback for $class {
            const FUNCTION: &'static str = $function;
        }
    };
}

pub(super) use callback_class;

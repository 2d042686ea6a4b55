//! What the native halves of the primitives have in common.

#![forbid(unsafe_code)]

/// `core_class! { LockCore { any { _loop set_loop event_loop } optional { _waiters set_waiters waiters } } }`: the
/// construction of a core, its attributes by asyncio's names, and the collector's view. An `optional` attribute that is set to
/// `None` is empty.
macro_rules! core_class {
    ($core:ident {
        any { $($get:ident $set:ident $field:ident)* }
        optional { $($get_optional:ident $set_optional:ident $optional:ident)* }
    }) => {
        $crate::ffi::class::pyo3_class!($core);

        #[::pyo3::pymethods]
        impl $core {
            #[new]
            #[pyo3(signature = (*_args, **_kwargs))]
            fn new(
                _args: &::pyo3::Bound<'_, ::pyo3::PyAny>,
                _kwargs: Option<&::pyo3::Bound<'_, ::pyo3::PyAny>>,
            ) -> Self {
                Self::default()
            }

            $(
                #[getter]
                fn $get<'py>(&self, py: ::pyo3::Python<'py>) -> ::pyo3::Bound<'py, ::pyo3::PyAny> {
                    self.$field.get_or_none(py).into_bound(py)
                }

                #[setter($get)]
                fn $set(&self, value: ::pyo3::Bound<'_, ::pyo3::PyAny>) {
                    self.$field.set($crate::ffi::object::Object::new(value));
                }
            )*

            $(
                #[getter]
                fn $get_optional<'py>(&self, py: ::pyo3::Python<'py>) -> ::pyo3::Bound<'py, ::pyo3::PyAny> {
                    self.$optional.get_or_none(py).into_bound(py)
                }

                #[setter($get_optional)]
                fn $set_optional(&self, value: ::pyo3::Bound<'_, ::pyo3::PyAny>) {
                    self.$optional.set_or_empty(value);
                }
            )*

            fn __traverse__(&self, visit: ::pyo3::PyVisit<'_>) -> Result<(), ::pyo3::PyTraverseError> {
                $crate::ffi::fields::Fields::visit(self, &visit)
            }

            fn __clear__(&self) {
                $crate::ffi::fields::Fields::clear(self);
            }
        }
    };
}

pub(super) use core_class;

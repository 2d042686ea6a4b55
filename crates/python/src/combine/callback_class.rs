//! What all callback classes of this folder have: the names of asyncio's function that each stands for, and fields that the
//! collector visits.

/// `callback_class!(WaitCallback, "_wait.<locals>._on_completion")`: a `#[pyclass]` of [`native_state!`], and the qualified name
/// of its function.
///
/// [`native_state!`]: crate::ffi::fields::native_state
macro_rules! callback_class {
    ($class:ident, $function:literal) => {
        $crate::ffi::class::pyo3_class!($class);

        #[::pyo3::pymethods]
        impl $class {
            #[getter]
            fn __qualname__(_slf: &::pyo3::Bound<'_, Self>) -> &'static str {
                $function
            }

            #[getter]
            fn __name__(_slf: &::pyo3::Bound<'_, Self>) -> &'static str {
                $function.rsplit_once('.').map_or($function, |(_, name)| name)
            }

            fn __traverse__(&self, visit: ::pyo3::PyVisit<'_>) -> ::core::result::Result<(), ::pyo3::PyTraverseError> {
                $crate::ffi::fields::Fields::visit(self, &visit)
            }

            fn __clear__(&self) {
                $crate::ffi::fields::Fields::clear(self);
            }
        }
    };
}

pub(super) use callback_class;

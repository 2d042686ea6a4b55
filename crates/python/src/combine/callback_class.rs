//! What all callback classes of this folder have: the names of asyncio's function that each stands for.

/// `callback_class!(WaitCallback, "_wait.<locals>._on_completion")`: a `#[pyclass]` of [`native_state!`], and the qualified name
/// of its function.
///
/// [`native_state!`]: crate::ffi::fields::native_state
macro_rules! callback_class {
    ($class:ident, $function:literal) => {
        $crate::ffi::core_class::collected_class!($class);

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
        }
    };
}

pub(super) use callback_class;

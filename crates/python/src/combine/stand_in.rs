//! What all callback types of this folder have: the name of the function of asyncio's that each stands in for, and slots
//! that the collector sees.

/// `stands_for!(Waiting, "_wait.<locals>._on_completion", { waiter, timer, task })`: the type, its function's qualified
/// name, and every slot it has.
macro_rules! stands_for {
    ($kind:ident, $function:literal, { $($slot:ident),+ }) => {
        #[::pyo3::pymethods]
        impl $kind {
            #[getter]
            fn __qualname__(_slf: &::pyo3::Bound<'_, Self>) -> &'static str {
                $function
            }

            #[getter]
            fn __name__(_slf: &::pyo3::Bound<'_, Self>) -> &'static str {
                $function.rsplit_once('.').map_or($function, |(_, name)| name)
            }

            fn __traverse__(&self, visit: ::pyo3::PyVisit<'_>) -> ::core::result::Result<(), ::pyo3::PyTraverseError> {
                $(self.$slot.visit(&visit)?;)+
                Ok(())
            }

            fn __clear__(&self) {
                // What they held is let go of when all are empty.
                drop(($(self.$slot.take(),)+));
            }
        }
    };
}

pub(super) use stands_for;

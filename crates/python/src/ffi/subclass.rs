//! Python classes that derive from a native class, whose instances are made without calling them.

use core::marker::PhantomData;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::class::{Instance, NativeClass};

/// A class that derives from `T` and had `__new__` and `__init__` of `T` when it was looked at.
pub(crate) struct Subclass<T> {
    class: Py<PyType>,
    native: PhantomData<fn() -> T>,
}

impl<T: NativeClass> Subclass<T> {
    /// `None` if `class` does not derive from `T`, or has other ways to make an instance.
    pub(crate) fn of(class: &Bound<'_, PyAny>) -> Option<Self> {
        let class = class.cast::<PyType>().ok()?;
        let native = T::description().class().get(class.py())?;
        if !class.is_subclass(&native).ok()? {
            return None;
        }
        let makers = |class: &Bound<'_, PyType>| {
            let class: *const ffi::PyTypeObject = class.as_type_ptr();
            // SAFETY: a live type.
            let new = unsafe { (*class).tp_new };
            // SAFETY: a live type.
            let init = unsafe { (*class).tp_init };
            (new.map(|new| new as usize), init.map(|init| init as usize))
        };
        (makers(class) == makers(&native)).then(|| Self { class: class.clone().unbind(), native: PhantomData })
    }

    /// A new instance with `state`.
    ///
    /// # Errors
    /// `MemoryError`; the state is dropped.
    #[inline]
    pub(crate) fn create(&self, py: Python<'_>, state: T::State) -> PyResult<Instance<T>> {
        // SAFETY: a class that derives from `T` and has its `__new__`, so nothing else of an instance needs to be filled.
        unsafe { Instance::allocate(py, self.class.bind_borrowed(py), state) }
    }
}

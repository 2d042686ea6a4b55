//! PyO3 classes over native state: what the collector sees of them, and attributes that show their fields.

/// `collected_class!(WaitCallback)`: makes a frozen `#[pyclass]` of a [`native_state!`](super::fields::native_state) a
/// [`Class`](super::class::Class) whose fields the collector sees.
macro_rules! collected_class {
    ($class:ident) => {
        $crate::ffi::class::pyo3_class!($class);

        #[::pyo3::pymethods]
        impl $class {
            fn __traverse__(&self, visit: ::pyo3::PyVisit<'_>) -> Result<(), ::pyo3::PyTraverseError> {
                $crate::ffi::fields::Fields::visit(self, &visit)
            }

            fn __clear__(&self) {
                $crate::ffi::fields::Fields::clear(self);
            }
        }
    };
}

/// `core_class! { LockCore { any { _loop set_loop event_loop } flag { _locked set_locked is_locked } } }`: the native half of
/// one of asyncio's classes. It takes whatever arguments that is made with, and has attributes by that class's names, each given
/// by its name, the name of its setter, and the field:
///
/// - `any`: a [`Slot`](super::cell::Slot) for every object;
/// - `optional`: one that is empty while the attribute is `None`;
/// - `flag`: a `Plain<bool>`, the truth of what is set;
/// - `count`: a `Plain<i64>`;
/// - `number`: a slot for every object, and `=` a further field, `Plain<Option<_>>`: its value when it is a plain integer.
macro_rules! core_class {
    ($core:ident { $($kind:ident { $($get:ident $set:ident $field:ident $(= $value:ident)?)* })* }) => {
        $crate::ffi::core_class::collected_class!($core);

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
        }

        $($($crate::ffi::core_class::core_attribute! { $core $kind $get $set $field $($value)? })*)*
    };
}

/// One attribute of a [`core_class!`].
macro_rules! core_attribute {
    ($core:ident any $get:ident $set:ident $field:ident) => {
        $crate::ffi::core_class::core_attribute! { $core $get $set $field; |core, value| {
            core.$field.set($crate::ffi::object::Object::new(value));
        } }
    };
    ($core:ident optional $get:ident $set:ident $field:ident) => {
        $crate::ffi::core_class::core_attribute! { $core $get $set $field; |core, value| {
            core.$field.set_or_empty(value);
        } }
    };
    ($core:ident number $get:ident $set:ident $field:ident $plain:ident) => {
        $crate::ffi::core_class::core_attribute! { $core $get $set $field; |core, value| {
            let plain = $crate::ffi::number::exact_integer($crate::ffi::object::Object::of(&value));
            core.$plain.set(plain.and_then(|plain| plain.try_into().ok()));
            core.$field.set($crate::ffi::object::Object::new(value));
        } }
    };
    ($core:ident $get:ident $set:ident $field:ident; |$this:ident, $value:ident| $put:block) => {
        #[::pyo3::pymethods]
        impl $core {
            #[getter]
            fn $get<'py>(&self, py: ::pyo3::Python<'py>) -> ::pyo3::Bound<'py, ::pyo3::PyAny> {
                self.$field.get_or_none(py).into_bound(py)
            }

            #[setter($get)]
            fn $set(&self, $value: ::pyo3::Bound<'_, ::pyo3::PyAny>) {
                let $this = self;
                $put
            }
        }
    };
    ($core:ident flag $get:ident $set:ident $field:ident) => {
        #[::pyo3::pymethods]
        impl $core {
            #[getter]
            fn $get(&self) -> bool {
                self.$field.get()
            }

            #[setter($get)]
            fn $set(&self, value: &::pyo3::Bound<'_, ::pyo3::PyAny>) -> ::pyo3::PyResult<()> {
                self.$field.set(::pyo3::types::PyAnyMethods::is_truthy(value)?);
                Ok(())
            }
        }
    };
    ($core:ident count $get:ident $set:ident $field:ident) => {
        #[::pyo3::pymethods]
        impl $core {
            #[getter]
            fn $get(&self) -> i64 {
                self.$field.get()
            }

            #[setter($get)]
            fn $set(&self, value: i64) {
                self.$field.set(value);
            }
        }
    };
}

pub(crate) use {collected_class, core_attribute, core_class};

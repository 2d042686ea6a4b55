//! Native types that are subclasses of asyncio's Python classes.
//!
//! PyO3's `#[pyclass]` can extend native types only. Handles and transports have to be instances of `asyncio.Handle` and
//! `asyncio.Transport`, so their types are made from a spec over those classes, with native state behind the inherited
//! slots.
//!
//! Definitions that CPython keeps pointers to (methods, attributes) are leaked: types live as long as the process.

use core::ffi::{CStr, c_int, c_uint, c_void};
use core::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

/// `def name(self)`.
pub(crate) type NoArguments = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;
/// `def name(self, value, /)`.
pub(crate) type OneArgument = NoArguments;
/// `def name(self, *args, **kwargs)`, as a vectorcall.
pub(crate) type Fast = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;
/// An attribute's value.
pub(crate) type Getter = unsafe extern "C" fn(*mut ffi::PyObject, *mut c_void) -> *mut ffi::PyObject;
/// Sets an attribute; a null value deletes it.
pub(crate) type Setter = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject, *mut c_void) -> c_int;

/// `no_arguments!(name, |py, object| body)`: a method without arguments whose body returns `PyResult<Object>`.
macro_rules! no_arguments {
    ($name:ident, |$py:ident, $object:ident| $body:expr) => {
        unsafe extern "C" fn $name(
            $object: *mut ::pyo3::ffi::PyObject,
            _: *mut ::pyo3::ffi::PyObject,
        ) -> *mut ::pyo3::ffi::PyObject {
            let body = |$py: ::pyo3::Python<'_>| -> ::pyo3::PyResult<$crate::ffi::object::Object> { $body };
            // SAFETY: CPython calls this on an attached thread.
            unsafe { $crate::ffi::trampoline::object(body) }
        }
    };
}

/// `one_argument!(name, |py, object, value| body)`: a method with one positional argument.
macro_rules! one_argument {
    ($name:ident, |$py:ident, $object:ident, $value:ident| $body:expr) => {
        unsafe extern "C" fn $name(
            $object: *mut ::pyo3::ffi::PyObject,
            $value: *mut ::pyo3::ffi::PyObject,
        ) -> *mut ::pyo3::ffi::PyObject {
            let body = |$py: ::pyo3::Python<'_>| -> ::pyo3::PyResult<$crate::ffi::object::Object> { $body };
            // SAFETY: CPython calls this on an attached thread.
            unsafe { $crate::ffi::trampoline::object(body) }
        }
    };
}

/// `fast!(name, |py, object, arguments| body)`: a method with any arguments.
macro_rules! fast {
    ($name:ident, |$py:ident, $object:ident, $arguments:ident| $body:expr) => {
        unsafe extern "C" fn $name(
            $object: *mut ::pyo3::ffi::PyObject,
            values: *const *mut ::pyo3::ffi::PyObject,
            count: ::pyo3::ffi::Py_ssize_t,
            keywords: *mut ::pyo3::ffi::PyObject,
        ) -> *mut ::pyo3::ffi::PyObject {
            // SAFETY: the three are as CPython passes them, and are used during this call only.
            let $arguments = unsafe { $crate::ffi::arguments::Arguments::new(values, count, keywords) };
            let body = |$py: ::pyo3::Python<'_>| -> ::pyo3::PyResult<$crate::ffi::object::Object> { $body };
            // SAFETY: CPython calls this on an attached thread.
            unsafe { $crate::ffi::trampoline::object(body) }
        }
    };
}

/// `getter!(name, |py, object| body)`: an attribute whose value the body computes.
macro_rules! getter {
    ($name:ident, |$py:ident, $object:ident| $body:expr) => {
        unsafe extern "C" fn $name(
            $object: *mut ::pyo3::ffi::PyObject,
            _: *mut ::core::ffi::c_void,
        ) -> *mut ::pyo3::ffi::PyObject {
            let body = |$py: ::pyo3::Python<'_>| -> ::pyo3::PyResult<$crate::ffi::object::Object> { $body };
            // SAFETY: CPython calls this on an attached thread.
            unsafe { $crate::ffi::trampoline::object(body) }
        }
    };
}

/// `setter!(name, |py, object, value| body)`: sets an attribute; `value` is `None` for its deletion. The body returns
/// `PyResult<()>`.
macro_rules! setter {
    ($name:ident, |$py:ident, $object:ident, $value:ident| $body:expr) => {
        unsafe extern "C" fn $name(
            $object: *mut ::pyo3::ffi::PyObject,
            value: *mut ::pyo3::ffi::PyObject,
            _: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int {
            let body = |$py: ::pyo3::Python<'_>| -> ::pyo3::PyResult<::core::ffi::c_int> {
                // SAFETY: null stands for deletion, anything else is a live object.
                let $value = (!value.is_null()).then(|| unsafe { $crate::ffi::object::Object::from_borrowed(value) });
                $body.map(|()| 0)
            };
            // SAFETY: CPython calls this on an attached thread.
            unsafe { $crate::ffi::trampoline::run(-1, body) }
        }
    };
}

pub(crate) use {fast, getter, no_arguments, one_argument, setter};

/// Definition of a method without arguments.
pub(crate) const fn no_arguments_def(name: &'static CStr, call: NoArguments, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: call },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

/// Definition of a method with one positional argument.
pub(crate) const fn one_argument_def(name: &'static CStr, call: OneArgument, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_flags: ffi::METH_O, ..no_arguments_def(name, call, doc) }
}

/// Definition of a method with any arguments.
pub(crate) const fn fast_def(name: &'static CStr, call: Fast, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// Definition of where instances of a type have what CPython keeps in them: `__weaklistoffset__` and its relatives.
pub(crate) fn offset_member(name: &'static CStr, offset: usize) -> PyResult<ffi::PyMemberDef> {
    Ok(ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: ffi::Py_ssize_t::try_from(offset)?,
        flags: ffi::Py_READONLY,
        doc: core::ptr::null(),
    })
}

/// Adds a method to a finished type: for the hot methods of a `#[pyclass]`.
pub(crate) fn add_method(class: &Bound<'_, PyType>, def: ffi::PyMethodDef) -> PyResult<()> {
    let py = class.py();
    let def: &'static mut ffi::PyMethodDef = Box::leak(Box::new(def));
    // SAFETY: the definition lives for ever, and `class` is a type.
    let method = unsafe { ffi::PyDescr_NewMethod(class.as_ptr().cast(), def) };
    // SAFETY: a new reference, or null with an exception.
    let method = unsafe { Bound::from_owned_ptr_or_err(py, method) }?;
    let name = method.getattr("__name__")?.extract::<String>()?;
    class.setattr(name, method)
}

/// Makes one type.
pub(crate) struct Builder {
    name: &'static CStr,
    flags: u64,
    slots: Vec<ffi::PyType_Slot>,
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
}

impl Builder {
    pub(crate) fn new(name: &'static CStr, doc: &'static CStr) -> Self {
        let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC;
        let doc = ffi::PyType_Slot { slot: ffi::Py_tp_doc, pfunc: doc.as_ptr().cast_mut().cast() };
        Self { name, flags, slots: vec![doc], methods: Vec::new(), attributes: Vec::new() }
    }

    pub(crate) fn subclassable(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_BASETYPE;
        self
    }

    /// Instances are called through a pointer of their own, and bind to an object as functions do.
    pub(crate) fn vectorcalled_method(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
        self
    }

    pub(crate) fn not_instantiable(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        self
    }

    pub(crate) fn method(mut self, def: ffi::PyMethodDef) -> Self {
        self.methods.push(def);
        self
    }

    pub(crate) fn attribute(mut self, name: &'static CStr, get: Getter, set: Option<Setter>) -> Self {
        self.attributes.push(ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(get),
            set,
            doc: core::ptr::null(),
            closure: null_mut(),
        });
        self
    }

    pub(crate) fn slots<const N: usize>(mut self, slots: [(c_int, *mut c_void); N]) -> Self {
        self.slots.extend(slots.into_iter().map(|(slot, pfunc)| ffi::PyType_Slot { slot, pfunc }));
        self
    }

    /// Makes the type over `base`, with `state_bytes` more than `base` in each instance.
    pub(crate) fn build<'py>(
        self,
        py: Python<'py>,
        base: &Bound<'py, PyType>,
        state_bytes: usize,
    ) -> PyResult<Bound<'py, PyType>> {
        self.build_over(py, base, &[], state_bytes)
    }

    /// [`Self::build`] with further bases, behind `base` in the order of resolution, that lay out nothing of their own.
    pub(crate) fn build_over<'py>(
        mut self,
        py: Python<'py>,
        base: &Bound<'py, PyType>,
        others: &[Bound<'py, PyType>],
        state_bytes: usize,
    ) -> PyResult<Bound<'py, PyType>> {
        if !self.methods.is_empty() {
            self.methods.push(ffi::PyMethodDef::zeroed());
            let methods = Box::leak(core::mem::take(&mut self.methods).into_boxed_slice());
            self.slots.push(ffi::PyType_Slot { slot: ffi::Py_tp_methods, pfunc: methods.as_mut_ptr().cast() });
        }
        if !self.attributes.is_empty() {
            self.attributes.push(ffi::PyGetSetDef::default());
            let attributes = Box::leak(core::mem::take(&mut self.attributes).into_boxed_slice());
            self.slots.push(ffi::PyType_Slot { slot: ffi::Py_tp_getset, pfunc: attributes.as_mut_ptr().cast() });
        }
        self.slots.push(ffi::PyType_Slot { slot: 0, pfunc: null_mut() });
        let size = if state_bytes == 0 { basic_size(base) } else { state_offset(base) + state_bytes };
        let mut spec = ffi::PyType_Spec {
            name: self.name.as_ptr(),
            basicsize: c_int::try_from(size)?,
            itemsize: 0,
            flags: c_uint::try_from(self.flags)?,
            slots: self.slots.as_mut_ptr(),
        };
        let bases: Vec<_> = [base].into_iter().chain(others).collect();
        let bases = PyTuple::new(py, bases)?;
        // SAFETY: the spec and its slots are complete and end with a zero; what outlives the call has been leaked.
        let class = unsafe { ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()) };
        // SAFETY: a new reference, or null with an exception.
        let class = unsafe { Bound::from_owned_ptr_or_err(py, class) }?;
        Ok(class.cast_into::<PyType>()?)
    }
}

/// Where the native state of a type over `base` begins: behind what `base` lays out, aligned for any state.
pub(crate) fn state_offset(base: &Bound<'_, PyType>) -> usize {
    basic_size(base).next_multiple_of(align_of::<u128>().min(16))
}

/// What `base` lays out, in bytes.
fn basic_size(base: &Bound<'_, PyType>) -> usize {
    let class: *const ffi::PyTypeObject = base.as_ptr().cast();
    // SAFETY: a live type.
    unsafe { (*class).tp_basicsize }.unsigned_abs()
}

//! Makes native classes of definitions, and adds methods to classes that are finished.
//!
//! A [`Builder`] takes definitions for its receiver only, so the instances that their functions see are of the class. What it
//! passes to CPython lives as long as the process, as the classes do.

use core::ffi::{CStr, c_int, c_uint, c_void};
use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyNone, PyTuple, PyType};

use super::c_api::{self, Any};
use super::class::{BehindHead, Class, Instance, NativeClass, NativeLayout};
use super::method::{AnyObject, Attribute, Method, Receiver, the};
use super::object::Object;
use super::passed::This;
use super::{slots, trampoline};

/// Makes a class whose methods have the receiver `R`.
pub(crate) struct Builder<R> {
    name: &'static CStr,
    flags: u64,
    slots: Vec<ffi::PyType_Slot>,
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
    members: Vec<ffi::PyMemberDef>,
    receiver: PhantomData<fn(R)>,
}

impl<R: Receiver> Builder<R> {
    /// A class without slots of its own.
    pub(in crate::ffi) fn bare(name: &'static CStr, doc: &'static CStr) -> Self {
        let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC;
        let doc = ffi::PyType_Slot { slot: ffi::Py_tp_doc, pfunc: doc.as_ptr().cast_mut().cast() };
        Self {
            name,
            flags,
            slots: vec![doc],
            methods: Vec::new(),
            attributes: Vec::new(),
            members: Vec::new(),
            receiver: PhantomData,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a definition is for one class")]
    pub(crate) fn method(mut self, method: Method<R>) -> Self {
        self.methods.push(method.def);
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "a definition is for one class")]
    pub(crate) fn attribute(mut self, attribute: Attribute<R>) -> Self {
        self.attributes.push(attribute.def);
        self
    }

    pub(crate) fn subclassable(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_BASETYPE;
        self
    }

    /// `__repr__`.
    pub(crate) fn repr<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<String> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_repr, repr::<R, F> as *mut c_void)
    }

    /// `__iter__` and `__await__` that return the object itself.
    pub(crate) fn iterates_itself(self) -> Self {
        self.iterator_is_itself().slot(ffi::Py_am_await, ffi::PyObject_SelfIter as *mut c_void)
    }

    /// `__iter__` that returns the object itself.
    pub(crate) fn iterator_is_itself(self) -> Self {
        self.slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void)
    }

    /// A slot of CPython's with the function that its documentation asks for.
    pub(in crate::ffi) fn slot(mut self, slot: c_int, pfunc: *mut c_void) -> Self {
        self.slots.push(ffi::PyType_Slot { slot, pfunc });
        self
    }

    pub(in crate::ffi) const fn flags(mut self, set: u64, cleared: u64) -> Self {
        self.flags = (self.flags | set) & !cleared;
        self
    }

    fn member(&mut self, name: &'static CStr, offset: usize) -> PyResult<()> {
        self.members.push(ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: ffi::Py_ssize_t::try_from(offset)?,
            flags: ffi::Py_READONLY,
            doc: core::ptr::null(),
        });
        Ok(())
    }

    /// Makes the class over `bases`, the first of which lays instances out, with `state_bytes` more in each.
    pub(in crate::ffi) fn build_over<'py>(
        self,
        py: Python<'py>,
        bases: &[&Bound<'py, PyType>],
        state_bytes: usize,
    ) -> PyResult<Bound<'py, PyType>> {
        let size = if state_bytes == 0 { basic_size(bases[0]) } else { state_offset(bases[0]) + state_bytes };
        self.build_sized(py, bases, size)
    }

    /// Makes the class over `bases`, with instances of `size` bytes.
    fn build_sized<'py>(
        mut self,
        py: Python<'py>,
        bases: &[&Bound<'py, PyType>],
        size: usize,
    ) -> PyResult<Bound<'py, PyType>> {
        // Definitions are leaked: CPython keeps pointers to them, and classes live as long as the process.
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
        if !self.members.is_empty() {
            self.members.push(ffi::PyMemberDef::default());
            let members = Box::leak(core::mem::take(&mut self.members).into_boxed_slice());
            self.slots.push(ffi::PyType_Slot { slot: ffi::Py_tp_members, pfunc: members.as_mut_ptr().cast() });
        }
        self.slots.push(ffi::PyType_Slot { slot: 0, pfunc: null_mut() });
        let mut spec = ffi::PyType_Spec {
            name: self.name.as_ptr(),
            basicsize: c_int::try_from(size)?,
            itemsize: 0,
            flags: c_uint::try_from(self.flags)?,
            slots: self.slots.as_mut_ptr(),
        };
        let bases = PyTuple::new(py, bases)?;
        // SAFETY: the spec and its slots are complete and end with a zero; what outlives the call has been leaked.
        let class = unsafe { c_api::PyType_FromSpecWithBases(&raw mut spec, bases.as_borrowed()) };
        Ok(c_api::object(py, class)?.into_bound(py).cast_into::<PyType>()?)
    }
}

impl<T: NativeClass> Builder<Instance<T>> {
    /// The class, with the slots that its description calls for.
    pub(crate) fn new() -> Self {
        let mut builder = Self::bare(T::NAME, T::DOC)
            .slot(ffi::Py_tp_dealloc, slots::deallocate::<T> as *mut c_void)
            .slot(ffi::Py_tp_traverse, slots::traverse::<T> as *mut c_void)
            .slot(ffi::Py_tp_clear, slots::clear::<T> as *mut c_void);
        if T::FINALIZES {
            builder = builder.slot(ffi::Py_tp_finalize, slots::finalize::<T> as *mut c_void);
        }
        if T::IS_SUBCLASSABLE { builder.subclassable() } else { builder }
    }

    /// Instances can be made by calling the class; their state begins as its default.
    pub(crate) fn instantiable(self) -> Self
    where
        T::State: Default,
    {
        self.slot(ffi::Py_tp_new, slots::new_empty::<T> as *mut c_void)
    }

    /// Instances can be made by calling the class; `function` makes the state of the arguments.
    pub(crate) fn constructed_by<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(&Bound<'a, PyTuple>, Option<&Bound<'a, PyDict>>) -> PyResult<T::State> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_new, slots::new_of_arguments::<T, F> as *mut c_void)
    }

    /// Shows programs the dictionary of an instance, under `__dict__`.
    pub(crate) fn shows_dictionary(mut self) -> Self {
        const { assert!(T::DICTIONARY.is_some(), "the class describes where the dictionary is") };
        self.attributes.push(ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: core::ptr::null(),
            closure: null_mut(),
        });
        self
    }

    /// Makes the class over `object`. Once: the process has one.
    pub(crate) fn build_over_object(self, py: Python<'_>) -> PyResult<Bound<'_, PyType>>
    where
        T: Class<Layout = BehindHead>,
    {
        self.build(py, &py.get_type::<PyAny>())
    }

    /// Makes the class over `base`. Once: the process has one. Where nothing says how a program makes instances, it cannot: what
    /// `base` makes has no state.
    pub(crate) fn build<'py>(mut self, py: Python<'py>, base: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
        let description = T::description();
        assert!(core::ptr::eq(description, T::description()), "one description for each class");
        const { assert!(align_of::<T::State>() <= STATE_ALIGNMENT) };
        if !self.slots.iter().any(|slot| slot.slot == ffi::Py_tp_new) {
            self.flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        }
        let offset = T::Layout::state_offset(base);
        if let Some(place) = T::WEAK_REFERENCES {
            self.member(c"__weaklistoffset__", offset + place.offset())?;
        }
        if let Some(place) = T::DICTIONARY {
            self.member(c"__dictoffset__", offset + place.offset())?;
        }
        if let Some(place) = T::VECTORCALL {
            self.member(c"__vectorcalloffset__", offset + place.offset())?;
        }
        let end = offset + size_of::<T::State>();
        let class = self.build_sized(py, &[base], basic_size(base).max(end))?;
        let own: Vec<usize> = (offset..end).step_by(size_of::<*mut ffi::PyObject>()).collect();
        description.inherited.find(base, &own)?;
        description.offset.store(offset, Ordering::Relaxed);
        description.class.set(class.clone());
        Ok(class)
    }
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn repr<R: Receiver, F>(this: This<'_, R>) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<String> + Copy + 'static,
{
    let py = this.py();
    trampoline::object(py, || Ok(Object::new(the::<F>()(py, this.view())?.into_pyobject(py)?)))
}

/// Adds a method to a finished class: it sees an object.
#[expect(clippy::needless_pass_by_value, reason = "a definition is for one class")]
pub(crate) fn add_method_to(class: &Bound<'_, PyType>, method: Method<AnyObject>) -> PyResult<()> {
    add(class, method.def)
}

/// Adds a function to a module: it sees the module.
pub(crate) fn add_function(module: &Bound<'_, PyModule>, function: Method<AnyObject>) -> PyResult<()> {
    let (py, name) = (module.py(), module.name()?);
    let function = make_function(py, function, module.as_any().as_borrowed(), Some(name.as_any().as_borrowed()))?;
    module.add_function(function.into_bound(py).cast_into()?)
}

/// A function that stands in no module: it sees `None`.
pub(crate) fn bare_function(py: Python<'_>, function: Method<AnyObject>) -> PyResult<Object> {
    make_function(py, function, PyNone::get(py).as_any().as_borrowed(), None)
}

#[expect(clippy::needless_pass_by_value, reason = "a definition is for one function")]
fn make_function(
    py: Python<'_>,
    function: Method<AnyObject>,
    object: Any<'_>,
    module: Option<Any<'_>>,
) -> PyResult<Object> {
    let def: &'static ffi::PyMethodDef = Box::leak(Box::new(function.def));
    // SAFETY: the definition lives for ever and is not written to; its function takes any object.
    let function = unsafe { c_api::PyCFunction_NewEx((&raw const *def).cast_mut(), object, module) };
    c_api::object(py, function)
}

fn add(class: &Bound<'_, PyType>, def: ffi::PyMethodDef) -> PyResult<()> {
    let py = class.py();
    let def: &'static ffi::PyMethodDef = Box::leak(Box::new(def));
    // SAFETY: the definition lives for ever and is not written to, and `class` is a type, whose instances the method is for.
    let method = unsafe { c_api::PyDescr_NewMethod(class.as_borrowed(), (&raw const *def).cast_mut()) };
    let method = c_api::object(py, method)?.into_bound(py);
    let name = method.getattr("__name__")?.extract::<String>()?;
    class.setattr(name, method)
}

/// States begin at a multiple of so many bytes.
pub(super) const STATE_ALIGNMENT: usize = 16;

/// Where the native state of a class over `base` begins: behind what `base` lays out, aligned for any state.
pub(super) fn state_offset(base: &Bound<'_, PyType>) -> usize {
    basic_size(base).next_multiple_of(STATE_ALIGNMENT)
}

/// What `base` lays out, in bytes.
fn basic_size(base: &Bound<'_, PyType>) -> usize {
    let class: *const ffi::PyTypeObject = base.as_ptr().cast();
    // SAFETY: a live type.
    unsafe { (*class).tp_basicsize }.unsigned_abs()
}

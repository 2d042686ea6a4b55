//! Classes whose instances are called as functions are: through a pointer in each instance, and bound to an object when they
//! are found in a class.

use core::ffi::c_void;

use pyo3::ffi;
use pyo3::prelude::*;

use super::arguments::Arguments;
use super::builder::Builder;
use super::c_api::{self, Any};
use super::class::{Instance, NativeClass};
use super::fields::holds_no_object;
use super::guarded::assert_outside;
use super::method::{Receiver, the};
use super::object::Object;
use super::passed::This;
use super::trampoline;

/// A field of each instance: the function that a call of it runs. [`NativeClass::VECTORCALL`] says where it is.
pub(crate) struct Vectorcall(#[expect(dead_code, reason = "the interpreter reads it")] ffi::vectorcallfunc);

holds_no_object!(Vectorcall);

impl Vectorcall {
    /// A call runs `function`, in an instance of `T`. A panic that leaves it ends the process: what may panic is called through
    /// [`caught`](trampoline::caught).
    pub(crate) fn of<T: NativeClass, F>(_function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, &'a Instance<T>, Arguments<'a>) -> PyResult<Object> + Copy + 'static,
    {
        Self(call::<T, F>)
    }
}

impl<T: NativeClass> Builder<Instance<T>> {
    /// Instances are called through their [`Vectorcall`], and bind to an object as functions do. The class cannot be changed, as
    /// the interpreter demands of the classes of methods that it looks up only once for each place of a call.
    pub(crate) fn called_as_functions_are(self) -> Self {
        const { assert!(T::VECTORCALL.is_some(), "the class describes where the pointer is") };
        let flags = ffi::Py_TPFLAGS_HAVE_VECTORCALL | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        self.flags(flags, 0)
            .slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void)
            .slot(ffi::Py_tp_descr_get, bind as *mut c_void)
    }
}

impl<R: Receiver> Builder<R> {
    /// `__getattribute__`.
    pub(crate) fn finds_attributes_by<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<Object> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_getattro, attribute::<R, F> as *mut c_void)
    }
}

/// `object.__getattribute__(object, name)`: without regard to what the class of `object` does instead.
///
/// # Errors
/// `AttributeError`: there is none; those of descriptors; `TypeError`: the name is no string.
pub(crate) fn plain_attribute(py: Python<'_>, object: &Object, name: &Object) -> PyResult<Object> {
    c_api::object(py, c_api::PyObject_GenericGetAttr(object.lend(py), name.lend(py)))
}

/// # Safety
/// Called by CPython on an instance of the class.
unsafe extern "C" fn call<T: NativeClass, F>(
    function: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    count: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, &'a Instance<T>, Arguments<'a>) -> PyResult<Object> + Copy + 'static,
{
    assert_outside("a native function is called");
    // SAFETY: an instance of the class.
    let this = unsafe { This::<Instance<T>>::new(function) };
    // SAFETY: as CPython passed it.
    let positional = unsafe { ffi::PyVectorcall_NARGS(count) };
    // SAFETY: the three are as CPython passed them, and are used during this call only.
    let arguments = unsafe { Arguments::new(values, positional, keywords) };
    match the::<F>()(this.py(), this.view(), arguments) {
        Ok(result) => result.into_ptr(),
        Err(error) => {
            trampoline::restore(this.py(), error);
            core::ptr::null_mut()
        }
    }
}

/// # Safety
/// Called by CPython as `tp_descr_get`.
unsafe extern "C" fn bind(function: Any<'_>, object: Option<Any<'_>>, _class: Option<Any<'_>>) -> Option<Object> {
    match object {
        Some(object) if !object.is_none() => c_api::PyMethod_New(function, object),
        _ => Some(Object::of(&function).clone()),
    }
}

/// # Safety
/// Called by CPython as a slot of the receiver's class.
unsafe extern "C" fn attribute<R: Receiver, F>(this: This<'_, R>, name: Any<'_>) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>, &'a Object) -> PyResult<Object> + Copy + 'static,
{
    let py = this.py();
    trampoline::object(py, || the::<F>()(py, this.view(), Object::of(&name)))
}

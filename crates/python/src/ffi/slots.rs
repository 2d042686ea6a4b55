//! The C functions behind the slots of a native class, compiled from its description.

use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::class::{Instance, Layout, NativeClass};
use super::fields::{Collector, Fields};
use super::method::the;
use super::object::Object;
use super::trampoline;

pub(super) unsafe extern "C" fn deallocate<T: NativeClass>(address: *mut ffi::PyObject) {
    let body = || {
        // SAFETY: CPython frees objects on attached threads.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: whole until below.
        let object = unsafe { Object::view(&address) };
        // SAFETY: a slot of the class.
        let instance = unsafe { Instance::<T>::assume(object) };
        let state: &T::State = instance;
        if T::FINALIZES && T::needs_finalizing(state) {
            // SAFETY: an object that nobody refers to any more.
            if unsafe { ffi::PyObject_CallFinalizerFromDealloc(address) } < 0 {
                // Somebody has taken a reference.
                return;
            }
        }
        // SAFETY: the class describes where it is.
        let is_referred_to = |place| !unsafe { pointer_in(state, place) }.is_null();
        if T::BASE_HAS_WEAK_REFERENCES || T::WEAK_REFERENCES.is_some_and(is_referred_to) {
            // SAFETY: a collected object. The callbacks run Python, and a collection must not meet what nobody refers to.
            unsafe { ffi::PyObject_GC_UnTrack(address.cast()) };
            // SAFETY: an object that nobody refers to any more, whole until below.
            unsafe { ffi::PyObject_ClearWeakRefs(address) };
        }
        if let Some(link) = T::idle_link(state)
            && !T::IS_SUBCLASSABLE
            && T::is_idle(state)
            && T::description().idle.give(object, link)
        {
            return;
        }
        // SAFETY: a collected object; what is not tracked stays so.
        unsafe { ffi::PyObject_GC_UnTrack(address.cast()) };
        T::end(py, instance);
        // SAFETY: an instance of the class.
        unsafe { T::description().inherited.clear(address) };
        instance.clear();
        if !T::State::IS_EMPTY_WHEN_CLEARED {
            // SAFETY: an instance.
            let place = unsafe { T::Layout::state(object) }.cast_mut();
            // SAFETY: the state that was put there, ended once.
            unsafe { place.drop_in_place() };
        }
        // SAFETY: the class outlives its instances.
        let class = unsafe { ffi::Py_TYPE(address) };
        let is_exact = class == T::description().class.load(Ordering::Relaxed);
        // The interpreter never runs a finalizer again where it has run one: such memory is not used again.
        // SAFETY: memory of an object with a collector's head.
        let is_marked = T::FINALIZES && unsafe { ffi::PyObject_GC_IsFinalized(address) } != 0;
        // SAFETY: untracked, empty, nobody's, and an instance of exactly the class.
        let is_kept = is_exact && !is_marked && unsafe { T::description().free.give(py, address) };
        if !is_kept {
            // SAFETY: memory from the type's allocator, untracked.
            unsafe { ffi::PyObject_GC_Del(address.cast()) };
        }
        // SAFETY: an instance of a heap type owns a reference to it.
        unsafe { ffi::Py_DECREF(class.cast()) };
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::release(body) }
}

pub(super) unsafe extern "C" fn traverse<T: NativeClass>(
    address: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    trampoline::look(|| {
        // SAFETY: the type of a live object, which owns a reference to it.
        let class = unsafe { ffi::Py_TYPE(address) };
        // SAFETY: the collector visits live instances.
        let object = unsafe { Object::view(&address) };
        // SAFETY: a slot of the class.
        let instance = unsafe { Instance::<T>::assume(object) };
        // SAFETY: as the collector called the slot.
        let collector = unsafe { Collector::new(visit, arg) };
        // SAFETY: the instance owns a reference to its class.
        let visited = unsafe { collector.address(class.cast()) }.and_then(|()| instance.visit(&collector));
        match visited {
            // SAFETY: an instance of the class; the rest is the collector's.
            Ok(()) => unsafe { T::description().inherited.visit(address, visit, arg) },
            Err(stop) => stop,
        }
    })
}

pub(super) unsafe extern "C" fn clear<T: NativeClass>(address: *mut ffi::PyObject) -> c_int {
    let body = || {
        // SAFETY: the collector clears live instances.
        let object = unsafe { Object::view(&address) };
        // SAFETY: a slot of the class.
        let instance = unsafe { Instance::<T>::assume(object) };
        // SAFETY: the collector runs on an attached thread.
        T::before_clear(unsafe { Python::assume_attached() }, instance);
        instance.clear();
        // SAFETY: an instance of the class.
        unsafe { T::description().inherited.clear(address) };
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::release(body) };
    0
}

pub(super) unsafe extern "C" fn finalize<T: NativeClass>(address: *mut ffi::PyObject) {
    let body = |py: Python<'_>| {
        // SAFETY: CPython keeps the object alive during the call.
        let object = unsafe { Object::view(&address) };
        // SAFETY: a slot of the class.
        let instance = unsafe { Instance::<T>::assume(object) };
        if let Some(link) = T::idle_link(instance) {
            link.set_finalized();
        }
        T::finalize(py, instance)
    };
    // SAFETY: CPython calls this on an attached thread, and keeps the object alive.
    unsafe { trampoline::finalize(address, body) }
}

/// `__new__` that takes no notice of arguments, for classes whose state begins empty.
pub(super) unsafe extern "C" fn new_empty<T: NativeClass<State: Default>>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| {
        // SAFETY: CPython calls the slot with the class, or one derived from it, whose other parts it has checked.
        unsafe { Instance::<T>::allocate(py, class, T::State::default()) }.map(Instance::into_object)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

/// `__new__` whose function makes the state of the arguments.
pub(super) unsafe extern "C" fn new_of_arguments<T: NativeClass, F>(
    class: *mut ffi::PyTypeObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(&Bound<'a, PyTuple>, Option<&Bound<'a, PyDict>>) -> PyResult<T::State> + Copy + 'static,
{
    let body = |py: Python<'_>| {
        // SAFETY: the arguments of the call, which keeps them alive.
        let arguments = unsafe { Object::view(&arguments) };
        // SAFETY: not null, so the keywords, which the call keeps alive.
        let keywords = (!keywords.is_null()).then(|| unsafe { Object::view(&keywords) });
        let keywords = keywords.map(|keywords| keywords.bind(py).cast::<PyDict>()).transpose()?;
        let state = the::<F>()(arguments.bind(py).cast::<PyTuple>()?, keywords)?;
        // SAFETY: CPython calls the slot with the class, or one derived from it, whose other parts it has checked.
        unsafe { Instance::<T>::allocate(py, class, state) }.map(Instance::into_object)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

/// The pointer at an offset in a state, for what CPython keeps there.
///
/// # Safety
/// The offset is that of a field that holds such a pointer.
#[inline]
unsafe fn pointer_in<S>(state: &S, place: usize) -> *mut ffi::PyObject {
    assert!(place + size_of::<*mut ffi::PyObject>() <= size_of::<S>(), "within the state");
    // SAFETY: within the state, as has just been seen.
    let pointer = unsafe { (&raw const *state).byte_add(place) }.cast::<*mut ffi::PyObject>();
    // SAFETY: passed on to the caller.
    unsafe { pointer.read() }
}

//! The C functions behind the slots of a native class, compiled from its description.

use core::ffi::{c_int, c_void};
use core::mem::ManuallyDrop;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{Borrowed, ffi};

use super::c_api;
use super::class::{Instance, Layout, NativeClass};
use super::fields::{Collector, Fields};
use super::method::the;
use super::passed::This;
use super::{deferred, trampoline};

/// `tp_dealloc`.
///
/// # Safety
/// Called by CPython as a slot of the class.
pub(super) unsafe extern "C" fn deallocate<T: NativeClass>(this: This<'_, Instance<T>>) {
    let (py, description) = (this.py(), T::description());
    trampoline::release(py, || {
        let instance = this.view();
        let state: &T::State = instance;
        if T::FINALIZES && T::needs_finalizing(state) && c_api::PyObject_CallFinalizerFromDealloc(this.any()) < 0 {
            // Somebody has taken a reference.
            return;
        }
        let is_referred_to = T::WEAK_REFERENCES.is_some_and(|place| !place.of(state).get().is_null());
        if T::BASE_HAS_WEAK_REFERENCES || is_referred_to {
            // The callbacks run Python, and a collection must not meet what nobody refers to.
            instance.untrack();
            c_api::PyObject_ClearWeakRefs(this.any());
        }
        if let Some(link) = T::idle_link(state)
            && !T::IS_SUBCLASSABLE
            && T::is_idle(state)
            && description.idle.give(this.object(), link)
        {
            return;
        }
        instance.untrack();
        if let Some(end) = T::END
            && !instance.end(end)
        {
            return;
        }
        description.inherited.clear(instance);
        state.clear();
        if !T::State::IS_EMPTY_WHEN_CLEARED {
            // SAFETY: the slot's object is an instance, which has its state at this place.
            let place = unsafe { T::Layout::state(this.object()) }.cast_mut();
            // SAFETY: a whole state (invariant 1 of `class`), which nobody uses any more: the instance has no references.
            unsafe { place.drop_in_place() };
        }
        let is_exact = description.class.is_class_of(this.object());
        // The interpreter never runs a finalizer again where it has run one: such memory is not used again.
        let is_marked = T::FINALIZES && c_api::PyObject_GC_IsFinalized(this.any()) != 0;
        // SAFETY: it is untracked, its fields are empty, and it has no references. One that is kept is of exactly the class,
        // and no finalizer of it has run.
        unsafe { description.free.give_or_free(this.object(), is_exact && !is_marked) };
    });
}

/// `tp_traverse`.
///
/// # Safety
/// Called by the collector as a slot of the class.
pub(super) unsafe extern "C" fn traverse<T: NativeClass>(
    this: This<'_, Instance<T>>,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    trampoline::look(|| {
        // SAFETY: as the collector called the slot.
        let collector = unsafe { Collector::new(visit, arg) };
        let instance = this.view();
        let visited = collector.class_of(this.object()).and_then(|()| instance.visit(&collector));
        visited.and_then(|()| T::description().inherited.visit(instance, &collector)).err().unwrap_or(0)
    })
}

/// `tp_clear`.
///
/// # Safety
/// Called by the collector as a slot of the class.
pub(super) unsafe extern "C" fn clear<T: NativeClass>(this: This<'_, Instance<T>>) -> c_int {
    trampoline::release(this.py(), || {
        let instance = this.view();
        T::before_clear(this.py(), instance);
        instance.clear();
        T::description().inherited.clear(instance);
    });
    0
}

/// `tp_finalize`.
///
/// # Safety
/// Called by CPython as a slot of the class.
pub(super) unsafe extern "C" fn finalize<T: NativeClass>(this: This<'_, Instance<T>>) {
    trampoline::finalize(&this.any(), || {
        let instance = this.view();
        if let Some(link) = T::idle_link(instance) {
            link.set_finalized();
        }
        T::finalize(this.py(), instance)
    });
}

/// `tp_new` that takes no notice of arguments, for classes whose state begins empty.
///
/// # Safety
/// Called by CPython with the class, or one derived from it, whose other parts it has checked.
pub(super) unsafe extern "C" fn new_empty<T: NativeClass<State: Default>>(
    class: Borrowed<'_, '_, PyType>,
    _args: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let py = class.py();
    trampoline::object(py, || {
        deferred::give_back(py);
        // SAFETY: as the caller promises.
        unsafe { Instance::<T>::allocate(py, class, T::State::default()) }.map(Instance::into_object)
    })
}

/// `tp_new` whose function makes the state of the arguments.
///
/// # Safety
/// As for [`new_empty`].
pub(super) unsafe extern "C" fn new_of_arguments<T: NativeClass, F>(
    class: Borrowed<'_, '_, PyType>,
    arguments: Borrowed<'_, '_, PyTuple>,
    keywords: Option<Borrowed<'_, '_, PyDict>>,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(&Bound<'a, PyTuple>, Option<&Bound<'a, PyDict>>) -> PyResult<T::State> + Copy + 'static,
{
    let py = class.py();
    trampoline::object(py, || {
        deferred::give_back(py);
        let state = the::<F>()(&arguments, keywords.as_deref())?;
        // SAFETY: as the caller promises.
        unsafe { Instance::<T>::allocate(py, class, state) }.map(Instance::into_object)
    })
}

impl<T: NativeClass> Instance<T> {
    /// Hides it from the collector; what is not tracked stays so.
    #[inline]
    pub(in crate::ffi) fn untrack(&self) {
        // SAFETY: an object with a collector's head, as all native classes have it.
        unsafe { ffi::PyObject_GC_UnTrack(self.object().as_ptr().cast()) };
    }

    /// Runs `end` with a temporary reference to an instance without references, untracked; false if somebody has taken another,
    /// and has the whole instance. Else the memory is freed with the temporary reference in it.
    fn end(&self, end: fn(Python<'_>, &Self)) -> bool {
        let object = self.object();
        let temporary = ManuallyDrop::new(object.clone());
        end(object.py(), self);
        if object.reference_count() == 1 {
            return true;
        }
        // SAFETY: it was untracked before, and all of its fields are there.
        unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
        drop(ManuallyDrop::into_inner(temporary));
        false
    }
}

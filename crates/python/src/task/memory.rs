//! Memory of futures and tasks: freed ones keep theirs for the next (3.14 on, where [`thread_state`] is known; elsewhere
//! the base frees them).
//!
//! The fields of an object on a [`FreeList`] are those of a new one.
//!
//! From 3.14 on the interpreter itself bounds the recursion of deallocations, so a long chain of futures and tasks that
//! hold one another is freed without deep recursion; before, that is what the inherited `tp_dealloc` does.

use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::free_list::FreeList;
use crate::ffi::future::{Fields, Flag};
use crate::ffi::object::Object;
use crate::ffi::thread_state;

/// Freed objects of a type that keep their memory: 1.6 MB of tasks at the most.
const KEPT: usize = 8192;

/// One of the two types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Future,
    Task,
}

static FREED: [FreeList; 2] = [const { FreeList::new(KEPT) }; 2];
static CLASSES: [AtomicPtr<ffi::PyTypeObject>; 2] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 2];

/// Remembers the class; instances of it, and of nothing derived, keep their memory.
pub(super) fn keep(kind: Kind, class: &Bound<'_, PyType>) {
    CLASSES[kind as usize].store(class.as_ptr().cast(), Ordering::Relaxed);
}

/// Whether this file frees the objects.
pub(super) fn is_used() -> bool {
    thread_state::is_known()
}

/// A new object: pending, with empty slots.
#[inline]
pub(super) fn allocate(py: Python<'_>, kind: Kind) -> PyResult<Object> {
    let class = CLASSES[kind as usize].load(Ordering::Relaxed);
    // SAFETY: exact instances of the type alone are given.
    if let Some(object) = unsafe { FREED[kind as usize].take(py, class) } {
        // SAFETY: untracked when it was freed; its slots are null.
        unsafe { ffi::PyObject_GC_Track(object.cast()) };
        // SAFETY: a new reference.
        return unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py));
    }
    // SAFETY: a ready type without variable-sized part.
    let object = unsafe { ffi::PyType_GenericAlloc(class, 0) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))
}

/// `tp_dealloc` of futures.
pub(super) unsafe fn deallocate_future(object: *mut ffi::PyObject) {
    deallocate(object, Kind::Future);
}

/// `tp_dealloc` of tasks.
pub(super) unsafe fn deallocate_task(object: *mut ffi::PyObject) {
    deallocate(object, Kind::Task);
}

fn deallocate(object: *mut ffi::PyObject, kind: Kind) {
    // SAFETY: the type of an object that is being freed outlives it.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: an instance of one of the types, or of a type derived from it.
    let fields = unsafe { Fields::of(object) };
    let reports = fields.flag(Flag::LogTraceback) || (kind == Kind::Task && fields.is_pending());
    let exact = class == CLASSES[kind as usize].load(Ordering::Relaxed);
    if reports || !exact {
        // SAFETY: the object is being freed. The finalizer is asyncio's, or a derived type's.
        if unsafe { ffi::PyObject_CallFinalizerFromDealloc(object) } < 0 {
            return;
        }
    }
    // SAFETY: the collector's object.
    let finalized = unsafe { ffi::PyObject_GC_IsFinalized(object) } != 0;
    // SAFETY: the collector's object, tracked.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    if kind == Kind::Task {
        thread_state::unregister(object);
    }
    // SAFETY: its references have gone, weak ones go now.
    unsafe { ffi::PyObject_ClearWeakRefs(object) };
    clear(object, kind);
    // SAFETY: CPython frees objects on attached threads.
    let py = unsafe { Python::assume_attached() };
    let keeps = exact && !finalized && {
        fields.reset(kind == Kind::Task);
        // SAFETY: it is untracked, empty, and nobody's.
        unsafe { FREED[kind as usize].give(py, object) }
    };
    if !keeps {
        // SAFETY: memory from the type's allocator, untracked, with null slots.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

/// Empties every slot, as the base does.
fn clear(object: *mut ffi::PyObject, kind: Kind) {
    // SAFETY: the types are made before their instances.
    let class = CLASSES[kind as usize].load(Ordering::Relaxed);
    // SAFETY: a ready type; its `tp_clear` is inherited from asyncio's C type.
    if let Some(clear) = unsafe { (*class).tp_clear } {
        // SAFETY: an instance.
        unsafe { clear(object) };
    }
}

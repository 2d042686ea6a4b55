//! The classes over asyncio's future and task: made here, with the memory of their instances.
//!
//! They have no state of their own, so the collector's view, `tp_clear` and, before 3.14, `tp_dealloc` are asyncio's. From 3.14
//! on, where [`thread_state`] is known, freed instances keep their memory for the next: the fields of one on a free list are
//! those of a new one. From 3.14 on the interpreter itself bounds the recursion of deallocations, so a long chain of futures
//! and tasks that hold one another is freed without deep recursion; before, that is what the inherited `tp_dealloc` does.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::check::Approved;
use super::{Future, FutureState, Task};
use crate::ffi::class::Builder;
use crate::ffi::free_list::FreeList;
use crate::ffi::method::Receiver;
use crate::ffi::object::Object;
use crate::ffi::{thread_state, trampoline};

/// Freed instances of a class that keep their memory: 1.6 MB of tasks at the most.
const KEPT: usize = 8192;

/// One of the two classes, and asyncio's under it; null before they are known.
pub(super) struct Known {
    class: AtomicPtr<ffi::PyTypeObject>,
    base: AtomicPtr<ffi::PyTypeObject>,
    freed: FreeList,
}

pub(super) static FUTURE: Known = Known::new();
pub(super) static TASK: Known = Known::new();

impl Known {
    const fn new() -> Self {
        Self { class: AtomicPtr::new(null_mut()), base: AtomicPtr::new(null_mut()), freed: FreeList::new(KEPT) }
    }

    /// Whether the object's class is this one, and nothing derived.
    #[inline]
    pub(super) fn is_class_of(&self, object: &Object) -> bool {
        object.has_class(self.class.load(Ordering::Relaxed))
    }

    /// Whether the object is an instance of asyncio's class or of one derived from it.
    #[cold]
    pub(super) fn is_base_of(&self, object: &Object) -> bool {
        let base = self.base.load(Ordering::Relaxed);
        // SAFETY: a live object and a type that lives for ever.
        !base.is_null() && unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), base) } != 0
    }

    /// A new instance, with empty slots and flags.
    #[inline]
    fn allocate(&self, py: Python<'_>) -> PyResult<Object> {
        let class = self.class.load(Ordering::Relaxed);
        assert!(!class.is_null(), "the class is made before its instances");
        if thread_state::is_known() {
            // SAFETY: exact instances of the class alone are given.
            if let Some(address) = unsafe { self.freed.take(py, class) } {
                // SAFETY: untracked when it was freed; its slots are null.
                unsafe { ffi::PyObject_GC_Track(address.cast()) };
                // SAFETY: a new reference.
                return unsafe { Object::from_result(py, address) };
            }
        }
        // SAFETY: a ready type without variable-sized part.
        let address = unsafe { ffi::PyType_GenericAlloc(class, 0) };
        // SAFETY: a new reference, or null with an exception.
        unsafe { Object::from_result(py, address) }
    }
}

/// Whether `class` makes instances that are [`Future`]s.
pub(crate) fn makes_futures(class: &Bound<'_, PyType>) -> bool {
    let base = FUTURE.base.load(Ordering::Relaxed);
    // SAFETY: two live types.
    !base.is_null() && unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), base) } != 0
}

impl Future {
    /// A pending `ferrio.Future`, with empty slots: it has no loop yet.
    #[inline]
    pub(crate) fn create(py: Python<'_>) -> PyResult<Self> {
        FUTURE.allocate(py).map(|object| Self { object })
    }
}

impl Task {
    /// A pending `ferrio.Task`, with empty slots: it has no loop and no coroutine yet.
    #[inline]
    pub(crate) fn create(py: Python<'_>) -> PyResult<Self> {
        TASK.allocate(py).map(|object| Self { future: Future { object } })
    }
}

/// [`Future`] and [`Task`].
pub(crate) trait OverAsyncio: Receiver {
    const IS_TASK: bool;
}

impl OverAsyncio for Future {
    const IS_TASK: bool = false;
}

impl OverAsyncio for Task {
    const IS_TASK: bool = true;
}

const fn known<R: OverAsyncio>() -> &'static Known {
    if R::IS_TASK { &TASK } else { &FUTURE }
}

impl<R: OverAsyncio> Builder<R> {
    /// A class that programs may derive from and may not change, with asyncio's view for the collector.
    pub(crate) fn over_asyncio(name: &'static CStr, doc: &'static CStr) -> Self {
        Self::bare(name, doc).flags(ffi::Py_TPFLAGS_IMMUTABLETYPE, ffi::Py_TPFLAGS_HAVE_GC).subclassable()
    }

    /// Makes the class over asyncio's, and over `others`, which lay out nothing of their own. Once: the process has one.
    pub(crate) fn build_over_asyncio<'py>(
        self,
        py: Python<'py>,
        approved: &Approved<'py>,
        others: &[&Bound<'py, PyType>],
    ) -> PyResult<Bound<'py, PyType>> {
        let known = known::<R>();
        let base = if R::IS_TASK { &approved.task } else { &approved.future };
        let builder =
            if thread_state::is_known() { self.slot(ffi::Py_tp_dealloc, deallocate::<R> as *mut c_void) } else { self };
        let bases: Vec<_> = [base].into_iter().chain(others.iter().copied()).collect();
        let class = builder.build_over(py, &bases, 0)?;
        // Both live as long as the process.
        known.base.store(base.clone().into_ptr().cast(), Ordering::Relaxed);
        known.class.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
        Ok(class)
    }
}

unsafe extern "C" fn deallocate<R: OverAsyncio>(address: *mut ffi::PyObject) {
    let body = || {
        let known = known::<R>();
        // SAFETY: the type of an object that is being freed outlives it.
        let class = unsafe { ffi::Py_TYPE(address) };
        // SAFETY: whole until below.
        let object = unsafe { Object::view(&address) };
        // SAFETY: a slot of a class over asyncio's.
        let future = unsafe { Future::assume(object) };
        let is_exact = known.is_class_of(object);
        let reports = future.log_traceback().get() || (R::IS_TASK && future.is_pending());
        if reports || !is_exact {
            // SAFETY: the object is being freed. The finalizer is asyncio's, or a derived type's.
            if unsafe { ffi::PyObject_CallFinalizerFromDealloc(address) } < 0 {
                return;
            }
        }
        // SAFETY: the collector's object.
        let finalized = unsafe { ffi::PyObject_GC_IsFinalized(address) } != 0;
        // SAFETY: the collector's object, tracked.
        unsafe { ffi::PyObject_GC_UnTrack(address.cast()) };
        if R::IS_TASK {
            // SAFETY: a slot of the class over asyncio's task.
            thread_state::unregister(unsafe { Task::assume(object) });
        }
        // SAFETY: its references have gone, weak ones go now.
        unsafe { ffi::PyObject_ClearWeakRefs(address) };
        // SAFETY: a ready type; its `tp_clear` is inherited from asyncio's C type.
        if let Some(clear) = unsafe { (*known.class.load(Ordering::Relaxed)).tp_clear } {
            // SAFETY: an instance.
            unsafe { clear(address) };
        }
        // SAFETY: CPython frees objects on attached threads.
        let py = unsafe { Python::assume_attached() };
        let is_kept = is_exact && !finalized && {
            future.set_state(FutureState::Pending);
            future.clear_flags();
            if R::IS_TASK {
                // SAFETY: as above.
                unsafe { Task::assume(object) }.cancels_requested().set(0);
            }
            // SAFETY: it is untracked, empty, and nobody's.
            unsafe { known.freed.give(py, address) }
        };
        if !is_kept {
            // SAFETY: memory from the type's allocator, untracked, with null slots.
            unsafe { ffi::PyObject_GC_Del(address.cast()) };
        }
        // SAFETY: an instance of a heap type owns a reference to it.
        unsafe { ffi::Py_DECREF(class.cast()) };
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::release(body) }
}

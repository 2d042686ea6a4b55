//! The classes over asyncio's future and task: made here, with the memory of their instances.
//!
//! They have no state of their own, so the collector's view, `tp_clear` and, before 3.14, `tp_dealloc` are asyncio's. From 3.14
//! on, where [`thread_state`] is known, freed instances keep their memory for the next: the fields of one on a free list are
//! those of a new one. From 3.14 on the interpreter itself bounds the recursion of deallocations, so a long chain of futures
//! and tasks that hold one another is freed without deep recursion; before, that is what the inherited `tp_dealloc` does.

use core::ffi::{CStr, c_void};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::check::Approved;
use super::{Future, FutureState, Task};
use crate::ffi::builder::Builder;
use crate::ffi::class::new_object;
use crate::ffi::free_list::FreeList;
use crate::ffi::known_class::KnownClass;
use crate::ffi::method::Receiver;
use crate::ffi::object::Object;
use crate::ffi::passed::This;
use crate::ffi::{awaitable, c_api, thread_state, trampoline};

/// Freed instances of a class that keep their memory: 1.6 MB of tasks at the most.
const KEPT: usize = 8192;

/// One of the two classes, and asyncio's under it; null before they are known.
pub(super) struct Known {
    class: KnownClass,
    base: KnownClass,
    freed: FreeList,
}

pub(super) static FUTURE: Known = Known::new();
pub(super) static TASK: Known = Known::new();

impl Known {
    const fn new() -> Self {
        Self { class: KnownClass::new(), base: KnownClass::new(), freed: FreeList::new(KEPT) }
    }

    /// Whether the object's class is this one, and nothing derived.
    #[inline]
    pub(super) fn is_class_of(&self, object: &Object) -> bool {
        self.class.is_class_of(object)
    }

    /// Whether the object is an instance of asyncio's class or of one derived from it.
    #[cold]
    pub(super) fn is_base_of(&self, object: &Object) -> bool {
        self.base.is_base_of(object)
    }

    /// A new instance, with empty slots and flags.
    #[inline]
    fn allocate(&self, py: Python<'_>) -> PyResult<Object> {
        let class = self.class.get(py).expect("the class is made before its instances");
        if thread_state::is_known() {
            // SAFETY: exact instances of the class alone are given.
            if let Some(object) = unsafe { self.freed.take(py, class) } {
                // SAFETY: untracked when it was freed; its slots are null.
                unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
                return Ok(object);
            }
        }
        // SAFETY: the fields of a new instance are zeros.
        unsafe { new_object(py, class) }
    }
}

/// Whether `class` makes instances that are [`Future`]s.
pub(crate) fn makes_futures(class: &Bound<'_, PyType>) -> bool {
    let base = FUTURE.base.get(class.py());
    base.is_some_and(|base| c_api::PyType_IsSubtype(class.as_borrowed(), base) != 0)
}

/// Whether `await` does with `object` what it does with futures and tasks of ours, or of asyncio's.
pub(crate) fn is_awaited_as_future(object: &Object) -> bool {
    [&FUTURE.class, &TASK.class, &FUTURE.base].into_iter().any(|class| {
        let class = class.get(object.py());
        class.is_some_and(|class| awaitable::is_awaited_as(object, &class))
    })
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
        known.base.set(base.clone());
        known.class.set(class.clone());
        Ok(class)
    }
}

/// # Safety
/// Called by CPython as a slot of a class over asyncio's.
unsafe extern "C" fn deallocate<R: OverAsyncio>(this: This<'_, R>) {
    trampoline::release(this.py(), || {
        let (known, object) = (known::<R>(), this.object());
        // SAFETY: a slot of a class over asyncio's.
        let future = unsafe { Future::assume(object) };
        // SAFETY: for tasks it is one over asyncio's task.
        let task = R::IS_TASK.then(|| unsafe { Task::assume(object) });
        let is_exact = known.is_class_of(object);
        let reports = future.log_traceback().get() || (R::IS_TASK && future.is_pending());
        // The finalizer is asyncio's, or a derived type's.
        if (reports || !is_exact) && c_api::PyObject_CallFinalizerFromDealloc(this.any()) < 0 {
            return;
        }
        let is_finalized = c_api::PyObject_GC_IsFinalized(this.any()) != 0;
        // SAFETY: the collector's object, tracked.
        unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
        if let Some(task) = task {
            thread_state::unregister(task);
        }
        c_api::PyObject_ClearWeakRefs(this.any());
        // SAFETY: a ready type; its `tp_clear` is inherited from asyncio's C type.
        if let Some(clear) = unsafe { (*known.class.address()).tp_clear } {
            // SAFETY: an instance.
            unsafe { clear(object.as_ptr()) };
        }
        future.set_state(FutureState::Pending);
        future.clear_flags();
        if let Some(task) = task {
            task.cancels_requested().set(0);
        }
        // SAFETY: it is untracked, empty, and nobody's.
        unsafe { known.freed.give_or_free(object, is_exact && !is_finalized) };
    });
}

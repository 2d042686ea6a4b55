//! Instances of a heap type with Rust state behind the object's head: one [`Guarded`] value, shown to the collector.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyType};

use crate::ffi::free_list::FreeList;
use crate::ffi::guarded::Guarded;
use crate::ffi::heap_type::{Builder, offset_member, state_offset};
use crate::ffi::object::Object;
use crate::ffi::trampoline;

/// The state of one type's instances.
pub(super) trait Native: Default + 'static {
    /// Where the type is remembered.
    fn class() -> &'static Class<Self>;

    /// Shows every Python object that the state owns a reference to, or null.
    fn each(&self, see: &mut dyn FnMut(*mut ffi::PyObject));

    /// The instance is about to end, or to be emptied by the collector. May call Python; may be called twice.
    fn on_end(py: Python<'_>, object: *mut ffi::PyObject) {
        let _ = (py, object);
    }
}

/// What is behind the object's head.
struct Rest<T> {
    state: Guarded<T>,
    /// CPython's list of weak references to the instance.
    weak_references: Cell<*mut ffi::PyObject>,
}

/// A type, once it has been made.
pub(super) struct Class<T> {
    object: AtomicPtr<ffi::PyTypeObject>,
    offset: AtomicUsize,
    /// Memory of freed instances, without state.
    freed: FreeList,
    state: PhantomData<fn() -> T>,
}

/// Freed instances of a type that keep their memory.
const KEPT: usize = 256;

impl<T: Native> Class<T> {
    pub(super) const fn new() -> Self {
        Self {
            object: AtomicPtr::new(null_mut()),
            offset: AtomicUsize::new(0),
            freed: FreeList::new(KEPT),
            state: PhantomData,
        }
    }

    /// Makes the type over `object`.
    pub(super) fn build<'py>(&'static self, py: Python<'py>, builder: Builder) -> PyResult<Bound<'py, PyType>> {
        let base = py.get_type::<PyAny>();
        let offset = state_offset(&base);
        self.offset.store(offset, Ordering::Relaxed);
        let place = offset + offset_of!(Rest<T>, weak_references);
        let members = Box::leak(Box::new([offset_member(c"__weaklistoffset__", place)?, ffi::PyMemberDef::default()]));
        let class = builder
            .not_instantiable()
            .slots([
                (ffi::Py_tp_dealloc, deallocate::<T> as *mut c_void),
                (ffi::Py_tp_traverse, traverse::<T> as *mut c_void),
                (ffi::Py_tp_clear, clear::<T> as *mut c_void),
                (ffi::Py_tp_members, members.as_mut_ptr().cast()),
            ])
            .build(py, &base, size_of::<Rest<T>>())?;
        // The type lives as long as the process.
        self.object.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
        Ok(class)
    }
}

/// Makes an instance.
#[inline]
pub(super) fn make<T: Native>(py: Python<'_>, state: T) -> PyResult<Object> {
    let class = T::class().object.load(Ordering::Relaxed);
    // SAFETY: instances of the type alone are given.
    let recycled = unsafe { T::class().freed.take(py, class) };
    let object = match recycled {
        Some(object) => object,
        // SAFETY: a ready type without variable-sized part.
        None => unsafe { ffi::PyType_GenericAlloc(class, 0) },
    };
    // SAFETY: a new reference, or null with an exception.
    let Some(object) = (unsafe { Object::from_owned(object) }) else { return Err(PyErr::fetch(py)) };
    // SAFETY: a new instance of the type.
    let place = unsafe { place::<T>(object.as_ptr()) };
    // SAFETY: memory of the state's size and alignment, without a state.
    unsafe { place.write(Rest { state: Guarded::new(state), weak_references: Cell::new(null_mut()) }) };
    if recycled.is_some() {
        // SAFETY: untracked when it was freed; its state is complete.
        unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
    }
    Ok(object)
}

/// The place of the state and of what is behind it in an instance.
///
/// # Safety
/// `object` is an instance of the type of `T`.
unsafe fn place<T: Native>(object: *mut ffi::PyObject) -> *mut Rest<T> {
    // SAFETY: instances are that long (the type was made so).
    unsafe { object.byte_add(T::class().offset.load(Ordering::Relaxed)) }.cast()
}

/// The state of an instance.
///
/// # Safety
/// `object` is an instance of the type of `T` and outlives the result.
#[inline]
pub(super) unsafe fn state_of<'a, T: Native>(object: *mut ffi::PyObject) -> &'a Guarded<T> {
    // SAFETY: passed on to the caller.
    let place = unsafe { place::<T>(object) };
    // SAFETY: `make` has put a state there, and only `deallocate` ends it.
    let rest = unsafe { &*place };
    &rest.state
}

unsafe extern "C" fn deallocate<T: Native>(object: *mut ffi::PyObject) {
    let body = || {
        // SAFETY: as CPython called the slot.
        unsafe { free::<T>(object) }
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::release(body) }
}

unsafe fn free<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: an object that nobody refers to any more; untracking twice is allowed.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: CPython frees objects on attached threads.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an instance of the type.
    let place = unsafe { place::<T>(object) };
    // SAFETY: `make` has put it there, and it ends below.
    if unsafe { !(*place).weak_references.get().is_null() } {
        // SAFETY: an object that nobody refers to any more, untracked, and whole until below.
        unsafe { ffi::PyObject_ClearWeakRefs(object) };
    }
    T::on_end(py, object);
    // SAFETY: the state that `make` put there, ended once.
    unsafe { place.drop_in_place() };
    // SAFETY: the type outlives its instances.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: untracked, without state, and nobody's.
    let keeps = unsafe { T::class().freed.give(py, object) };
    if !keeps {
        // SAFETY: memory from the type's allocator, untracked.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe extern "C" fn traverse<T: Native>(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    trampoline::look(|| {
        // SAFETY: as the collector called the slot.
        unsafe { show::<T>(object, visit, arg) }
    })
}

unsafe fn show<T: Native>(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector runs on an attached thread.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the type of a live object.
    let class: *mut ffi::PyObject = unsafe { ffi::Py_TYPE(object) }.cast();
    // SAFETY: `visit` takes live objects that this one owns.
    let mut stop = unsafe { visit(class, arg) };
    // SAFETY: an instance of the type.
    let state = unsafe { state_of::<T>(object) };
    state.with(py, |state| {
        state.each(&mut |value| {
            if stop == 0 && !value.is_null() {
                // SAFETY: as above; the collector's visitors do not come back to the state.
                stop = unsafe { visit(value, arg) };
            }
        });
    });
    stop
}

unsafe extern "C" fn clear<T: Native>(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: the collector runs on an attached thread.
    let py = unsafe { Python::assume_attached() };
    let body = || {
        T::on_end(py, object);
        // SAFETY: an instance of the type.
        let before = unsafe { state_of::<T>(object) }.with(py, core::mem::take);
        drop(before);
    };
    // SAFETY: as above.
    unsafe { trampoline::release(body) };
    0
}

//! Native classes: one description of each, from which its slots follow.
//!
//! A [`NativeClass`] says what its instances hold (its state, whose fields are listed once, see
//! [`fields`](super::fields)) and which options it has. Allocation, `tp_dealloc`, `tp_traverse`, `tp_clear` and
//! `tp_finalize` are compiled from that. [`Instance`] is a reference to an object that is known to be one: it is made by a
//! type check, or by CPython's own when a method is called, and gives the state without another.
//!
//! An instance is laid out as its base lays it out, then the state; a [`NativeLayout`] may have the state begin with slots of
//! the base. Other slots of a Python base (`__slots__`) are visited and cleared as well ([`InheritedSlots`]).
//!
//! # Invariants
//! 1. Every instance of a class (and of its subclasses) has a whole state behind the base's part, from `tp_new` or
//!    [`create`](Instance::create) to `tp_dealloc`.
//! 2. A class has one [`Description`]; what it says is set when the class is made, before any instance exists.

use core::ffi::{CStr, c_int, c_uint, c_void};
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::exceptions::{PySystemError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyClass, PyTypeInfo, ffi};

use super::fields::{Collector, Fields};
use super::free_list::FreeList;
use super::idle_list::{IdleLink, IdleList};
use super::inherited::InheritedSlots;
use super::method::{Attribute, IntoObject, Method, Receiver, the};
use super::object::Object;
use super::trampoline;

/// What is known of a class at run time.
pub(crate) struct Description<T> {
    /// The class; of a PyO3 class, the subclass of it that was seen first. Null before that.
    class: AtomicPtr<ffi::PyTypeObject>,
    /// The subclass of a native class that was seen first: mostly there is but one, Ferrio's own.
    subclass: AtomicPtr<ffi::PyTypeObject>,
    /// Where in an instance the state begins.
    offset: AtomicUsize,
    inherited: InheritedSlots,
    free: FreeList,
    idle: IdleList,
    described: PhantomData<fn() -> T>,
}

impl<T> Description<T> {
    /// Of a class that keeps the memory of up to `kept` freed instances.
    pub(crate) const fn new(kept: usize) -> Self {
        Self {
            class: AtomicPtr::new(null_mut()),
            subclass: AtomicPtr::new(null_mut()),
            offset: AtomicUsize::new(0),
            inherited: InheritedSlots::new(),
            free: FreeList::new(kept),
            idle: IdleList::new(0),
            described: PhantomData,
        }
    }

    /// Lets the class keep up to `most` ended instances whole, for [`Instance::reuse`]; see [`NativeClass::idle_link`].
    pub(crate) const fn with_idle(mut self, most: usize) -> Self {
        self.idle = IdleList::new(most);
        self
    }

    /// The class; null before it is made.
    #[inline]
    pub(in crate::ffi) fn class(&self) -> *mut ffi::PyTypeObject {
        self.class.load(Ordering::Relaxed)
    }

    /// Describes a class that is not made here. It is kept for ever.
    pub(in crate::ffi) fn set_class(&self, class: Bound<'_, PyType>) {
        self.class.store(class.into_ptr().cast(), Ordering::Relaxed);
    }
}

/// A class whose instances hold native state.
pub(crate) trait Class: Sized + 'static {
    /// The state of each instance.
    type State: 'static;
    /// How instances are laid out: [`Heap`] or [`OfPyo3`].
    type Layout: Layout<Self>;

    /// The one description of the class: a `static`.
    fn description() -> &'static Description<Self>;
}

/// Finds the state in an instance.
///
/// # Safety
/// `state` is the place of a whole state in every object that `is_instance` has accepted.
pub(crate) unsafe trait Layout<T: Class> {
    fn is_instance(object: &Object) -> bool;

    /// # Safety
    /// `object` is an instance.
    unsafe fn state(object: &Object) -> *const T::State;
}

/// The layout of a class that is made here.
pub(crate) trait NativeLayout<T: Class>: Layout<T> {
    /// Where in an instance the state of a class over `base` begins.
    fn state_offset(base: &Bound<'_, PyType>) -> usize;
}

/// The layout of most [`NativeClass`]es: the state lies behind what the base lays out.
pub(crate) struct Heap;

impl<T: Class> NativeLayout<T> for Heap {
    fn state_offset(base: &Bound<'_, PyType>) -> usize {
        state_offset(base)
    }
}

// SAFETY: invariant 1; `Description` is filled by `Builder::build` only, which lays instances out so.
unsafe impl<T: Class> Layout<T> for Heap {
    #[inline]
    fn is_instance(object: &Object) -> bool {
        let description = T::description();
        object.has_class(description.class.load(Ordering::Relaxed))
            || object.has_class(description.subclass.load(Ordering::Relaxed))
            || is_instance_of_subclass(description, object)
    }

    #[inline]
    unsafe fn state(object: &Object) -> *const T::State {
        // SAFETY: an instance has its state at this offset.
        unsafe { object.as_ptr().byte_add(T::description().offset.load(Ordering::Relaxed)) }.cast()
    }
}

/// Whether `object` is an instance of a subclass of a native class; the first one is remembered.
#[cold]
fn is_instance_of_subclass<T>(description: &'static Description<T>, object: &Object) -> bool {
    let class = description.class.load(Ordering::Relaxed);
    // SAFETY: a live object and, unless null, a class that lives for ever.
    if class.is_null() || unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class) } == 0 {
        return false;
    }
    if description.subclass.load(Ordering::Relaxed).is_null() {
        // SAFETY: a live object.
        let subclass = unsafe { ffi::Py_TYPE(object.as_ptr()) };
        // SAFETY: a live type. It is kept for ever, so that its address stands for no other.
        unsafe { ffi::Py_INCREF(subclass.cast()) };
        description.subclass.store(subclass, Ordering::Relaxed);
    }
    true
}

/// The layout of a frozen `#[pyclass]`, whose state is itself.
pub(crate) struct OfPyo3;

// SAFETY: the state of an instance is the value that PyO3 keeps in it.
unsafe impl<T: Class<State = T> + PyClass<Frozen = True> + Sync> Layout<T> for OfPyo3 {
    #[inline]
    fn is_instance(object: &Object) -> bool {
        object.has_class(T::description().class.load(Ordering::Relaxed))
            || is_instance_of_pyo3(T::description(), object)
    }

    #[inline]
    unsafe fn state(object: &Object) -> *const T {
        // SAFETY: the instance is used by attached threads only.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: an instance, as the caller promises.
        unsafe { object.bind(py).cast_unchecked::<T>() }.get()
    }
}

/// Whether `object` is an instance of a PyO3 class; the class of the first one is remembered: there is nearly always but one.
#[cold]
fn is_instance_of_pyo3<T: PyClass>(description: &'static Description<T>, object: &Object) -> bool {
    // SAFETY: objects are looked at by attached threads only.
    let py = unsafe { Python::assume_attached() };
    if !T::is_type_of(object.bind(py)) {
        return false;
    }
    if description.class.load(Ordering::Relaxed).is_null() {
        // It is kept for ever, so that its address stands for no other.
        let class = object.bind(py).get_type();
        description.class.store(class.into_ptr().cast(), Ordering::Relaxed);
    }
    true
}

/// `pyo3_class!(LockCore)`: makes a frozen `#[pyclass]` a [`Class`], so that there are [`Instance`]s of it.
macro_rules! pyo3_class {
    ($class:ty) => {
        impl $crate::ffi::class::Class for $class {
            type State = Self;
            type Layout = $crate::ffi::class::OfPyo3;

            #[inline]
            fn description() -> &'static $crate::ffi::class::Description<Self> {
                static DESCRIPTION: $crate::ffi::class::Description<$class> = $crate::ffi::class::Description::new(0);
                &DESCRIPTION
            }
        }
    };
}

pub(crate) use pyo3_class;

/// A reference to an object that is an instance of `T`, whatever Python code does to it.
#[repr(transparent)]
pub(crate) struct Instance<T: Class> {
    object: Object,
    class: PhantomData<fn() -> T>,
}

impl<T: Class> Instance<T> {
    /// The object as an instance; `None` if it is none.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<&Self> {
        // SAFETY: it has just been accepted.
        T::Layout::is_instance(object).then(|| unsafe { Self::assume(object) })
    }

    /// [`Self::of`], of a reference that is given away; it comes back if the object is none.
    #[inline]
    pub(crate) fn from_object(object: Object) -> Result<Self, Object> {
        if T::Layout::is_instance(&object) { Ok(Self { object, class: PhantomData }) } else { Err(object) }
    }

    /// Views an object as an instance.
    ///
    /// # Safety
    /// It is one.
    #[inline]
    pub(in crate::ffi) const unsafe fn assume(object: &Object) -> &Self {
        // SAFETY: laid out as the reference itself.
        unsafe { &*(&raw const *object).cast() }
    }

    #[inline]
    pub(crate) const fn object(&self) -> &Object {
        &self.object
    }

    #[inline]
    pub(crate) fn into_object(self) -> Object {
        self.object
    }

    #[inline]
    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }
}

impl<T: Class<Layout = OfPyo3> + PyTypeInfo> Instance<T>
where
    OfPyo3: Layout<T>,
{
    /// [`Self::of`], of what ought to be one.
    ///
    /// # Errors
    /// `TypeError`: it is none.
    #[inline]
    pub(crate) fn expect<'a>(py: Python<'_>, object: &'a Object) -> PyResult<&'a Self> {
        Self::of(object).ok_or_else(|| refused::<T>(py, object))
    }
}

/// The error of an object that is no instance, in PyO3's words.
#[cold]
fn refused<T: PyTypeInfo>(py: Python<'_>, object: &Object) -> PyErr {
    match object.bind(py).cast::<T>() {
        Ok(_) => PySystemError::new_err("an instance of the class is none of its description"),
        Err(error) => error.into(),
    }
}

impl<T: Class<Layout = OfPyo3> + PyClass> Instance<T> {
    /// Views a reference of PyO3's as an instance.
    #[inline]
    pub(crate) fn of_bound<'a>(bound: &'a Bound<'_, T>) -> &'a Self {
        // SAFETY: an instance, as its type says.
        unsafe { Self::assume(Object::of(bound)) }
    }
}

impl<T: Class> Clone for Instance<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), class: PhantomData }
    }
}

/// The instance's state.
impl<T: Class> Deref for Instance<T> {
    type Target = T::State;

    #[inline]
    fn deref(&self) -> &T::State {
        // SAFETY: an instance.
        let state = unsafe { T::Layout::state(&self.object) };
        // SAFETY: a whole state (invariant 1), which this reference keeps alive. It is only ever lent as shared.
        unsafe { &*state }
    }
}

impl<T: Class> IntoObject for Instance<T> {
    #[inline]
    fn into_object(self, _py: Python<'_>) -> Object {
        self.object
    }
}

// SAFETY: the view is made of instances of the class that the definition was put into, which is `T` or derived from it.
unsafe impl<T: Class> Receiver for Instance<T> {
    type View<'a> = &'a Self;

    #[inline]
    unsafe fn view<'a>(_py: Python<'a>, address: &'a *mut ffi::PyObject) -> &'a Self {
        // SAFETY: a live object.
        let object = unsafe { Object::view(address) };
        // SAFETY: an instance, as the caller promises.
        unsafe { Self::assume(object) }
    }
}

/// A class that is made here, with the slots that its description calls for.
pub(crate) trait NativeClass: Class<Layout: NativeLayout<Self>, State: Fields> {
    /// Its full name, with the module.
    const NAME: &'static CStr;
    const DOC: &'static CStr;
    /// The base keeps weak references to instances.
    const BASE_HAS_WEAK_REFERENCES: bool = false;
    /// Programs may derive from it.
    const IS_SUBCLASSABLE: bool = false;
    /// [`finalize`](Self::finalize) is to be called.
    const FINALIZES: bool = false;
    /// Where in the state CPython keeps the weak references to an instance: an `offset_of!` of a [`WeakReferences`].
    const WEAK_REFERENCES: Option<usize> = None;
    /// Where in the state CPython keeps the `__dict__` of an instance: an `offset_of!` of a [`Slot`](super::cell::Slot).
    const DICTIONARY: Option<usize> = None;
    /// Where in the state is the function that a call of an instance runs: an `offset_of!` of a
    /// [`Vectorcall`](super::vectorcall::Vectorcall).
    const VECTORCALL: Option<usize> = None;

    /// Whether the class has been made over `base`, or over what that is a base of.
    fn is_derived_from(base: &Bound<'_, PyType>) -> bool {
        let class = Self::description().class.load(Ordering::Relaxed);
        // SAFETY: two live types.
        !class.is_null() && unsafe { ffi::PyType_IsSubtype(class, base.as_type_ptr()) } != 0
    }

    /// Before an instance ends, while everything of it is there; it may be used again afterwards.
    ///
    /// # Errors
    /// They go to `sys.unraisablehook`.
    fn finalize(_py: Python<'_>, _instance: &Instance<Self>) -> PyResult<()> {
        Ok(())
    }

    /// When an instance has been finalized and ends; its fields are cleared afterwards. Nobody refers to it any more: a new
    /// reference to it, made here and given back, would free it twice.
    fn end(_py: Python<'_>, _instance: &Instance<Self>) {}

    /// Whether an instance that ends has anything to finalize.
    #[inline]
    fn needs_finalizing(_state: &Self::State) -> bool {
        true
    }

    /// When the collector clears an instance, before its fields are cleared.
    #[inline]
    fn before_clear(_py: Python<'_>, _instance: &Instance<Self>) {}

    /// The field by which ended instances are kept whole, for their next use; `None` if they are not. Those of a class that
    /// programs may derive from never are.
    #[inline]
    fn idle_link(_state: &Self::State) -> Option<&IdleLink> {
        None
    }

    /// Whether an instance that ends may be kept whole: it holds nothing.
    #[inline]
    fn is_idle(_state: &Self::State) -> bool {
        false
    }
}

/// The place of weak references in a state.
pub(crate) type WeakReferences = super::cell::Plain<*mut ffi::PyObject>;

impl<T: NativeClass> Instance<T> {
    /// An ended instance, with the state that it had, which nobody else refers to; `None` when none is idle.
    #[inline]
    pub(crate) fn reuse() -> Option<Self> {
        // SAFETY: what is on the list is an instance: `deallocate` alone gives to it.
        let link = |object: &Object| T::idle_link(unsafe { Self::assume(object) }).map_or(null_mut(), IdleLink::next);
        T::description().idle.take(link).map(|object| Self { object, class: PhantomData })
    }

    /// A new instance of exactly this class with `state`.
    ///
    /// # Errors
    /// `MemoryError`; the state is dropped.
    #[inline]
    pub(crate) fn create(py: Python<'_>, state: T::State) -> PyResult<Self> {
        Self::create_with(py, || state)
    }

    /// [`Self::create`], with a state that is made in its place.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the state would be copied otherwise")]
    pub(crate) fn create_with(py: Python<'_>, state: impl FnOnce() -> T::State) -> PyResult<Self> {
        Self::make::<true>(py, state)
    }

    /// [`Self::create_with`], of an instance that the collector does not see before [`Self::track`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the state would be copied otherwise")]
    pub(crate) fn create_untracked_with(py: Python<'_>, state: impl FnOnce() -> T::State) -> PyResult<Self> {
        Self::make::<false>(py, state)
    }

    /// Shows the instance to the collector, unless that sees it already.
    #[inline]
    pub(crate) fn track(&self) {
        let address = self.object.as_ptr();
        // SAFETY: a live object.
        if unsafe { ffi::PyObject_GC_IsTracked(address) } == 0 {
            // SAFETY: an instance of a collected class that is not tracked; its state is whole (invariant 1).
            unsafe { ffi::PyObject_GC_Track(address.cast()) };
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the state would be copied otherwise")]
    fn make<const IS_TRACKED: bool>(py: Python<'_>, state: impl FnOnce() -> T::State) -> PyResult<Self> {
        let description = T::description();
        let class = description.class.load(Ordering::Relaxed);
        assert!(!class.is_null(), "the class is made before its instances");
        // SAFETY: instances of the class alone are given to its list.
        let memory = unsafe { description.free.take(py, class) };
        let object = match memory {
            Some(object) => object,
            // SAFETY: a ready type without variable-sized part.
            None => unsafe { ffi::PyType_GenericAlloc(class, 0) },
        };
        // SAFETY: a new reference, or null with an exception.
        let object = unsafe { Object::from_result(py, object) }?;
        // SAFETY: memory of an instance, which has its state there.
        let place = unsafe { T::Layout::state(&object) }.cast_mut();
        // SAFETY: no state yet, or no longer, of its size and alignment.
        unsafe { place.write(state()) };
        if IS_TRACKED && memory.is_some() {
            // SAFETY: untracked when it was freed; its state is whole.
            unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
        }
        if !IS_TRACKED && memory.is_none() {
            // SAFETY: a new object, which its allocation has tracked.
            unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
        }
        Ok(Self { object, class: PhantomData })
    }

    /// A new instance of `class` with `state`.
    ///
    /// # Errors
    /// `MemoryError`; the state is dropped.
    ///
    /// # Safety
    /// `class` is this class, or one derived from it whose instances need nothing else to be filled.
    #[inline]
    pub(in crate::ffi) unsafe fn allocate(
        py: Python<'_>,
        class: *mut ffi::PyTypeObject,
        state: T::State,
    ) -> PyResult<Self> {
        // SAFETY: a ready type without variable-sized part.
        let object = unsafe { ffi::PyType_GenericAlloc(class, 0) };
        // SAFETY: a new reference, or null with an exception.
        let object = unsafe { Object::from_result(py, object) }?;
        // SAFETY: memory of an instance, which has its state there.
        let place = unsafe { T::Layout::state(&object) }.cast_mut();
        // SAFETY: zeroed memory of the state's size and alignment, not yet a state.
        unsafe { place.write(state) };
        Ok(Self { object, class: PhantomData })
    }

    /// The class; `None` before it is made.
    pub(in crate::ffi) fn class(py: Python<'_>) -> Option<Bound<'_, PyType>> {
        let class = T::description().class.load(Ordering::Relaxed);
        // SAFETY: null, or a class that lives for ever.
        let class = unsafe { Bound::from_borrowed_ptr_or_opt(py, class.cast()) };
        class.and_then(|class| class.cast_into::<PyType>().ok())
    }
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

impl<T: NativeClass<Layout = Heap, State: Default>> Instance<T> {
    /// A new instance of `class`, a subclass, whose own `__new__` and `__init__` are not called.
    ///
    /// # Errors
    /// `TypeError`: it is no subclass; `MemoryError`.
    pub(crate) fn create_of(py: Python<'_>, class: &Bound<'_, PyType>) -> PyResult<Self> {
        let base = T::description().class.load(Ordering::Relaxed);
        assert!(!base.is_null(), "the class is made before its instances");
        // SAFETY: two live types.
        if unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), base) } == 0 {
            let name = T::NAME.to_string_lossy();
            return Err(PyTypeError::new_err(format!("a subclass of {name} is required here")));
        }
        // SAFETY: a subclass of the class, to whose `__new__` arguments mean nothing.
        let object = unsafe { new_empty::<T>(class.as_type_ptr(), null_mut(), null_mut()) };
        // SAFETY: a new reference, or null with an exception.
        let object = unsafe { Object::from_result(py, object) }?;
        Ok(Self { object, class: PhantomData })
    }
}

unsafe extern "C" fn deallocate<T: NativeClass>(address: *mut ffi::PyObject) {
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

unsafe extern "C" fn traverse<T: NativeClass>(
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

unsafe extern "C" fn clear<T: NativeClass>(address: *mut ffi::PyObject) -> c_int {
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

unsafe extern "C" fn finalize<T: NativeClass>(address: *mut ffi::PyObject) {
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
unsafe extern "C" fn new_empty<T: NativeClass<State: Default>>(
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
unsafe extern "C" fn new_of_arguments<T: NativeClass, F>(
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

    pub(crate) fn not_instantiable(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
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
        self.slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void)
            .slot(ffi::Py_am_await, ffi::PyObject_SelfIter as *mut c_void)
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
        let class = unsafe { ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()) };
        // SAFETY: a new reference, or null with an exception.
        let class = unsafe { Object::from_result(py, class) }?;
        Ok(class.into_bound(py).cast_into::<PyType>()?)
    }
}

impl<T: NativeClass> Builder<Instance<T>> {
    /// The class, with the slots that its description calls for.
    pub(crate) fn new() -> Self {
        let mut builder = Self::bare(T::NAME, T::DOC)
            .slot(ffi::Py_tp_dealloc, deallocate::<T> as *mut c_void)
            .slot(ffi::Py_tp_traverse, traverse::<T> as *mut c_void)
            .slot(ffi::Py_tp_clear, clear::<T> as *mut c_void);
        if T::FINALIZES {
            builder = builder.slot(ffi::Py_tp_finalize, finalize::<T> as *mut c_void);
        }
        if T::IS_SUBCLASSABLE { builder.subclassable() } else { builder }
    }

    /// Instances can be made by calling the class; their state begins as its default.
    pub(crate) fn instantiable(self) -> Self
    where
        T::State: Default,
    {
        self.slot(ffi::Py_tp_new, new_empty::<T> as *mut c_void)
    }

    /// Instances can be made by calling the class; `function` makes the state of the arguments.
    pub(crate) fn constructed_by<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(&Bound<'a, PyTuple>, Option<&Bound<'a, PyDict>>) -> PyResult<T::State> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_new, new_of_arguments::<T, F> as *mut c_void)
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

    /// Makes the class over `base`. Once: the process has one.
    pub(crate) fn build<'py>(mut self, py: Python<'py>, base: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
        let description = T::description();
        assert!(core::ptr::eq(description, T::description()), "one description for each class");
        const { assert!(align_of::<T::State>() <= STATE_ALIGNMENT) };
        let offset = T::Layout::state_offset(base);
        if let Some(place) = T::WEAK_REFERENCES {
            self.member(c"__weaklistoffset__", offset + place)?;
        }
        if let Some(place) = T::DICTIONARY {
            self.member(c"__dictoffset__", offset + place)?;
        }
        if let Some(place) = T::VECTORCALL {
            self.member(c"__vectorcalloffset__", offset + place)?;
        }
        let end = offset + size_of::<T::State>();
        let class = self.build_sized(py, &[base], basic_size(base).max(end))?;
        let own: Vec<usize> = (offset..end).step_by(size_of::<*mut ffi::PyObject>()).collect();
        description.inherited.find(base, &own)?;
        description.offset.store(offset, Ordering::Relaxed);
        // It lives as long as the process.
        description.class.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
        Ok(class)
    }
}

unsafe extern "C" fn repr<R: Receiver, F>(address: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, R::View<'a>) -> PyResult<String> + Copy + 'static,
{
    let body = |py: Python<'_>| -> PyResult<Object> {
        // SAFETY: a slot of the receiver's class.
        let text = the::<F>()(py, unsafe { R::view(py, &address) })?;
        Ok(Object::new(text.into_pyobject(py)?))
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

/// A receiver that is an instance of a `#[pyclass]`.
pub(crate) trait OfPyClass: Receiver {
    type Class: PyClass;
}

impl<T: PyClass> OfPyClass for super::method::Pyo3<T> {
    type Class = T;
}

impl<T: Class<Layout = OfPyo3> + PyClass> OfPyClass for Instance<T> {
    type Class = T;
}

/// A method that was added to a class: the address of its C function.
pub(crate) struct AddedMethod(usize);

impl AddedMethod {
    /// Whether `object` is this method of an instance.
    pub(crate) fn is(&self, object: &Object) -> bool {
        // SAFETY: a live object.
        if unsafe { ffi::PyCFunction_Check(object.as_ptr()) } == 0 {
            return false;
        }
        // SAFETY: a built-in function.
        let function = unsafe { ffi::PyCFunction_GetFunction(object.as_ptr()) };
        function.is_some_and(|function| function as usize == self.0)
    }
}

/// Adds a method to a finished class: for the hot methods of a `#[pyclass]`.
#[expect(clippy::needless_pass_by_value, reason = "a definition is for one class")]
pub(crate) fn add_method<R: OfPyClass>(class: &Bound<'_, PyType>, method: Method<R>) -> PyResult<AddedMethod> {
    let py = class.py();
    assert!(class.is(py.get_type::<R::Class>()), "a method is added to the class of its receiver");
    add(class, method.def).map(AddedMethod)
}

/// [`add_method`], for any class: the method sees an object.
#[expect(clippy::needless_pass_by_value, reason = "a definition is for one class")]
pub(crate) fn add_method_to(class: &Bound<'_, PyType>, method: Method<super::method::AnyObject>) -> PyResult<()> {
    add(class, method.def).map(drop)
}

fn add(class: &Bound<'_, PyType>, def: ffi::PyMethodDef) -> PyResult<usize> {
    let py = class.py();
    let def: &'static ffi::PyMethodDef = Box::leak(Box::new(def));
    // SAFETY: the definition lives for ever and is not written to, and `class` is a type, whose instances the method is for.
    let method = unsafe { ffi::PyDescr_NewMethod(class.as_ptr().cast(), (&raw const *def).cast_mut()) };
    // SAFETY: a new reference, or null with an exception.
    let method = unsafe { Object::from_result(py, method) }?.into_bound(py);
    let name = method.getattr("__name__")?.extract::<String>()?;
    class.setattr(name, method)?;
    Ok(def.ml_meth.as_ptr() as usize)
}

/// States begin at a multiple of so many bytes.
const STATE_ALIGNMENT: usize = 16;

/// Where the native state of a class over `base` begins: behind what `base` lays out, aligned for any state.
fn state_offset(base: &Bound<'_, PyType>) -> usize {
    basic_size(base).next_multiple_of(STATE_ALIGNMENT)
}

/// What `base` lays out, in bytes.
fn basic_size(base: &Bound<'_, PyType>) -> usize {
    let class: *const ffi::PyTypeObject = base.as_ptr().cast();
    // SAFETY: a live type.
    unsafe { (*class).tp_basicsize }.unsigned_abs()
}

//! Native classes: one description of each, from which its slots follow.
//!
//! A [`NativeClass`] says what its instances hold (its state, whose fields are listed once, see
//! [`fields`](super::fields)) and which options it has. Allocation, `tp_dealloc`, `tp_traverse`, `tp_clear` and
//! `tp_finalize` are compiled from that ([`slots`](super::slots)). [`Instance`] is a reference to an object that is known to be
//! one: it is made by a type check, or by CPython's own when a method is called, and gives the state without another.
//!
//! An instance is laid out as its base lays it out, then the state; a [`NativeLayout`] may have the state begin with slots of
//! the base. Other slots of a Python base (`__slots__`) are visited and cleared as well ([`InheritedSlots`]).
//!
//! # Invariants
//! 1. Every instance of a class (and of its subclasses) has a whole state behind the base's part, from `tp_new` or
//!    [`create`](Instance::create) to `tp_dealloc`.
//! 2. A class has one [`Description`]; what it says is set when the class is made, before any instance exists.

use core::ffi::CStr;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{Borrowed, ffi};

pub(crate) use super::builder::{Builder, add_method_to};
use super::builder::{STATE_ALIGNMENT, state_offset};
use super::c_api;
use super::cell::Slot;
use super::fields::Fields;
use super::free_list::FreeList;
use super::idle_list::{IdleLink, IdleList};
use super::inherited::InheritedSlots;
use super::known_class::KnownClass;
use super::method::{IntoObject, Receiver};
use super::object::Object;
use super::place::Place;
use super::vectorcall::Vectorcall;

/// What is known of a class at run time.
pub(crate) struct Description<T> {
    /// The class; null before it is made.
    pub(super) class: KnownClass,
    /// The subclass of a native class that was seen first: mostly there is but one, Ferrio's own.
    subclass: KnownClass,
    /// Where in an instance the state begins.
    pub(super) offset: AtomicUsize,
    pub(super) inherited: InheritedSlots<T>,
    pub(super) free: FreeList,
    pub(super) idle: IdleList,
    described: PhantomData<fn() -> T>,
}

impl<T> Description<T> {
    /// Of a class that keeps the memory of up to `kept` freed instances.
    pub(crate) const fn new(kept: usize) -> Self {
        Self {
            class: KnownClass::new(),
            subclass: KnownClass::new(),
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

    /// The class, once it is made; of a class that is not made here, whoever knows it sets it.
    #[inline]
    pub(in crate::ffi) const fn class(&self) -> &KnownClass {
        &self.class
    }
}

/// A class whose instances hold native state.
pub(crate) trait Class: Sized + 'static {
    /// The state of each instance.
    type State: 'static;
    /// How instances are laid out: [`Heap`] or [`BehindHead`].
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
        description.class.is_class_of(object)
            || description.subclass.is_class_of(object)
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
    let is_instance = description.class.is_base_of(object);
    if is_instance && !description.subclass.is_known() {
        description.subclass.set(object.bind(object.py()).get_type());
    }
    is_instance
}

/// Bytes of the head of an object, which is all that `object` lays out.
const HEAD_BYTES: usize = size_of::<ffi::PyObject>().next_multiple_of(STATE_ALIGNMENT);

/// The layout of a [`NativeClass`] over `object`: the state lies behind the head, at a place that the compiler knows.
pub(crate) struct BehindHead;

impl<T: NativeClass> NativeLayout<T> for BehindHead {
    fn state_offset(base: &Bound<'_, PyType>) -> usize {
        assert!(base.is(base.py().get_type::<PyAny>()), "the class is made over `object`");
        HEAD_BYTES
    }
}

// SAFETY: invariant 1; `state_offset` says where the state is, and lets no other base pass.
unsafe impl<T: NativeClass> Layout<T> for BehindHead {
    #[inline]
    fn is_instance(object: &Object) -> bool {
        let description = T::description();
        // Of a class that programs may derive from there are hardly ever instances of itself.
        (T::IS_SUBCLASSABLE && description.subclass.is_class_of(object))
            || description.class.is_class_of(object)
            || (T::IS_SUBCLASSABLE && is_instance_of_subclass(description, object))
    }

    #[inline]
    unsafe fn state(object: &Object) -> *const T::State {
        // SAFETY: an instance has its state at this offset.
        unsafe { object.as_ptr().byte_add(HEAD_BYTES) }.cast()
    }
}

/// `class_over_object! { LockCore, c"ferrio._ferrio.LockCore", c"What it is."; }`: makes a type the state of a [`NativeClass`] over
/// `object` and the name of that class; further items are those of the description.
macro_rules! class_over_object {
    ($class:ty, $name:literal, $doc:literal; $($item:tt)*) => {
        impl $crate::ffi::class::Class for $class {
            type State = Self;
            type Layout = $crate::ffi::class::BehindHead;

            #[inline]
            fn description() -> &'static $crate::ffi::class::Description<Self> {
                static DESCRIPTION: $crate::ffi::class::Description<$class> = $crate::ffi::class::Description::new(0);
                &DESCRIPTION
            }
        }

        impl $crate::ffi::class::NativeClass for $class {
            const NAME: &'static ::core::ffi::CStr = $name;
            const DOC: &'static ::core::ffi::CStr = $doc;
            $($item)*
        }
    };
}

pub(crate) use class_over_object;

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

impl<T: NativeClass> Instance<T> {
    /// [`Self::of`], of what ought to be one.
    ///
    /// # Errors
    /// `TypeError`: it is none.
    #[inline]
    pub(crate) fn expect<'a>(py: Python<'_>, object: &'a Object) -> PyResult<&'a Self> {
        Self::of(object).ok_or_else(|| refused(py, object, T::NAME))
    }
}

/// The error of an object that is no instance of the class `name`.
#[cold]
fn refused(py: Python<'_>, object: &Object, name: &CStr) -> PyErr {
    match object.bind(py).get_type().name() {
        Ok(class) => {
            let name = name.to_string_lossy();
            let name = name.rsplit_once('.').map_or(&*name, |(_, name)| name);
            PyTypeError::new_err(format!("'{class}' object is not an instance of '{name}'"))
        }
        Err(error) => error,
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
    unsafe fn view<'a>(_py: Python<'a>, object: &'a Object) -> &'a Self {
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
    /// Where in the state CPython keeps the weak references to an instance.
    const WEAK_REFERENCES: Option<Place<Self::State, WeakReferences>> = None;
    /// Where in the state CPython keeps the `__dict__` of an instance.
    const DICTIONARY: Option<Place<Self::State, Slot>> = None;
    /// Where in the state is the function that a call of an instance runs.
    const VECTORCALL: Option<Place<Self::State, Vectorcall>> = None;

    /// The class, which has been made.
    fn class(py: Python<'_>) -> Bound<'_, PyType> {
        Self::description().class.get(py).expect("the class is made before it is asked for").to_owned()
    }

    /// Whether the class has been made over `base`, or over what that is a base of.
    fn is_derived_from(base: &Bound<'_, PyType>) -> bool {
        let class = Self::description().class.get(base.py());
        class.is_some_and(|class| c_api::PyType_IsSubtype(class, base.as_borrowed()) != 0)
    }

    /// Before an instance ends, while everything of it is there; it may be used again afterwards.
    ///
    /// # Errors
    /// They go to `sys.unraisablehook`.
    fn finalize(_py: Python<'_>, _instance: &Instance<Self>) -> PyResult<()> {
        Ok(())
    }

    /// What is done when an instance has been finalized and ends; its fields are cleared afterwards. Who keeps a reference to
    /// it keeps it from being freed: it may be done more than once.
    const END: Option<fn(Python<'_>, &Instance<Self>)> = None;

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

    /// Whether the collector sees the instance.
    #[inline]
    pub(in crate::ffi) fn is_tracked(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::PyObject_GC_IsTracked(self.object.as_ptr()) != 0 }
    }

    /// Shows the instance to the collector, unless that sees it already.
    #[inline]
    pub(crate) fn track(&self) {
        let address = self.object.as_ptr();
        if !self.is_tracked() {
            // SAFETY: an instance of a collected class that is not tracked; its state is whole (invariant 1).
            unsafe { ffi::PyObject_GC_Track(address.cast()) };
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the state would be copied otherwise")]
    fn make<const IS_TRACKED: bool>(py: Python<'_>, state: impl FnOnce() -> T::State) -> PyResult<Self> {
        let description = T::description();
        let class = description.class.get(py);
        let class = class.expect("the class is made before its instances");
        // SAFETY: instances of the class alone are given to its list.
        let memory = unsafe { description.free.take(py, class) };
        let is_used_again = memory.is_some();
        // SAFETY: the class itself, whose new instances get their state below.
        let object = memory.map_or_else(|| unsafe { new_object(py, class) }, Ok)?;
        // SAFETY: memory of an instance of exactly the class, which has no state yet, or no longer.
        let instance = unsafe { Self::begin(object, state()) };
        if IS_TRACKED && is_used_again {
            // SAFETY: untracked when it was freed; its state is whole.
            unsafe { ffi::PyObject_GC_Track(instance.object.as_ptr().cast()) };
        }
        if !IS_TRACKED && !is_used_again {
            // SAFETY: a new object, which its allocation has tracked.
            unsafe { ffi::PyObject_GC_UnTrack(instance.object.as_ptr().cast()) };
        }
        Ok(instance)
    }

    /// A new object as an instance, which begins with `state`.
    ///
    /// # Safety
    /// It is of the class, or of one derived from it, and has no state yet, or no longer.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the state would be copied otherwise")]
    unsafe fn begin(object: Object, state: T::State) -> Self {
        // SAFETY: the memory is laid out as an instance's, with room for the state at this place.
        let place = unsafe { T::Layout::state(&object) }.cast_mut();
        // SAFETY: a place of the state's size and alignment, in which there is none to drop.
        unsafe { place.write(state) };
        let instance = Self { object, class: PhantomData };
        if cfg!(debug_assertions) {
            T::WEAK_REFERENCES.inspect(|place| place.assert_in(&instance));
            T::DICTIONARY.inspect(|place| place.assert_in(&instance));
            T::VECTORCALL.inspect(|place| place.assert_in(&instance));
        }
        instance
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
        class: Borrowed<'_, '_, PyType>,
        state: T::State,
    ) -> PyResult<Self> {
        // SAFETY: as the caller promises.
        let object = unsafe { new_object(py, class) }?;
        // SAFETY: a new object of the class or a derived one, whose memory is zeroed and has no state yet.
        Ok(unsafe { Self::begin(object, state) })
    }
}

/// A new object of `class`, with zeroed memory behind its head.
///
/// # Safety
/// A ready type without variable-sized part, whose instances may begin so.
#[inline]
pub(in crate::ffi) unsafe fn new_object(py: Python<'_>, class: Borrowed<'_, '_, PyType>) -> PyResult<Object> {
    // SAFETY: passed on to the caller.
    c_api::object(py, unsafe { c_api::PyType_GenericAlloc(class, 0) })
}

impl<T: NativeClass<Layout = Heap, State: Default>> Instance<T> {
    /// A new instance of `class`, a subclass, whose own `__new__` and `__init__` are not called.
    ///
    /// # Errors
    /// `TypeError`: it is no subclass; `MemoryError`.
    pub(crate) fn create_of(py: Python<'_>, class: &Bound<'_, PyType>) -> PyResult<Self> {
        let base = T::description().class.get(py).expect("the class is made before its instances");
        if c_api::PyType_IsSubtype(class.as_borrowed(), base) == 0 {
            let name = T::NAME.to_string_lossy();
            return Err(PyTypeError::new_err(format!("a subclass of {name} is required here")));
        }
        // SAFETY: a subclass of the class; its instances begin as the default state does.
        unsafe { Self::allocate(py, class.as_borrowed(), T::State::default()) }
    }
}

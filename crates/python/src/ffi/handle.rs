//! asyncio's handles: where they keep their state, and Ferrio's classes over them.
//!
//! `asyncio.Handle` declares its attributes as `__slots__`, which CPython lays out in alphabetical order right behind the
//! object's head. [`check`] compares this file with the interpreter's own member descriptors when the module is imported;
//! an interpreter that disagrees is refused, never misread.
//!
//! The state of Ferrio's handles is those very slots: whatever is inherited, and whoever reads `_callback` or `_loop`, sees
//! what asyncio would show. Behind the slots lies a [`Call`]: what `_args` and `_context` stand for until somebody asks.

use core::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::cell::{Plain, Slot};
use super::class::{Class, Description, Instance, Layout, NativeClass, NativeLayout};
use super::fields::{Collector, Field, Fields, Visited, native_state};
use super::inherited;
use super::object::Object;
use super::weak_reference;

/// The most arguments that a handle keeps without a tuple.
const INLINE: usize = 2;

native_state! {
    /// What a handle calls: its arguments without a tuple, and whether it shares its context with other handles.
    #[repr(C)]
    pub(crate) struct Call {
        first: Slot,
        second: Slot,
        /// The arguments are here, and `_args` is empty.
        has_arguments: Plain<bool>,
        /// The context is one that nobody runs in: `_context` is to be a copy of it.
        shares_context: Plain<bool>,
    }
}

impl Field for Call {
    const IS_EMPTY_WHEN_CLEARED: bool = <Self as Fields>::IS_EMPTY_WHEN_CLEARED;

    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        self.visit(collector)
    }

    #[inline]
    fn clear_field(&self) {
        self.clear();
    }
}

/// Arguments of a call, without a tuple.
pub(crate) enum InlineArguments {
    None,
    One(Object),
    Two(Object, Object),
}

impl Call {
    /// Whether so many arguments need no tuple.
    #[inline]
    pub(crate) const fn has_room_for(count: usize) -> bool {
        count <= INLINE
    }

    /// With these arguments; more than there is room for are in `_args`.
    #[inline]
    pub(crate) fn new(args: &[Object], shares_context: bool) -> Self {
        let (first, second, has_arguments) = match args {
            [] => (None, None, true),
            [first] => (Some(first), None, true),
            [first, second] => (Some(first), Some(second), true),
            _ => (None, None, false),
        };
        let slot = |argument: Option<&Object>| argument.cloned().map_or_else(Slot::default, Slot::from);
        Self {
            first: slot(first),
            second: slot(second),
            has_arguments: Plain::new(has_arguments),
            shares_context: Plain::new(shares_context),
        }
    }

    /// The arguments; `None`: they are what `_args` holds.
    #[inline]
    pub(crate) fn arguments(&self) -> Option<InlineArguments> {
        if !self.has_arguments.get() {
            return None;
        }
        Some(match (self.first.get(), self.second.get()) {
            (Some(first), Some(second)) => InlineArguments::Two(first, second),
            (Some(first), None) => InlineArguments::One(first),
            _ => InlineArguments::None,
        })
    }

    /// Whether the arguments are `argument` alone; `None`: they are what `_args` holds.
    pub(crate) fn is_only(&self, argument: &Object) -> Option<bool> {
        self.has_arguments.get().then(|| self.second.is_empty() && self.first.is(argument))
    }

    /// From here on `_args` holds the arguments. Those that were here come back.
    #[inline]
    #[must_use = "dropping what was there may run Python"]
    pub(crate) fn take_arguments(&self) -> [Option<Object>; INLINE] {
        self.has_arguments.set(false);
        [self.first.take(), self.second.take()]
    }

    /// Whether there is one argument at the most, and it is here.
    #[inline]
    fn is_short(&self) -> bool {
        self.has_arguments.get() && self.second.is_empty()
    }

    #[inline]
    pub(crate) fn shares_context(&self) -> bool {
        self.shares_context.get()
    }

    /// From here on the context is the handle's own.
    #[inline]
    pub(crate) fn own_context(&self) {
        self.shares_context.set(false);
    }
}

native_state! {
    /// The slots of `asyncio.Handle`. An empty one reads as `AttributeError` in Python.
    #[repr(C)]
    pub(crate) struct HandleSlots {
        pub(crate) args: Slot,
        pub(crate) callback: Slot,
        pub(crate) cancelled: Slot,
        pub(crate) context: Slot,
        pub(crate) event_loop: Slot,
        pub(crate) repr: Slot,
        pub(crate) source_traceback: Slot,
    }
}

/// What lies between the slots of `asyncio.Handle` and those of the classes over it: a handle's weak references, which newer
/// interpreters keep before the object.
#[cfg(not(Py_3_12))]
type WeakReferences = super::class::WeakReferences;
#[cfg(Py_3_12)]
type WeakReferences = Plain<()>;

native_state! {
    /// The slots of `asyncio.Handle`, and behind them what Ferrio's keeps.
    #[repr(C)]
    pub(crate) struct PlainSlots {
        handle: HandleSlots,
        weak_references: WeakReferences,
        call: Call,
    }
}

native_state! {
    /// The slots of `asyncio.events._ThreadSafeHandle`, and behind them what Ferrio's keeps.
    #[repr(C)]
    pub(crate) struct ThreadSafeSlots {
        handle: HandleSlots,
        weak_references: WeakReferences,
        /// `_lock`, which stays empty unless a program fills it.
        lock: Slot,
        call: Call,
    }
}

native_state! {
    /// The slots of `asyncio.TimerHandle`, and behind them what Ferrio's keeps.
    #[repr(C)]
    pub(crate) struct TimerSlots {
        handle: HandleSlots,
        weak_references: WeakReferences,
        pub(crate) scheduled: Slot,
        pub(crate) when: Slot,
        /// The handle's time while `when` is empty: its float is made when a program asks for it.
        pub(crate) seconds: Plain<f64>,
        call: Call,
    }
}

const HANDLE_SLOTS: [(&str, usize); 7] = [
    ("_args", offset_of!(HandleSlots, args)),
    ("_callback", offset_of!(HandleSlots, callback)),
    ("_cancelled", offset_of!(HandleSlots, cancelled)),
    ("_context", offset_of!(HandleSlots, context)),
    ("_loop", offset_of!(HandleSlots, event_loop)),
    ("_repr", offset_of!(HandleSlots, repr)),
    ("_source_traceback", offset_of!(HandleSlots, source_traceback)),
];

const TIMER_SLOTS: [(&str, usize); 2] =
    [("_scheduled", offset_of!(TimerSlots, scheduled)), ("_when", offset_of!(TimerSlots, when))];

/// Of `asyncio.events._ThreadSafeHandle`, which there is since 3.14.
const THREAD_SAFE_SLOTS: [(&str, usize); 1] = [("_lock", offset_of!(ThreadSafeSlots, lock))];

/// Where in an object the slots begin.
const BEGIN: usize = size_of::<ffi::PyObject>();

/// Compares this file with the interpreter's `asyncio.Handle` and the classes over it, and remembers the first.
///
/// # Errors
/// `ImportError`: they are laid out otherwise.
pub(crate) fn check(
    handle: &Bound<'_, PyType>,
    timer: &Bound<'_, PyType>,
    thread_safe: Option<&Bound<'_, PyType>>,
) -> PyResult<()> {
    let slots = HANDLE_SLOTS.map(|slot| (handle, slot)).into_iter().chain(TIMER_SLOTS.map(|slot| (timer, slot)));
    let of_threads = thread_safe.into_iter().flat_map(|class| THREAD_SAFE_SLOTS.map(|slot| (class, slot)));
    for (class, (name, offset)) in slots.chain(of_threads) {
        if inherited::offset_of(class, name)? != BEGIN + offset {
            return Err(inherited::unknown_layout(class, name));
        }
    }
    AnyHandle::description().class().set(handle.clone());
    Ok(())
}

impl Field for HandleSlots {
    const IS_EMPTY_WHEN_CLEARED: bool = <Self as Fields>::IS_EMPTY_WHEN_CLEARED;

    #[inline]
    fn visit_field(&self, collector: &Collector) -> Visited {
        self.visit(collector)
    }

    #[inline]
    fn clear_field(&self) {
        self.clear();
    }
}

impl HandleSlots {
    /// Whether `cancel()` was called.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_true()
    }
}

impl PlainSlots {
    #[inline]
    pub(crate) fn new((handle, call): (HandleSlots, Call)) -> Self {
        Self { handle, weak_references: WeakReferences::default(), call }
    }
}

impl ThreadSafeSlots {
    #[inline]
    pub(crate) fn new((handle, call): (HandleSlots, Call)) -> Self {
        Self { handle, weak_references: WeakReferences::default(), lock: Slot::default(), call }
    }
}

impl TimerSlots {
    /// A timer among those of its loop. `when` is the caller's own object for its time, if there is one.
    #[inline]
    pub(crate) fn new(py: Python<'_>, (handle, call): (HandleSlots, Call), seconds: f64, when: Option<Object>) -> Self {
        Self {
            handle,
            weak_references: WeakReferences::default(),
            scheduled: Object::bool(py, true).into(),
            when: when.map_or_else(Slot::default, Slot::from),
            seconds: Plain::new(seconds),
            call,
        }
    }
}

/// `asyncio.Handle`: instances of it, of Ferrio's classes and of anybody's over it.
pub(crate) struct AnyHandle;

/// The layout of every handle: asyncio's slots right behind the object's head.
pub(crate) struct SlotsOfAsyncio;

impl Class for AnyHandle {
    type State = HandleSlots;
    type Layout = SlotsOfAsyncio;

    #[inline]
    fn description() -> &'static Description<Self> {
        static DESCRIPTION: Description<AnyHandle> = Description::new(0);
        &DESCRIPTION
    }
}

// SAFETY: a class over `asyncio.Handle` lays its instances out as that does (see `check`). An `Option<Object>`, which a slot
// is, is laid out as the address that CPython keeps there.
unsafe impl Layout<AnyHandle> for SlotsOfAsyncio {
    #[inline]
    fn is_instance(object: &Object) -> bool {
        Handle::description().class().is_class_of(object)
            || ThreadSafeHandle::description().class().is_class_of(object)
            || TimerHandle::description().class().is_class_of(object)
            || AnyHandle::description().class().is_base_of(object)
    }

    #[inline]
    unsafe fn state(object: &Object) -> *const HandleSlots {
        // SAFETY: a handle is longer than its head.
        unsafe { object.as_ptr().byte_add(BEGIN) }.cast()
    }
}

/// One of Ferrio's classes of handles.
///
/// # Safety
/// The state begins with [`HandleSlots`].
pub(crate) unsafe trait HandleClass: NativeClass<Layout = SlotsOfAsyncio> {
    /// Another thread's `cancel()` waits while an instance runs.
    const IS_THREAD_SAFE: bool;

    /// What an instance calls.
    fn call(state: &Self::State) -> &Call;

    /// Whether the slots that the class adds to those of `asyncio.Handle` are as they were made.
    fn holds_no_more(state: &Self::State) -> bool;
}

// SAFETY: the classes are made with the state at this place, over a class whose slots lie there. Nothing can be derived from
// them.
unsafe impl<T: HandleClass> Layout<T> for SlotsOfAsyncio {
    #[inline]
    fn is_instance(object: &Object) -> bool {
        T::description().class().is_class_of(object)
    }

    #[inline]
    unsafe fn state(object: &Object) -> *const T::State {
        // SAFETY: a handle is longer than its head.
        unsafe { object.as_ptr().byte_add(BEGIN) }.cast()
    }
}

impl<T: HandleClass> NativeLayout<T> for SlotsOfAsyncio {
    fn state_offset(_base: &Bound<'_, PyType>) -> usize {
        BEGIN
    }
}

/// What was in a handle.
pub(crate) struct Detached {
    pub(crate) callback: Object,
    pub(crate) argument: Option<Object>,
    pub(crate) context: Object,
}

impl<T: HandleClass> Instance<T> {
    /// Takes out of a handle what it calls: a callback with one argument at the most, in a context that the handle shares.
    /// `None` if a slot holds anything else than when the handle was made for `event_loop`, or if the collector or a weak
    /// reference shows the handle. What is left is to be [filled](Self::fill).
    #[inline]
    pub(crate) fn detach(&self, event_loop: &Object) -> Option<Detached> {
        let (slots, call) = (self.any(), T::call(self));
        let is_as_made = call.is_short()
            && call.shares_context()
            && slots.args.is_empty()
            && slots.cancelled.is_false()
            && slots.event_loop.is(event_loop)
            && slots.repr.is_nothing()
            && slots.source_traceback.is_nothing()
            && T::holds_no_more(self);
        if !is_as_made || self.is_tracked() || weak_reference::are_any_to(self.object()) {
            return None;
        }
        let callback = slots.callback.take()?;
        let Some(context) = slots.context.take() else {
            // It was empty.
            let _ = slots.callback.replace(Some(callback));
            return None;
        };
        Some(Detached { callback, argument: call.first.take(), context })
    }

    /// Fills a handle whose callback has been [detached](Self::detach). `tuple` holds the arguments that are too many to be kept
    /// without one.
    #[inline]
    pub(crate) fn fill(
        &self,
        callback: Object,
        args: &[Object],
        tuple: Option<Object>,
        context: Object,
        shares_context: bool,
    ) {
        let (slots, call) = (self.any(), T::call(self));
        let Call { first, second, has_arguments, shares_context: shares } = Call::new(args, shares_context);
        let before = [
            slots.callback.replace(Some(callback)),
            slots.context.replace(Some(context)),
            slots.args.replace(tuple),
            call.first.replace(first.take()),
            call.second.replace(second.take()),
        ];
        call.has_arguments.set(has_arguments.get());
        call.shares_context.set(shares.get());
        drop(before);
    }

    /// The handle as one of any class.
    #[inline]
    pub(crate) fn any(&self) -> &Instance<AnyHandle> {
        // SAFETY: its class is derived from `asyncio.Handle`.
        unsafe { Instance::assume(self.object()) }
    }
}

impl Instance<AnyHandle> {
    /// What a handle of Ferrio's classes calls; `None` of any other.
    #[inline]
    pub(crate) fn call(&self) -> Option<&Call> {
        let object = self.object();
        if let Some(handle) = Instance::<Handle>::of(object) {
            return Some(Handle::call(handle));
        }
        if let Some(handle) = Instance::<TimerHandle>::of(object) {
            return Some(TimerHandle::call(handle));
        }
        Instance::<ThreadSafeHandle>::of(object).map(|handle| ThreadSafeHandle::call(handle))
    }

    /// Shows a handle of Ferrio's to the collector, unless that sees it already.
    #[inline]
    pub(crate) fn track(&self) {
        let object = self.object();
        if let Some(handle) = Instance::<Handle>::of(object) {
            handle.track();
        } else if let Some(handle) = Instance::<TimerHandle>::of(object) {
            handle.track();
        } else if let Some(handle) = Instance::<ThreadSafeHandle>::of(object) {
            handle.track();
        }
    }
}

/// Freed handles of a class that keep their memory.
const KEPT: usize = 1024;

macro_rules! handle_class {
    ($(#[$doc:meta])* $class:ident, $state:ident, $is_thread_safe:literal, $more:expr, $name:literal, $text:literal) => {
        $(#[$doc])*
        pub(crate) struct $class;

        impl Class for $class {
            type State = $state;
            type Layout = SlotsOfAsyncio;

            #[inline]
            fn description() -> &'static Description<Self> {
                static DESCRIPTION: Description<$class> = Description::new(KEPT);
                &DESCRIPTION
            }
        }

        impl NativeClass for $class {
            const NAME: &'static core::ffi::CStr = $name;
            const DOC: &'static core::ffi::CStr = $text;
            const BASE_HAS_WEAK_REFERENCES: bool = true;
        }

        // SAFETY: the state begins with `HandleSlots`.
        unsafe impl HandleClass for $class {
            const IS_THREAD_SAFE: bool = $is_thread_safe;

            #[inline]
            fn call(state: &$state) -> &Call {
                const { assert!(offset_of!($state, handle) == 0) };
                &state.call
            }

            #[inline]
            fn holds_no_more(state: &$state) -> bool {
                let more: fn(&$state) -> bool = $more;
                more(state)
            }
        }
    };
}

handle_class!(
    /// `ferrio.Handle`.
    Handle,
    PlainSlots,
    false,
    |_| true,
    c"ferrio.Handle",
    c"A scheduled callback; see asyncio.Handle."
);

handle_class!(
    /// `ferrio.ThreadSafeHandle`.
    ThreadSafeHandle,
    ThreadSafeSlots,
    true,
    |state| state.lock.is_empty(),
    c"ferrio.ThreadSafeHandle",
    c"A callback scheduled from any thread: cancelling it, or asking whether it is cancelled, waits while it runs."
);

handle_class!(
    /// `ferrio.TimerHandle`.
    TimerHandle,
    TimerSlots,
    false,
    // It is among the timers, or was.
    |_| false,
    c"ferrio.TimerHandle",
    c"A callback with a time; see asyncio.TimerHandle."
);

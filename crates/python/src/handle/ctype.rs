//! The three native types: making and freeing them, `cancel`, `cancelled`, `get_context`.
//!
//! # Memory
//! A freed handle keeps its memory on its type's [`FreeList`] for the next one, with empty slots.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::threadsafe::RunningGate;
use super::{context, timer};
use crate::core::LoopCore;
use crate::ffi::free_list::FreeList;
use crate::ffi::handle::{self as handle_layout, Handle, Slot};
use crate::ffi::heap_type::{self, no_arguments};
use crate::ffi::inherited::InheritedSlots;
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::ffi::source_traceback;
use crate::ffi::trampoline;

static HANDLE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
static THREAD_SAFE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
static TIMER: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// Freed handles of a type that keep their memory.
const KEPT: usize = 1024;

static FREED: [FreeList; 3] = [const { FreeList::new(KEPT) }; 3];

/// The slots that a kind's base has beyond those of [`Handle`].
static FURTHER: [InheritedSlots; 3] = [const { InheritedSlots::new() }; 3];

/// Which type of handle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    ThreadSafe,
    Timer,
}

impl Kind {
    #[inline]
    fn class(self) -> *mut ffi::PyTypeObject {
        match self {
            Self::Plain => &HANDLE,
            Self::ThreadSafe => &THREAD_SAFE,
            Self::Timer => &TIMER,
        }
        .load(Ordering::Relaxed)
    }

    fn of(object: *mut ffi::PyObject) -> Self {
        if has_type(object, Self::Plain) {
            Self::Plain
        } else if has_type(object, Self::Timer) {
            Self::Timer
        } else {
            Self::ThreadSafe
        }
    }

    fn freed(self) -> &'static FreeList {
        &FREED[self as usize]
    }

    fn further_slots(self) -> &'static InheritedSlots {
        &FURTHER[self as usize]
    }
}

/// asyncio's class, as it was when this module was imported.
static BASE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// Whether `object` has a handle's slots: it is an `asyncio.Handle`, one of Ferrio's or of anybody's, whatever its
/// `__class__` says.
pub(crate) fn is_handle(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object and a type.
    unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), BASE.load(Ordering::Relaxed)) != 0 }
}

fn has_type(object: *mut ffi::PyObject, kind: Kind) -> bool {
    // SAFETY: a live object.
    let class = unsafe { ffi::Py_TYPE(object) };
    core::ptr::eq(class, kind.class())
}

/// Whether another thread's `cancel()` waits for this handle; see [`super::threadsafe`].
pub(super) fn is_thread_safe(handle: &Object) -> bool {
    has_type(handle.as_ptr(), Kind::ThreadSafe)
}

/// What a new handle is made of.
pub(crate) struct Recipe<'a> {
    pub(crate) kind: Kind,
    pub(crate) event_loop: *mut ffi::PyObject,
    pub(crate) callback: *mut ffi::PyObject,
    pub(crate) args: &'a [*mut ffi::PyObject],
    /// `None`: a copy of the current context.
    pub(crate) context: Option<*mut ffi::PyObject>,
    /// Whether to record where the handle is made (debug mode).
    pub(crate) trace: bool,
}

impl Recipe<'_> {
    /// Makes the handle.
    #[inline]
    pub(crate) fn make(&self, py: Python<'_>) -> PyResult<Object> {
        let context = match self.context {
            None => context::copy_current(py)?,
            // SAFETY: an argument of the call under way.
            Some(context) => unsafe { Object::from_borrowed(context) },
        };
        let args = crate::ffi::arguments::tuple(py, self.args)?;
        let object = allocate(py, self.kind)?;
        // SAFETY: just made, with null slots.
        let handle = unsafe { Handle::of(object.as_ptr()) };
        handle.fill(Slot::Args, args);
        // SAFETY: an argument of the call under way.
        handle.fill(Slot::Callback, unsafe { Object::from_borrowed(self.callback) });
        handle.fill(Slot::Cancelled, Object::new(pyo3::types::PyBool::new(py, false).to_owned()));
        handle.fill(Slot::Context, context);
        // SAFETY: the loop whose method is running.
        handle.fill(Slot::Loop, unsafe { Object::from_borrowed(self.event_loop) });
        handle.fill(Slot::Repr, trampoline::none(py));
        let trace = if self.trace { source_traceback::of_handle(py)? } else { trampoline::none(py) };
        handle.fill(Slot::SourceTraceback, trace);
        Ok(object)
    }
}

#[inline]
fn allocate(py: Python<'_>, kind: Kind) -> PyResult<Object> {
    let class = kind.class();
    // SAFETY: instances of the type alone are given.
    if let Some(object) = unsafe { kind.freed().take(py, class) } {
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

/// Empties every slot, its own and asyncio's.
#[inline(always)]
#[expect(clippy::inline_always, reason = "its callers are two slots, one of them every handle's end")]
fn clear_slots(object: *mut ffi::PyObject, kind: Kind) {
    // SAFETY: an instance of one of the three types.
    let handle = unsafe { Handle::of(object) };
    for slot in Slot::ALL {
        if let Some(before) = handle.replace(slot, None) {
            nesting::release(before);
        }
    }
    // SAFETY: an instance of the kind's type.
    unsafe { kind.further_slots().clear(object) };
}

unsafe fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: a tracked object that nobody refers to any more.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: as above; its references have gone, weak ones go now.
    unsafe { ffi::PyObject_ClearWeakRefs(object) };
    let kind = Kind::of(object);
    clear_slots(object, kind);
    // SAFETY: the type outlives its instances.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: CPython frees objects on attached threads.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: untracked, empty, and nobody's.
    let keeps = unsafe { kind.freed().give(py, object) };
    if !keeps {
        // SAFETY: memory from the type's allocator, untracked, with null slots.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut core::ffi::c_void) -> core::ffi::c_int {
    // SAFETY: the collector visits live instances of the three types.
    let handle = unsafe { Handle::of(object) };
    // SAFETY: the type of a live object.
    let class = unsafe { ffi::Py_TYPE(object) };
    let own = Slot::ALL.into_iter().map(|slot| handle.peek(slot)).chain([class.cast()]);
    for value in own {
        if !value.is_null() {
            // SAFETY: `visit` takes live objects that this one owns.
            let stop = unsafe { visit(value, arg) };
            if stop != 0 {
                return stop;
            }
        }
    }
    // SAFETY: an instance of the kind's type; the rest is the collector's.
    unsafe { Kind::of(object).further_slots().visit(object, visit, arg) }
}

unsafe fn clear(object: *mut ffi::PyObject) -> core::ffi::c_int {
    clear_slots(object, Kind::of(object));
    0
}

/// The class of the last loop that [`core_of`] has checked: nearly always there is but one.
static LOOP_CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// The loop in a handle's slot, which Python may have filled with anything.
#[inline]
fn core_of<'py>(py: Python<'py>, handle: &Handle) -> Option<Bound<'py, LoopCore>> {
    let event_loop = handle.get(Slot::Loop)?.into_bound(py);
    // SAFETY: a live object.
    let class = unsafe { ffi::Py_TYPE(event_loop.as_ptr()) };
    if class == LOOP_CLASS.load(Ordering::Relaxed) {
        // SAFETY: this class was found to be a subclass of the core's; the reference below keeps it alive, so that its
        // address stands for no other.
        return Some(unsafe { event_loop.cast_into_unchecked() });
    }
    let core = event_loop.cast_into::<LoopCore>().ok()?;
    if LOOP_CLASS.load(Ordering::Relaxed).is_null() {
        LOOP_CLASS.store(core.get_type().into_ptr().cast(), Ordering::Relaxed);
    }
    Some(core)
}

/// Waits until no other thread runs this handle, if it is one of `call_soon_threadsafe`.
fn wait_if_running(py: Python<'_>, object: *mut ffi::PyObject, core: Option<&Bound<'_, LoopCore>>) -> PyResult<()> {
    match core {
        Some(core) if has_type(object, Kind::ThreadSafe) => {
            core.get().part::<RunningGate>().wait_until_ended(py, object)
        }
        _ => Ok(()),
    }
}

no_arguments!(cancel, |py, object| {
    // SAFETY: the method belongs to the three types.
    let handle = unsafe { Handle::of(object) };
    let core = core_of(py, handle);
    wait_if_running(py, object, core.as_ref())?;
    // SAFETY: as above.
    if unsafe { handle_layout::is_cancelled(object) } {
        return Ok(trampoline::none(py));
    }
    let yes = Object::new(pyo3::types::PyBool::new(py, true).to_owned());
    let before = handle.replace(Slot::Cancelled, Some(yes));
    drop(before);
    if let Some(core) = &core {
        let core = core.get();
        // SAFETY: a timer handle.
        if has_type(object, Kind::Timer) && unsafe { timer::is_scheduled(object) } {
            drop(core.note_cancelled_timer(py));
        }
        if core.is_debug() {
            // SAFETY: the object of the method call.
            let repr = unsafe { Bound::from_borrowed_ptr(py, object) }.repr()?;
            drop(handle.replace(Slot::Repr, Some(Object::new(repr))));
        }
    }
    let callback = handle.replace(Slot::Callback, Some(trampoline::none(py)));
    let args = handle.replace(Slot::Args, Some(trampoline::none(py)));
    drop((callback, args));
    Ok(trampoline::none(py))
});

no_arguments!(cancelled, |py, object| {
    // SAFETY: the method belongs to the three types.
    let handle = unsafe { Handle::of(object) };
    if has_type(object, Kind::ThreadSafe) {
        wait_if_running(py, object, core_of(py, handle).as_ref())?;
    }
    // SAFETY: as above.
    let cancelled = unsafe { handle_layout::is_cancelled(object) };
    Ok(Object::new(pyo3::types::PyBool::new(py, cancelled).to_owned()))
});

no_arguments!(get_context, |py, object| {
    // SAFETY: the method belongs to the three types.
    let handle = unsafe { Handle::of(object) };
    Ok(handle.get(Slot::Context).unwrap_or_else(|| trampoline::none(py)))
});

// asyncio's `_run` takes the handle's lock; here the gate stands for it.
no_arguments!(run_behind_gate, |py, object| {
    // SAFETY: the method belongs to a handle's type.
    let handle = unsafe { Handle::of(object) };
    let core = core_of(py, handle);
    let _running = core.as_ref().map(|core| core.get().part::<RunningGate>().enter(py, object)).transpose()?;
    // SAFETY: the method belongs to a handle's type.
    if !unsafe { handle_layout::is_cancelled(object) } {
        // SAFETY: the object of the method call.
        let bound = unsafe { Bound::from_borrowed_ptr(py, object) };
        py.import("asyncio.events")?.getattr("Handle")?.getattr("_run")?.call1((bound,))?;
    }
    Ok(trampoline::none(py))
});

fn builder(name: &'static core::ffi::CStr, doc: &'static core::ffi::CStr) -> heap_type::Builder {
    heap_type::Builder::new(name, doc)
        .method(heap_type::no_arguments_def(
            c"cancel",
            cancel,
            c"Cancel the callback; nothing happens when it has run or was cancelled.",
        ))
        .method(heap_type::no_arguments_def(c"cancelled", cancelled, c"Whether `cancel()` was called."))
        .method(heap_type::no_arguments_def(c"get_context", get_context, c"The context in which the callback runs."))
        .not_instantiable()
        .slots([
            trampoline::slot!(tp_dealloc, deallocate),
            trampoline::slot!(tp_traverse, traverse),
            trampoline::slot!(tp_clear, clear),
        ])
}

/// Makes the types and adds them to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let events = py.import("asyncio.events")?;
    let handle_base = events.getattr("Handle")?.cast_into::<PyType>()?;
    let timer_base = events.getattr("TimerHandle")?.cast_into::<PyType>()?;
    crate::ffi::handle::check(&handle_base)?;
    // It lives as long as the process.
    BASE.store(handle_base.clone().into_ptr().cast(), Ordering::Relaxed);
    timer::find_slots(&timer_base)?;
    // Since 3.14. Its `_lock` stays empty, unless a program fills it.
    let thread_safe_base = match events.getattr_opt("_ThreadSafeHandle")? {
        Some(class) => class.cast_into::<PyType>()?,
        None => handle_base.clone(),
    };
    let known = Slot::ALL.map(Slot::offset);
    for (kind, base) in [(Kind::Plain, &handle_base), (Kind::ThreadSafe, &thread_safe_base), (Kind::Timer, &timer_base)]
    {
        kind.further_slots().find(base, &known)?;
    }
    let plain = builder(c"ferrio.Handle", c"A scheduled callback; see asyncio.Handle.").build(py, &handle_base, 0)?;
    let thread_safe = builder(
        c"ferrio.ThreadSafeHandle",
        c"A callback scheduled from any thread: cancelling it, or asking whether it is cancelled, waits while it runs.",
    )
    .method(heap_type::no_arguments_def(c"_run", run_behind_gate, c"Run the callback."))
    .build(py, &thread_safe_base, 0)?;
    timer::set_state_offset(heap_type::state_offset(&timer_base));
    let timer = builder(c"ferrio.TimerHandle", c"A callback with a time; see asyncio.TimerHandle.")
        .attribute(c"_when", timer::WHEN_GETTER, Some(timer::WHEN_SETTER))
        .build(py, &timer_base, timer::STATE_BYTES)?;
    for (place, class) in [(&HANDLE, &plain), (&THREAD_SAFE, &thread_safe), (&TIMER, &timer)] {
        // The types live as long as the process: handles of any age lead here.
        place.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    }
    module.add("Handle", plain)?;
    module.add("ThreadSafeHandle", thread_safe)?;
    module.add("TimerHandle", timer)
}

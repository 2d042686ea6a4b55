//! Timer handles: asyncio's two further slots, and the timers' view of them.

use core::sync::atomic::{AtomicUsize, Ordering};

use ferrio_engine::time::Expirable;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyType};

use crate::ffi::handle::{self as handle_layout, slot_at};
use crate::ffi::heap_type::{self, getter, setter};
use crate::ffi::object::Object;

/// Offsets of `asyncio.TimerHandle`'s own slots, found when the module is imported.
static SCHEDULED: AtomicUsize = AtomicUsize::new(0);
static WHEN: AtomicUsize = AtomicUsize::new(0);

/// Looks the slots up in the interpreter's `asyncio.TimerHandle`.
pub(super) fn find_slots(class: &Bound<'_, PyType>) -> PyResult<()> {
    SCHEDULED.store(handle_layout::offset_of(class, "_scheduled")?, Ordering::Relaxed);
    WHEN.store(handle_layout::offset_of(class, "_when")?, Ordering::Relaxed);
    Ok(())
}

/// Offsets of the slots that a timer handle has beyond a handle's.
fn own_slots() -> [usize; 2] {
    [SCHEDULED.load(Ordering::Relaxed), WHEN.load(Ordering::Relaxed)]
}

/// Bytes of native state behind asyncio's slots: the time of a handle whose `_when` nobody has asked for yet.
pub(super) const STATE_BYTES: usize = size_of::<f64>();

/// Offset of that state; set when the type is made.
static SECONDS: AtomicUsize = AtomicUsize::new(0);

/// Remembers where instances keep their state.
pub(super) fn set_state_offset(offset: usize) {
    SECONDS.store(offset, Ordering::Relaxed);
}

/// The place of a timer handle's native time.
///
/// # Safety
/// `handle` is an instance of the timer handle's type.
unsafe fn seconds_of(handle: *mut ffi::PyObject) -> *mut f64 {
    // SAFETY: passed on to the caller; instances are that long.
    unsafe { handle.byte_add(SECONDS.load(Ordering::Relaxed)) }.cast()
}

// `_when`: the float is made when somebody asks. Most timers are cancelled before anybody does.
getter!(get_when, |py, object| {
    let [_, offset] = own_slots();
    // SAFETY: an attribute of the type.
    let slot = unsafe { slot_at(object, offset) };
    if slot.is_null() {
        // SAFETY: as above.
        let place = unsafe { seconds_of(object) };
        // SAFETY: written when the timer was scheduled; zeroed memory is a number as well.
        let seconds = unsafe { place.read() };
        *slot = Object::new(PyFloat::new(py, seconds)).into_ptr();
    }
    // SAFETY: the slot holds a live object.
    Ok(unsafe { Object::from_borrowed(*slot) })
});

setter!(set_when, |_py, object, value| {
    let [_, offset] = own_slots();
    // SAFETY: an attribute of the type.
    let slot = unsafe { slot_at(object, offset) };
    let before = core::mem::replace(slot, value.map_or(core::ptr::null_mut(), Object::into_ptr));
    // SAFETY: the slot owned its reference.
    drop(unsafe { Object::from_owned(before) });
    Ok(())
});

/// The attribute `_when`.
pub(super) const WHEN_GETTER: heap_type::Getter = get_when;
pub(super) const WHEN_SETTER: heap_type::Setter = set_when;

/// A timer handle in the loop's timers.
#[repr(transparent)]
pub(crate) struct TimerRef(Object);

impl TimerRef {
    /// Enters a new timer handle: sets its time and `_scheduled`. `when` is the caller's own object for that time, if any.
    ///
    /// # Safety
    /// `handle` is a new instance of the timer handle's type, whose own slots are null.
    pub(crate) unsafe fn schedule(py: Python<'_>, handle: Object, seconds: f64, when: Option<Object>) -> Self {
        let [scheduled, when_offset] = own_slots();
        // SAFETY: as the caller says.
        let place = unsafe { seconds_of(handle.as_ptr()) };
        // SAFETY: as above.
        unsafe { place.write(seconds) };
        if let Some(when) = when {
            // SAFETY: the offsets belong to the handle's type.
            *unsafe { slot_at(handle.as_ptr(), when_offset) } = when.into_ptr();
        }
        // SAFETY: as above.
        *unsafe { slot_at(handle.as_ptr(), scheduled) } = boolean(py, true).into_ptr();
        Self(handle)
    }

    /// Views the handle of a timer.
    ///
    /// # Safety
    /// It has come from [`Self::into_object`].
    pub(crate) const unsafe fn view(handle: &Object) -> &Self {
        // SAFETY: laid out as the reference itself.
        unsafe { &*(&raw const *handle).cast() }
    }

    /// [`Self::view`], as the timer's own.
    ///
    /// # Safety
    /// As for [`Self::view`].
    pub(crate) const unsafe fn from_object(handle: Object) -> Self {
        Self(handle)
    }

    /// The handle, kept by a timer.
    pub(crate) fn into_object(self) -> Object {
        self.0
    }

    /// The handle, for the loop's introspection.
    pub(crate) fn object(&self) -> &Object {
        &self.0
    }

    /// Takes the handle out of the timers: `_scheduled` becomes false. What a program had put there comes back, as dropping it
    /// may run Python.
    #[inline]
    #[must_use = "what was there runs foreign code when dropped: drop it once nothing is borrowed"]
    pub(crate) fn unschedule(self) -> (Object, Option<Object>) {
        let [scheduled, _] = own_slots();
        // SAFETY: the offset belongs to the handle's type.
        let slot = unsafe { slot_at(self.0.as_ptr(), scheduled) };
        // SAFETY: a singleton of the interpreter.
        let (yes, no) = (unsafe { ffi::Py_True() }, unsafe { ffi::Py_False() });
        // SAFETY: a live object; the thread is attached, as whoever handles an `Object` is.
        unsafe { ffi::Py_INCREF(no) };
        let before = core::mem::replace(slot, no);
        if before == yes {
            // SAFETY: the slot owned the reference; it is not the last one to the singleton.
            unsafe { ffi::Py_DECREF(before) };
            return (self.0, None);
        }
        // SAFETY: the slot owned the reference, or it is null.
        let before = unsafe { Object::from_owned(before) };
        (self.0, before)
    }
}

impl Expirable for TimerRef {
    #[inline]
    fn is_cancelled(&self) -> bool {
        // SAFETY: a timer handle.
        unsafe { handle_layout::is_cancelled(self.0.as_ptr()) }
    }
}

/// Whether the handle is in its loop's timers.
///
/// # Safety
/// `handle` is an instance of the timer handle's type.
pub(super) unsafe fn is_scheduled(handle: *mut ffi::PyObject) -> bool {
    let [scheduled, _] = own_slots();
    // SAFETY: the offset belongs to the handle's type.
    let slot = unsafe { slot_at(handle, scheduled) };
    // SAFETY: a singleton of the interpreter.
    *slot == unsafe { ffi::Py_True() }
}

fn boolean(py: Python<'_>, value: bool) -> Object {
    Object::new(pyo3::types::PyBool::new(py, value).to_owned())
}

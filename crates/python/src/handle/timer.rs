//! Timer handles: asyncio's two further slots, and the timers' view of them.

use core::sync::atomic::{AtomicUsize, Ordering};

use ferrio_engine::time::Expirable;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::layout::{self, slot_at};
use crate::object::Object;

/// Offsets of `asyncio.TimerHandle`'s own slots, found when the module is imported.
static SCHEDULED: AtomicUsize = AtomicUsize::new(0);
static WHEN: AtomicUsize = AtomicUsize::new(0);

/// Looks the slots up in the interpreter's `asyncio.TimerHandle`.
pub(super) fn find_slots(class: &Bound<'_, PyType>) -> PyResult<()> {
    SCHEDULED.store(layout::offset_of(class, "_scheduled")?, Ordering::Relaxed);
    WHEN.store(layout::offset_of(class, "_when")?, Ordering::Relaxed);
    Ok(())
}

/// Offsets of the slots that a timer handle has beyond a handle's.
pub(super) fn own_slots() -> [usize; 2] {
    [SCHEDULED.load(Ordering::Relaxed), WHEN.load(Ordering::Relaxed)]
}

/// A timer handle in the loop's timers.
pub(crate) struct TimerRef(Object);

impl TimerRef {
    /// Enters a new timer handle: sets `_when` and `_scheduled`.
    ///
    /// # Safety
    /// `handle` is a new instance of the timer handle's type, whose own slots are null.
    pub(crate) unsafe fn schedule(py: Python<'_>, handle: Object, when: Object) -> Self {
        let [scheduled, when_offset] = own_slots();
        // SAFETY: the offsets belong to the handle's type.
        *unsafe { slot_at(handle.as_ptr(), when_offset) } = when.into_ptr();
        // SAFETY: as above.
        *unsafe { slot_at(handle.as_ptr(), scheduled) } = boolean(py, true).into_ptr();
        Self(handle)
    }

    /// The handle, for the loop's introspection.
    pub(crate) fn object(&self) -> &Object {
        &self.0
    }

    /// Takes the handle out of the timers: `_scheduled` becomes false.
    pub(crate) fn unschedule(self) -> Object {
        // SAFETY: the thread is attached, as whoever handles an `Object` is.
        let py = unsafe { Python::assume_attached() };
        let [scheduled, _] = own_slots();
        // SAFETY: the offset belongs to the handle's type.
        let slot = unsafe { slot_at(self.0.as_ptr(), scheduled) };
        let before = core::mem::replace(slot, boolean(py, false).into_ptr());
        // SAFETY: the slot owned the reference; a boolean (or what Python put there) is dropped.
        drop(unsafe { Object::from_owned(before) });
        self.0
    }
}

impl Expirable for TimerRef {
    #[inline]
    fn is_cancelled(&self) -> bool {
        // SAFETY: a timer handle.
        unsafe { layout::is_cancelled(self.0.as_ptr()) }
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

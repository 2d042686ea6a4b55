//! Where asyncio's handles keep their state.
//!
//! `asyncio.Handle` declares its attributes as `__slots__`, which CPython lays out in alphabetical order right behind the
//! object's head. [`check`] compares this file with the interpreter's own member descriptors when the module is imported;
//! an interpreter that disagrees is refused, never misread.

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::object::Object;

/// `asyncio.Handle`, as the interpreter lays it out. A null slot reads as `AttributeError` in Python.
#[repr(C)]
pub(crate) struct Handle {
    head: ffi::PyObject,
    args: *mut ffi::PyObject,
    callback: *mut ffi::PyObject,
    cancelled: *mut ffi::PyObject,
    context: *mut ffi::PyObject,
    event_loop: *mut ffi::PyObject,
    repr: *mut ffi::PyObject,
    source_traceback: *mut ffi::PyObject,
}

/// Index of a slot of [`Handle`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Args,
    Callback,
    Cancelled,
    Context,
    Loop,
    Repr,
    SourceTraceback,
}

impl Slot {
    pub(crate) const ALL: [Self; 7] =
        [Self::Args, Self::Callback, Self::Cancelled, Self::Context, Self::Loop, Self::Repr, Self::SourceTraceback];

    const fn name(self) -> &'static str {
        match self {
            Self::Args => "_args",
            Self::Callback => "_callback",
            Self::Cancelled => "_cancelled",
            Self::Context => "_context",
            Self::Loop => "_loop",
            Self::Repr => "_repr",
            Self::SourceTraceback => "_source_traceback",
        }
    }

    pub(crate) const fn offset(self) -> usize {
        size_of::<ffi::PyObject>() + self as usize * size_of::<*mut ffi::PyObject>()
    }
}

const _: () = assert!(core::mem::offset_of!(Handle, args) == Slot::Args.offset());
const _: () = assert!(core::mem::offset_of!(Handle, source_traceback) == Slot::SourceTraceback.offset());

/// The slot at `offset` of `object`.
///
/// # Safety
/// The object's type has an object slot at that offset.
pub(crate) unsafe fn slot_at<'a>(object: *mut ffi::PyObject, offset: usize) -> &'a mut *mut ffi::PyObject {
    // SAFETY: passed on to the caller.
    let address = unsafe { object.byte_add(offset) };
    // SAFETY: passed on to the caller; an attached thread is alone with the slot.
    unsafe { &mut *address.cast() }
}

impl Handle {
    /// The handle behind an object.
    ///
    /// # Safety
    /// The object is an instance of one of this folder's types and outlives the result.
    pub(crate) unsafe fn of<'a>(object: *mut ffi::PyObject) -> &'a mut Self {
        // SAFETY: passed on to the caller.
        unsafe { &mut *object.cast() }
    }

    fn slot_mut(&mut self, slot: Slot) -> &mut *mut ffi::PyObject {
        match slot {
            Slot::Args => &mut self.args,
            Slot::Callback => &mut self.callback,
            Slot::Cancelled => &mut self.cancelled,
            Slot::Context => &mut self.context,
            Slot::Loop => &mut self.event_loop,
            Slot::Repr => &mut self.repr,
            Slot::SourceTraceback => &mut self.source_traceback,
        }
    }

    /// What a slot shows; null when Python has deleted it.
    pub(crate) const fn peek(&self, slot: Slot) -> *mut ffi::PyObject {
        match slot {
            Slot::Args => self.args,
            Slot::Callback => self.callback,
            Slot::Cancelled => self.cancelled,
            Slot::Context => self.context,
            Slot::Loop => self.event_loop,
            Slot::Repr => self.repr,
            Slot::SourceTraceback => self.source_traceback,
        }
    }

    /// A reference to what a slot holds.
    pub(crate) fn get(&self, slot: Slot) -> Option<Object> {
        let value = self.peek(slot);
        // SAFETY: a slot that is not null owns a reference to a live object.
        (!value.is_null()).then(|| unsafe { Object::from_borrowed(value) })
    }

    /// Fills a slot; what it held comes back and is the caller's to drop.
    #[must_use = "dropping what the slot held may run Python"]
    pub(crate) fn replace(&mut self, slot: Slot, value: Option<Object>) -> Option<Object> {
        let value = value.map_or(core::ptr::null_mut(), Object::into_ptr);
        let before = core::mem::replace(self.slot_mut(slot), value);
        // SAFETY: the slot owned its reference, and no longer does.
        unsafe { Object::from_owned(before) }
    }

    /// Fills a slot of a handle that is being made: all of them are null.
    pub(crate) fn fill(&mut self, slot: Slot, value: Object) {
        debug_assert!(self.peek(slot).is_null());
        *self.slot_mut(slot) = value.into_ptr();
    }
}

/// Whether `cancel()` was called on this handle.
///
/// # Safety
/// As for [`Handle::of`].
pub(crate) unsafe fn is_cancelled(handle: *mut ffi::PyObject) -> bool {
    // SAFETY: passed on to the caller.
    let handle = unsafe { Handle::of(handle) };
    // SAFETY: a singleton of the interpreter.
    handle.peek(Slot::Cancelled) == unsafe { ffi::Py_True() }
}

/// Whether a handle of this folder's types calls its callback with `argument` alone.
pub(crate) fn is_called_with(handle: &Object, argument: &Object) -> bool {
    // SAFETY: callers show such handles.
    let Some(args) = (unsafe { Handle::of(handle.as_ptr()) }).get(Slot::Args) else { return false };
    // SAFETY: a live object.
    if unsafe { ffi::PyTuple_CheckExact(args.as_ptr()) } == 0 {
        return false;
    }
    // SAFETY: a tuple.
    let count = unsafe { ffi::PyTuple_GET_SIZE(args.as_ptr()) };
    // SAFETY: a tuple with that item.
    count == 1 && unsafe { ffi::PyTuple_GET_ITEM(args.as_ptr(), 0) } == argument.as_ptr()
}

/// The offset of the slot `name` of `class`, from the interpreter's own member descriptor.
pub(crate) fn offset_of(class: &Bound<'_, PyType>, name: &str) -> PyResult<usize> {
    slot_offset(&class.getattr("__dict__")?.get_item(name)?).ok_or_else(|| unknown_layout(name))
}

/// The offset of the slot that a value of a class's dictionary stands for; `None` when it stands for none.
pub(crate) fn slot_offset(value: &Bound<'_, PyAny>) -> Option<usize> {
    if value.get_type_ptr() != &raw mut ffi::PyMemberDescr_Type {
        return None;
    }
    let descriptor: *const MemberDescriptor = value.as_ptr().cast();
    // SAFETY: the type was checked, and member descriptors have had this layout since Python 2.2.
    let member = unsafe { (*descriptor).member };
    // SAFETY: a descriptor's definition lives as long as its class.
    let member = unsafe { &*member };
    usize::try_from(member.offset).ok().filter(|_| member.type_code == ffi::Py_T_OBJECT_EX)
}

#[repr(C)]
struct MemberDescriptor {
    common: ffi::PyDescrObject,
    member: *const ffi::PyMemberDef,
}

fn unknown_layout(name: &str) -> PyErr {
    PyImportError::new_err(format!(
        "this interpreter keeps asyncio.Handle.{name} elsewhere than Ferrio knows; \
         use the Ferrio release made for this Python version"
    ))
}

/// Compares [`Handle`] with the interpreter's `asyncio.Handle`.
pub(crate) fn check(class: &Bound<'_, PyType>) -> PyResult<()> {
    for slot in Slot::ALL {
        if offset_of(class, slot.name())? != slot.offset() {
            return Err(unknown_layout(slot.name()));
        }
    }
    Ok(())
}

//! `bytes` objects: filled in place, reused, and shared with the kernel; and the buffer that receives go through.
//!
//! # Reuse
//! Most protocols look at received bytes and let them go, and then the next receive allocates the same memory again: beyond
//! Python's own small-object allocator (512 bytes) that goes through the C library each time. A loop therefore keeps one
//! reference to the last object ([`Recycled`]), and fills it again when that reference is the only one left.
//!
//! # Invariants
//! 1. An object is written to only while it has one reference, which is owned here: how CPython's own `_PyBytes_Resize`
//!    decides. Views, slices and queued writes count as references.
//! 2. The memory of a recycled object holds `capacity` bytes and a final zero; at least half of it is used, so that a program
//!    which keeps what it receives keeps no more than twice that.
//!
//! Free-threaded builds count references by thread, and always allocate.

use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut, RangeInclusive};
use core::ptr::NonNull;

use ferrio_engine::buf::Chunk;
use pyo3::ffi;
use pyo3::prelude::*;

use super::buffer::Readable;
use super::c_api;
use super::guarded::Guarded;
use super::object::Object;
use super::trampoline::fetched;

unsafe extern "C" {
    // Public in `bytesobject.h`; pyo3-ffi keeps it to itself.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> core::ffi::c_int;
}

/// A new `bytes` that nobody has seen, to be filled once.
pub(crate) struct Blank {
    object: Object,
    capacity: usize,
}

impl Blank {
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn new(py: Python<'_>, capacity: usize) -> PyResult<Self> {
        let size = ffi::Py_ssize_t::try_from(capacity)?;
        // SAFETY: a size that is not negative; nobody but `fill` reads what is not filled.
        let object = unsafe { c_api::PyBytes_FromStringAndSize(core::ptr::null(), size) };
        Ok(Self { object: c_api::object(py, object)?, capacity })
    }

    /// The object with what `fill` puts into it: it returns how many bytes it has initialised. `None` for none.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn fill(
        self,
        py: Python<'_>,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
    ) -> PyResult<Option<Object>> {
        // SAFETY: a `bytes`.
        let data: *mut MaybeUninit<u8> = unsafe { ffi::PyBytes_AsString(self.object.as_ptr()) }.cast();
        // SAFETY: so many bytes, in an object that nobody else has seen.
        let count = fill(unsafe { core::slice::from_raw_parts_mut(data, self.capacity) });
        assert!(count <= self.capacity, "more than there was room for");
        if count == 0 || count == self.capacity {
            return Ok((count != 0).then_some(self.object));
        }
        let mut object = self.object.into_ptr();
        #[expect(clippy::cast_possible_wrap, reason = "at most the capacity")]
        // SAFETY: the only reference to a `bytes` that nobody has hashed; on failure it is gone and null is left.
        unsafe {
            _PyBytes_Resize(&raw mut object, count as ffi::Py_ssize_t)
        };
        // SAFETY: the resized object's reference, or null with an exception.
        unsafe { Object::from_result(py, object) }.map(Some)
    }
}

/// A `bytes` of what `fill` puts into a buffer of `capacity` bytes: it returns how many it has initialised. `None` when that
/// is none, or when there is no memory.
pub(crate) fn filled(
    py: Python<'_>,
    capacity: usize,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
) -> Option<Object> {
    Blank::new(py, capacity).and_then(|blank| blank.fill(py, fill)).unwrap_or_default()
}

/// Writes `data` to the beginning of `room`, as far as there is any, and returns how many bytes that are.
pub(crate) fn copy_into(room: &mut [MaybeUninit<u8>], data: &[u8]) -> usize {
    room.iter_mut().zip(data).for_each(|(place, &byte)| {
        place.write(byte);
    });
    room.len().min(data.len())
}

/// Exact `bytes`, and nothing derived.
#[repr(transparent)]
pub(crate) struct Bytes(Object);

impl Bytes {
    /// The object as exact `bytes`; `None` if it is anything else.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<&Self> {
        // SAFETY: a live object.
        let is_exact = unsafe { ffi::PyBytes_CheckExact(object.as_ptr()) } != 0;
        // SAFETY: laid out as the reference itself.
        is_exact.then(|| unsafe { &*(&raw const *object).cast() })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: a `bytes`.
        unsafe { ffi::Py_SIZE(self.0.as_ptr()) }.unsigned_abs()
    }

    #[inline]
    fn start(&self) -> *const u8 {
        // SAFETY: a `bytes`.
        unsafe { ffi::PyBytes_AsString(self.0.as_ptr()) }.cast()
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes, which never change while somebody refers to them (invariant 1).
        unsafe { core::slice::from_raw_parts(self.start(), self.len()) }
    }

    /// A chunk that shares the memory.
    #[inline]
    pub(crate) fn chunk(&self) -> Chunk {
        // SAFETY: the data of a `bytes` follows its head, so it is never at null.
        let start = unsafe { NonNull::new_unchecked(self.start().cast_mut()) };
        let owner = self.0.clone().into_ptr().cast();
        // SAFETY: `bytes` never change, and the reference given to the chunk keeps these alive until `release_bytes`.
        unsafe { Chunk::from_foreign(start, self.len(), owner, release_bytes) }
    }
}

/// Gives back the reference of a chunk; freeing a `bytes` runs no Python.
///
/// # Safety
/// `object` is the reference that [`Bytes::chunk`] gave away, and the thread is attached.
unsafe fn release_bytes(object: *mut ()) {
    // SAFETY: passed on to the caller.
    unsafe { ffi::Py_DECREF(object.cast()) }
}

/// A chunk that shares the memory of exact `bytes`, and copies the bytes of any other buffer.
///
/// Memory of a size that a program decides may be refused: that of a `bytes` object by Python, that of a contiguous buffer's
/// copy by the allocator.
///
/// # Errors
/// `MemoryError`, or that of an object that exports no buffer.
pub(crate) fn chunk_of(py: Python<'_>, data: &Object) -> PyResult<Chunk> {
    if let Some(bytes) = Bytes::of(data) {
        return Ok(bytes.chunk());
    }
    if let Some(buffer) = Readable::of(data.bind(py)) {
        return buffer.copy();
    }
    let copy = c_api::object(py, c_api::PyBytes_FromObject(data.lend(py)))?;
    Bytes::of(&copy).map(Bytes::chunk).ok_or_else(|| fetched(py))
}

/// Smaller objects come from Python's own allocator, which is as fast; larger ones are worth their own memory.
const RECYCLED_BYTES: RangeInclusive<usize> = 480..=4096;

/// The object of the last receive, and what its memory holds.
pub(crate) struct Recycled {
    object: Object,
    capacity: usize,
}

/// A new `bytes` with a copy of `data`.
///
/// # Errors
/// `MemoryError`.
fn copied(py: Python<'_>, data: &[u8]) -> PyResult<Object> {
    let size = ffi::Py_ssize_t::try_from(data.len())?;
    // SAFETY: so many readable bytes, which are copied.
    c_api::object(py, unsafe { c_api::PyBytes_FromStringAndSize(data.as_ptr().cast(), size) })
}

/// A `bytes` with a copy of `data`: the object at `place` if nobody else refers to it, or a new one.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn recycled(py: Python<'_>, place: &Guarded<Option<Recycled>>, data: &[u8]) -> PyResult<Object> {
    if cfg!(Py_GIL_DISABLED) || !RECYCLED_BYTES.contains(&data.len()) {
        return copied(py, data);
    }
    let last = place.with(py, Option::take);
    let recycled = match last {
        Some(mut last) if last.fits(data.len()) && last.object.reference_count() == 1 => {
            last.fill(data);
            last
        }
        other => {
            drop(other);
            Recycled { object: copied(py, data)?, capacity: data.len() }
        }
    };
    let object = recycled.object.clone();
    let other = place.with(py, |place| place.replace(recycled));
    drop(other);
    Ok(object)
}

/// `PyBytesObject`, whose hash field pyo3-ffi keeps to itself.
#[repr(C)]
struct Layout {
    head: ffi::PyVarObject,
    hash: ffi::Py_hash_t,
    first: u8,
}

impl Recycled {
    const fn fits(&self, length: usize) -> bool {
        length <= self.capacity && self.capacity <= 2 * length
    }

    /// Makes the object hold `data`, which fits; invariant 1 has been checked.
    #[expect(clippy::cast_possible_wrap, reason = "at most the capacity")]
    fn fill(&mut self, data: &[u8]) {
        let object: *mut Layout = self.object.as_ptr().cast();
        // SAFETY: an exact `bytes` that this alone refers to.
        unsafe { (*object).head.ob_size = data.len() as ffi::Py_ssize_t };
        // SAFETY: as above; -1 stands for "not computed".
        unsafe { (*object).hash = -1 };
        // SAFETY: as above.
        let first = unsafe { &raw mut (*object).first };
        // SAFETY: the memory holds `capacity` bytes, `data` is no longer, and it is not part of this object.
        unsafe { first.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        // SAFETY: the memory holds one byte more for the final zero.
        unsafe { first.wrapping_add(data.len()).write(0) };
    }
}

/// The buffer that small receives go through. It begins as zeros, so all of it is readable whatever a receive has done.
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(crate) fn new(size: usize) -> Self {
        Self(vec![0; size].into_boxed_slice())
    }

    /// The first `count` bytes.
    #[inline]
    pub(crate) fn filled(&self, count: usize) -> &[u8] {
        &self.0[..count]
    }
}

/// The room for a receive.
impl Deref for Scratch {
    type Target = [MaybeUninit<u8>];

    #[inline]
    fn deref(&self) -> &[MaybeUninit<u8>] {
        // SAFETY: the same layout; reading demands less.
        unsafe { &*(&raw const *self.0 as *const [MaybeUninit<u8>]) }
    }
}

impl DerefMut for Scratch {
    #[inline]
    fn deref_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the same layout; the engine and the kernel put bytes there, and never take initialisation away.
        unsafe { &mut *(&raw mut *self.0 as *mut [MaybeUninit<u8>]) }
    }
}

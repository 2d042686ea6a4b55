//! A run of immutable bytes together with whatever keeps them alive.
//!
//! The bytes belong to a `Vec<u8>`, or to a foreign object (a Python `bytes`) that is released when the chunk is dropped.
//!
//! # Invariants
//! 1. `release(owner)` runs exactly once, when the chunk is dropped. It only gives memory back: it neither runs foreign
//!    code nor comes back to the engine, so that a backend may drop finished chunks where it stands. An owner whose
//!    release could do more (an arbitrary object with a destructor) is no owner for a chunk: its bytes are copied.
//! 2. The bytes do not change while the chunk lives, and move only when a chain cuts a partly sent chunk that it puts
//!    behind others; until then, and so for as long as it is being sent, the kernel may be given their address.
//!
//! # Threads
//! Not `Send`: a foreign owner is released on the thread that took it.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// Bytes with an owner.
///
/// Flat, so that reading the bytes takes no branch and `Option<Chunk>` is no larger.
pub struct Chunk {
    ptr: NonNull<u8>,
    len: usize,
    /// The foreign owner, or the capacity of the vector as an address that points nowhere.
    owner: *mut (),
    /// `None`: `ptr`, `len` and `owner` are the parts of a `Vec<u8>`.
    release: Option<unsafe fn(*mut ())>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Chunk>() == 32 && size_of::<Option<Chunk>>() == 32);

impl Chunk {
    /// A chunk of the vector's bytes, which are neither copied nor moved.
    #[inline]
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let mut bytes = ManuallyDrop::new(bytes);
        let capacity = ptr::without_provenance_mut(bytes.capacity());
        // SAFETY: the pointer of a vector is never null, not even without an allocation.
        let ptr = unsafe { NonNull::new_unchecked(bytes.as_mut_ptr()) };
        Self { ptr, len: bytes.len(), owner: capacity, release: None }
    }

    /// A chunk of `len` bytes at `ptr` that `owner` keeps alive; dropping the chunk calls `release(owner)`.
    ///
    /// # Safety
    /// Until `release(owner)` is called, `ptr` is valid for reads of `len` bytes (at most `isize::MAX`) and nobody
    /// writes to them. Calling `release(owner)` once, on the thread that drops the chunk, is sound at any moment, also while
    /// that thread has borrowed a stream, a backend or a reactor: it must not call back into any of them, directly or
    /// through foreign code that it runs, and must not unwind. Giving up a reference to an exact `bytes` fulfils that;
    /// giving up one to an object with a destructor written by somebody else does not.
    #[inline]
    #[must_use]
    pub const unsafe fn from_foreign(
        ptr: NonNull<u8>,
        len: usize,
        owner: *mut (),
        release: unsafe fn(*mut ()),
    ) -> Self {
        Self { ptr, len, owner, release: Some(release) }
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub const fn as_slice(&self) -> &[u8] {
        // SAFETY: the bytes are a vector's own, or `from_foreign` demands that they stay readable and unchanged until
        // the owner is released. Either ends in `drop`, which this borrow of `self` excludes.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// Number of bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Cuts the first `n` bytes off, `n <= len`. Moves the rest of a vector's bytes down; rare by design.
    pub(super) fn trim_front(&mut self, n: usize) {
        assert!(n <= self.len, "a chunk cannot be cut beyond its end");
        if self.release.is_none() {
            // SAFETY: without `release` the parts are a vector's. `ManuallyDrop` leaves them this chunk's: only the
            // length changes, which is stored back below.
            let mut bytes = ManuallyDrop::new(unsafe { self.vec() });
            bytes.drain(..n);
        } else {
            // SAFETY: `n <= len` was checked above and `len` bytes at `ptr` are readable, so the result stays within
            // them or one past their end.
            self.ptr = unsafe { self.ptr.add(n) };
        }
        self.len -= n;
    }

    /// Reassembles the vector.
    ///
    /// # Safety
    /// `release` is `None`, and of the result and this chunk only one is dropped.
    unsafe fn vec(&mut self) -> Vec<u8> {
        // SAFETY: `from_vec` took these three from a live vector and kept it from being dropped; the length only shrank.
        unsafe { Vec::from_raw_parts(self.ptr.as_ptr(), self.len, self.owner.addr()) }
    }
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        match self.release {
            // SAFETY: `from_foreign` demands that one call is sound, and nothing else calls it.
            Some(release) => unsafe { release(self.owner) },
            // SAFETY: `release` is `None`, and the fields of a chunk that is being dropped are not used again.
            None => drop(unsafe { self.vec() }),
        }
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_vec(bytes)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = if self.release.is_some() { "foreign" } else { "vec" };
        f.debug_struct("Chunk").field("len", &self.len).field("owner", &owner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {

    use std::cell::Cell;

    use super::*;

    /// Counts its releases.
    struct Owner {
        bytes: Vec<u8>,
        releases: Cell<u32>,
    }

    impl Owner {
        fn new(bytes: &[u8]) -> Self {
            Self { bytes: bytes.to_vec(), releases: Cell::new(0) }
        }

        /// A chunk of this owner's bytes. The owner must outlive it.
        fn chunk(&self) -> Chunk {
            let ptr = NonNull::from(self.bytes.as_slice()).cast();
            let owner = ptr::from_ref(self).cast_mut().cast();
            // SAFETY: every test below drops its chunks before the owner, whose bytes never change.
            unsafe { Chunk::from_foreign(ptr, self.bytes.len(), owner, Self::release) }
        }

        /// # Safety
        /// `owner` points to a live `Owner`.
        unsafe fn release(owner: *mut ()) {
            // SAFETY: the caller's promise; only shared references to an owner exist.
            let owner = unsafe { &*owner.cast::<Self>() };
            owner.releases.set(owner.releases.get() + 1);
        }
    }

    #[test]
    fn a_vector_keeps_its_bytes_and_its_place() {
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(b"bytes");
        let place = bytes.as_ptr();
        let chunk = Chunk::from_vec(bytes);
        assert_eq!(chunk.as_slice(), b"bytes");
        assert_eq!(chunk.as_slice().as_ptr(), place);
        assert_eq!((chunk.len(), chunk.is_empty()), (5, false));
    }

    #[test]
    fn a_vector_without_memory_is_an_empty_chunk() {
        let chunk = Chunk::from(Vec::new());
        assert!(chunk.is_empty());
        assert_eq!(chunk.as_slice(), b"");
    }

    #[test]
    fn a_foreign_owner_is_released_exactly_once() {
        let owner = Owner::new(b"foreign");
        let chunk = owner.chunk();
        assert_eq!(chunk.as_slice(), b"foreign");
        let moved = Some(chunk);
        assert_eq!(owner.releases.get(), 0);
        drop(moved);
        assert_eq!(owner.releases.get(), 1);
    }

    #[test]
    fn trimming_leaves_the_tail_of_either_kind() {
        let owner = Owner::new(b"foreign");
        for mut chunk in [owner.chunk(), Chunk::from_vec(b"foreign".to_vec())] {
            chunk.trim_front(0);
            chunk.trim_front(3);
            assert_eq!(chunk.as_slice(), b"eign");
            chunk.trim_front(4);
            assert!(chunk.is_empty());
        }
        assert_eq!(owner.releases.get(), 1);
    }

    #[test]
    #[should_panic(expected = "beyond its end")]
    fn trimming_beyond_the_end_is_refused() {
        Chunk::from_vec(vec![1, 2]).trim_front(3);
    }
}

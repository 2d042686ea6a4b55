//! Chunks whose release can be counted.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use ferrio_engine::buf::Chunk;

struct Owner {
    bytes: Vec<u8>,
    released: Rc<Cell<usize>>,
}

/// A chunk of a copy of `bytes`; its release adds one to `released`.
pub(crate) fn counted_chunk(bytes: &[u8], released: &Rc<Cell<usize>>) -> Chunk {
    let owner = Box::new(Owner { bytes: bytes.to_vec(), released: Rc::clone(released) });
    let (start, length) = (NonNull::from(owner.bytes.as_slice()).cast(), owner.bytes.len());
    // SAFETY: the boxed owner keeps the bytes, unchanged, until `release`, which touches nothing of the engine.
    unsafe { Chunk::from_foreign(start, length, Box::into_raw(owner).cast(), release) }
}

/// # Safety
/// `owner` came from `Box::into_raw` in [`counted_chunk`] and is not used again.
unsafe fn release(owner: *mut ()) {
    // SAFETY: the caller's promise.
    let owner = unsafe { Box::from_raw(owner.cast::<Owner>()) };
    owner.released.set(owner.released.get() + 1);
}

//! A future in a Python object that any thread may hold, and only one may touch.
//!
//! # Invariants
//! 1. The value is reached, and dropped, on the thread that made it and on no other.
//! 2. What another thread lets go of (its garbage collection, say) waits for its own thread, which drops it in
//!    [`Orphanage::take`]. If that thread has ended, it is never dropped.

use core::cell::{Cell, RefCell};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// 0 before the thread has asked for its number.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// A number that no other thread of this process has, or had.
#[inline]
pub(crate) fn thread_number() -> u64 {
    match THREAD.get() {
        0 => new_thread_number(),
        number => number,
    }
}

#[cold]
fn new_thread_number() -> u64 {
    let number = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
    THREAD.set(number);
    number
}

struct Orphan<T>(ManuallyDrop<T>);

// SAFETY: an orphan is only stored by the thread that found it; its value is taken out on the thread that made it.
unsafe impl<T> Send for Orphan<T> {}

/// What other threads let go of, for one thread to drop.
pub(crate) struct Orphans<T> {
    any: AtomicBool,
    list: Mutex<Vec<Orphan<T>>>,
}

impl<T> Orphans<T> {
    pub(crate) fn new() -> Self {
        Self { any: AtomicBool::new(false), list: Mutex::new(Vec::new()) }
    }
}

/// A value of one thread.
pub(crate) struct ThreadBound<T> {
    thread: u64,
    orphans: Arc<Orphans<T>>,
    value: ManuallyDrop<RefCell<Option<T>>>,
}

// SAFETY: `cell` gives the value out on its own thread only, and `drop` touches it on its own thread only; elsewhere its
// bytes are moved and nothing else.
unsafe impl<T> Send for ThreadBound<T> {}
// SAFETY: as above; what is shared is the number of a thread and an `Arc` of what is itself `Sync`.
unsafe impl<T> Sync for ThreadBound<T> {}

impl<T> ThreadBound<T> {
    /// The orphanage is this thread's own, as it cannot be sent to another.
    pub(crate) fn new(value: T, orphans: &Orphanage<T>) -> Self {
        Self {
            thread: thread_number(),
            orphans: Arc::clone(&orphans.0),
            value: ManuallyDrop::new(RefCell::new(Some(value))),
        }
    }

    /// The value, or nothing on another thread than its own.
    pub(crate) fn cell(&self) -> Option<&RefCell<Option<T>>> {
        (self.thread == thread_number()).then(|| &*self.value)
    }
}

impl<T> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        // SAFETY: `self.value` is not used again: this is its owner's `drop`.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        if self.thread == thread_number() {
            return;
        }
        if let Some(value) = value.into_inner() {
            let mut list = self.orphans.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.push(Orphan(ManuallyDrop::new(value)));
            drop(list);
            self.orphans.any.store(true, Ordering::Release);
        }
    }
}

/// A thread's own end of a list of orphans. It is not `Send`, so it stays with the thread that made it.
pub(crate) struct Orphanage<T>(Arc<Orphans<T>>, core::marker::PhantomData<*const ()>);

impl<T> Orphanage<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Orphans::new()), core::marker::PhantomData)
    }

    /// What this thread has to drop.
    pub(crate) fn take(&self) -> Vec<T> {
        if !self.0.any.load(Ordering::Relaxed) || !self.0.any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let list = core::mem::take(&mut *self.0.list.lock().unwrap_or_else(PoisonError::into_inner));
        list.into_iter().map(|Orphan(value)| ManuallyDrop::into_inner(value)).collect()
    }
}

//! The door for other threads: a lock-free stack of entries whose one word also says whether the consumer sleeps.
//!
//! Producers push onto a linked stack; the consumer takes the whole stack at once and hands it out oldest first.
//! Whether somebody has to wake the consumer is decided by the same compare-and-swap that adds the entry, so there is
//! no window between "queue looked empty" and "went to sleep".
//!
//! # States
//! The word is the address of the newest entry (or nothing) with two flags in its low bits.
//!
//! | word | entries | meaning |
//! | --- | --- | --- |
//! | `EMPTY` | none | the consumer is awake, or has been rung and is about to be |
//! | `NUDGED` | none | as `EMPTY`, and an interrupt came: the next attempt to sleep is refused |
//! | address | some | the consumer is awake, or has been rung and is about to be |
//! | address + `NUDGED` | some | both |
//! | `ASLEEP` | none | the consumer sleeps or is about to; nobody has rung |
//!
//! `ASLEEP` never stands beside an address or `NUDGED`.
//!
//! # Who moves what
//!
//! | operation | by | move |
//! | --- | --- | --- |
//! | `push` | any thread | `EMPTY`, `ASLEEP`, address -> address; `NUDGED` stays |
//! | `interrupt` | any thread | `ASLEEP` -> `EMPTY`, anything else gains `NUDGED` |
//! | `take` | consumer | address -> `EMPTY`; `NUDGED` stays |
//! | `prepare_sleep` | consumer | `EMPTY` -> `ASLEEP`; otherwise clears `NUDGED` and refuses |
//! | `awake` | consumer | clears `ASLEEP` and `NUDGED` |
//! | `look` | whoever keeps the others from `take` | none |
//!
//! # The hand-over
//! 1. A producer publishes an entry with one compare-and-swap (release). Taking (acquire) sees it complete. Every later
//!    write to the word is a read-modify-write, so the release reaches the consumer through any number of them.
//! 2. Only the thread whose swap replaced `ASLEEP` gets [`Wake::Needed`], and it must ring the consumer's bell. All
//!    others get `NotNeeded`, so one sleep costs at most one ring.
//! 3. The consumer sleeps only if its own swap moved `EMPTY` to `ASLEEP`. A push before that swap makes it fail; a push
//!    after it sees `ASLEEP` and rings. There is no third order.
//! 4. After the sleep, for whatever reason it ended, the consumer calls `awake` before anything else.
//! 5. `NUDGED` is cleared by `awake` and by a refusing `prepare_sleep`, never by `take`: a consumer that re-reads its
//!    own flags (closing, a signal) after either of the two and before the next `prepare_sleep` misses no interrupt.
//!    An interrupt writes the word even if `NUDGED` is set already, so that what its thread wrote before is visible too.
//! 6. The bell may ring late: the sleep can end for another reason between a producer's swap and its ring. The consumer
//!    treats a ring as a hint and an early return from its sleep as normal.
//!
//! # Threads
//! `push`, `interrupt` and `is_empty` from any thread. `take` is safe from any thread too, each entry goes to one
//! taker; order is kept and sleeping makes sense with one consumer only.
//!
//! # Cost
//! `push` is one allocation and one compare-and-swap; `take` one swap for all entries and one release of memory each;
//! `is_empty` one load.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::sync::{AtomicUsize, Ordering};

/// No entries and no flags.
const EMPTY: usize = 0;
/// Flag: an interrupt came that no sleep has answered yet.
const NUDGED: usize = 0b01;
/// Flag: the consumer sleeps and nobody has rung.
const ASLEEP: usize = 0b10;
/// Both flags; the address is the rest of the word.
const FLAGS: usize = NUDGED | ASLEEP;

/// Whether the consumer's bell has to be rung.
#[must_use = "an unanswered `Needed` leaves the consumer asleep"]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Ring: the consumer sleeps, and nobody else will ring for this sleep.
    Needed,
    /// The consumer is awake, or somebody else rings.
    NotNeeded,
}

struct Node<E> {
    /// Address of the next older node, 0 at the end.
    next: usize,
    entry: E,
}

/// A queue that any thread may push to and one consumer empties.
pub struct Inbox<E: Send> {
    word: AtomicUsize,
    /// The word owns a list of boxed nodes.
    owns: PhantomData<Box<Node<E>>>,
}

// SAFETY: a shared inbox moves entries from the pushing thread to the taking one, which `E: Send` allows. The one method that
// borrows entries in place, `look`, asks for `E: Sync`.
unsafe impl<E: Send> Sync for Inbox<E> {}

impl<E: Send> Inbox<E> {
    /// An empty inbox whose consumer is awake.
    #[must_use]
    pub fn new() -> Self {
        const {
            assert!(align_of::<Node<E>>() > FLAGS, "node addresses must leave the flag bits free");
        };
        Self { word: AtomicUsize::new(EMPTY), owns: PhantomData }
    }

    /// Adds an entry behind all others and says whether the consumer's bell has to be rung.
    #[inline]
    pub fn push(&self, entry: E) -> Wake {
        let node = Box::into_raw(Box::new(Node { next: 0, entry }));
        // The word holds addresses, not pointers: another thread may free the node that `seen` names and get the same
        // address again. An exposed address then stands for whichever node lives there, as rule 1 needs.
        let address = node.expose_provenance();
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            // SAFETY: `node` came from `Box::into_raw` above and is not published before the swap succeeds.
            unsafe { (*node).next = seen & !FLAGS };
            match self.word.compare_exchange_weak(seen, address | (seen & NUDGED), Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return wake_after(seen),
                Err(newer) => seen = newer,
            }
        }
    }

    /// Wakes the consumer, or refuses its next attempt to sleep, without an entry.
    ///
    /// What this thread wrote before the call is visible to the consumer after the sleep that ends or is refused.
    pub fn interrupt(&self) -> Wake {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let next = if seen == ASLEEP { EMPTY } else { seen | NUDGED };
            match self.word.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return wake_after(seen),
                Err(newer) => seen = newer,
            }
        }
    }

    /// Wakes the consumer if it sleeps, for an entry that is not in this inbox. Nothing remains of the call if it does not: the
    /// caller must be alone with the consumer's own queue, which that looks at, alone with it, right before it sleeps.
    #[inline]
    pub fn rouse(&self) -> Wake {
        if self.word.load(Ordering::Relaxed) != ASLEEP {
            return Wake::NotNeeded;
        }
        self.interrupt()
    }

    /// Removes all entries that are there now and passes them to `into`, oldest first.
    ///
    /// `into` may push to this inbox; what it pushes waits for the next call. If it panics, the entries that it has not
    /// seen are dropped.
    #[inline]
    pub fn take(&self, into: impl FnMut(E)) {
        if !self.is_empty() {
            self.detach().for_each(into);
        }
    }

    /// Shows every entry that is there now to `see`, newest first, and leaves it there; stops at the first error.
    ///
    /// # Errors
    /// What `see` answers.
    ///
    /// # Safety
    /// No thread calls [`Inbox::take`] before this returns, `see` included. Others may push.
    pub unsafe fn look<R>(&self, mut see: impl FnMut(&E) -> Result<(), R>) -> Result<(), R>
    where
        E: Sync,
    {
        let mut at = self.word.load(Ordering::Acquire) & !FLAGS;
        while let Some(node) = node_at::<E>(at) {
            // SAFETY: published by `push`, whose release this thread's load has acquired; and nobody takes it meanwhile, as
            // the caller says. A published node is not written to before it is taken.
            let node = unsafe { node.as_ref() };
            see(&node.entry)?;
            at = node.next;
        }
        Ok(())
    }

    /// Whether there are no entries. One load; another thread may push right after it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed) & !FLAGS == 0
    }

    /// The consumer wants to sleep. False: something arrived, do not sleep. After true, call [`Inbox::awake`] once the
    /// sleep is over.
    #[must_use = "sleeping after false loses a wake-up"]
    pub fn prepare_sleep(&self) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let next = match seen {
                EMPTY | ASLEEP => ASLEEP,
                _ => seen & !NUDGED,
            };
            match self.word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return next == ASLEEP,
                Err(newer) => seen = newer,
            }
        }
    }

    /// The consumer's sleep is over: from here on nobody needs to ring.
    pub fn awake(&self) {
        let mut seen = self.word.load(Ordering::Acquire);
        while seen & FLAGS != 0 {
            match self.word.compare_exchange_weak(seen, seen & !FLAGS, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }

    /// Takes the stack off the word and turns it round.
    fn detach(&self) -> Batch<E> {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            // Entries and `ASLEEP` exclude each other, and without entries this changes nothing.
            match self.word.compare_exchange_weak(seen, seen & FLAGS, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Batch::reversed(seen & !FLAGS),
                Err(newer) => seen = newer,
            }
        }
    }
}

impl<E: Send> Default for Inbox<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Send> Drop for Inbox<E> {
    /// Drops the entries nobody took, oldest first.
    fn drop(&mut self) {
        drop(self.detach());
    }
}

/// The thread that replaced `seen` rings if that was `ASLEEP`.
#[inline]
fn wake_after(seen: usize) -> Wake {
    if seen == ASLEEP { Wake::Needed } else { Wake::NotNeeded }
}

/// A detached list of nodes, oldest first, owned by one thread.
struct Batch<E> {
    next: Option<NonNull<Node<E>>>,
}

impl<E> Batch<E> {
    /// Takes over the list that starts at `newest` and reverses it.
    fn reversed(newest: usize) -> Self {
        let mut oldest_first = 0;
        let mut at = newest;
        while let Some(node) = node_at::<E>(at) {
            // SAFETY: the list was detached from the word whole, so its nodes are alive and this thread's alone.
            let node = unsafe { &mut *node.as_ptr() };
            let older = std::mem::replace(&mut node.next, oldest_first);
            oldest_first = at;
            at = older;
        }
        Self { next: node_at(oldest_first) }
    }
}

impl<E> Iterator for Batch<E> {
    type Item = E;

    #[inline]
    fn next(&mut self) -> Option<E> {
        let node = self.next?;
        // SAFETY: the node came from `Box::into_raw` in `push`, is alive until here, and is unlinked in the next line,
        // so this is its only owner.
        let node = unsafe { Box::from_raw(node.as_ptr()) };
        self.next = node_at(node.next);
        Some(node.entry)
    }
}

impl<E> Drop for Batch<E> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

/// The node at an address that `push` exposed, or nothing for 0.
#[inline]
fn node_at<E>(address: usize) -> Option<NonNull<Node<E>>> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(address))
}

// loom's atomics exist only inside a model; tests/loom_inbox.rs holds those.
#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn taken<E: Send>(inbox: &Inbox<E>) -> Vec<E> {
        let mut entries = Vec::new();
        inbox.take(|entry| entries.push(entry));
        entries
    }

    #[test]
    fn entries_come_out_oldest_first() {
        let inbox = Inbox::new();
        for entry in 0..5 {
            assert_eq!(inbox.push(entry), Wake::NotNeeded);
        }
        assert!(!inbox.is_empty());
        assert_eq!(taken(&inbox), [0, 1, 2, 3, 4]);
        assert!(inbox.is_empty());
        assert!(taken(&inbox).is_empty());
    }

    #[test]
    fn one_sleep_needs_one_ring() {
        let inbox = Inbox::new();
        assert!(inbox.prepare_sleep());
        assert_eq!(inbox.push(1), Wake::Needed);
        assert_eq!(inbox.push(2), Wake::NotNeeded);
        assert_eq!(inbox.interrupt(), Wake::NotNeeded);
        inbox.awake();
        assert_eq!(inbox.push(3), Wake::NotNeeded);
        assert_eq!(taken(&inbox), [1, 2, 3]);
        assert!(inbox.prepare_sleep());
        assert_eq!(inbox.interrupt(), Wake::Needed);
        assert_eq!(inbox.push(4), Wake::NotNeeded);
    }

    #[test]
    fn waiting_entries_forbid_sleep() {
        let inbox = Inbox::new();
        assert_eq!(inbox.push(1), Wake::NotNeeded);
        assert!(!inbox.prepare_sleep());
        assert!(!inbox.prepare_sleep());
        assert_eq!(taken(&inbox), [1]);
        assert!(inbox.prepare_sleep());
    }

    #[test]
    fn an_interrupt_refuses_one_sleep_and_survives_a_take() {
        let inbox = Inbox::new();
        assert_eq!(inbox.interrupt(), Wake::NotNeeded);
        assert_eq!(inbox.push(1), Wake::NotNeeded);
        assert!(!inbox.is_empty());
        assert_eq!(taken(&inbox), [1]);
        assert!(inbox.is_empty());
        assert!(!inbox.prepare_sleep());
        assert!(inbox.prepare_sleep());
    }

    #[test]
    fn rousing_ends_a_sleep_and_refuses_none() {
        let inbox = Inbox::<()>::new();
        assert_eq!(inbox.rouse(), Wake::NotNeeded);
        assert!(inbox.prepare_sleep());
        assert_eq!(inbox.rouse(), Wake::Needed);
        assert_eq!(inbox.rouse(), Wake::NotNeeded);
        inbox.awake();
        assert!(inbox.prepare_sleep());
    }

    #[test]
    fn a_sleep_that_nobody_ended_needs_no_ring_afterwards() {
        let inbox = Inbox::new();
        assert!(inbox.prepare_sleep());
        inbox.awake();
        assert_eq!(inbox.push(1), Wake::NotNeeded);
        assert_eq!(taken(&inbox), [1]);
    }

    #[test]
    fn an_interrupt_during_the_sleep_is_answered_by_its_end() {
        let inbox = Inbox::<()>::new();
        assert!(inbox.prepare_sleep());
        assert_eq!(inbox.interrupt(), Wake::Needed);
        assert_eq!(inbox.interrupt(), Wake::NotNeeded);
        inbox.awake();
        assert!(inbox.prepare_sleep());
    }

    #[test]
    fn an_entry_may_push_while_it_is_taken() {
        let inbox = Inbox::new();
        assert_eq!(inbox.push(1), Wake::NotNeeded);
        inbox.take(|entry| assert_eq!(inbox.push(entry + 1), Wake::NotNeeded));
        assert_eq!(taken(&inbox), [2]);
    }

    #[test]
    fn a_look_leaves_the_entries_where_they_are() {
        let inbox = Inbox::new();
        for entry in 0..3 {
            assert_eq!(inbox.push(entry), Wake::NotNeeded);
        }
        assert_eq!(inbox.interrupt(), Wake::NotNeeded);
        let mut seen = Vec::new();
        let see = |&entry: &i32| {
            seen.push(entry);
            if seen.len() < 2 { Ok(()) } else { Err("enough") }
        };
        // SAFETY: nobody takes.
        assert_eq!(unsafe { inbox.look(see) }, Err("enough"));
        assert_eq!(seen, [2, 1]);
        assert_eq!(taken(&inbox), [0, 1, 2]);
        // SAFETY: as above.
        assert_eq!(unsafe { inbox.look(|_| Err("there is none")) }, Ok(()));
    }

    #[test]
    fn entries_nobody_took_are_dropped_with_the_inbox() {
        let entry = Arc::new(());
        let inbox = Inbox::new();
        for _ in 0..3 {
            assert_eq!(inbox.push(Arc::clone(&entry)), Wake::NotNeeded);
        }
        drop(inbox);
        assert_eq!(Arc::strong_count(&entry), 1);
    }

    #[test]
    fn a_panic_while_taking_leaks_nothing() {
        let entry = Arc::new(());
        let inbox = Arc::new(Inbox::new());
        for _ in 0..3 {
            assert_eq!(inbox.push(Arc::clone(&entry)), Wake::NotNeeded);
        }
        let taker = Arc::clone(&inbox);
        let result = std::thread::spawn(move || taker.take(|_| panic!("on purpose"))).join();
        assert!(result.is_err());
        assert!(inbox.is_empty());
        assert_eq!(Arc::strong_count(&entry), 1);
    }
}

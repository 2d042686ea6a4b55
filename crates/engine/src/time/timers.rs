//! Pending timers, ordered by deadline and then by insertion.
//!
//! Answers two questions per turn: until when may the reactor sleep, and which entries are due.
//! It never reads a clock; the caller passes `now`.
//!
//! Cancelling marks the entry where it lies and is reported by [`Timers::note_cancelled`]; the entry leaves when it
//! reaches the head of the heap or at the next sweep.
//!
//! # Invariants
//! 1. Equal deadlines leave in insertion order; `seq` breaks the tie.
//! 2. `cancelled <= heap.len()`; once it exceeds both `SWEEP_FLOOR` (64) and half of the heap, a sweep removes every
//!    cancelled entry. A program that starts and cancels timers for ever holds at most twice its live timers, or
//!    `SWEEP_FLOOR` entries more than them.
//! 3. No method drops an entry: whatever leaves is returned or put into `discarded`.
//!
//! # Units and cost
//! Deadlines are [`Nanos`] on the loop's monotonic clock. `push` O(log n), O(1) when deadlines increase;
//! `note_cancelled` O(1) amortised; `pop_due` and `next_deadline` O(log n) per entry that leaves. `take_due` as `pop_due`;
//! where a large part of a large heap is due, those entries leave sorted, which goes through memory from one end to the other
//! instead of up and down the heap for each.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Nanos;

/// Cancelled entries that are always tolerated, so that a small heap is not swept again and again.
const SWEEP_FLOOR: usize = 64;

/// [`Timers::take_due`] looks how many entries are due once as many have left one by one as this part of the heap, and
/// [`SWEEP_FLOOR`]: the look costs less than these have.
const LOOK_AFTER: usize = 64;

/// It sorts what is due if that is at least this part of the heap.
const SORTED_PART: usize = 8;

/// An entry that can be cancelled while it waits.
pub trait Expirable {
    /// Whether the entry is not to run any more. Once true, stays true. Must not panic.
    fn is_cancelled(&self) -> bool;
}

struct Node<E> {
    deadline: Nanos,
    seq: u64,
    entry: E,
}

impl<E> Node<E> {
    /// Deadline and sequence as one number, which compares without a branch.
    #[inline]
    fn key(&self) -> u128 {
        (u128::from(self.deadline.as_nanos()) << 64) | u128::from(self.seq)
    }
}

impl<E> PartialEq for Node<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Node<E> {}

impl<E> PartialOrd for Node<E> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Node<E> {
    /// Reversed: the standard heap keeps its greatest element at the head, and the head must be the earliest.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// The pending timers of one loop.
pub struct Timers<E: Expirable> {
    heap: BinaryHeap<Node<E>>,
    next_seq: u64,
    /// `next_seq` when [`Timers::iter_new`] was last called.
    seen_seq: u64,
    cancelled: usize,
}

impl<E: Expirable> Timers<E> {
    /// No timers, no memory.
    #[must_use]
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), next_seq: 0, seen_seq: 0, cancelled: 0 }
    }

    /// Adds an entry that is due once `now >= deadline`.
    #[inline]
    pub fn push(&mut self, deadline: Nanos, entry: E) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.heap.push(Node { deadline, seq, entry });
    }

    /// The earliest deadline among live entries. Cancelled entries ahead of it go to `discarded`.
    pub fn next_deadline(&mut self, discarded: &mut Vec<E>) -> Option<Nanos> {
        loop {
            let head = self.heap.peek()?;
            if !head.entry.is_cancelled() {
                return Some(head.deadline);
            }
            self.discard_head(discarded);
        }
    }

    /// The entry at the head, with its deadline: the earliest live one after [`Self::next_deadline`].
    #[must_use]
    pub fn head(&self) -> Option<(Nanos, &E)> {
        self.heap.peek().map(|node| (node.deadline, &node.entry))
    }

    /// Removes the earliest live entry whose deadline is not after `now`. Cancelled ones ahead of it go to `discarded`.
    pub fn pop_due(&mut self, now: Nanos, discarded: &mut Vec<E>) -> Option<E> {
        self.pop_due_with_deadline(now, discarded).map(|(_, entry)| entry)
    }

    /// As [`Self::pop_due`], with the deadline that the entry had.
    #[inline]
    pub fn pop_due_with_deadline(&mut self, now: Nanos, discarded: &mut Vec<E>) -> Option<(Nanos, E)> {
        loop {
            let head = self.heap.peek()?;
            if head.deadline > now {
                return None;
            }
            if !head.entry.is_cancelled() {
                let entry = self.heap.pop().map(|node| (node.deadline, node.entry));
                self.cancelled = self.cancelled.min(self.heap.len());
                return entry;
            }
            self.discard_head(discarded);
        }
    }

    /// Passes every live entry whose deadline is not after `now` to `into`, with its deadline, as [`Self::pop_due`] would hand
    /// them out one after the other. Cancelled ones among them go to `discarded`. `into` must not panic.
    pub fn take_due(&mut self, now: Nanos, discarded: &mut Vec<E>, mut into: impl FnMut(Nanos, E)) {
        for _ in 0..(self.heap.len() / LOOK_AFTER).max(SWEEP_FLOOR) {
            let Some((deadline, entry)) = self.pop_due_with_deadline(now, discarded) else { return };
            into(deadline, entry);
        }
        let due = self.heap.iter().filter(|node| node.deadline <= now).count();
        if due >= self.heap.len().div_ceil(SORTED_PART) {
            self.take_due_sorted(now, discarded, &mut into);
        }
        while let Some((deadline, entry)) = self.pop_due_with_deadline(now, discarded) {
            into(deadline, entry);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_due_sorted(&mut self, now: Nanos, discarded: &mut Vec<E>, into: &mut impl FnMut(Nanos, E)) {
        let mut nodes = std::mem::take(&mut self.heap).into_vec();
        let mut later = 0;
        for at in 0..nodes.len() {
            if nodes[at].deadline > now {
                nodes.swap(later, at);
                later += 1;
            }
        }
        nodes[later..].sort_unstable_by_key(Node::key);
        for node in nodes.drain(later..) {
            if node.entry.is_cancelled() {
                self.cancelled = self.cancelled.saturating_sub(1);
                discarded.push(node.entry);
            } else {
                into(node.deadline, node.entry);
            }
        }
        self.heap = BinaryHeap::from(nodes);
        self.cancelled = self.cancelled.min(self.heap.len());
    }

    /// Counts one entry of this heap that has just become cancelled; returns what a sweep removed, mostly nothing.
    ///
    /// Call it once for each entry that is cancelled between `push` and its removal. A call too many costs a sweep
    /// that finds nothing and a call too few delays one; neither is wrong.
    #[inline]
    #[must_use = "the removed entries run foreign code when dropped: drop them once nothing is borrowed"]
    pub fn note_cancelled(&mut self) -> Vec<E> {
        let len = self.heap.len();
        self.cancelled = (self.cancelled + 1).min(len);
        if self.cancelled <= SWEEP_FLOOR || self.cancelled <= len / 2 {
            return Vec::new();
        }
        self.sweep()
    }

    /// Entries held, cancelled ones included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is held, not even a cancelled entry.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Entries held that were reported cancelled.
    #[inline]
    #[must_use]
    pub fn cancelled_len(&self) -> usize {
        self.cancelled
    }

    /// Every entry held, cancelled ones included, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Nanos, &E)> {
        self.heap.iter().map(|node| (node.deadline, &node.entry))
    }

    /// The entries held that were added since this was last called, in no particular order. O(1) if there are none, else it
    /// goes over the whole heap.
    pub fn iter_new(&mut self) -> impl Iterator<Item = &E> {
        let since = std::mem::replace(&mut self.seen_seq, self.next_seq);
        let nodes = if since == self.next_seq { &[] } else { self.heap.as_slice() };
        nodes.iter().filter(move |node| node.seq >= since).map(|node| &node.entry)
    }

    /// Removes everything, cancelled entries included, in no particular order, and gives the heap's memory back.
    pub fn drain(&mut self) -> Vec<E> {
        self.cancelled = 0;
        std::mem::take(&mut self.heap).into_iter().map(|node| node.entry).collect()
    }

    fn discard_head(&mut self, discarded: &mut Vec<E>) {
        discarded.extend(self.heap.pop().map(|node| node.entry));
        self.cancelled = self.cancelled.saturating_sub(1).min(self.heap.len());
    }

    #[cold]
    #[inline(never)]
    fn sweep(&mut self) -> Vec<E> {
        let mut nodes = std::mem::take(&mut self.heap).into_vec();
        // Live entries move to the front in their old order: a heap filled with increasing deadlines stays sorted, and
        // rebuilding a sorted one moves nothing.
        let mut live = 0;
        for at in 0..nodes.len() {
            if !nodes[at].entry.is_cancelled() {
                nodes.swap(live, at);
                live += 1;
            }
        }
        let removed = nodes.drain(live..).map(|node| node.entry).collect();
        self.heap = BinaryHeap::from(nodes);
        self.cancelled = 0;
        removed
    }
}

impl<E: Expirable> Default for Timers<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {

    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone)]
    struct Entry {
        name: u32,
        cancelled: Rc<Cell<bool>>,
    }

    impl Expirable for Entry {
        fn is_cancelled(&self) -> bool {
            self.cancelled.get()
        }
    }

    fn entry(name: u32) -> Entry {
        Entry { name, cancelled: Rc::default() }
    }

    fn at(nanos: u64) -> Nanos {
        Nanos::from_nanos(nanos)
    }

    fn names(entries: &[Entry]) -> Vec<u32> {
        entries.iter().map(|entry| entry.name).collect()
    }

    fn pop_all_due(timers: &mut Timers<Entry>, now: Nanos) -> Vec<u32> {
        let mut discarded = Vec::new();
        std::iter::from_fn(|| timers.pop_due(now, &mut discarded)).map(|entry| entry.name).collect()
    }

    #[test]
    fn equal_deadlines_leave_in_insertion_order() {
        let mut timers = Timers::new();
        for name in 0..100 {
            timers.push(at(u64::from(name % 3)), entry(name));
        }
        let expected: Vec<u32> = (0..3).flat_map(|rest| (0..100).filter(move |name| name % 3 == rest)).collect();
        assert_eq!(pop_all_due(&mut timers, at(2)), expected);
        assert!(timers.is_empty());
    }

    #[test]
    fn an_entry_is_due_at_its_deadline_and_not_before() {
        let mut timers = Timers::new();
        timers.push(at(10), entry(1));
        assert!(pop_all_due(&mut timers, at(9)).is_empty());
        assert_eq!(pop_all_due(&mut timers, at(10)), [1]);
    }

    #[test]
    fn a_cancelled_head_is_handed_back_and_never_due() {
        let mut timers = Timers::new();
        let (first, second) = (entry(1), entry(2));
        timers.push(at(1), first.clone());
        timers.push(at(2), second);
        first.cancelled.set(true);
        assert!(timers.note_cancelled().is_empty());
        assert_eq!(timers.cancelled_len(), 1);
        let mut discarded = Vec::new();
        assert_eq!(timers.next_deadline(&mut discarded), Some(at(2)));
        assert_eq!(timers.head().map(|(deadline, entry)| (deadline, entry.name)), Some((at(2), 2)));
        assert_eq!(names(&discarded), [1]);
        assert_eq!(timers.cancelled_len(), 0);
        assert_eq!(pop_all_due(&mut timers, at(5)), [2]);
    }

    #[test]
    fn pop_due_hands_back_cancelled_heads_even_if_nothing_is_due_after_them() {
        let mut timers = Timers::new();
        let first = entry(1);
        timers.push(at(1), first.clone());
        timers.push(at(9), entry(2));
        first.cancelled.set(true);
        let mut discarded = Vec::new();
        assert!(timers.pop_due(at(5), &mut discarded).is_none());
        assert_eq!(names(&discarded), [1]);
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_sweep_waits_for_the_floor_and_for_half_of_the_heap() {
        let mut timers = Timers::new();
        let entries: Vec<Entry> = (0..200).map(entry).collect();
        for entry in &entries {
            timers.push(at(entry.name.into()), entry.clone());
        }
        for (count, entry) in entries.iter().step_by(2).take(100).enumerate() {
            entry.cancelled.set(true);
            assert!(timers.note_cancelled().is_empty());
            assert_eq!(timers.cancelled_len(), count + 1);
        }
        entries[1].cancelled.set(true);
        let removed = timers.note_cancelled();
        assert_eq!(removed.len(), 101);
        assert!(removed.iter().all(Entry::is_cancelled));
        assert_eq!((timers.len(), timers.cancelled_len()), (99, 0));
        let expected: Vec<u32> = (3..200).step_by(2).collect();
        assert_eq!(pop_all_due(&mut timers, at(1_000)), expected);
    }

    #[test]
    fn starting_and_cancelling_for_ever_needs_bounded_memory() {
        let mut timers = Timers::new();
        for name in 0..100 {
            timers.push(Nanos::MAX, entry(name));
        }
        for name in 0..100_000 {
            let short_lived = entry(name);
            timers.push(at(name.into()), short_lived.clone());
            short_lived.cancelled.set(true);
            drop(timers.note_cancelled());
            assert!(timers.len() <= 2 * 100 + 1);
        }
        assert_eq!(timers.iter().filter(|(_, entry)| !entry.is_cancelled()).count(), 100);
    }

    #[test]
    fn too_many_notes_do_no_harm() {
        let mut timers = Timers::new();
        timers.push(at(1), entry(1));
        for _ in 0..1_000 {
            assert!(timers.note_cancelled().is_empty());
        }
        assert_eq!(timers.cancelled_len(), 1);
        assert_eq!(pop_all_due(&mut timers, at(1)), [1]);
        assert_eq!(timers.cancelled_len(), 0);
    }

    /// What [`Timers::take_due`] hands out of `count` entries whose deadlines are `deadline(name)`, every seventh of which was
    /// cancelled, and what [`Timers::pop_due`] does.
    fn taken_and_popped(count: u32, now: u64, deadline: impl Fn(u32) -> u64) -> [Vec<u32>; 2] {
        let filled = || {
            let mut timers = Timers::new();
            for name in 0..count {
                let entry = entry(name);
                entry.cancelled.set(name % 7 == 0);
                timers.push(at(deadline(name)), entry);
            }
            timers
        };
        let (mut taken, mut discarded) = (Vec::new(), Vec::new());
        let mut timers = filled();
        timers.take_due(at(now), &mut discarded, |when, entry| {
            assert_eq!(when, at(deadline(entry.name)));
            taken.push(entry.name);
        });
        assert!(discarded.iter().all(Entry::is_cancelled));
        let later: Vec<u32> = pop_all_due(&mut timers, Nanos::MAX);
        assert_eq!(later.len() + taken.len() + (0..count).step_by(7).count(), count as usize);
        let mut popped = filled();
        let early = pop_all_due(&mut popped, at(now));
        assert_eq!(later, pop_all_due(&mut popped, Nanos::MAX));
        [taken, early]
    }

    #[test]
    fn all_that_is_due_leaves_in_the_order_of_one_by_one() {
        for count in [0, 1, 63, 64, 65, 300, 5_000] {
            let scattered = |name: u32| u64::from(name.wrapping_mul(2_654_435_761) % 1_000);
            for now in [0, 10, 130, 500, 2_000] {
                let [taken, popped] = taken_and_popped(count, now, scattered);
                assert_eq!(taken, popped, "{count} entries at {now}");
            }
        }
    }

    #[test]
    fn cancelled_entries_that_leave_sorted_are_counted_no_more() {
        let mut timers = Timers::new();
        let entries: Vec<Entry> = (0..1_000).map(entry).collect();
        for entry in &entries {
            timers.push(at(entry.name.into()), entry.clone());
        }
        for entry in &entries[..200] {
            entry.cancelled.set(true);
            assert!(timers.note_cancelled().is_empty());
        }
        let (mut discarded, mut count) = (Vec::new(), 0);
        timers.take_due(at(899), &mut discarded, |_, _| count += 1);
        assert_eq!((count, discarded.len(), timers.len(), timers.cancelled_len()), (700, 200, 100, 0));
    }

    #[test]
    fn new_entries_are_shown_once() {
        let mut timers = Timers::new();
        let shown = |timers: &mut Timers<Entry>| {
            let mut shown: Vec<u32> = timers.iter_new().map(|entry| entry.name).collect();
            shown.sort_unstable();
            shown
        };
        assert!(shown(&mut timers).is_empty());
        (0..3).for_each(|name| timers.push(at(u64::from(9 - name)), entry(name)));
        assert_eq!(shown(&mut timers), [0, 1, 2]);
        (3..5).for_each(|name| timers.push(at(u64::from(9 - name)), entry(name)));
        assert!(timers.pop_due(at(5), &mut Vec::new()).is_some());
        assert_eq!(shown(&mut timers), [3]);
        assert!(shown(&mut timers).is_empty());
    }

    #[test]
    fn draining_hands_back_everything_and_forgets_the_cancelled() {
        let mut timers = Timers::new();
        for name in 0..10 {
            timers.push(at(name.into()), entry(name));
        }
        assert!(timers.note_cancelled().is_empty());
        let mut drained = names(&timers.drain());
        drained.sort_unstable();
        assert_eq!(drained, (0..10).collect::<Vec<_>>());
        assert_eq!((timers.len(), timers.cancelled_len()), (0, 0));
    }
}

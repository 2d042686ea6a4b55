//! Entries that are ready to run, first in, first out.
//!
//! One turn runs exactly the entries that were there when it began: take [`Ready::turn`] once, then `pop` that many
//! times. What those entries push waits for the next turn, so an entry that always pushes itself again cannot
//! starve I/O.
//!
//! # Invariants
//! 1. Entries leave by `pop` and `drain` only: a turn that finds less than `turn` counted was drained by an entry.
//! 2. No method drops an entry.
//!
//! # Cost
//! `push` and `pop` O(1) amortised. The memory stays for the next turn; `drain` gives it back.

use std::collections::VecDeque;

/// The ready queue of one loop.
pub struct Ready<E> {
    entries: VecDeque<E>,
}

impl<E> Ready<E> {
    /// An empty queue, no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: VecDeque::new() }
    }

    /// Adds an entry behind all others.
    #[inline]
    pub fn push(&mut self, entry: E) {
        self.entries.push_back(entry);
    }

    /// How many entries the turn that begins now is to run.
    #[inline]
    #[must_use]
    pub fn turn(&self) -> usize {
        self.entries.len()
    }

    /// Removes the oldest entry.
    #[inline]
    pub fn pop(&mut self) -> Option<E> {
        self.entries.pop_front()
    }

    /// The entry that is to leave after `ahead` others.
    #[inline]
    #[must_use]
    pub fn peek(&self, ahead: usize) -> Option<&E> {
        self.entries.get(ahead)
    }

    /// The entry that came last, to change in place.
    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut E> {
        self.entries.back_mut()
    }

    /// Entries waiting.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.iter()
    }

    /// The entries, oldest first, to change in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.entries.iter_mut()
    }

    /// Removes every entry, oldest first, and gives the queue's memory back.
    pub fn drain(&mut self) -> Vec<E> {
        std::mem::take(&mut self.entries).into()
    }
}

impl<E> Default for Ready<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn entries_leave_in_the_order_they_came() {
        let mut ready = Ready::new();
        (0..10).for_each(|entry| ready.push(entry));
        assert_eq!(ready.iter().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!((ready.peek(0), ready.peek(9), ready.peek(10)), (Some(&0), Some(&9), None));
        assert_eq!(std::iter::from_fn(|| ready.pop()).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert!(ready.is_empty());
    }

    #[test]
    fn what_a_turn_pushes_waits_for_the_next_turn() {
        let mut ready = Ready::new();
        ready.push(1);
        ready.push(2);
        let mut ran = Vec::new();
        for _ in 0..ready.turn() {
            let entry = ready.pop().expect("a turn never counts more than there is");
            ran.push(entry);
            ready.push(entry * 10);
        }
        assert_eq!(ran, [1, 2]);
        assert_eq!(ready.turn(), 2);
        assert_eq!(ready.drain(), [10, 20]);
    }

    #[test]
    fn entries_can_be_changed_in_place() {
        let mut ready = Ready::new();
        ready.push(1);
        ready.push(2);
        ready.iter_mut().for_each(|entry| *entry += 1);
        ready.last_mut().into_iter().for_each(|entry| *entry += 10);
        assert_eq!(ready.drain(), [2, 13]);
        assert_eq!(ready.len(), 0);
        assert_eq!(ready.last_mut(), None);
    }
}

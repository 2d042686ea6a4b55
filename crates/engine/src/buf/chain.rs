//! The outgoing bytes of one connection: a queue of chunks, of which the first may be partly sent.
//!
//! One chunk lives inside the chain itself; only a second one allocates. A chain that becomes empty gives that
//! memory back, so a connection with nothing to send owns no heap memory.
//!
//! # Invariants
//! 1. No chunk in the queue is empty.
//! 2. `first` is `None` only if `rest` is empty and holds no memory.
//! 3. `sent < first.len()`: bytes of the first chunk that are gone; 0 without a first chunk.
//! 4. `len_bytes` is the sum of all lengths less `sent`.
//! 5. No method drops a chunk: the caller decides when memory is given back.
//!
//! # Cost
//! `push`, `front` and `advance` O(1) per chunk, no allocation while there is at most one chunk.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use super::Chunk;

/// A queue of chunks that leaves from the front, byte by byte.
#[derive(Debug, Default)]
pub struct Chain {
    first: Option<Chunk>,
    rest: VecDeque<Chunk>,
    sent: usize,
    len_bytes: usize,
}

impl Chain {
    /// An empty chain, no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: None, rest: VecDeque::new(), sent: 0, len_bytes: 0 }
    }

    /// Adds a chunk behind all others. An empty one is not kept but returned.
    #[inline]
    #[must_use = "a refused chunk comes back, to be kept or dropped"]
    pub fn push(&mut self, chunk: Chunk) -> Option<Chunk> {
        if chunk.is_empty() {
            return Some(chunk);
        }
        self.len_bytes += chunk.len();
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.rest.push_back(chunk);
        }
        None
    }

    /// Bytes still to be sent.
    #[inline]
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Chunks held, the partly sent one included.
    #[inline]
    #[must_use]
    pub fn len_chunks(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether everything was sent.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// What is left of the first chunk; empty only if the chain is.
    #[inline]
    #[must_use]
    pub fn front(&self) -> &[u8] {
        self.first.as_ref().map_or(&[], |first| &first.as_slice()[self.sent..])
    }

    /// Fills `into` with the bytes to be sent, in order, as far as it reaches; returns how many slices it set.
    #[inline]
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let front = self.front();
        if front.is_empty() {
            return 0;
        }
        let Some((head, tail)) = into.split_first_mut() else {
            return 0;
        };
        *head = IoSlice::new(front);
        for (slot, chunk) in tail.iter_mut().zip(&self.rest) {
            *slot = IoSlice::new(chunk.as_slice());
        }
        1 + self.rest.len().min(tail.len())
    }

    /// Removes the first `n` bytes, `n <= len_bytes`, and puts the chunks that are finished into `released`.
    #[inline]
    pub fn advance(&mut self, n: usize, released: &mut Vec<Chunk>) {
        debug_assert!(n <= self.len_bytes, "more bytes sent than queued");
        let mut n = n.min(self.len_bytes);
        self.len_bytes -= n;
        while let Some(first) = &self.first {
            let left = first.len() - self.sent;
            if n < left {
                self.sent += n;
                return;
            }
            n -= left;
            self.sent = 0;
            released.extend(mem::replace(&mut self.first, self.rest.pop_front()));
        }
        self.give_memory_back();
    }

    /// Moves everything from `other` to the end of this chain.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            mem::swap(self, other);
            return;
        }
        self.len_bytes += mem::take(&mut other.len_bytes);
        let sent = mem::take(&mut other.sent);
        if let Some(mut chunk) = other.first.take() {
            // Only the first chunk of a chain can be partly sent (invariant 3), and this one will not be the first.
            chunk.trim_front(sent);
            self.rest.push_back(chunk);
        }
        self.rest.append(&mut other.rest);
        other.give_memory_back();
    }

    /// Removes every chunk, in order, the partly sent one included and whole.
    pub fn drain(&mut self) -> Vec<Chunk> {
        self.sent = 0;
        self.len_bytes = 0;
        let mut chunks = Vec::from(mem::take(&mut self.rest));
        if let Some(first) = self.first.take() {
            chunks.insert(0, first);
        }
        chunks
    }

    /// Keeps invariant 2 once the last chunk has left.
    #[inline]
    fn give_memory_back(&mut self) {
        if self.rest.capacity() != 0 {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn chunk(bytes: &str) -> Chunk {
        Chunk::from_vec(bytes.as_bytes().to_vec())
    }

    fn chain(parts: &[&str]) -> Chain {
        let mut chain = Chain::new();
        for part in parts {
            assert!(chain.push(chunk(part)).is_none());
        }
        chain
    }

    fn texts(chunks: &[Chunk]) -> Vec<String> {
        chunks.iter().map(|chunk| String::from_utf8_lossy(chunk.as_slice()).into_owned()).collect()
    }

    fn slices(chain: &Chain, limit: usize) -> Vec<String> {
        let mut into = vec![IoSlice::new(&[]); limit];
        let count = chain.slices(&mut into);
        into[..count].iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect()
    }

    #[test]
    fn an_empty_chunk_is_returned_and_not_kept() {
        let mut chain = Chain::new();
        assert!(chain.push(Chunk::from_vec(Vec::new())).is_some());
        assert!(chain.is_empty());
        assert_eq!(chain.len_chunks(), 0);
    }

    #[test]
    fn slices_start_behind_what_was_sent() {
        let mut chain = chain(&["abc", "de", "f"]);
        let mut released = Vec::new();
        chain.advance(1, &mut released);
        assert!(released.is_empty());
        assert_eq!(slices(&chain, 8), ["bc", "de", "f"]);
        assert_eq!(chain.front(), b"bc");
        assert_eq!((chain.len_bytes(), chain.len_chunks()), (5, 3));
    }

    #[test]
    fn slices_stop_at_the_room_given() {
        let chain = chain(&["abc", "de", "f"]);
        assert_eq!(slices(&chain, 2), ["abc", "de"]);
        assert_eq!(slices(&chain, 1), ["abc"]);
        assert!(slices(&chain, 0).is_empty());
        assert!(slices(&Chain::new(), 4).is_empty());
    }

    #[test]
    fn advancing_hands_back_finished_chunks_in_order_and_whole() {
        let mut chain = chain(&["abc", "de", "f"]);
        let mut released = Vec::new();
        chain.advance(4, &mut released);
        assert_eq!(texts(&released), ["abc"]);
        assert_eq!(chain.front(), b"e");
        chain.advance(1, &mut released);
        assert_eq!(texts(&released), ["abc", "de"]);
        chain.advance(1, &mut released);
        assert_eq!(texts(&released), ["abc", "de", "f"]);
        assert!(chain.is_empty());
    }

    #[test]
    fn an_empty_chain_holds_no_memory() {
        let mut chain = chain(&["abc", "de", "f"]);
        chain.advance(6, &mut Vec::new());
        assert_eq!(chain.rest.capacity(), 0);
        for part in ["abc", "de"] {
            assert!(chain.push(chunk(part)).is_none());
        }
        assert_ne!(chain.rest.capacity(), 0);
        assert_eq!(texts(&chain.drain()), ["abc", "de"]);
        assert_eq!(chain.rest.capacity(), 0);
        assert_eq!((chain.len_bytes(), chain.len_chunks()), (0, 0));
    }

    #[test]
    fn one_chunk_at_a_time_never_allocates() {
        let mut chain = Chain::new();
        let mut released = Vec::new();
        for _ in 0..10 {
            assert!(chain.push(chunk("abc")).is_none());
            chain.advance(3, &mut released);
            assert_eq!(chain.rest.capacity(), 0);
        }
        assert_eq!(released.len(), 10);
    }

    #[test]
    fn appending_to_an_empty_chain_keeps_what_was_sent() {
        let mut source = chain(&["abc", "de"]);
        source.advance(2, &mut Vec::new());
        let mut target = Chain::new();
        target.append(&mut source);
        assert_eq!(slices(&target, 4), ["c", "de"]);
        assert_eq!(target.len_bytes(), 3);
        assert!(source.is_empty());
        assert_eq!(source.len_bytes(), 0);
    }

    #[test]
    fn appending_a_partly_sent_chain_cuts_its_first_chunk() {
        let mut target = chain(&["12"]);
        target.advance(1, &mut Vec::new());
        let mut source = chain(&["abc", "de"]);
        source.advance(2, &mut Vec::new());
        target.append(&mut source);
        assert_eq!(slices(&target, 4), ["2", "c", "de"]);
        assert_eq!(target.len_bytes(), 4);
        assert!(source.is_empty());
        assert_eq!(source.rest.capacity(), 0);
    }

    #[test]
    fn appending_nothing_changes_nothing() {
        let mut target = chain(&["12", "3"]);
        target.append(&mut Chain::new());
        assert_eq!(slices(&target, 4), ["12", "3"]);
    }
}

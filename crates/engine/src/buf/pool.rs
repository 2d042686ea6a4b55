//! A bounded stock of equally sized byte buffers.
//!
//! # Invariants
//! 1. At most `keep` buffers are held; each has exactly `buffer_bytes` bytes.
//! 2. A buffer comes out with whatever bytes its last user left in it, or zeros if it is new.
//!
//! # Cost
//! `take` and `give` O(1); an allocation only when the stock is empty, a release only when it is full. The buffer
//! given back last leaves first: it is the one still in the processor's cache.

/// A stock of byte buffers of one size.
#[derive(Debug)]
pub struct Pool {
    buffer_bytes: usize,
    keep: usize,
    stock: Vec<Box<[u8]>>,
}

impl Pool {
    /// An empty stock that will hold at most `keep` buffers of `buffer_bytes` bytes.
    #[must_use]
    pub const fn new(buffer_bytes: usize, keep: usize) -> Self {
        Self { buffer_bytes, keep, stock: Vec::new() }
    }

    /// A buffer from the stock, or a new one.
    #[inline]
    #[must_use]
    pub fn take(&mut self) -> Box<[u8]> {
        self.stock.pop().unwrap_or_else(|| vec![0; self.buffer_bytes].into_boxed_slice())
    }

    /// Takes a buffer back. One of another size, or one too many, is freed.
    #[inline]
    pub fn give(&mut self, buffer: Box<[u8]>) {
        if buffer.len() == self.buffer_bytes && self.stock.len() < self.keep {
            self.stock.push(buffer);
        }
    }

    /// Size of each buffer, in bytes.
    #[inline]
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Buffers in stock.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.stock.len()
    }

    /// Whether the next `take` allocates.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stock.is_empty()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_new_buffer_has_the_size_and_is_zeroed() {
        let mut pool = Pool::new(16, 2);
        assert_eq!(*pool.take(), [0; 16]);
        assert_eq!(pool.buffer_bytes(), 16);
    }

    #[test]
    fn a_buffer_given_back_is_taken_again() {
        let mut pool = Pool::new(16, 2);
        let buffer = pool.take();
        let place = buffer.as_ptr();
        pool.give(buffer);
        assert_eq!(pool.len(), 1);
        let again = pool.take();
        assert_eq!(again.as_ptr(), place);
        assert!(pool.is_empty());
    }

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let mut pool = Pool::new(16, 2);
        let buffers: Vec<_> = (0..5).map(|_| pool.take()).collect();
        for buffer in buffers {
            pool.give(buffer);
        }
        assert_eq!(pool.len(), 2);
        let mut keeps_none = Pool::new(16, 0);
        let buffer = keeps_none.take();
        keeps_none.give(buffer);
        assert!(keeps_none.is_empty());
    }

    #[test]
    fn a_buffer_of_another_size_is_not_kept() {
        let mut pool = Pool::new(16, 2);
        pool.give(vec![0; 8].into_boxed_slice());
        assert!(pool.is_empty());
    }
}

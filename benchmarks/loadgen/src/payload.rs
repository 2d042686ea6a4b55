//! The bytes of a connection's messages, different for every connection and every message.
//!
//! Word `i` (eight bytes, little endian) of message `s` on connection `c` is `scatter(c, i) + s * STEP`: words of
//! different connections are unrelated, and successive messages differ in every byte. A message made of lines has the
//! top bit of each byte set, so that its only newline is the last byte.
//!
//! Messages may have two lengths by turns. Odd connections begin with the second, so that at any time half of them are
//! at each.
//!
//! Cost: `advance` and `mismatch` are one pass over the message each.

const WORD: usize = 8;
/// Odd, so that the low byte too takes every value.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const NEVER_A_NEWLINE: u64 = 0x8080_8080_8080_8080;

/// The message that a connection has under way.
pub(crate) struct Payload {
    /// Of message 0, as many as the longest message has.
    words: Vec<u64>,
    /// The message, and what an earlier and longer one left behind it.
    bytes: Vec<u8>,
    /// Of the messages whose number, added to the connection's, is even and odd.
    lengths: [usize; 2],
    connection: u64,
    forced_bits: u64,
    lines: bool,
    sequence: u64,
}

impl Payload {
    /// Message 0 of `connection`; the messages' lengths in bytes, of which none is 0.
    pub(crate) fn new(connection: u64, lengths: [usize; 2], lines: bool) -> Self {
        let longest = lengths[0].max(lengths[1]);
        let mut payload = Self {
            words: (0..longest.div_ceil(WORD) as u64).map(|index| scatter(connection, index)).collect(),
            bytes: vec![0; longest],
            lengths,
            connection,
            forced_bits: if lines { NEVER_A_NEWLINE } else { 0 },
            lines,
            sequence: 0,
        };
        payload.render();
        payload
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length(self.sequence)]
    }

    fn length(&self, sequence: u64) -> usize {
        self.lengths[usize::from((self.connection ^ sequence) & 1 == 1)]
    }

    /// The number of the message under way, from 0.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Makes the next message the one under way.
    pub(crate) fn advance(&mut self) {
        self.sequence += 1;
        self.render();
    }

    /// Where `received`, which arrived `offset` bytes into the message, first differs from what was sent.
    pub(crate) fn mismatch(&self, offset: usize, received: &[u8]) -> Option<usize> {
        let sent = self.bytes().get(offset..offset + received.len())?;
        if sent == received {
            return None;
        }
        sent.iter().zip(received).position(|(sent, received)| sent != received).map(|index| offset + index)
    }

    /// The number of the message, this one or the one before, that holds `received` at `offset`.
    pub(crate) fn owner(&self, offset: usize, received: &[u8]) -> Option<u64> {
        let fits = |sequence: &u64| {
            let holds = |(index, &byte): (usize, &u8)| self.byte_at(offset + index, *sequence) == Some(byte);
            received.iter().enumerate().all(holds)
        };
        [Some(self.sequence), self.sequence.checked_sub(1)].into_iter().flatten().find(fits)
    }

    /// One byte of a message.
    fn byte_at(&self, index: usize, sequence: u64) -> Option<u8> {
        let length = self.length(sequence);
        if index >= length {
            return None;
        }
        if self.lines && index + 1 == length {
            return Some(b'\n');
        }
        let word = self.words.get(index / WORD)?.wrapping_add(sequence.wrapping_mul(STEP)) | self.forced_bits;
        Some(word.to_le_bytes()[index % WORD])
    }

    fn render(&mut self) {
        let length = self.length(self.sequence);
        let (ahead, forced_bits) = (self.sequence.wrapping_mul(STEP), self.forced_bits);
        let word_at = |word: u64| (word.wrapping_add(ahead) | forced_bits).to_le_bytes();
        let message = &mut self.bytes[..length];
        let mut chunks = message.chunks_exact_mut(WORD);
        for (chunk, &word) in chunks.by_ref().zip(&self.words) {
            chunk.copy_from_slice(&word_at(word));
        }
        let tail = chunks.into_remainder();
        if let Some(&word) = self.words.get(length / WORD) {
            tail.copy_from_slice(&word_at(word)[..tail.len()]);
        }
        if let (true, Some(last)) = (self.lines, message.last_mut()) {
            *last = b'\n';
        }
    }
}

/// Spreads the pair over 64 bits (the finaliser of `SplitMix64`).
fn scatter(connection: u64, index: u64) -> u64 {
    let mut bits = (connection << 32 | index).wrapping_add(1).wrapping_mul(STEP);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_changed_byte_is_found() {
        let payload = Payload::new(3, [1029, 1029], false);
        for position in 0..1029 {
            let mut received = payload.bytes().to_vec();
            received[position] ^= 1;
            assert_eq!(payload.mismatch(0, &received), Some(position));
        }
        assert_eq!(payload.mismatch(0, payload.bytes()), None);
        assert_eq!(payload.mismatch(1000, &payload.bytes()[1000..]), None);
    }

    #[test]
    fn the_next_message_differs_in_every_whole_word_and_in_the_tail() {
        let mut payload = Payload::new(0, [21, 21], false);
        let before = payload.bytes().to_vec();
        payload.advance();
        for (old, new) in before.chunks(WORD).zip(payload.bytes().chunks(WORD)) {
            assert_ne!(old, new);
        }
    }

    #[test]
    fn a_line_has_one_newline_and_it_is_last() {
        let mut payload = Payload::new(9, [100, 100], true);
        for _ in 0..1000 {
            assert_eq!(payload.bytes().iter().position(|&byte| byte == b'\n'), Some(99));
            payload.advance();
        }
    }

    #[test]
    fn the_owner_of_stray_bytes_is_found() {
        let mut other = Payload::new(7, [64, 64], false);
        let before = other.bytes().to_vec();
        other.advance();
        assert_eq!(other.owner(8, &other.bytes()[8..24]), Some(1));
        assert_eq!(other.owner(8, &before[8..24]), Some(0));
        assert_eq!(Payload::new(6, [64, 64], false).owner(8, &before[8..24]), None);
    }

    #[test]
    fn two_lengths_take_turns_and_neighbours_begin_with_different_ones() {
        let lengths = |connection| {
            let mut payload = Payload::new(connection, [3, 70], false);
            [0; 4].map(|_| {
                let length = payload.bytes().len();
                payload.advance();
                length
            })
        };
        assert_eq!((lengths(0), lengths(1)), ([3, 70, 3, 70], [70, 3, 70, 3]));
    }

    #[test]
    fn a_short_line_after_a_long_one_ends_in_its_own_newline() {
        let mut payload = Payload::new(0, [90, 9], true);
        payload.advance();
        assert_eq!(payload.bytes().iter().position(|&byte| byte == b'\n'), Some(8));
        assert_eq!(payload.bytes().len(), 9);
    }

    #[test]
    fn stray_bytes_beyond_a_short_message_are_not_its_own() {
        let mut other = Payload::new(2, [8, 64], false);
        other.advance();
        let long = other.bytes().to_vec();
        other.advance();
        assert_eq!(other.owner(16, &long[16..32]), Some(1));
        other.advance();
        other.advance();
        assert_eq!(other.owner(16, &long[16..32]), None);
    }
}

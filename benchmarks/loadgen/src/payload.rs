//! The bytes of a connection's messages, different for every connection and every message.
//!
//! Word `i` (eight bytes, little endian) of message `s` on connection `c` is `scatter(c, i) + s * STEP`: words of
//! different connections are unrelated, and successive messages differ in every byte. A message made of lines has the
//! top bit of each byte set, so that its only newline is the last byte.
//!
//! Cost: `advance` and `mismatch` are one pass over the message each.

const WORD: usize = 8;
/// Odd, so that the low byte too takes every value.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const NEVER_A_NEWLINE: u64 = 0x8080_8080_8080_8080;

/// The message that a connection has under way.
pub(crate) struct Payload {
    words: Vec<u64>,
    bytes: Vec<u8>,
    forced_bits: u64,
    lines: bool,
    sequence: u64,
}

impl Payload {
    /// Message 0 of `connection`.
    pub(crate) fn new(connection: u64, size_bytes: usize, lines: bool) -> Self {
        let mut payload = Self {
            words: (0..size_bytes.div_ceil(WORD) as u64).map(|index| scatter(connection, index)).collect(),
            bytes: vec![0; size_bytes],
            forced_bits: if lines { NEVER_A_NEWLINE } else { 0 },
            lines,
            sequence: 0,
        };
        payload.render();
        payload
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of the message under way, from 0.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Makes the next message the one under way.
    pub(crate) fn advance(&mut self) {
        for word in &mut self.words {
            *word = word.wrapping_add(STEP);
        }
        self.sequence += 1;
        self.render();
    }

    /// Where `received`, which arrived `offset` bytes into the message, first differs from what was sent.
    pub(crate) fn mismatch(&self, offset: usize, received: &[u8]) -> Option<usize> {
        let sent = self.bytes.get(offset..offset + received.len())?;
        if sent == received {
            return None;
        }
        sent.iter().zip(received).position(|(sent, received)| sent != received).map(|index| offset + index)
    }

    /// The number of the message, this one or the one before, that holds `received` at `offset`.
    pub(crate) fn owner(&self, offset: usize, received: &[u8]) -> Option<u64> {
        let fits = |step: u64| {
            received.iter().enumerate().all(|(index, &byte)| self.byte_at(offset + index, step) == Some(byte))
        };
        if fits(0) {
            return Some(self.sequence);
        }
        (self.sequence > 0 && fits(STEP)).then(|| self.sequence - 1)
    }

    /// One byte of the message whose words are `step` less than those of the message under way.
    fn byte_at(&self, index: usize, step: u64) -> Option<u8> {
        if self.lines && index + 1 == self.bytes.len() {
            return Some(b'\n');
        }
        let word = self.words.get(index / WORD)?.wrapping_sub(step) | self.forced_bits;
        Some(word.to_le_bytes()[index % WORD])
    }

    fn render(&mut self) {
        let mut chunks = self.bytes.chunks_exact_mut(WORD);
        for (chunk, word) in chunks.by_ref().zip(&self.words) {
            chunk.copy_from_slice(&(word | self.forced_bits).to_le_bytes());
        }
        let tail = chunks.into_remainder();
        if let Some(word) = self.words.last() {
            let length = tail.len();
            tail.copy_from_slice(&(word | self.forced_bits).to_le_bytes()[..length]);
        }
        if let (true, Some(last)) = (self.lines, self.bytes.last_mut()) {
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
        let payload = Payload::new(3, 1029, false);
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
        let mut payload = Payload::new(0, 21, false);
        let before = payload.bytes().to_vec();
        payload.advance();
        for (old, new) in before.chunks(WORD).zip(payload.bytes().chunks(WORD)) {
            assert_ne!(old, new);
        }
    }

    #[test]
    fn a_line_has_one_newline_and_it_is_last() {
        let mut payload = Payload::new(9, 100, true);
        for _ in 0..1000 {
            assert_eq!(payload.bytes().iter().position(|&byte| byte == b'\n'), Some(99));
            payload.advance();
        }
    }

    #[test]
    fn the_owner_of_stray_bytes_is_found() {
        let mut other = Payload::new(7, 64, false);
        let before = other.bytes().to_vec();
        other.advance();
        assert_eq!(other.owner(8, &other.bytes()[8..24]), Some(1));
        assert_eq!(other.owner(8, &before[8..24]), Some(0));
        assert_eq!(Payload::new(6, 64, false).owner(8, &before[8..24]), None);
    }
}

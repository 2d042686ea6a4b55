//! Names of attached descriptors.

/// A slot and the generation of its value; see rule 1 of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Key {
    /// The key as the 64 bits that travel through the kernel.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The key behind 64 bits that came back from the kernel.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of what `to_bits` joined")]
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// The slot: small and dense, for tables beside the backend's. Tells nothing about the value.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_survives_the_journey_through_the_kernel() {
        let key = Key { slot: u32::MAX - 1, generation: 7 };
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }
}

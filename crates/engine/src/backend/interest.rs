//! Directions of a descriptor.

use core::ops::{BitAnd, BitOr, Not};

/// A set of directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interest(u8);

impl Interest {
    /// Neither direction.
    pub const NONE: Self = Self(0);
    /// Bytes, connections, the end of the stream or an error can be read.
    pub const READ: Self = Self(1);
    /// There is room to write, or writing would report an error.
    pub const WRITE: Self = Self(2);
    /// Both directions.
    pub const BOTH: Self = Self(3);

    /// Whether no direction is in the set.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether reading is in the set.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.0 & Self::READ.0 != 0
    }

    /// Whether writing is in the set.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.0 & Self::WRITE.0 != 0
    }

    /// The set as bits: 1 for reading, 2 for writing (as `selectors.EVENT_READ` and `EVENT_WRITE`).
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Interest {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Interest {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Interest {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0 & Self::BOTH.0)
    }
}

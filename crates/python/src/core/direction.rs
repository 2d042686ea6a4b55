//! The two directions of a descriptor.

use ferrio_engine::backend::Interest;

/// One of the two that a descriptor has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    /// The directions of an interest, reading first.
    pub(crate) fn of(interest: Interest) -> impl Iterator<Item = Self> {
        let read = interest.reads().then_some(Self::Read);
        read.into_iter().chain(interest.writes().then_some(Self::Write))
    }

    pub(crate) const fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READ,
            Self::Write => Interest::WRITE,
        }
    }
}

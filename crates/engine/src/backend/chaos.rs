//! Makes choices that the kernel is free to make, by a seed. Tests use it to find programs that rely on one of them.
//!
//! The same seed makes the same choices for the same questions. Each is one that the kernel could have made, so a program that
//! fails with it can fail without it too, only less often.

/// The most bytes of a small part: about the head of a line.
const FEW: usize = 16;

/// A source of choices.
#[derive(Debug)]
pub(super) struct Chaos {
    state: u64,
}

impl Chaos {
    /// Choices by `seed`.
    #[must_use]
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number (Steele, Lea and Flood: splitmix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    /// How many of `length` bytes move: at least one, if there is one.
    #[cold]
    pub(super) fn part(&mut self, length: usize) -> usize {
        match (length, self.below(4)) {
            (0 | 1, _) | (_, 0) => length,
            (_, 1) => 1,
            (_, 2) => 1 + self.below(length.min(FEW)),
            _ => 1 + self.below(length),
        }
    }

    /// Puts `items` in another order.
    #[cold]
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_alike_and_another_one_otherwise() {
        let choices = |seed| {
            let mut chaos = Chaos::new(seed);
            (0..100).map(|_| chaos.part(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn a_part_is_never_nothing_nor_more_than_there_is() {
        let mut chaos = Chaos::new(1);
        for length in [1, 2, 15, 16, 17, 65_536] {
            for _ in 0..1_000 {
                assert!((1..=length).contains(&chaos.part(length)));
            }
        }
        assert_eq!(chaos.part(0), 0);
    }

    #[test]
    fn what_is_shuffled_is_all_there_in_every_order() {
        let mut chaos = Chaos::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut items = [1, 2, 3];
            chaos.shuffle(&mut items);
            assert_eq!(items.iter().sum::<i32>(), 6);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 6);
    }
}

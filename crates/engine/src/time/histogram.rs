//! The buckets of a histogram of times: their bounds double from one to the next.
//!
//! The first bucket takes what lasts for at most a microsecond, each further one twice as much, the last one everything that
//! is longer than the last bound, 16.8 seconds. To find a bucket costs a few instructions and no search.

use super::Nanos;

/// Buckets that have an upper bound.
pub const BOUNDED: usize = 25;

/// All buckets.
pub const BUCKETS: usize = BOUNDED + 1;

/// Nanoseconds of the first bound.
const FIRST: u64 = 1_000;

/// The largest time that is counted in the bucket `index`, which has a bound.
#[must_use]
pub const fn bound(index: usize) -> Nanos {
    Nanos::from_nanos(FIRST << index)
}

/// The bucket in which `time` is counted.
#[must_use]
pub const fn bucket_of(time: Nanos) -> usize {
    let whole = time.as_nanos().saturating_sub(1) / FIRST;
    let index = (u64::BITS - whole.leading_zeros()) as usize;
    if index < BOUNDED { index } else { BOUNDED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let times =
            [0, 1, 999, 1_000, 1_001, 2_000, 2_001, 4_000, 4_001, 1_000_000, 16_777_216_000, 16_777_216_001, u64::MAX];
        for time in times.map(Nanos::from_nanos) {
            let expected = (0..BOUNDED).find(|&index| time <= bound(index)).unwrap_or(BOUNDED);
            assert_eq!(bucket_of(time), expected, "{time:?}");
        }
        for index in 0..BOUNDED {
            assert_eq!(bucket_of(bound(index)), index);
            assert_eq!(bucket_of(Nanos::from_nanos(bound(index).as_nanos() + 1)), index + 1);
        }
    }
}

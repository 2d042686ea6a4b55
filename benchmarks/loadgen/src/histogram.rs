//! Latencies in logarithmic buckets, each split into equal parts.
//!
//! Values below [`PARTS`] have a bucket each; above, every power of two is split into `PARTS` equal buckets, so that a
//! reported percentile is at most 1 / `PARTS` (0.4 %) above the true one and never below it. Smallest and largest value
//! are kept exactly.
//!
//! # Units and cost
//! Nanoseconds. `record` is a few instructions and one memory write; the table has 14,592 counters.

use std::time::Duration;

const PART_BITS: u32 = 8;
const PARTS: usize = 1 << PART_BITS;
const BUCKETS: usize = (64 - PART_BITS as usize + 1) * PARTS;

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(nanos);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The smallest value that at least `per_mille` of 1000 recorded values do not exceed; 0 when there is none.
    pub(crate) fn percentile_ns(&self, per_mille: u32) -> u64 {
        let wanted = u128::from(self.total) * u128::from(per_mille);
        let mut seen = 0u64;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && u128::from(seen) * 1000 >= wanted {
                return highest(index).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

/// The bucket of a value: its power of two, then the `PART_BITS` bits below the leading one.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(PART_BITS + 1);
    #[expect(clippy::cast_possible_truncation, reason = "after the shift the value is below 2 * PARTS")]
    let part = (nanos >> shift) as usize;
    ((shift as usize) << PART_BITS) + part
}

/// The largest value of a bucket.
fn highest(index: usize) -> u64 {
    let power = (index as u64 >> PART_BITS).saturating_sub(1);
    let part = index as u64 - (power << PART_BITS);
    (part << power) + ((1 << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_dense_and_hold_their_highest_value() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(highest(index)), index);
            if let (true, Some(next)) = (index + 1 < BUCKETS, highest(index).checked_add(1)) {
                assert_eq!(bucket(next), index + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::new();
        for nanos in 1..=100 {
            histogram.record(Duration::from_nanos(nanos));
        }
        assert_eq!(
            [1, 10, 500, 990, 999, 1000].map(|per_mille| histogram.percentile_ns(per_mille)),
            [1, 1, 50, 99, 100, 100]
        );
    }

    #[test]
    fn percentiles_agree_with_sorting_to_within_a_bucket() {
        let mut histogram = Histogram::new();
        let mut values = Vec::new();
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Spread over six orders of magnitude, as latencies are.
            let nanos = 1_000 + (state >> 44 << (state >> 59 & 15));
            values.push(nanos);
            histogram.record(Duration::from_nanos(nanos));
        }
        values.sort_unstable();
        for per_mille in [1, 250, 500, 900, 990, 999, 1000] {
            let exact = values[(values.len() * per_mille as usize).div_ceil(1000) - 1];
            let reported = histogram.percentile_ns(per_mille);
            assert!(exact <= reported && reported - exact <= exact / PARTS as u64, "{per_mille}: {exact} {reported}");
        }
        assert_eq!(histogram.max_ns(), values[values.len() - 1]);
    }

    #[test]
    fn an_empty_histogram_reports_zero() {
        assert_eq!(Histogram::new().percentile_ns(990), 0);
    }
}

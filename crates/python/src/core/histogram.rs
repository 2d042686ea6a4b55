//! A histogram of times, in counters that attached threads read at any moment.

use ferrio_engine::time::Nanos;
use ferrio_engine::time::histogram::{BUCKETS, bucket_of};

use super::statistics::Counter;

/// How many times there were in each bucket, and their sum in nanoseconds.
#[derive(Default)]
pub(crate) struct Histogram {
    counts: [Counter; BUCKETS],
    sum: Counter,
}

impl Histogram {
    #[inline]
    pub(super) fn note(&self, time: Nanos) {
        self.counts[bucket_of(time)].add(1);
        self.sum.add_u64(time.as_nanos());
    }

    /// The counts of the buckets, then the sum.
    pub(super) fn figures(&self) -> Vec<u64> {
        self.counts.iter().chain([&self.sum]).map(Counter::get).collect()
    }
}

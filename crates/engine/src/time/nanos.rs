//! Nanoseconds: one type for instants on the loop's monotonic clock and for the spans between them.
//!
//! # Units
//! 64 bits of nanoseconds reach 584 years; all arithmetic saturates, so "for ever" stays the latest instant.
//!
//! # Invariants
//! 1. [`Nanos::from_secs_f64_ceil`] is exact: the result is the smallest count that is not below the given seconds.
//! 2. For every finite `s` within range, `now >= from_secs_f64_ceil(s)` implies `now.as_secs_f64() >= s`.
//!    A timer that is due by our clock is due by the clock that its user reads as a float.

/// Nanoseconds per second.
const PER_SEC: u64 = 1_000_000_000;

/// Explicit fraction bits of an `f64`.
const FRACTION_BITS: u32 = 52;

/// An instant on the loop's monotonic clock, or a span of time, in nanoseconds.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(u64);

impl Nanos {
    /// The clock's origin, or no time at all.
    pub const ZERO: Self = Self(0);
    /// The latest instant; what saturating arithmetic ends at.
    pub const MAX: Self = Self(u64::MAX);

    /// Wraps a count of nanoseconds.
    #[inline]
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The count of nanoseconds.
    #[inline]
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The smallest count of nanoseconds that is not below `secs`.
    ///
    /// NaN and everything at or below zero give [`Nanos::ZERO`]; what does not fit gives [`Nanos::MAX`].
    #[must_use]
    pub fn from_secs_f64_ceil(secs: f64) -> Self {
        if secs.is_nan() || secs <= 0.0 {
            return Self::ZERO;
        }
        // A positive double is `mantissa * 2^(exponent - 1075)`, so the product below is exact in 83 bits and only the
        // final shift rounds. Multiplying by 1e9 as a double would round first, possibly downwards.
        let bits = secs.to_bits();
        let exponent = bits >> FRACTION_BITS;
        let mantissa = (bits & ((1 << FRACTION_BITS) - 1)) | (1 << FRACTION_BITS);
        match 1075_u64.checked_sub(exponent) {
            // At least 2^35 seconds, or infinite.
            None | Some(0..18) => Self::MAX,
            Some(shift @ 18..84) => {
                let product = u128::from(mantissa) * u128::from(PER_SEC);
                let nanos = (product + ((1_u128 << shift) - 1)) >> shift;
                Self(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            // A fraction of one nanosecond, which includes every subnormal.
            Some(_) => Self(1),
        }
    }

    /// Seconds, to the nearest double up to 2^53 ns (104 days) and to within one unit in the last place after.
    ///
    /// The same value as `CPython`'s `time.monotonic()` gives for the same count, up to those 104 days.
    #[inline]
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "every operand converts exactly: below 2^53, or a quotient below 2^35"
    )]
    pub fn as_secs_f64(self) -> f64 {
        if self.0 <= 1 << 53 {
            self.0 as f64 / PER_SEC as f64
        } else {
            // One division would round the count to a double first and could fall below a deadline (invariant 2).
            // The whole seconds are exact, so neither rounding here can pass a double that lies below the sum.
            (self.0 / PER_SEC) as f64 + (self.0 % PER_SEC) as f64 / PER_SEC as f64
        }
    }

    /// Sum, at most [`Nanos::MAX`].
    #[inline]
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, at least [`Nanos::ZERO`].
    #[inline]
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn what_is_not_a_positive_time_is_zero() {
        for secs in [0.0, -0.0, -1e-9, -1e300, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(Nanos::from_secs_f64_ceil(secs), Nanos::ZERO, "{secs}");
        }
    }

    #[test]
    fn what_does_not_fit_is_the_latest_instant() {
        for secs in [18_446_744_073.709_553, 1e11, 1e300, f64::MAX, f64::INFINITY] {
            assert_eq!(Nanos::from_secs_f64_ceil(secs), Nanos::MAX, "{secs}");
        }
        assert!(Nanos::from_secs_f64_ceil(18_446_744_073.0) < Nanos::MAX);
    }

    #[test]
    fn the_smallest_positive_time_is_one_nanosecond() {
        for secs in [f64::from_bits(1), f64::MIN_POSITIVE, 1e-30, 1e-12, 0.999e-9] {
            assert_eq!(Nanos::from_secs_f64_ceil(secs), Nanos::from_nanos(1), "{secs}");
        }
    }

    #[test]
    fn a_fraction_of_a_nanosecond_rounds_up() {
        // The double nearest to 0.1 lies above it, the one nearest to 0.3 below.
        assert_eq!(Nanos::from_secs_f64_ceil(0.1).as_nanos(), 100_000_001);
        assert_eq!(Nanos::from_secs_f64_ceil(0.3).as_nanos(), 300_000_000);
        assert_eq!(Nanos::from_secs_f64_ceil(0.5).as_nanos(), 500_000_000);
        assert_eq!(Nanos::from_secs_f64_ceil(3.0).as_nanos(), 3_000_000_000);
        assert_eq!(Nanos::from_secs_f64_ceil(1.000_000_000_5).as_nanos(), 1_000_000_001);
    }

    #[test]
    fn seconds_match_a_single_division_up_to_104_days() {
        for nanos in [0_u32, 1, 999_999_999, 1_000_000_000, 1_000_000_001, u32::MAX] {
            let seconds = Nanos::from_nanos(nanos.into()).as_secs_f64();
            assert_eq!(seconds.to_bits(), (f64::from(nanos) / 1e9).to_bits());
        }
    }

    #[test]
    fn seconds_do_not_step_back_where_the_formula_changes() {
        let mut last = 0.0;
        for nanos in (1_u64 << 53) - 1000..(1 << 53) + 1000 {
            let secs = Nanos::from_nanos(nanos).as_secs_f64();
            assert!(secs >= last, "{nanos}");
            last = secs;
        }
    }

    #[test]
    fn arithmetic_stays_within_the_ends() {
        let one = Nanos::from_nanos(1);
        assert_eq!(Nanos::MAX.saturating_add(one), Nanos::MAX);
        assert_eq!(Nanos::ZERO.saturating_sub(one), Nanos::ZERO);
        assert_eq!(one.saturating_add(one).saturating_sub(one), one);
    }
}

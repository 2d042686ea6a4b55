//! The loop's clock: `CLOCK_MONOTONIC`, the clock behind Python's `time.monotonic()`.

use core::mem::MaybeUninit;

use crate::time::Nanos;

/// Nanoseconds on the monotonic clock. Costs about 20 ns (vDSO, no system call).
///
/// Called for every `call_later`, which is why the two halves are read one by one: reading both with one wide load, as the
/// compiler would, has to wait for the two narrow stores that have just been made.
#[must_use]
pub fn now() -> Nanos {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: there is room for a `timespec`.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    debug_assert_eq!(outcome, 0, "every Linux has this clock");
    let now = now.as_ptr();
    // SAFETY: the place of a field of the `timespec`.
    let seconds = unsafe { &raw const (*now).tv_sec };
    // SAFETY: as above.
    let nanos = unsafe { &raw const (*now).tv_nsec };
    // SAFETY: the call has filled it in.
    let seconds = unsafe { seconds.read_volatile() };
    // SAFETY: as above.
    let nanos = unsafe { nanos.read_volatile() };
    // The monotonic clock starts near zero at boot and is never negative.
    Nanos::from_nanos(seconds.unsigned_abs() * 1_000_000_000 + nanos.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn the_clock_never_goes_back() {
        let first = now();
        assert!(now() >= first);
    }
}

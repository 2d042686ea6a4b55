//! The loop's clock: `CLOCK_MONOTONIC`, the clock behind Python's `time.monotonic()`; the processor's time of a thread.

use core::mem::MaybeUninit;

use crate::time::Nanos;

/// Nanoseconds on the monotonic clock. Costs about 20 ns (vDSO, no system call).
///
/// Called for every `call_later`, which is why the two halves are read one by one: reading both with one wide load, as the
/// compiler would, has to wait for the two narrow stores that have just been made.
#[must_use]
pub fn now() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

/// The processor's time that the calling thread has taken. A system call of about 200 ns.
#[must_use]
pub fn thread_time() -> Nanos {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "`now` is one function, without a second call")]
fn read(clock: libc::clockid_t) -> Nanos {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: there is room for a `timespec`.
    let outcome = unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) };
    debug_assert_eq!(outcome, 0, "every Linux has both clocks");
    let now = now.as_ptr();
    // SAFETY: the place of a field of the `timespec`.
    let seconds = unsafe { &raw const (*now).tv_sec };
    // SAFETY: as above.
    let nanos = unsafe { &raw const (*now).tv_nsec };
    // SAFETY: the call has filled it in.
    let seconds = unsafe { seconds.read_volatile() };
    // SAFETY: as above.
    let nanos = unsafe { nanos.read_volatile() };
    // Both clocks start near zero and are never negative.
    Nanos::from_nanos(seconds.unsigned_abs() * 1_000_000_000 + nanos.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::{now, thread_time};

    #[test]
    fn the_clock_never_goes_back() {
        let first = now();
        assert!(now() >= first);
    }

    #[test]
    fn a_thread_that_works_takes_time() {
        let first = thread_time();
        while thread_time() == first {}
        assert!(thread_time() > first);
    }
}

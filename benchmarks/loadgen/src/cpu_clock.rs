//! The CPU time of a process, this one or another.
//!
//! Linux gives every process a clock that runs while its threads do; the clock's number is made from the process number
//! (`clock_getcpuclockid(3)`). Reading it asks nothing of the measured process: no control message, no extra thread, no
//! wait for its interpreter lock. It counts what `getrusage` does (user and system time of all threads, the ended ones
//! too), in nanoseconds.

use std::io;
use std::time::Duration;

/// `CPUCLOCK_SCHED`: precise run time, of the whole process.
const PRECISE: i32 = 2;

/// CPU time that process `pid` has used since it began.
pub(crate) fn of_process(pid: i32) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec` through the pointer, which `time` is, and keeps nothing; a number that is no
    // clock gives EINVAL.
    let result = unsafe { libc::clock_gettime(!pid << 3 | PRECISE, &raw mut time) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Ok(Duration::new(seconds, nanos))
}

/// CPU time that this process has used since it began.
pub(crate) fn own() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_this_process_by_number_is_its_own_clock() {
        let pid = i32::try_from(std::process::id()).expect("a process number fits");
        let before = own();
        let by_number = of_process(pid).expect("this process lives");
        assert!(before <= by_number && by_number <= own());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(of_process(i32::MAX >> 4).is_err());
    }
}

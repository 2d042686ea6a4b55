//! epoll, as much of it as the backend uses.
//!
//! The kernel keys a registration on the pair of open file and descriptor number. When the last descriptor of a file is
//! closed its registrations vanish without a word; when a duplicate of it lives on, the registration stays, reports
//! under its old data, and can no longer be removed by number. The backend deals with both.
//!
//! `epoll_wait` counts in milliseconds. Waits that need more use `epoll_pwait2` (Linux 5.11); where it is missing the
//! timeout is rounded up, so that a timer is late by less than a millisecond and never early.

use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;

use super::error::{Error, Result, counted, retry};
use super::number;
use crate::time::Nanos;

pub use libc::epoll_event as Event;
pub use rustix::event::epoll::{EventData, EventFlags};

static HAS_PWAIT2: AtomicBool = AtomicBool::new(true);

/// An epoll instance, or what is left of a closed one.
#[derive(Debug)]
pub struct Epoll(Option<OwnedFd>);

impl Epoll {
    /// Makes one, closed on `exec`.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> Result<Self> {
        retry("epoll_create1", || epoll::create(epoll::CreateFlags::CLOEXEC)).map(|fd| Self(Some(fd)))
    }

    /// Stands for an instance that has been closed: everything is answered with `EBADF`.
    #[must_use]
    pub const fn closed() -> Self {
        Self(None)
    }

    /// Puts a new, empty instance in the place of this one, under the same number: a forked child's copy lets go of what
    /// it shares with its parent.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`: nothing has changed. `EBADF` for a closed one.
    pub fn renew(&self) -> Result<()> {
        let place = self.fd("epoll_create1")?;
        let new = retry("epoll_create1", || epoll::create(epoll::CreateFlags::CLOEXEC))?;
        number::put(&new, place)
    }

    /// Another descriptor of this instance, as a forked child has one.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn duplicate(&self) -> std::io::Result<Self> {
        self.0.as_ref().map(OwnedFd::try_clone).transpose().map(Self)
    }

    fn fd(&self, call: &'static str) -> Result<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd).ok_or(Error::new(call, Errno::BADF))
    }

    /// Registers `fd`.
    ///
    /// # Errors
    /// `EEXIST`, `EBADF`, `EPERM` for what cannot be polled (a regular file), `ENOSPC`.
    pub fn add(&self, fd: BorrowedFd<'_>, data: u64, flags: EventFlags) -> Result<()> {
        let epoll = self.fd("epoll_ctl")?;
        retry("epoll_ctl", || epoll::add(epoll, fd, EventData::new_u64(data), flags))
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// `ENOENT` when the file behind the number is another than was registered, `EBADF`.
    pub fn modify(&self, fd: BorrowedFd<'_>, data: u64, flags: EventFlags) -> Result<()> {
        let epoll = self.fd("epoll_ctl")?;
        retry("epoll_ctl", || epoll::modify(epoll, fd, EventData::new_u64(data), flags))
    }

    /// Ends a registration.
    ///
    /// # Errors
    /// `ENOENT`, `EBADF`: it had ended before.
    pub fn delete(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let epoll = self.fd("epoll_ctl")?;
        retry("epoll_ctl", || epoll::delete(epoll, fd))
    }

    /// Appends what is ready to the spare capacity of `events`, waiting for at most `timeout` (`None`: for ever).
    ///
    /// # Errors
    /// `EINTR` when a signal ended the wait; the caller looks at its signals.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Nanos>) -> Result<()> {
        let Some(timeout) = timeout else {
            return self.wait_milliseconds(events, None);
        };
        if timeout == Nanos::ZERO {
            return self.wait_milliseconds(events, Some(Nanos::ZERO));
        }
        if HAS_PWAIT2.load(Ordering::Relaxed) {
            match self.wait_nanoseconds(events, timeout) {
                // Some sandboxes answer EPERM where an old kernel answers ENOSYS.
                Err(Error { errno: Errno::NOSYS | Errno::PERM, .. }) => HAS_PWAIT2.store(false, Ordering::Relaxed),
                outcome => return outcome,
            }
        }
        self.wait_milliseconds(events, Some(timeout))
    }

    fn wait_milliseconds(&self, events: &mut Vec<Event>, timeout: Option<Nanos>) -> Result<()> {
        let timeout =
            timeout.map_or(-1, |nanos| i32::try_from(nanos.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        let epoll = self.fd("epoll_wait")?;
        let (spare, room) = spare_room(events);
        // By number: libc's function may be cancelled by `pthread_cancel`, which costs more in a process with threads.
        // SAFETY: `spare` has room for `room` events, a null signal mask is allowed.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait,
                epoll.as_raw_fd(),
                spare,
                room,
                timeout,
                core::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        take_count(events, count, "epoll_wait")
    }

    fn wait_nanoseconds(&self, events: &mut Vec<Event>, timeout: Nanos) -> Result<()> {
        let nanos = timeout.as_nanos();
        let timeout = libc::timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let epoll = self.fd("epoll_pwait2")?;
        let (spare, room) = spare_room(events);
        // SAFETY: `spare` has room for `room` events, `timeout` outlives the call, a null signal mask is allowed.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                spare,
                room,
                &raw const timeout,
                core::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        take_count(events, count, "epoll_pwait2")
    }
}

/// Where the kernel may write events, and how many.
fn spare_room(events: &mut Vec<Event>) -> (*mut Event, i32) {
    let spare = events.spare_capacity_mut();
    (spare.as_mut_ptr().cast(), i32::try_from(spare.len()).unwrap_or(i32::MAX))
}

/// Takes over the `count` events that the kernel wrote behind the old length, or the error that a negative count stands for.
fn take_count(events: &mut Vec<Event>, count: i64, call: &'static str) -> Result<()> {
    let count = counted(count).map_err(|errno| Error::new(call, errno))?;
    // SAFETY: the kernel has written `count` events behind the old length, no more than there was room for.
    unsafe { events.set_len(events.len() + count) };
    Ok(())
}

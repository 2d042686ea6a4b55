//! What every backend does: the contract between the reactor and the kernel.
//!
//! A backend runs *operations* on *attached* descriptors. The contract has the shape of completions, so that a backend
//! may be driven by readiness (epoll), by completions (`io_uring`) or by a script (tests), and nothing above it changes.
//!
//! # Attaching
//! 1. [`Backend::attach`] gives a descriptor a [`Key`]: a slot and the slot's generation. A key is never given twice, so
//!    whatever arrives late for a detached key is recognised and dropped; a descriptor's *number* identifies nothing.
//! 2. The caller keeps the descriptor open until it has detached the key. Should somebody else close it, operations fail
//!    or stay silent, and no other descriptor is touched, whatever number it has. A number belongs to the key that
//!    attached it last: for as long as that one is attached, an older key of the number watches nothing, is announced
//!    nothing and is answered `EBADF`. It can be used again, and watched anew, once the newer key has been detached.
//! 3. [`Backend::detach`] ends every operation of the key. The backend gives back what these owned and lets go of the
//!    descriptor before it returns; nothing is announced for the key afterwards. Under a key that is not attached there
//!    is nothing to watch, to receive or to hear of, and a send fails with `EBADF`.
//!
//! # Operations
//! 4. *Watching* ([`Backend::watch`]) repeats until the interest is taken back: the backend announces the key whenever
//!    the descriptor can make progress in that direction, again and again while that holds (level-triggered). Who takes what
//!    arrives is said when the descriptor is attached ([`Usage`]); a caller that takes otherwise than it said may be
//!    announced too much, never too little.
//! 5. *Receiving* is two steps. Watching for [`Interest::READ`] announces that bytes, the end of the stream or an error
//!    are there; [`Backend::receive`] takes them into the caller's buffer. Between the two the caller may stop watching:
//!    no byte is lost, it stays with the backend or the kernel until the next `receive`.
//! 6. *Sending* ([`Backend::send`]) hands a whole chain over: the backend owns its chunks until the operation ends, and it
//!    ends exactly once: all bytes taken by the kernel, or an error, or the key detached. At most one send is under way for
//!    a key; the announcement of [`Interest::WRITE`] says that [`Backend::sent`] has news of it. Chunks that the kernel
//!    has taken, and those of a send that failed, are dropped within the call that reports it. Bytes that are to stay the
//!    caller's are offered with [`Backend::send_now`]: the kernel takes what it has room for, and nothing goes on.
//!    Neither receiving nor sending ever waits, whatever mode others have given the open file.
//!
//! # Waiting
//! 7. [`Backend::start_wait`] moves the blocking half out, so that the wait needs no access to the loop's state and other
//!    threads may use the loop meanwhile; [`Backend::end_wait`] puts it back and reports, in the order of the kernel.
//! 8. A wait may end early and report nothing. Spurious announcements are allowed; missing ones are not. What a wait has
//!    found stays in the blocking half until `end_wait` takes it, whatever ended that wait or a later one.
//!
//! `tests/backend_contract` holds every backend to these rules.

mod by_number;
mod chaos;
pub mod epoll;
mod interest;
mod key;
mod numbers;
mod outgoing;
#[cfg(feature = "sim")]
pub mod sim;
mod slots;
mod usage;

pub use by_number::ByNumber;
pub use interest::Interest;
pub use key::Key;
pub use slots::Slots;
pub use usage::Usage;

use core::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use crate::buf::Chain;
use crate::sys::error::Result;
use crate::time::Nanos;

/// What a wait found: this key can make progress in these directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The key, current when the wait ended. It may be detached by the time the announcement is handled.
    pub key: Key,
    /// The directions, only those that were watched or had a send under way.
    pub ready: Interest,
}

/// What became of a receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes are in the buffer, at least one.
    Bytes(usize),
    /// The peer has ended its sending direction.
    End,
    /// Nothing there after all.
    Nothing,
}

/// How far a send has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The send has ended; the kernel took `bytes` since the last report, and with them all.
    All {
        /// Bytes since the last report.
        bytes: usize,
    },
    /// The send goes on; the kernel took `bytes` since the last report.
    Some {
        /// Bytes since the last report.
        bytes: usize,
    },
}

/// The half of a backend that blocks; see rule 7.
pub trait Poller: Send {
    /// Waits until something is ready, at most for `timeout` (`None`: for ever, zero: not at all).
    ///
    /// # Errors
    /// `EINTR` when a signal arrived; what was found by then is kept for [`Backend::end_wait`].
    fn wait(&mut self, timeout: Option<Nanos>) -> Result<()>;
}

/// Runs operations on descriptors; the module's text is the contract. Loop thread only.
pub trait Backend: Sized {
    /// The half that blocks.
    type Poller: Poller;

    /// Takes a descriptor under `key`, which is not attached, watching nothing yet. Another key of the same number lets go
    /// of it (rule 2).
    ///
    /// # Errors
    /// `EBADF`, where the backend can tell, and always for a number higher than any that has been open: no memory is asked
    /// for on behalf of a number that the kernel has not given out. `ENOMEM`. The key is not attached then, and nothing
    /// has changed.
    fn attach(&mut self, key: Key, fd: BorrowedFd<'_>, usage: Usage) -> Result<()>;

    /// Ends everything under `key`: the watch, the send under way, all announcements. Does nothing for a key that is not
    /// attached.
    ///
    /// What the kernel had not taken of the send under way comes back, its first chunk possibly cut; so each chunk is
    /// released once, here or by [`Backend::sent`]. Memory that the kernel may still read is the exception: the backend
    /// keeps it until the kernel is done with it, and releases it then.
    ///
    /// Detach before closing: once the number has been closed, and perhaps given to another file, a backend can no longer
    /// take its own registration back.
    fn detach(&mut self, key: Key) -> Chain;

    /// Watches exactly `interest` from now on ([`Interest::NONE`]: nothing). Asking again for what is watched already asks
    /// the kernel again, so that a number which has been closed and opened anew is heard of.
    ///
    /// # Errors
    /// `EPERM` for a descriptor that cannot be polled, `EBADF` for one that has been closed, `ENOSPC`, `ENOMEM`. What was
    /// watched before stays so.
    fn watch(&mut self, key: Key, interest: Interest) -> Result<()>;

    /// What is being watched under `key`.
    fn watched(&self, key: Key) -> Interest;

    /// A read of the caller's own has just found nothing there (`EAGAIN`); see [`Usage::Attempts`], the only usage for which
    /// this may be said.
    fn refused(&mut self, key: Key);

    /// A receive of the caller's own has just brought bytes, and fewer than there was room for; for [`Usage::Attempts`].
    /// Whether that shows that nothing is left: the next read would find nothing, and what comes after it is announced.
    fn received_short(&mut self, key: Key) -> bool;

    /// Whether the descriptor's number still names the file that is being watched under `key`, or was until just now; `None`
    /// where the backend cannot tell.
    fn names_watched_file(&mut self, key: Key) -> Option<bool>;

    /// How many bytes [`Self::receive`] would bring at least, given the room; 0 where the backend cannot tell. Nothing is taken.
    fn waiting_bytes(&self, key: Key) -> usize;

    /// Takes received bytes into `buffer`, which must not be empty.
    ///
    /// # Errors
    /// The connection's error, once: `ECONNRESET`, `ETIMEDOUT`, ...
    fn receive(&mut self, key: Key, buffer: &mut [MaybeUninit<u8>]) -> Result<Received>;

    /// Starts to send `chain`; no send may be under way for `key`.
    ///
    /// # Errors
    /// The connection's error, or `EBADF` (rules 2 and 3); the send has ended and its chunks have been released.
    fn send(&mut self, key: Key, chain: Chain) -> Result<Sent>;

    /// Offers bytes that stay the caller's, while no send is under way for `key`: how many of them the kernel has taken;
    /// `None` for no room.
    ///
    /// # Errors
    /// As for [`Backend::send`].
    fn send_now(&mut self, key: Key, bytes: &[u8]) -> Result<Option<usize>>;

    /// News of the send under way. `Sent::All { bytes: 0 }` when there is none.
    ///
    /// # Errors
    /// As for [`Backend::send`].
    fn sent(&mut self, key: Key) -> Result<Sent>;

    /// Descriptors that a wait could find something about.
    fn registrations(&self) -> usize;

    /// Takes the blocking half out for one wait.
    fn start_wait(&mut self) -> Self::Poller;

    /// Puts the blocking half back and appends what it found to `found`.
    fn end_wait(&mut self, poller: Self::Poller, found: &mut Vec<Announcement>);
}

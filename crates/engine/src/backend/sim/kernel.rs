//! The kernel of the scripted backend: files, numbers, registrations and the clock.
//!
//! # Invariants
//! 1. A number names one file; a file lives for as long as a number names it, and its registrations with it.
//! 2. A script's entries are used in the order in which they were written: one whose instant has come waits for those
//!    before it.

use core::mem::MaybeUninit;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::backend::{Announcement, Interest, Key, Received};
use crate::sys::error::{Error, Result};
use crate::time::Nanos;

/// What one receive brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// These bytes, as far as the buffer has room; the rest stays for the next receive.
    Bytes(Vec<u8>),
    /// The end of the stream, now and ever after.
    End,
    /// A failed call, once.
    Error(Errno),
    /// Nothing, although it was announced.
    Nothing,
}

/// How one system call that sends goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// The kernel takes so many bytes at the most; with 0 the call would block.
    AtMost(usize),
    /// A failed call, once.
    Error(Errno),
}

/// How one wait goes, whatever is ready. It takes no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// It reports exactly these, in this order.
    Reports(Vec<Announcement>),
    /// It reports exactly these and fails with `EINTR`.
    Interrupted(Vec<Announcement>),
}

/// An entry of a script.
#[derive(Debug)]
struct Timed<T> {
    from: Nanos,
    written: u64,
    what: T,
}

impl<T> Timed<T> {
    /// Where a socket that this entry makes ready stands in a report.
    fn rank(&self) -> Rank {
        Rank { since: self.from, written: self.written }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    since: Nanos,
    written: u64,
}

impl Rank {
    const ALWAYS: Self = Self { since: Nanos::ZERO, written: 0 };
}

/// What descriptors name.
#[derive(Debug, Default)]
struct File {
    incoming: VecDeque<Timed<Incoming>>,
    takes: VecDeque<Timed<Take>>,
    taken: Vec<u8>,
    is_regular: bool,
}

impl File {
    /// From when on each direction can make progress: `None` for never, as far as the script goes.
    fn ready_from(&self, direction: Interest) -> Option<Rank> {
        if direction == Interest::READ {
            self.incoming.front().map(Timed::rank)
        } else {
            Some(self.takes.front().map_or(Rank::ALWAYS, Timed::rank))
        }
    }
}

#[derive(Debug)]
struct Registration {
    key: Key,
    file: usize,
    interest: Interest,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    now: Nanos,
    written: u64,
    files: Vec<File>,
    numbers: BTreeMap<RawFd, usize>,
    registrations: Vec<Registration>,
    waits: VecDeque<Wait>,
}

impl Kernel {
    pub(super) fn now(&self) -> Nanos {
        self.now
    }

    pub(super) fn advance(&mut self, span: Nanos) {
        self.now = self.now.saturating_add(span);
    }

    /// Makes a file without a number.
    pub(super) fn open(&mut self, is_regular: bool) -> usize {
        self.files.push(File { is_regular, ..File::default() });
        self.files.len() - 1
    }

    /// Makes `number` name `file`; what it named before is closed.
    pub(super) fn name(&mut self, number: RawFd, file: usize) {
        self.close(number);
        self.numbers.insert(number, file);
    }

    pub(super) fn close(&mut self, number: RawFd) {
        let Some(file) = self.numbers.remove(&number) else { return };
        if !self.numbers.values().any(|&other| other == file) {
            self.registrations.retain(|registration| registration.file != file);
        }
    }

    pub(super) fn file_of(&self, number: RawFd) -> Option<usize> {
        self.numbers.get(&number).copied()
    }

    pub(super) fn check_open(&self, number: RawFd, call: &'static str) -> Result<usize> {
        self.file_of(number).ok_or(Error::new(call, Errno::BADF))
    }

    // --- the script -----------------------------------------------------------------------------------------------

    pub(super) fn script_incoming(&mut self, file: usize, from: Nanos, what: Incoming) {
        assert_ne!(what, Incoming::Bytes(Vec::new()), "no bytes would look like the end of the stream");
        self.written += 1;
        self.files[file].incoming.push_back(Timed { from, written: self.written, what });
    }

    pub(super) fn script_take(&mut self, file: usize, from: Nanos, what: Take) {
        self.written += 1;
        self.files[file].takes.push_back(Timed { from, written: self.written, what });
    }

    pub(super) fn script_wait(&mut self, wait: Wait) {
        self.waits.push_back(wait);
    }

    /// Removes what receives could bring by now.
    pub(super) fn steal(&mut self, file: usize) {
        let now = self.now;
        let incoming = &mut self.files[file].incoming;
        while incoming.front().is_some_and(|entry| entry.from <= now && entry.what != Incoming::End) {
            incoming.pop_front();
        }
    }

    pub(super) fn taken(&self, file: usize) -> &[u8] {
        &self.files[file].taken
    }

    // --- system calls ---------------------------------------------------------------------------------------------

    pub(super) fn register(&mut self, key: Key, number: RawFd, interest: Interest) -> Result<()> {
        let file = self.check_open(number, "epoll_ctl")?;
        if self.files[file].is_regular {
            return Err(Error::new("epoll_ctl", Errno::PERM));
        }
        match self.registrations.iter_mut().find(|registration| registration.key == key) {
            Some(registration) => *registration = Registration { key, file, interest },
            None => self.registrations.push(Registration { key, file, interest }),
        }
        Ok(())
    }

    pub(super) fn unregister(&mut self, key: Key) {
        self.registrations.retain(|registration| registration.key != key);
    }

    pub(super) fn registrations(&self) -> usize {
        self.registrations.len()
    }

    pub(super) fn waiting_bytes(&self, number: RawFd) -> usize {
        let Ok(file) = self.check_open(number, "ioctl") else { return 0 };
        match self.files[file].incoming.front().filter(|entry| entry.from <= self.now) {
            Some(Timed { what: Incoming::Bytes(bytes), .. }) => bytes.len(),
            _ => 0,
        }
    }

    pub(super) fn receive(&mut self, number: RawFd, buffer: &mut [MaybeUninit<u8>]) -> Result<Received> {
        let file = self.check_open(number, "recv")?;
        let incoming = &mut self.files[file].incoming;
        let Some(entry) = incoming.front_mut().filter(|entry| entry.from <= self.now) else {
            return Ok(Received::Nothing);
        };
        let (outcome, is_used_up) = match &mut entry.what {
            Incoming::Nothing => (Ok(Received::Nothing), true),
            Incoming::Error(errno) => (Err(Error::new("recv", *errno)), true),
            Incoming::End => (Ok(Received::End), false),
            Incoming::Bytes(bytes) => {
                let count = bytes.len().min(buffer.len());
                for (place, byte) in buffer.iter_mut().zip(bytes.drain(..count)) {
                    place.write(byte);
                }
                (Ok(Received::Bytes(count)), bytes.is_empty())
            }
        };
        if is_used_up {
            incoming.pop_front();
        }
        outcome
    }

    pub(super) fn send(&mut self, number: RawFd, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
        let file = self.check_open(number, "sendmsg")?;
        let File { takes, taken, .. } = &mut self.files[file];
        let limit = match takes.front() {
            None => usize::MAX,
            Some(entry) if entry.from > self.now => 0,
            Some(_) => match takes.pop_front().map(|entry| entry.what) {
                Some(Take::Error(errno)) => return Err(Error::new("sendmsg", errno)),
                Some(Take::AtMost(limit)) => limit,
                None => usize::MAX,
            },
        };
        let before = taken.len();
        taken.extend(slices.iter().flat_map(|slice| slice.iter()).take(limit));
        let count = taken.len() - before;
        Ok((count > 0).then_some(count))
    }

    pub(super) fn wait(&mut self, timeout: Option<Nanos>, found: &mut Vec<Announcement>) -> Result<()> {
        match self.waits.pop_front() {
            Some(Wait::Reports(reports)) => {
                found.extend(reports);
                return Ok(());
            }
            Some(Wait::Interrupted(reports)) => {
                found.extend(reports);
                return Err(Error::new("epoll_wait", Errno::INTR));
            }
            None => {}
        }
        if !self.report(found) {
            let limit = timeout.map(|timeout| self.now.saturating_add(timeout));
            let next = self.next_instant();
            let Some(end) = next.into_iter().chain(limit).min() else {
                panic!("the wait would never end: the script says nothing more, and there is no timeout");
            };
            self.now = end;
            self.report(found);
        }
        Ok(())
    }

    /// Appends what is ready now; whether there was anything.
    fn report(&self, found: &mut Vec<Announcement>) -> bool {
        let mut ready: Vec<(Rank, Announcement)> = Vec::new();
        for &Registration { key, file, interest } in &self.registrations {
            let mut rank: Option<Rank> = None;
            let mut directions = Interest::NONE;
            for direction in [Interest::READ, Interest::WRITE] {
                let from = self.files[file].ready_from(direction).filter(|from| from.since <= self.now);
                if let Some(from) = from.filter(|_| !(interest & direction).is_none()) {
                    directions = directions | direction;
                    rank = Some(rank.map_or(from, |rank| rank.min(from)));
                }
            }
            ready.extend(rank.map(|rank| (rank, Announcement { key, ready: directions })));
        }
        ready.sort_by_key(|&(rank, _)| rank);
        found.extend(ready.iter().map(|&(_, announcement)| announcement));
        !ready.is_empty()
    }

    /// The next instant at which something registered becomes ready.
    fn next_instant(&self) -> Option<Nanos> {
        let ranks = self.registrations.iter().flat_map(|&Registration { file, interest, .. }| {
            [Interest::READ, Interest::WRITE]
                .into_iter()
                .filter(move |&direction| !(interest & direction).is_none())
                .filter_map(move |direction| self.files[file].ready_from(direction))
        });
        // An entry for the latest instant is the script's way to say "never".
        ranks.map(|rank| rank.since).filter(|&since| since > self.now && since < Nanos::MAX).min()
    }
}

//! The epoll backend: completions made from readiness.
//!
//! A registration exists only while something is watched or being sent, or has been until just now: a descriptor that nobody
//! watches must not keep its registration for long, since epoll reports errors and hang-ups whether asked or not.
//!
//! # Levels made from arrivals
//! Level-triggered, the kernel looks at each descriptor twice: it puts what it has reported back into its list, and asks
//! the socket again at the next wait. Edge-triggered (`EPOLLET`) it reports each arrival once. An arrival after the report
//! is a new one, so nothing is missed while the reader goes on until nothing is left. What is left otherwise, the backend
//! announces again by itself, with a wait that does not sleep.
//!
//! That needs a reader who tells ([`Usage::Stream`], [`Usage::Attempts`]), and a sign that nothing is left:
//! - a read that finds nothing (`EAGAIN`);
//! - over TCP also a receive (the backend's own, or one that the reader tells of) of less than there was room for, unless an
//!   end, an error or urgent data has ever been reported: the end has no arrival of its own when it came with the last
//!   bytes, and a receive stops short of urgent data.
//!
//! Such a registration outlives the wish to read: pausing, and each wait of a caller who tries first, cost no system call.
//! The second arrival that nobody wants ends it, so that a paused connection costs one report and not one for each segment.
//! While a send waits for room the registration is level-triggered: a short count of bytes sent does not promise a report.
//!
//! # What the kernel forgets, and what it keeps
//! epoll keys a registration on the pair of open file and number.
//!
//! - It dies with the open file. When a watched descriptor was closed behind our back and its number given to another
//!   file, `EPOLL_CTL_MOD` answers `ENOENT`; watching it again then registers the new file.
//! - When a duplicate (a forked child's, say) keeps the old file alive, its registration stays, reports as before, and
//!   cannot be removed by number. Its reports are *stray*: they carry a serial that no registration of ours has any more.
//!   Strays in two waits on end make the backend move every live registration into a new epoll instance; without that
//!   the loop would spin for as long as the duplicate lives. Once is no sign: a report may cross with a detaching.
//! - When the number is given back to that same file, `EPOLL_CTL_ADD` answers `EEXIST`: the old registration is still
//!   there, and is taken over.
//!
//! # Invariants
//! 1. A key has a registration only while it holds its number (see `Numbers`). So no key ever changes or removes the
//!    registration of another.
//! 2. `registrations` counts the keys that have one.
//! 3. A registration's data in the kernel is its slot and the slot's serial, which grows with every `EPOLL_CTL_ADD`: a
//!    report is for a key only if it comes from that key's present registration. After 2^32 of them in one slot the serial
//!    starts over; the worst that can come of it is a spurious announcement.
//! 4. A key with something due (`Attached::is_due`) is listed in `listed` when a wait starts.

mod attached;
mod fork;
mod poller;

use core::mem::{self, MaybeUninit};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::chaos::Chaos;
use super::numbers::Numbers;
use super::outgoing::write_chain;
use super::{Announcement, Backend, Interest, Key, Received, Sent, Usage};
use crate::buf::{Chain, Chunk};
use crate::sys::epoll::{Epoll, EventFlags};
use crate::sys::error::{Error, Result};
use crate::sys::{number, socket};

use self::attached::{Attached, Registration};

pub use poller::EpollPoller;

/// A slot, over the lives of its keys.
#[derive(Debug, Default)]
struct Place {
    /// Names the slot's latest registration; invariant 3.
    serial: u32,
    attached: Option<Attached>,
}

/// See the module.
#[derive(Debug)]
pub struct EpollBackend {
    epoll: Arc<Epoll>,
    poller: Option<EpollPoller>,
    places: Vec<Place>,
    numbers: Numbers,
    registrations: usize,
    /// Keys that have been announced, or are wanted again: those that something is left for are announced by the next wait.
    listed: Vec<Key>,
    /// The last wait brought a stray report.
    had_stray: bool,
    /// After a fork: the instance is new, and the registrations are made when it is used (see `fork`).
    is_inherited: bool,
    released: Vec<Chunk>,
    /// Makes choices in the kernel's place; only tests of programs have that.
    chaos: Option<Box<Chaos>>,
}

impl EpollBackend {
    /// Makes an epoll instance.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> Result<Self> {
        let epoll = Arc::new(Epoll::new()?);
        Ok(Self {
            poller: Some(EpollPoller::new(Arc::clone(&epoll))),
            epoll,
            places: Vec::new(),
            numbers: Numbers::default(),
            registrations: 0,
            listed: Vec::new(),
            had_stray: false,
            is_inherited: false,
            released: Vec::new(),
            chaos: None,
        })
    }

    /// From now on `seed` chooses how much a receive and a send move, and in which order what is found at once is announced.
    pub fn be_chaotic(&mut self, seed: u64) {
        self.chaos = Some(Box::new(Chaos::new(seed)));
    }

    /// Closes the epoll instance: nothing is announced any more, and watching is answered with `EBADF`. For the end of a
    /// loop whose object lives on.
    pub fn close(&mut self) {
        self.epoll = Arc::new(Epoll::closed());
        self.poller = None;
    }

    fn get(&self, key: Key) -> Option<&Attached> {
        self.places.get(key.slot())?.attached.as_ref().filter(|attached| attached.key == key)
    }

    /// Makes the kernel's registration what `wanted` and the send under way call for.
    fn apply(&mut self, key: Key) -> Result<()> {
        let Some(attached) = find(&mut self.places, key) else { return Ok(()) };
        let next = attached.to_register();
        if next != attached.registered() {
            return self.register(key, next);
        }
        if attached.is_due() && !mem::replace(&mut attached.is_listed, true) {
            self.listed.push(key);
        }
        Ok(())
    }

    /// Registers `key` for `next`, whatever is registered now.
    fn register(&mut self, key: Key, next: Registration) -> Result<()> {
        if next == Registration::None {
            self.unregister(key);
            return Ok(());
        }
        self.revive();
        let Some(place) = self.places.get_mut(key.slot()) else { return Ok(()) };
        let Some(attached) = place.attached.as_mut() else { return Ok(()) };
        self.numbers.check(attached.fd, key, "epoll_ctl")?;
        let (fd, flags) = (borrow(attached.fd), next.flags());
        let had_one = attached.is_registered();
        let known = had_one
            && match self.epoll.modify(fd, data(key.slot(), place.serial), flags) {
                Ok(()) => true,
                // Another file has the number now.
                Err(Error { errno: Errno::NOENT, .. }) => false,
                Err(error) => return Err(error),
            };
        if !known {
            let serial = place.serial.wrapping_add(1);
            let data = data(key.slot(), serial);
            match self.epoll.add(fd, data, flags) {
                // A registration that a former key could not remove.
                Err(Error { errno: Errno::EXIST, .. }) => self.epoll.modify(fd, data, flags)?,
                outcome => outcome?,
            }
            place.serial = serial;
        }
        attached.set_registered(next);
        self.registrations += usize::from(!had_one);
        self.numbers.give_again(attached.fd, key);
        Ok(())
    }

    /// Ends the registration of `key`, if there is one.
    fn unregister(&mut self, key: Key) {
        let Some(attached) = find(&mut self.places, key).filter(|attached| attached.is_registered()) else { return };
        attached.set_registered(Registration::None);
        self.registrations -= 1;
        // The file may have been closed from outside, and its registration with it.
        let _ = self.epoll.delete(borrow(attached.fd));
    }

    /// Writes as much of the send under way as the socket takes.
    fn write_outgoing(&mut self, key: Key) -> Result<Sent> {
        let Some(attached) = find(&mut self.places, key) else { return Ok(Sent::All { bytes: 0 }) };
        let (number, numbers, chaos) = (attached.fd, &self.numbers, &mut self.chaos);
        write_chain(&mut attached.outgoing, &mut self.released, |slices| {
            numbers.check(number, key, "sendmsg")?;
            send_slices(chaos, borrow(number), slices)
        })
    }

    /// Moves every live registration into a new epoll instance; see the module.
    fn rebuild(&mut self) -> Result<()> {
        let epoll = Arc::new(Epoll::new()?);
        for (slot, place) in self.places.iter().enumerate() {
            let Some(attached) = place.attached.as_ref().filter(|attached| attached.is_registered()) else { continue };
            let (fd, data, flags) = (borrow(attached.fd), data(slot, place.serial), attached.registered().flags());
            // The number may name a file that was never registered, which only the old instance can tell.
            match self.epoll.modify(fd, data, flags).and_then(|()| epoll.add(fd, data, flags)) {
                // A descriptor closed from outside stays silent, as it was.
                Ok(()) | Err(Error { errno: Errno::NOENT | Errno::BADF | Errno::PERM, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.poller = Some(EpollPoller::new(Arc::clone(&epoll)));
        self.epoll = epoll;
        self.had_stray = false;
        Ok(())
    }
}

fn find(places: &mut [Place], key: Key) -> Option<&mut Attached> {
    places.get_mut(key.slot())?.attached.as_mut().filter(|attached| attached.key == key)
}

/// Sends what `chaos` chooses, else all.
#[inline]
fn send_slices(chaos: &mut Option<Box<Chaos>>, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
    match chaos {
        None => socket::send_slices(fd, slices),
        Some(chaos) => send_some(chaos, fd, slices),
    }
}

#[cold]
fn send_some(chaos: &mut Chaos, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
    let mut left = chaos.part(slices.iter().map(|slice| slice.len()).sum());
    let mut some = Vec::new();
    for slice in slices {
        let length = slice.len().min(left);
        some.extend((length != 0).then(|| IoSlice::new(&slice[..length])));
        left -= length;
    }
    socket::send_slices(fd, &some)
}

/// What travels through the kernel with a registration; invariant 3.
fn data(slot: usize, serial: u32) -> u64 {
    u64::from(serial) << 32 | slot as u64
}

/// The slot of what [`data`] joined.
fn slot_of(data: u64) -> usize {
    usize::try_from(data & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: by rule 2 of the contract the caller keeps an attached descriptor open until it detaches it. Where user code
    // closes one behind our back the system calls see a wrong or foreign number, which they answer with an error or, for
    // a watch, with readiness of another file: no memory is at stake.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// epoll's report in terms of directions. An error or a hang-up makes both able to progress: reading and writing report it.
fn directions(flags: EventFlags) -> Interest {
    let mut ready = Interest::NONE;
    if flags.intersects(!EventFlags::IN) {
        ready = ready | Interest::WRITE;
    }
    if flags.intersects(!EventFlags::OUT) {
        ready = ready | Interest::READ;
    }
    ready
}

impl Backend for EpollBackend {
    type Poller = EpollPoller;

    fn attach(&mut self, key: Key, fd: BorrowedFd<'_>, usage: Usage) -> Result<()> {
        let displaced = self.numbers.give(fd.as_raw_fd(), key, || number::check_open(fd))?;
        if self.places.len() <= key.slot() {
            self.places.resize_with(key.slot() + 1, Place::default);
        }
        if let Some(displaced) = displaced {
            self.unregister(displaced);
            if let Some(attached) = find(&mut self.places, displaced) {
                attached.wanted = Interest::NONE;
            }
        }
        let former = self.places[key.slot()].attached.replace(Attached::new(key, fd, usage));
        debug_assert!(former.is_none(), "the slot's former key has not been detached");
        Ok(())
    }

    fn detach(&mut self, key: Key) -> Chain {
        self.unregister(key);
        let Some(place) = self.places.get_mut(key.slot()) else { return Chain::new() };
        let Some(attached) = place.attached.take_if(|attached| attached.key == key) else { return Chain::new() };
        self.numbers.release(attached.fd, key);
        attached.outgoing
    }

    fn watch(&mut self, key: Key, interest: Interest) -> Result<()> {
        let Some(attached) = find(&mut self.places, key) else { return Ok(()) };
        let before = mem::replace(&mut attached.wanted, interest);
        if before == interest {
            // Asked again for what is registered: the number may belong to another file by now.
            let next = attached.to_register();
            return if interest.is_none() { Ok(()) } else { self.register(key, next) };
        }
        let outcome = self.apply(key);
        if outcome.is_err()
            && let Some(attached) = find(&mut self.places, key)
        {
            attached.wanted = before;
        }
        outcome
    }

    fn watched(&self, key: Key) -> Interest {
        self.get(key).map_or(Interest::NONE, |attached| attached.wanted)
    }

    fn refused(&mut self, key: Key) {
        if let Some(attached) = find(&mut self.places, key) {
            attached.refused();
        }
    }

    fn received_short(&mut self, key: Key) -> bool {
        find(&mut self.places, key).is_some_and(Attached::received_short)
    }

    fn names_watched_file(&mut self, key: Key) -> Option<bool> {
        self.revive();
        let place = self.places.get(key.slot())?;
        let attached = place.attached.as_ref().filter(|attached| attached.key == key && attached.is_registered())?;
        let fd = borrow(attached.fd);
        // What is registered cannot be added: the cheapest question that the kernel answers about a number and a file.
        // A stray registration (see the module) answers for its file as well: told apart are files that were never registered
        // under this number.
        let outcome = self.epoll.add(fd, data(key.slot(), place.serial), attached.registered().flags());
        if outcome.is_ok() {
            let _ = self.epoll.delete(fd);
        }
        Some(matches!(outcome, Err(Error { errno: Errno::EXIST, .. })))
    }

    fn waiting_bytes(&self, key: Key) -> usize {
        let attached = self.get(key).filter(|attached| self.numbers.check(attached.fd, key, "ioctl").is_ok());
        attached.map_or(0, |attached| socket::waiting_bytes(borrow(attached.fd)))
    }

    fn receive(&mut self, key: Key, buffer: &mut [MaybeUninit<u8>]) -> Result<Received> {
        debug_assert!(!buffer.is_empty(), "no bytes would look like the end of the stream");
        let Some(attached) = find(&mut self.places, key) else { return Ok(Received::Nothing) };
        self.numbers.check(attached.fd, key, "recv")?;
        let length = buffer.len();
        let buffer = &mut buffer[..self.chaos.as_mut().map_or(length, |chaos| chaos.part(length))];
        Ok(match socket::receive(borrow(attached.fd), buffer)? {
            None => {
                attached.refused();
                Received::Nothing
            }
            Some(0) => Received::End,
            Some(bytes) => {
                if bytes < buffer.len() {
                    attached.received_short();
                }
                Received::Bytes(bytes)
            }
        })
    }

    fn send(&mut self, key: Key, mut chain: Chain) -> Result<Sent> {
        let Some(attached) = self.get(key) else { return Err(Error::new("sendmsg", Errno::BADF)) };
        debug_assert!(attached.outgoing.is_empty(), "one send at a time");
        let (number, numbers, chaos) = (attached.fd, &self.numbers, &mut self.chaos);
        let sent = write_chain(&mut chain, &mut self.released, |slices| {
            numbers.check(number, key, "sendmsg")?;
            send_slices(chaos, borrow(number), slices)
        })?;
        if let Sent::Some { .. } = sent {
            if let Some(attached) = find(&mut self.places, key) {
                attached.outgoing = chain;
            }
            if let Err(error) = self.apply(key) {
                if let Some(attached) = find(&mut self.places, key) {
                    attached.outgoing = Chain::new();
                }
                return Err(error);
            }
        }
        Ok(sent)
    }

    fn send_now(&mut self, key: Key, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(attached) = self.get(key) else { return Err(Error::new("send", Errno::BADF)) };
        debug_assert!(attached.outgoing.is_empty(), "one send at a time");
        self.numbers.check(attached.fd, key, "send")?;
        let fd = borrow(attached.fd);
        let length = self.chaos.as_mut().map_or(bytes.len(), |chaos| chaos.part(bytes.len()));
        socket::send(fd, &bytes[..length])
    }

    fn sent(&mut self, key: Key) -> Result<Sent> {
        let outcome = self.write_outgoing(key);
        match outcome {
            Ok(Sent::Some { .. }) => outcome,
            // The end of the send ends the interest in room; without that every wait would report it.
            Ok(Sent::All { .. }) => self.apply(key).and(outcome),
            Err(_) => {
                let _ = self.apply(key);
                outcome
            }
        }
    }

    fn registrations(&self) -> usize {
        self.registrations
    }

    fn start_wait(&mut self) -> EpollPoller {
        self.revive();
        let places = &mut self.places;
        self.listed.retain(|&key| {
            find(places, key).is_some_and(|attached| {
                attached.is_listed = attached.is_due();
                attached.is_listed
            })
        });
        let mut poller = self.poller.take().unwrap_or_else(|| EpollPoller::new(Arc::clone(&self.epoll)));
        poller.is_due = !self.listed.is_empty();
        poller
    }

    fn end_wait(&mut self, mut poller: EpollPoller, found: &mut Vec<Announcement>) {
        for &key in &self.listed {
            if self.get(key).is_some_and(Attached::is_due) {
                found.push(Announcement { key, ready: Interest::READ });
            }
        }
        let mut has_stray = false;
        for event in poller.events() {
            let (reported, flags) = (event.u64, EventFlags::from_bits_retain(event.events));
            let slot = slot_of(reported);
            let attached = self
                .places
                .get_mut(slot)
                .filter(|place| data(slot, place.serial) == reported)
                .and_then(|place| place.attached.as_mut())
                .filter(|attached| attached.is_registered());
            let Some(attached) = attached else {
                has_stray = true;
                continue;
            };
            let key = attached.key;
            match attached.registered() {
                Registration::None => {}
                Registration::Level(interest) => {
                    let ready = directions(flags) & interest;
                    if !ready.is_none() {
                        found.push(Announcement { key, ready });
                    }
                }
                Registration::Arrivals => {
                    let had_arrival = attached.arrived(flags);
                    if attached.wanted.reads() {
                        // What is listed has been announced above.
                        if !mem::replace(&mut attached.is_listed, true) {
                            self.listed.push(key);
                            found.push(Announcement { key, ready: Interest::READ });
                        }
                    } else if had_arrival {
                        self.unregister(key);
                    }
                }
            }
        }
        if let Some(chaos) = &mut self.chaos {
            chaos.shuffle(found);
        }
        // The instance may have been closed during the wait.
        self.poller = Some(poller).filter(|poller| poller.waits_on(&self.epoll));
        let is_repeated = mem::replace(&mut self.had_stray, has_stray);
        if has_stray && is_repeated {
            // Out of descriptors: the stray report comes again with the next wait, and so does this attempt.
            let _ = self.rebuild();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::backend::{Poller, Slots};
    use crate::sys::wake::Wake;
    use crate::time::Nanos;

    #[test]
    fn a_closed_backend_watches_and_announces_nothing() {
        let wake = Wake::new().expect("an eventfd");
        let mut backend = EpollBackend::new().expect("an epoll instance");
        let key = Slots::default().insert(());
        backend.attach(key, wake.as_fd(), Usage::Watched).expect("an open descriptor");
        backend.watch(key, Interest::READ).expect("an eventfd can be watched");
        wake.signal().expect("an eventfd can be written");
        let under_way = backend.start_wait();
        backend.close();
        let mut found = Vec::new();
        backend.end_wait(under_way, &mut found);
        let mut poller = backend.start_wait();
        assert_eq!(poller.wait(Some(Nanos::ZERO)).map_err(|error| error.errno), Err(Errno::BADF));
        backend.end_wait(poller, &mut found);
        assert_eq!(found, []);
        assert_eq!(backend.watch(key, Interest::READ).map_err(|error| error.errno), Err(Errno::BADF));
        assert!(backend.detach(key).is_empty());
        assert_eq!(backend.registrations(), 0);
    }
}

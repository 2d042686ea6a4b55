//! One attached descriptor: what the caller wants of it, what epoll was asked for, and whether input may be waiting.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::backend::{Interest, Key, Usage};
use crate::buf::Chain;
use crate::sys::epoll::EventFlags;
use crate::sys::socket;

/// What the kernel has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Registration {
    /// Nothing.
    #[default]
    None,
    /// These directions, reported by each wait for as long as they hold.
    Level(Interest),
    /// Arrivals, each reported once.
    Arrivals,
}

impl Registration {
    /// The events that epoll is asked for.
    pub(super) fn flags(self) -> EventFlags {
        match self {
            Self::None => EventFlags::empty(),
            Self::Level(interest) => {
                let mut flags = EventFlags::empty();
                flags.set(EventFlags::IN, interest.reads());
                flags.set(EventFlags::OUT, interest.writes());
                flags
            }
            Self::Arrivals => EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP | EventFlags::ET,
        }
    }
}

/// Which result of a read shows that nothing is left to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    /// None that the caller reports to the backend.
    Unknown,
    /// A read that finds nothing.
    ByRefusal,
    /// That, or a receive of less than it had room for.
    ByShortReceive,
}

/// One attached descriptor.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) key: Key,
    pub(super) fd: RawFd,
    /// What the caller watches.
    pub(super) wanted: Interest,
    /// The chunks of the send under way; empty when there is none.
    pub(super) outgoing: Chain,
    /// In the backend's list of keys that may have to be announced again.
    pub(super) is_listed: bool,
    registered: Registration,
    spent: Spent,
    /// Something has arrived under the present registration that may not have been taken.
    has_arrival: bool,
    /// An end, an error or urgent data has been reported: less than there was room for does not mean that nothing is left.
    is_uncertain: bool,
}

impl Attached {
    pub(super) fn new(key: Key, fd: BorrowedFd<'_>, usage: Usage) -> Self {
        let spent = match usage {
            Usage::TcpStream => Spent::ByShortReceive,
            Usage::Attempts | Usage::Stream if socket::is_tcp(fd) => Spent::ByShortReceive,
            // Among them Unix sockets: these keep messages apart, so that a short receive says nothing.
            Usage::Attempts => Spent::ByRefusal,
            Usage::Stream | Usage::Watched => Spent::Unknown,
        };
        Self {
            key,
            fd: fd.as_raw_fd(),
            wanted: Interest::NONE,
            outgoing: Chain::new(),
            is_listed: false,
            registered: Registration::None,
            spent,
            has_arrival: false,
            is_uncertain: false,
        }
    }

    pub(super) fn registered(&self) -> Registration {
        self.registered
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered != Registration::None
    }

    /// Records a new registration. The kernel will report again whatever input is waiting.
    pub(super) fn set_registered(&mut self, registration: Registration) {
        self.registered = registration;
        self.has_arrival = false;
    }

    /// What the caller wants, and room to write while a send is under way.
    pub(super) fn called_for(&self) -> Interest {
        let sending = if self.outgoing.is_empty() { Interest::NONE } else { Interest::WRITE };
        self.wanted | sending
    }

    /// The registration that this needs. One for arrivals is kept while nothing is called for: it costs nothing, and will
    /// be wanted again.
    pub(super) fn to_register(&self) -> Registration {
        let is_told = self.spent != Spent::Unknown;
        match self.called_for() {
            Interest::NONE if self.registered == Registration::Arrivals => Registration::Arrivals,
            Interest::NONE => Registration::None,
            Interest::READ if is_told => Registration::Arrivals,
            interest => Registration::Level(interest),
        }
    }

    /// Whether input that the kernel will not report again has still to be announced.
    pub(super) fn is_due(&self) -> bool {
        self.has_arrival && self.wanted.reads()
    }

    /// Records an arrival that the kernel reports. True if an earlier one has not been taken yet.
    pub(super) fn arrived(&mut self, flags: EventFlags) -> bool {
        self.is_uncertain |= flags.intersects(!(EventFlags::IN | EventFlags::OUT));
        core::mem::replace(&mut self.has_arrival, true)
    }

    /// Records that the caller has read until nothing was left.
    pub(super) fn refused(&mut self) {
        self.has_arrival = false;
    }

    /// Records a receive that brought less than it had room for. True if that shows that nothing is left.
    pub(super) fn received_short(&mut self) -> bool {
        let is_shown = self.spent == Spent::ByShortReceive && !self.is_uncertain;
        if is_shown {
            self.has_arrival = false;
        }
        // Without a registration for arrivals nothing would report the next one.
        is_shown && self.registered == Registration::Arrivals
    }
}

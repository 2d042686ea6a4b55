//! One attached descriptor, and what is known of its arrivals.

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
    /// As epoll is told.
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

/// What shows that nothing is left to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    /// Nothing that the backend is told.
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

    /// The kernel has been asked for this, and will report anew what is there.
    pub(super) fn set_registered(&mut self, registration: Registration) {
        self.registered = registration;
        self.has_arrival = false;
    }

    /// What the caller wants, and room while a send is under way.
    pub(super) fn called_for(&self) -> Interest {
        let sending = if self.outgoing.is_empty() { Interest::NONE } else { Interest::WRITE };
        self.wanted | sending
    }

    /// What is to be registered for that. A registration for arrivals stays when nothing is called for: it will be wanted
    /// again, and costs nothing until then.
    pub(super) fn to_register(&self) -> Registration {
        let is_told = self.spent != Spent::Unknown;
        match self.called_for() {
            Interest::NONE if self.registered == Registration::Arrivals => Registration::Arrivals,
            Interest::NONE => Registration::None,
            Interest::READ if is_told => Registration::Arrivals,
            interest => Registration::Level(interest),
        }
    }

    /// Whether something that arrived is still to be announced, though the kernel will not report it again.
    pub(super) fn is_due(&self) -> bool {
        self.has_arrival && self.wanted.reads()
    }

    /// The kernel reports an arrival; whether an earlier one had not been taken.
    pub(super) fn arrived(&mut self, flags: EventFlags) -> bool {
        self.is_uncertain |= flags.intersects(!(EventFlags::IN | EventFlags::OUT));
        core::mem::replace(&mut self.has_arrival, true)
    }

    /// The caller has read until there was nothing.
    pub(super) fn refused(&mut self) {
        self.has_arrival = false;
    }

    /// A receive has brought less than there was room for; whether that shows that nothing is left.
    pub(super) fn received_short(&mut self) -> bool {
        let is_shown = self.spent == Spent::ByShortReceive && !self.is_uncertain;
        if is_shown {
            self.has_arrival = false;
        }
        // Without a registration for arrivals nothing would report the next one.
        is_shown && self.registered == Registration::Arrivals
    }
}

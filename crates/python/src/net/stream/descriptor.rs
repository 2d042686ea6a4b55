//! Who owns a transport's descriptor.
//!
//! A connection that the loop has opened itself owns its descriptor natively, until somebody asks for the socket: then a
//! Python socket is made around it, which owns it from then on. A transport that was given a Python socket leaves it there.
//!
//! # Numbers
//! A descriptor may be closed behind the transport's back, and its number given to another connection, which the loop
//! learns when it makes a transport of that. The older transport then closes nothing: the number is no longer its own.
//!
//! A Python socket may be closed or detached by its owner, and says so: it is asked before each system call, whose answer is
//! `EBADF` then, as asyncio gets it from the socket.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use ferrio_engine::backend::ByNumber;
use ferrio_engine::sys::{Error, stream_socket};
use pyo3::prelude::*;

use super::StreamTransport;
use crate::ffi::class::Instance;
use crate::ffi::fields::{Collector, Owner, Visited};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::socket;
use crate::ffi::uncounted::Uncounted;

/// See the module.
#[derive(Default)]
pub(super) enum Descriptor {
    /// Not opened yet, or released.
    #[default]
    None,
    /// Closed with the transport.
    Native {
        descriptor: OwnedFd,
        /// Closing it may wait (`SO_LINGER`): an accepted socket has the option from its listener. Nobody else sets it, since
        /// whoever asks for the socket gets a Python one.
        may_linger: bool,
    },
    /// A Python socket has it.
    Python(Object),
}

impl Owner for Descriptor {
    fn visit_objects(&self, collector: &Collector) -> Visited {
        self.socket().map_or(Ok(()), |socket| collector.object(socket))
    }

    fn take_objects(&mut self, taken: &mut Vec<Object>) {
        match core::mem::take(self) {
            Self::Python(socket) => taken.push(socket),
            other => *self = other,
        }
    }
}

impl Descriptor {
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The Python socket, if there is one.
    pub(super) const fn socket(&self) -> Option<&Object> {
        match self {
            Self::Python(socket) => Some(socket),
            Self::None | Self::Native { .. } => None,
        }
    }

    /// Whether the Python socket has given up `number`, which may be another file's by now.
    #[inline]
    pub(super) fn has_lost(&self, number: RawFd) -> bool {
        self.socket().is_some_and(|socket| socket::has_lost(socket, number))
    }

    /// Closes what is owned natively; a Python socket comes back, for its owner to close. With `is_own` false the number
    /// belongs to another file by now, and nothing is closed.
    pub(super) fn release(self, py: Python<'_>, is_own: bool) -> Option<Object> {
        match self {
            Self::None => None,
            Self::Native { descriptor, may_linger } => {
                if !is_own {
                    let _: RawFd = descriptor.into_raw_fd();
                } else if may_linger && stream_socket::lingers(descriptor.as_fd()) {
                    py.detach(|| drop(descriptor));
                } else {
                    drop(descriptor);
                }
                None
            }
            Self::Python(socket) => {
                if !is_own {
                    // A socket whose `detach` fails is none of ours.
                    let _ = socket.bind(py).call_method0(&names(py).detach);
                }
                Some(socket)
            }
        }
    }
}

/// Which transport has a number, from its opening to its release. Transports are not kept alive by it.
///
/// # Cost
/// Eight bytes for each place of the table; all O(1).
#[derive(Default)]
pub(crate) struct TransportsByNumber(ByNumber<Uncounted<StreamTransport>>);

impl TransportsByNumber {
    /// Gives the number of `descriptor` to `transport`, whoever had it.
    ///
    /// # Errors
    /// `ENOMEM`: nothing has changed.
    pub(super) fn give(
        &mut self,
        descriptor: BorrowedFd<'_>,
        transport: &Instance<StreamTransport>,
    ) -> Result<(), Error> {
        self.0.put(descriptor, Uncounted::of(transport)).map(drop)
    }

    /// `transport` gives up `number`; false if it belongs to another by now.
    pub(super) fn release(&mut self, number: RawFd, transport: &Instance<StreamTransport>) -> bool {
        self.0.take_if(number, |owner| owner.is_of(transport)).is_some() || self.0.get(number).is_none()
    }

    /// Whether `transport` has `number`.
    pub(super) fn is_of(&self, number: RawFd, transport: &Instance<StreamTransport>) -> bool {
        self.0.get(number).is_some_and(|owner| owner.is_of(transport))
    }

    /// The transport that has `number`.
    pub(crate) fn get(&self, number: RawFd) -> Option<Object> {
        self.0.get(number)?.get().map(Instance::into_object)
    }

    /// All that have a number.
    pub(super) fn all(&self) -> Vec<Instance<StreamTransport>> {
        self.0.iter().filter_map(|(_, owner)| owner.get()).collect()
    }

    /// The numbers that transports have.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        self.0.iter().map(|(number, _)| number).collect()
    }
}

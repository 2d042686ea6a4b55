//! Who owns a transport's descriptor.
//!
//! A connection that the loop has opened itself owns its descriptor natively, until somebody asks for the socket: then a
//! Python socket is made around it, which owns it from then on. A transport that was given a Python socket leaves it there.
//!
//! # Numbers
//! A descriptor may be closed behind the transport's back, and its number given to another connection, which the loop
//! learns when it makes a transport of that. The older transport then closes nothing: the number is no longer its own.
//!
//! # Invariants
//! 1. The table of holders has a transport only from its opening to its release, which its deallocation includes. So what
//!    it shows is alive, or is being deallocated at this moment and counts no references.

use core::ptr::NonNull;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use ferrio_engine::backend::ByNumber;
use ferrio_engine::sys::{Error, stream_socket};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi::object::Object;

/// See the module.
#[derive(Default)]
pub(super) enum Descriptor {
    /// Not opened yet.
    #[default]
    None,
    /// Released.
    Gone,
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

impl Descriptor {
    /// Whether there is none.
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self, Self::None | Self::Gone)
    }

    /// The Python socket, if there is one.
    pub(super) const fn socket(&self) -> Option<&Object> {
        match self {
            Self::Python(socket) => Some(socket),
            Self::None | Self::Gone | Self::Native { .. } => None,
        }
    }

    /// Closes what is owned natively; a Python socket comes back, for its owner to close. With `is_own` false the number
    /// belongs to another file by now, and nothing is closed.
    pub(super) fn release(self, py: Python<'_>, is_own: bool) -> Option<Object> {
        match self {
            Self::None | Self::Gone => None,
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
                    let _ = socket.bind(py).call_method0(intern!(py, "detach"));
                }
                Some(socket)
            }
        }
    }
}

/// Which transport holds a number.
///
/// # Cost
/// Eight bytes for each place of the table; all O(1).
#[derive(Default)]
pub(crate) struct Holders {
    /// Not counted: invariant 1.
    table: ByNumber<NonNull<ffi::PyObject>>,
}

impl Holders {
    /// Gives the number of `descriptor` to `transport`, whoever held it.
    ///
    /// # Errors
    /// `ENOMEM`: nothing has changed.
    pub(super) fn give(&mut self, descriptor: BorrowedFd<'_>, transport: &Object) -> Result<(), Error> {
        // SAFETY: a reference is never null.
        let transport = unsafe { NonNull::new_unchecked(transport.as_ptr()) };
        self.table.put(descriptor, transport).map(drop)
    }

    /// `transport` lets go of `number`; false if it belongs to another by now.
    pub(super) fn release(&mut self, number: RawFd, transport: *mut ffi::PyObject) -> bool {
        let is_holder = |holder: &NonNull<ffi::PyObject>| holder.as_ptr() == transport;
        self.table.take_if(number, is_holder).is_some() || self.table.get(number).is_none()
    }

    /// The transport that holds `number`.
    pub(crate) fn holder(&self, number: RawFd) -> Option<Object> {
        let holder = self.table.get(number)?.as_ptr();
        // SAFETY: invariant 1: the memory of an object that has not been freed.
        let references = unsafe { ffi::Py_REFCNT(holder) };
        // SAFETY: it has references, so it is alive.
        (references > 0).then(|| unsafe { Object::from_borrowed(holder) })
    }

    /// The numbers that are held.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        self.table.iter().map(|(number, _)| number).collect()
    }
}

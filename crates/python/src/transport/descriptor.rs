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

use core::ptr;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::object::Object;

/// See the module.
#[derive(Default)]
pub(super) enum Descriptor {
    /// Not opened yet.
    #[default]
    None,
    /// Released.
    Gone,
    /// Closed with the transport.
    Native(OwnedFd),
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
            Self::None | Self::Gone | Self::Native(_) => None,
        }
    }

    /// Closes what is owned natively; a Python socket comes back, for its owner to close. With `is_own` false the number
    /// belongs to another file by now, and nothing is closed.
    pub(super) fn release(self, py: Python<'_>, is_own: bool) -> Option<Object> {
        match self {
            Self::None | Self::Gone => None,
            Self::Native(descriptor) => {
                if is_own {
                    drop(descriptor);
                } else {
                    let _: RawFd = descriptor.into_raw_fd();
                }
                None
            }
            Self::Python(socket) => {
                if !is_own {
                    // A socket whose `detach` fails is none of ours.
                    let _ = socket.bind(py).call_method0("detach");
                }
                Some(socket)
            }
        }
    }
}

/// Which transport holds a number.
///
/// # Cost
/// Eight bytes for each number up to the highest held; all O(1).
#[derive(Default)]
pub(crate) struct Holders {
    /// Not counted: invariant 1.
    table: Vec<*mut ffi::PyObject>,
}

impl Holders {
    /// Gives `number` to `transport`, whoever held it.
    pub(super) fn give(&mut self, number: RawFd, transport: *mut ffi::PyObject) {
        let index = index(number);
        if self.table.len() <= index {
            self.table.resize(index + 1, ptr::null_mut());
        }
        self.table[index] = transport;
    }

    /// `transport` lets go of `number`; false if it belongs to another by now.
    pub(super) fn release(&mut self, number: RawFd, transport: *mut ffi::PyObject) -> bool {
        match self.table.get_mut(index(number)) {
            Some(holder) if ptr::eq(*holder, transport) => {
                *holder = ptr::null_mut();
                true
            }
            Some(holder) => holder.is_null(),
            None => true,
        }
    }

    /// The transport that holds `number`.
    pub(crate) fn holder(&self, number: RawFd) -> Option<Object> {
        let holder = usize::try_from(number).ok().and_then(|index| self.table.get(index).copied())?;
        if holder.is_null() {
            return None;
        }
        // SAFETY: invariant 1: the memory of an object that has not been freed.
        let references = unsafe { ffi::Py_REFCNT(holder) };
        // SAFETY: it has references, so it is alive.
        (references > 0).then(|| unsafe { Object::from_borrowed(holder) })
    }

    /// The numbers that are held.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        (0..).zip(&self.table).filter(|(_, holder)| !holder.is_null()).map(|(number, _)| number).collect()
    }
}

/// An open descriptor's number is never negative.
fn index(number: RawFd) -> usize {
    usize::try_from(number).unwrap_or(0)
}

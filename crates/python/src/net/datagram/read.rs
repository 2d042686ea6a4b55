//! Receiving: from the socket to the protocol, one datagram a call.
//!
//! A report of the kernel says that one datagram is there, perhaps more. Asking for a second one when there is none costs
//! a system call, and a turn of the loop for each costs more than that when there are many; hence the [`Appetite`]. What is
//! not taken stays with the kernel: nothing has to be kept when a protocol closes, pauses or raises in between.

use core::mem::MaybeUninit;

use ferrio_engine::backend::Key;
use ferrio_engine::sys::Error;
use ferrio_engine::sys::address::SocketAddress;
use ferrio_engine::sys::message;
use pyo3::ffi;
use pyo3::prelude::*;

use super::state::{Known, State};
use super::{address, error_received, report};
use crate::core::{LoopCore, settle};
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::net::transport::Callback;

/// Datagrams that a report brings at the most, so that a flood leaves room for everything else.
const FAIR_SHARE: u32 = 32;
/// Every so many reports with one datagram it is tried whether there is a second one.
const REPORTS_PER_TRIAL: u32 = 16;

/// How many datagrams a report is worth: one, until a trial finds that they come faster than reports.
#[derive(Default)]
pub(super) struct Appetite {
    /// The last trial found more than one.
    is_large: bool,
    /// Reports since the last trial.
    reports: u32,
}

impl Appetite {
    /// The limit for this report.
    fn limit(&mut self) -> u32 {
        self.reports += 1;
        if self.is_large || self.reports >= REPORTS_PER_TRIAL { FAIR_SHARE } else { 1 }
    }

    /// A report with a limit above one has brought so many.
    fn learn(&mut self, taken: u32) {
        self.is_large = taken > 1;
        self.reports = 0;
    }
}

/// Something can be received.
///
/// # Errors
/// The exception of `error_received`, or what must leave the loop.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Object, state: &State, key: Key) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    let limit = state.with(py, |inner| inner.appetite.limit());
    let mut taken = 0;
    while taken < limit && state.with(py, |inner| inner.reads_under(key)) {
        match receive(py, core, state) {
            Ok(None) => break,
            Ok(Some((data, sender))) => {
                taken += 1;
                // An exception of the protocol is reported for each datagram, as if each had a callback of its own.
                settle(py, sender.and_then(|sender| deliver(py, state, &data, &sender)), |exception| {
                    report(py, &event_loop, transport, Callback::Read, exception)
                })?;
            }
            Err(error) => {
                let error = os_error(py, error);
                return error_received(py, state, error);
            }
        }
    }
    if limit > 1 {
        state.with(py, |inner| inner.appetite.learn(taken));
    }
    Ok(())
}

/// A datagram as a `bytes` object, and its sender's address.
type Incoming = (Object, PyResult<Object>);

/// Takes one datagram from the kernel, through the loop's buffer.
fn receive(py: Python<'_>, core: &LoopCore, state: &State) -> Result<Option<Incoming>, Error> {
    let mut scratch = core.take_scratch(py);
    let mut sender = SocketAddress::UNNAMED;
    let received = state.with(py, |inner| {
        core.with_reactor(py, |reactor| inner.ensure_number(&mut reactor.backend))?;
        message::receive_from(inner.borrow_fd(), &mut scratch, &mut sender)
    });
    let incoming = received.map(|received| {
        received.map(|count| {
            let filled: &[MaybeUninit<u8>] = &scratch[..count];
            // SAFETY: the call has initialised the first `count` bytes.
            let filled = unsafe { &*(&raw const *filled as *const [u8]) };
            core.counters.received.add(count);
            (core.received_bytes(py, filled), sender_object(py, state, &sender))
        })
    });
    core.return_scratch(py, scratch);
    incoming
}

/// The Python form of a sender's address; the last sender's is made once.
fn sender_object(py: Python<'_>, state: &State, sender: &SocketAddress) -> PyResult<Object> {
    let known = state.with(py, |inner| {
        inner.sender.as_ref().filter(|known| known.address == *sender).map(|known| known.object.clone())
    });
    if let Some(object) = known {
        return Ok(object);
    }
    let object = address::to_python(py, sender)?;
    let known = Known { object: object.clone(), address: *sender };
    let before = state.with(py, |inner| inner.sender.replace(known));
    drop(before);
    Ok(object)
}

/// Calls `datagram_received` of the present protocol.
fn deliver(py: Python<'_>, state: &State, data: &Object, sender: &Object) -> PyResult<()> {
    let Some(protocol) = state.with(py, |inner| inner.protocol.clone()) else { return Ok(()) };
    let call = [protocol.as_ptr(), data.as_ptr(), sender.as_ptr()];
    let name = names(py).datagram_received.as_ptr();
    // SAFETY: three live objects, the receiver first; no keywords.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name, call.as_ptr(), call.len(), core::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    match unsafe { Object::from_owned(result) } {
        Some(_) => Ok(()),
        None => Err(PyErr::fetch(py)),
    }
}

//! Receiving: from the socket to the protocol, one datagram a call.
//!
//! A report of the kernel says that one datagram is there, perhaps more. Asking for a second one when there is none costs
//! a system call, and a turn of the loop for each costs more than that when there are many; hence the [`Appetite`]. What is
//! not taken stays with the kernel: nothing has to be kept when a protocol closes, pauses or raises in between.

#![forbid(unsafe_code)]

use ferrio_engine::backend::Key;
use ferrio_engine::sys::Error;
use ferrio_engine::sys::address::SocketAddress;
use ferrio_engine::sys::message;
use pyo3::prelude::*;

use super::class::Endpoint;
use super::state::Known;
use super::{address, error_received, report};
use crate::core::{LoopCore, settle};
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::errors::os_error;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::net::transport::{Callback, fatal, with, with_common};

const READ_FAILED: &str = "Fatal read error on datagram transport";
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
pub(super) fn ready(py: Python<'_>, core: &Instance<LoopCore>, transport: &Endpoint, key: Key) -> PyResult<()> {
    let limit = with(py, transport, |inner| inner.appetite.limit());
    let mut taken = 0;
    while taken < limit && with(py, transport, |inner| inner.reads_under(key)) {
        match receive(py, core, transport) {
            Ok(None) => break,
            Ok(Some((Err(error), _))) => return fatal(py, transport.object(), error, READ_FAILED),
            Ok(Some((Ok(data), sender))) => {
                taken += 1;
                // An exception of the protocol is reported for each datagram, as if each had a callback of its own.
                settle(py, sender.and_then(|sender| deliver(py, transport, &data, &sender)), |exception| {
                    report(py, core, transport, Callback::Read, exception)
                })?;
            }
            Err(error) => {
                let error = os_error(py, error);
                return error_received(py, transport, error);
            }
        }
    }
    if limit > 1 {
        with(py, transport, |inner| inner.appetite.learn(taken));
    }
    Ok(())
}

/// A datagram as a `bytes` object, if there was memory for it, and its sender's address.
type Incoming = (PyResult<Object>, PyResult<Object>);

/// Takes one datagram from the kernel, through the loop's buffer.
fn receive(py: Python<'_>, core: &LoopCore, transport: &Endpoint) -> Result<Option<Incoming>, Error> {
    let mut scratch = core.take_scratch(py);
    let mut sender = SocketAddress::UNNAMED;
    let received = with(py, transport, |inner| {
        let fd = core.with_reactor(py, |reactor| inner.descriptor(&mut reactor.backend))?;
        message::receive_from(fd, &mut scratch, &mut sender)
    });
    let incoming = received.map(|received| {
        received.map(|count| {
            core.counters.received.add(count);
            (core.received_bytes(py, scratch.filled(count)), sender_object(py, transport, &sender))
        })
    });
    core.return_scratch(py, scratch);
    incoming
}

/// The Python form of a sender's address; the last sender's is made once.
fn sender_object(py: Python<'_>, transport: &Endpoint, sender: &SocketAddress) -> PyResult<Object> {
    let known = with(py, transport, |inner| {
        inner.sender.as_ref().filter(|known| known.address == *sender).map(|known| known.object.clone())
    });
    if let Some(object) = known {
        return Ok(object);
    }
    let object = address::to_python(py, sender)?;
    let known = Known { object: object.clone(), address: *sender };
    let before = with(py, transport, |inner| inner.sender.replace(known));
    drop(before);
    Ok(object)
}

/// Calls `datagram_received` of the present protocol.
fn deliver(py: Python<'_>, transport: &Endpoint, data: &Object, sender: &Object) -> PyResult<()> {
    let Some(protocol) = with_common(py, transport, |common| common.protocol.clone()) else { return Ok(()) };
    call_method(py, &names(py).datagram_received, [&protocol, data, sender]).map(drop)
}

//! What stream transports keep for each loop.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use pyo3::prelude::*;

use super::descriptor::TransportsByNumber;
use super::write;
use crate::core::parts::{Part, part};
use crate::core::{Exit, LoopCore};
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;
use crate::net::transport::with;

/// See the module.
#[derive(Default)]
pub(crate) struct StreamPart {
    /// Transports by the number of their descriptor.
    pub(crate) transports: Guarded<TransportsByNumber>,
    /// Transports with queued bytes, to be flushed when the entry under way has run.
    corked: Guarded<VecDeque<Object>>,
}

part!(StreamPart);

impl Part for StreamPart {
    fn visit(&self, py: Python<'_>, collector: &Collector) -> Visited {
        self.corked.with(py, |corked| corked.iter().try_for_each(|transport| transport.visit(collector)))
    }

    fn clear(&self, py: Python<'_>) {
        drop(self.corked.with(py, core::mem::take));
    }
}

/// How many stream transports are open, and how many bytes they have that the kernel has not taken. O(n), from any
/// attached thread.
pub(crate) fn open_connections(py: Python<'_>, core: &LoopCore) -> (usize, usize) {
    let transports = core.part::<StreamPart>().transports.with(py, |transports| transports.all());
    let queued = transports.iter().map(|transport| with(py, transport, |inner| inner.stream.pending_bytes())).sum();
    (transports.len(), queued)
}

/// Notes a transport whose bytes are to be flushed when the entry under way has run.
pub(super) fn cork(py: Python<'_>, core: &LoopCore, transport: Object) {
    core.ask_after_entry();
    core.part::<StreamPart>().corked.with(py, |corked| corked.push_back(transport));
}

/// Sends what the entry that has just run has written, of every transport, whatever one of them comes to.
///
/// # Errors
/// What leaves the loop.
pub(crate) fn flush_corked(py: Python<'_>, core: &LoopCore) -> Result<(), Exit> {
    let part = core.part::<StreamPart>();
    let mut outcome = Ok(());
    // A failed flush calls the protocol, which may write elsewhere: what it corks comes behind the others.
    while let Some(transport) = part.corked.with(py, VecDeque::pop_front) {
        let flushed = write::flush_corked(py, core, &transport);
        outcome = outcome.and(flushed);
    }
    outcome
}

/// In a forked child: the parent's thread sends what the callback under way in it has written.
pub(crate) fn forget_corked(py: Python<'_>, core: &LoopCore) {
    for transport in core.part::<StreamPart>().corked.with(py, core::mem::take) {
        write::forget_queued(py, &transport);
    }
}

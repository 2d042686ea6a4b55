//! Descriptors that carry bytes: streams, datagrams, pipes, raw sockets; accepting and connecting.

#![forbid(unsafe_code)]

pub(crate) mod accept;
pub(crate) mod connect;
pub(crate) mod datagram;
pub(crate) mod pipe;
pub(crate) mod raw;
pub(crate) mod socket_name;
pub(crate) mod stream;
pub(crate) mod transport;
pub(crate) mod watch;

use std::os::fd::RawFd;

use pyo3::prelude::*;

use crate::core::{Direction, LoopCore};

/// Ends what `add_reader`, `add_writer` and `sock_*` have registered for a number that a transport takes over.
///
/// # Errors
/// Those of a program's handles that are cancelled.
pub(crate) fn forget_number(py: Python<'_>, core: &LoopCore, fd: RawFd) -> PyResult<()> {
    for direction in [Direction::Read, Direction::Write] {
        if watch::remove(py, core, fd, direction)?.is_none() {
            raw::remove_waiter(py, core, fd, direction);
        }
    }
    drop(raw::release(py, core, fd, None)?);
    Ok(())
}

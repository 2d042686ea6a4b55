//! The process's wake-up descriptor, to which CPython writes the number of each signal: lent to a running loop.
//!
//! Python's handlers run in the main thread, between two bytecodes. A signal that another thread gets, or this one just
//! before its system call, would be handled only after the next event. So its number is written to a socket pair that the
//! loop watches, unless the program has a wake-up descriptor of its own.
//!
//! # Invariants
//! 1. Between looking and setting, and between setting and the guard that puts back, no bytecode runs: no handler can
//!    raise there, and what was before is there afterwards, however the run ends.
//! 2. A program's descriptor is put back as it was found, unchecked: it may have been closed, which `signal.set_wakeup_fd`
//!    refuses and asyncio never notices.

#![forbid(unsafe_code)]

use core::ffi::c_int;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::core::{LoopBuilder, LoopCore};
use crate::ffi::builder::add_function;
use crate::ffi::class::Instance;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::objects::OBJECTS;

/// No descriptor.
const NONE: c_int = -1;

/// Sets the descriptor unchecked; the one before.
#[cfg(Py_3_13)]
use crate::ffi::signal::set_wakeup_descriptor as replace;

/// Sets the descriptor unchecked; the one before. Up to 3.12 CPython has only the function that checks, and refuses a closed
/// number: a stand-in is opened under that number meanwhile. Threads but the main one change nothing and find none.
#[cfg(not(Py_3_13))]
fn replace(py: Python<'_>, number: c_int) -> c_int {
    let set = || -> PyResult<c_int> { OBJECTS.signal_set_wakeup_fd.bind(py)?.call1((number,))?.extract() };
    set().or_else(|error| with_stand_in(number, set).unwrap_or(Err(error))).unwrap_or(NONE)
}

/// Runs `body` while something is open under the free `number`; `None`: it is not free.
#[cfg(not(Py_3_13))]
fn with_stand_in<T>(number: c_int, body: impl FnOnce() -> T) -> Option<T> {
    use std::os::fd::AsRawFd;

    use rustix::event::{EventfdFlags, eventfd};

    let any = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).ok()?;
    let stand_in = rustix::io::fcntl_dupfd_cloexec(&any, number).ok()?;
    (stand_in.as_raw_fd() == number).then(body)
}

/// The descriptor that is set; -1 for none.
fn current(py: Python<'_>) -> c_int {
    let number = replace(py, NONE);
    if number != NONE {
        replace(py, number);
    }
    number
}

fn set_without_warnings(py: Python<'_>, number: c_int) -> PyResult<()> {
    let options = PyDict::new(py);
    options.set_item(&names(py).warn_on_full_buffer, false)?;
    // Whatever a program has put in the place of `signal.set_wakeup_fd`.
    OBJECTS.signal_set_wakeup_fd.bind(py)?.call((number,), Some(&options)).map(drop)
}

/// Puts back what [`LoopCore::lend_wakeup_descriptor`] has changed.
pub(super) struct Lent<'a> {
    py: Python<'a>,
    core: &'a LoopCore,
    number: c_int,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Self { py, core, number } = *self;
        if !core.flags.owns_wakeup_descriptor.replace(false) {
            return;
        }
        let found = replace(py, NONE);
        // The loop's handlers keep it beyond the run, as with asyncio; what is not ours was set meanwhile.
        if found != NONE && (found != number || !core.flags.is_signal_pair_idle.get()) {
            replace(py, found);
        }
    }
}

impl LoopCore {
    /// Has signals write to `number`, the loop's own end of a pair, until the result is dropped; -1 for no pair.
    pub(super) fn lend_wakeup_descriptor<'a>(&'a self, py: Python<'a>, number: c_int) -> Lent<'a> {
        if number != NONE && current(py) == NONE {
            // What cannot be set is a rare moment that is lost; the loop can run.
            self.flags.owns_wakeup_descriptor.set(set_without_warnings(py, number).is_ok());
        }
        Lent { py, core: self, number }
    }
}

/// Adds the attribute to the core's class.
pub(super) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder.attribute(Attribute::read_only(c"_owns_wakeup_descriptor", |_, core: &Instance<LoopCore>| {
        Ok(core.flags.owns_wakeup_descriptor.get())
    }))
}

/// Adds the functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let read = Method::no_arguments(
        c"_wakeup_descriptor",
        |py, _| Ok(current(py)),
        c"_wakeup_descriptor()\n--\n\nThe process's wake-up descriptor; -1 for none.",
    );
    let restore = Method::one_argument(
        c"_restore_wakeup_descriptor",
        |py, _, number| {
            replace(py, number.bind(py).extract()?);
            Ok(())
        },
        c"_restore_wakeup_descriptor(number, /)\n--\n\nMake a number the process's wake-up descriptor, unchecked: one that \
          was found before.",
    );
    add_function(module, read)?;
    add_function(module, restore)
}

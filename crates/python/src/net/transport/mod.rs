//! What all native transports have in common: the state behind asyncio's API, what the kernel is watched for, the methods
//! that are the same for streams and datagrams, and what the loop is told of a failure.
//!
//! A transport is a [`NativeClass`] that says by [`Transport`] where its common state is and where it differs.
//! [`add_methods`] gives the class its common methods and attributes.
//!
//! # Invariants
//! 1. `key` is set while the descriptor is attached to the backend of `event_loop`, and only then.
//! 2. The loop refers to a transport only while its descriptor is watched, or something is being sent: a paused and
//!    forgotten transport can be collected.

#![forbid(unsafe_code)]

mod limits;
mod report;

pub(crate) use limits::Limits;
pub(crate) use report::{Callback, fatal, log_in_debug, report_failed_callback, report_if_slow, tell, warn_lost};

use std::os::fd::RawFd;

use ferrio_engine::backend::{Backend, Interest, Key};
use ferrio_engine::flow::{GateSignal, Interest as ReadChange, Lifecycle, ReadGate, WriteGate};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::core::{LoopCore, Source};
use crate::ffi::arguments::Arguments;
use crate::ffi::class::{Builder, Instance, NativeClass};
use crate::ffi::errors::os_error;
use crate::ffi::fields::{owner, owns_no_object};
use crate::ffi::guarded::Guarded;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// What is said of a transport that was made by `__new__` alone.
pub(crate) const NOT_OPENED: &str = "the transport has not been opened";

owns_no_object!(Option<Key>, ReadGate, Lifecycle);

owner! {
    /// The state that every transport has.
    #[derive(Default)]
    pub(crate) struct Common {
        /// The loop, until the transport has ended.
        pub(crate) event_loop: Option<Instance<LoopCore>>,
        pub(crate) protocol: Option<Object>,
        /// It has been opened, and may have ended since.
        pub(crate) is_opened: bool,
        /// The number of the descriptor.
        pub(crate) number: RawFd,
        pub(crate) key: Option<Key>,
        pub(crate) reading: ReadGate,
        pub(crate) life: Lifecycle,
    }
}

/// A native transport.
pub(crate) trait Transport: NativeClass {
    type Inner: 'static;

    fn guarded(state: &Self::State) -> &Guarded<Self::Inner>;

    fn common(inner: &mut Self::Inner) -> &mut Common;

    /// What the kernel is to be watched for.
    fn interest(inner: &Self::Inner) -> Interest;

    /// Whether the loop is to hold the transport although nothing is watched.
    fn is_sending(_inner: &Self::Inner) -> bool {
        false
    }

    /// Decides when the protocol pauses writing.
    fn gate(inner: &mut Self::Inner) -> &mut WriteGate;

    /// Bytes that the kernel has not taken.
    fn pending_bytes(inner: &Self::Inner) -> usize;

    /// Sends what has been written, before a program asks how much is waiting.
    ///
    /// # Errors
    /// Those of ending the transport for a send that has failed.
    fn flush(_py: Python<'_>, _transport: &Instance<Self>) -> PyResult<()> {
        Ok(())
    }

    /// Before a paused transport reads again.
    ///
    /// # Errors
    /// Nothing has been resumed.
    fn before_resuming(_py: Python<'_>, _transport: &Instance<Self>) -> PyResult<()> {
        Ok(())
    }

    /// Changes the protocol.
    ///
    /// # Errors
    /// It is the old one.
    fn set_protocol(py: Python<'_>, transport: &Instance<Self>, protocol: Object) -> PyResult<()> {
        let before = with_common(py, transport, |common| common.protocol.replace(protocol));
        drop(before);
        Ok(())
    }
}

/// Runs `section` with the state; the rules of [`Guarded::with`] hold.
#[inline]
pub(crate) fn with<T: Transport, R>(
    py: Python<'_>,
    transport: &Instance<T>,
    section: impl FnOnce(&mut T::Inner) -> R,
) -> R {
    T::guarded(transport).with(py, section)
}

/// [`with`], for the common state.
#[inline]
pub(crate) fn with_common<T: Transport, R>(
    py: Python<'_>,
    transport: &Instance<T>,
    section: impl FnOnce(&mut Common) -> R,
) -> R {
    with(py, transport, |inner| section(T::common(inner)))
}

/// [`with`], for what only a transport can do that has been opened, whatever has become of it.
///
/// # Errors
/// `RuntimeError`: it was made by `__new__` alone.
#[inline]
pub(crate) fn opened<T: Transport, R>(
    py: Python<'_>,
    transport: &Instance<T>,
    section: impl FnOnce(&mut T::Inner) -> R,
) -> PyResult<R> {
    with(py, transport, |inner| T::common(inner).is_opened.then(|| section(inner))).ok_or_else(not_opened)
}

#[cold]
fn not_opened() -> PyErr {
    PyRuntimeError::new_err(NOT_OPENED)
}

/// The loop, until the transport has ended.
#[inline]
pub(crate) fn event_loop<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> Option<Instance<LoopCore>> {
    with_common(py, transport, |common| common.event_loop.clone())
}

/// Makes the kernel watch what the state calls for, and the loop hold the transport for as long as it watches or sends.
///
/// # Errors
/// The kernel's; what was watched before stays so.
pub(crate) fn apply_interest<T: Transport>(
    py: Python<'_>,
    core: &LoopCore,
    transport: &Instance<T>,
) -> Result<(), ferrio_engine::sys::Error> {
    let wanted =
        with(py, transport, |inner| T::common(inner).key.map(|key| (key, T::interest(inner), T::is_sending(inner))));
    let Some((key, interest, is_sending)) = wanted else { return Ok(()) };
    let holder = (!interest.is_none() || is_sending).then(|| transport.object().clone());
    let (outcome, released) = core.with_reactor(py, |reactor| {
        let outcome =
            if reactor.backend.watched(key) == interest { Ok(()) } else { reactor.backend.watch(key, interest) };
        let released = match reactor.sources.get_mut(key) {
            Some(Source::Object { object, .. }) => core::mem::replace(object, holder),
            _ => holder,
        };
        (outcome, released)
    });
    drop(released);
    outcome
}

/// [`apply_interest`] after the read gate has changed.
///
/// # Errors
/// The kernel's, as an `OSError`.
pub(crate) fn apply_change<T: Transport>(py: Python<'_>, transport: &Instance<T>, change: ReadChange) -> PyResult<()> {
    if change == ReadChange::Unchanged {
        return Ok(());
    }
    let Some(event_loop) = event_loop(py, transport) else { return Ok(()) };
    apply_interest(py, &event_loop, transport).map_err(|error| os_error(py, error))
}

/// Asks the protocol to pause if more is waiting than the limits allow.
///
/// # Errors
/// What leaves the loop; other exceptions of the protocol are reported.
#[inline]
pub(crate) fn pause_if_full<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> PyResult<()> {
    let signal = with(py, transport, |inner| {
        let pending = T::pending_bytes(inner);
        T::gate(inner).grown_to(pending)
    });
    match signal {
        GateSignal::Pause => tell(py, transport.object(), &names(py)._pause_writing),
        GateSignal::Keep | GateSignal::Resume => Ok(()),
    }
}

fn pause_reading<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> PyResult<()> {
    let (was_reading, change) = opened(py, transport, |inner| {
        let reading = &mut T::common(inner).reading;
        (reading.is_reading(), reading.pause())
    })?;
    apply_change(py, transport, change)?;
    if was_reading { log_in_debug(py, transport, "%r pauses reading") } else { Ok(()) }
}

fn resume_reading<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> PyResult<()> {
    let was_paused = opened(py, transport, |inner| {
        let common = T::common(inner);
        !common.reading.is_reading() && !common.life.is_closing()
    })?;
    if was_paused {
        T::before_resuming(py, transport)?;
    }
    let change = with_common(py, transport, |common| common.reading.resume());
    apply_change(py, transport, change)?;
    if was_paused { log_in_debug(py, transport, "%r resumes reading") } else { Ok(()) }
}

fn set_write_buffer_limits<T: Transport>(
    py: Python<'_>,
    transport: &Instance<T>,
    arguments: Arguments<'_>,
) -> PyResult<()> {
    let limits = Limits::from_arguments(py, arguments)?;
    with(py, transport, |inner| limits.set(T::gate(inner))).map_err(PyValueError::new_err)?;
    T::flush(py, transport)?;
    pause_if_full(py, transport)
}

fn get_write_buffer_size<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> PyResult<usize> {
    opened(py, transport, |_| ())?;
    T::flush(py, transport)?;
    Ok(with(py, transport, |inner| T::pending_bytes(inner)))
}

fn get_write_buffer_limits<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> PyResult<Object> {
    let limits = with(py, transport, |inner| T::gate(inner).limits());
    Ok(Object::new(limits.into_pyobject(py)?))
}

fn protocol<T: Transport>(py: Python<'_>, transport: &Instance<T>) -> Option<Object> {
    with_common(py, transport, |common| common.protocol.clone())
}

/// Gives a class the methods and the attributes that all transports have.
pub(crate) fn add_methods<T: Transport>(builder: Builder<Instance<T>>) -> Builder<Instance<T>> {
    builder
        .method(Method::no_arguments(
            c"is_closing",
            |py, transport: &Instance<T>| opened(py, transport, |inner| T::common(inner).life.is_closing()),
            c"is_closing($self)\n--\n\nWhether it is closing or closed.",
        ))
        .method(Method::no_arguments(
            c"is_reading",
            |py, transport: &Instance<T>| opened(py, transport, |inner| T::common(inner).reading.is_reading()),
            c"is_reading($self)\n--\n\nWhether received data reach the protocol.",
        ))
        .method(Method::no_arguments(
            c"pause_reading",
            pause_reading::<T>,
            c"pause_reading($self)\n--\n\nDeliver nothing until resume_reading().",
        ))
        .method(Method::no_arguments(
            c"resume_reading",
            resume_reading::<T>,
            c"resume_reading($self)\n--\n\nDeliver again what pause_reading() held back.",
        ))
        .method(Method::one_argument(
            c"set_protocol",
            |py, transport: &Instance<T>, protocol: &Object| T::set_protocol(py, transport, protocol.clone()),
            c"set_protocol($self, protocol, /)\n--\n\nSwitch to another protocol.",
        ))
        .method(Method::no_arguments(
            c"get_protocol",
            |py, transport: &Instance<T>| Ok(protocol(py, transport)),
            c"get_protocol($self)\n--\n\nThe current protocol.",
        ))
        .method(Method::no_arguments(
            c"get_write_buffer_size",
            get_write_buffer_size::<T>,
            c"get_write_buffer_size($self)\n--\n\nBytes that the kernel has not taken.",
        ))
        .method(Method::no_arguments(
            c"get_write_buffer_limits",
            get_write_buffer_limits::<T>,
            c"get_write_buffer_limits($self)\n--\n\n(low, high) in bytes.",
        ))
        .method(Method::any_arguments(
            c"set_write_buffer_limits",
            set_write_buffer_limits::<T>,
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\nBytes from which the protocol is paused and \
              resumed: 64 KiB and a quarter of it by default.",
        ))
        .attribute(Attribute::read_only(c"_loop", |py, transport: &Instance<T>| Ok(event_loop(py, transport))))
        .attribute(Attribute::read_only(c"_protocol", |py, transport: &Instance<T>| Ok(protocol(py, transport))))
        .attribute(Attribute::read_only(c"_sock_fd", |py, transport: &Instance<T>| {
            Ok(with_common(py, transport, |common| if common.is_opened { common.number } else { -1 }))
        }))
        .attribute(Attribute::read_only(c"_conn_lost", |py, transport: &Instance<T>| {
            Ok(with_common(py, transport, |common| common.life.conn_lost()))
        }))
        .attribute(Attribute::read_only(c"_is_watching", |py, transport: &Instance<T>| {
            Ok(with_common(py, transport, |common| common.key.is_some() && common.reading.is_wanted()))
        }))
        .attribute(Attribute::read_only(c"_protocol_paused", |py, transport: &Instance<T>| {
            Ok(with(py, transport, |inner| T::gate(inner).is_paused()))
        }))
}

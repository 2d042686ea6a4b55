//! Connecting to a numeric address: from a socket to a transport.
//!
//! `create_connection` is asyncio's own. Where it is asked for nothing more than one numeric address, `ferrio.Loop` makes
//! the connection here, without a Python socket.

#![forbid(unsafe_code)]

use core::ffi::CStr;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use ferrio_engine::sys::socket_name::SocketName;
use ferrio_engine::sys::stream_socket::{self, Connecting, Outcome};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{LoopBuilder, LoopCore};
use crate::ffi::arguments::Arguments;
use crate::ffi::audit;
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::errors::{made, os_error};
use crate::ffi::fields::{holds_no_object, native_state, owns_no_object};
use crate::ffi::guarded::Guarded;
use crate::ffi::method::Method;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::net::stream::{IPPROTO_TCP, Opened, Parties, abandon, begin};

native_state! {
    /// A TCP connection that is not a transport yet. Closed when it is dropped.
    pub(crate) struct Connection {
        descriptor: Guarded<Option<OwnedFd>>,
        address: SocketAddr,
        /// The outcome, if it was known at once.
        outcome: Guarded<Outcome>,
    }
}

holds_no_object!(SocketAddr);
owns_no_object!(Option<OwnedFd>, Outcome);

class_over_object! {
    Connection, c"ferrio._ferrio.Connection",
    c"A TCP connection that is not a transport yet. Closed when it is dropped.";
}

impl Connection {
    /// Whether the connection is there, or the error that it has failed with.
    fn is_made(&self, py: Python<'_>) -> PyResult<bool> {
        let known = self.outcome.with(py, |outcome| *outcome);
        let outcome = self.descriptor.with(py, |descriptor| match (known, descriptor) {
            (Outcome::Pending, Some(descriptor)) => stream_socket::connect_outcome(descriptor.as_fd()),
            (known, _) => Ok(known),
        });
        match outcome.map_err(|error| os_error(py, error))? {
            Outcome::Pending => Ok(false),
            Outcome::Made => Ok(true),
            Outcome::Failed(errno) => Err(self.raise(errno.raw_os_error())),
        }
    }

    /// The connection, taken out.
    fn opened(&self, py: Python<'_>) -> Option<Opened> {
        let descriptor = self.descriptor.with(py, Option::take)?;
        let peer = match self.address {
            SocketAddr::V4(address) => SocketName::V4(address),
            SocketAddr::V6(address) => SocketName::V6(Box::new(address)),
        };
        Some(Opened { descriptor, peer, proto: IPPROTO_TCP, is_accepted: false })
    }

    fn raise(&self, errno: i32) -> PyErr {
        let shown = match self.address {
            SocketAddr::V4(address) => format!("('{}', {})", address.ip(), address.port()),
            SocketAddr::V6(address) => format!("('{}', {}, 0, 0)", address.ip(), address.port()),
        };
        PyOSError::new_err((errno, format!("Connect call failed {shown}")))
    }
}

/// Gives a future the outcome, if it is known and the future is not done.
fn tell(py: Python<'_>, connection: &Instance<Connection>, future: &Object) -> PyResult<()> {
    let future = future.bind(py);
    if future.call_method0(&names(py).done)?.is_truthy()? {
        return Ok(());
    }
    match connection.is_made(py) {
        Ok(true) => future.call_method1(&names(py).set_result, (py.None(),)).map(drop),
        Ok(false) => Ok(()),
        Err(error) => future.call_method1(&names(py).set_exception, (made(py, error).into_value(py),)).map(drop),
    }
}

/// `fileno()`.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a method")]
fn fileno(py: Python<'_>, connection: &Instance<Connection>) -> PyResult<RawFd> {
    Ok(connection.descriptor.with(py, |descriptor| descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd)))
}

/// `close()`.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a method")]
fn close(py: Python<'_>, connection: &Instance<Connection>) -> PyResult<()> {
    drop(connection.descriptor.with(py, Option::take));
    Ok(())
}

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const SOCK_STREAM: i32 = 1;

/// `sys.audit` as the `socket` module does it for a new socket and for `connect`.
fn audit(py: Python<'_>, connection: &Instance<Connection>, host: &CStr) -> PyResult<()> {
    let address = connection.address;
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    audit::new_socket(py, connection.object(), [family, SOCK_STREAM, i32::from(IPPROTO_TCP)])?;
    audit::connect(py, connection.object(), host, address.port())
}

/// `_connect(host, port)`.
///
/// # Errors
/// The `OSError` of a call that fails.
fn connect(py: Python<'_>, core: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([host, port]) = arguments.only() else {
        return Err(PyTypeError::new_err("_connect() takes a host and a port"));
    };
    let (host, port) = (host.bind(py).cast::<PyString>()?.to_str()?, port.bind(py).extract()?);
    core.check_closed()?;
    // The kernel connects an unspecified address to another one.
    let Some(ip) = host.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified()) else { return Ok(None) };
    let address = match ip {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, 0)),
    };
    let connection = Connection { descriptor: Guarded::new(None), address, outcome: Guarded::new(Outcome::Pending) };
    let connection = Instance::<Connection>::create(py, connection)?;
    // A numeric address has no zero in it.
    let text = std::ffi::CString::new(host).unwrap_or_default();
    audit(py, &connection, &text)?;
    let (descriptor, outcome) = match stream_socket::connect(&address) {
        Ok(Connecting::Done(descriptor)) => (Some(descriptor), Outcome::Made),
        Ok(Connecting::Pending(descriptor)) => (Some(descriptor), Outcome::Pending),
        Ok(Connecting::Refused(error)) => (None, Outcome::Failed(error.errno)),
        Err(error) => return Err(os_error(py, error)),
    };
    connection.descriptor.with(py, |place| *place = descriptor);
    connection.outcome.with(py, |place| *place = outcome);
    Ok(Some(connection.into_object()))
}

/// `_schedule_outcome(connection, future)`.
fn schedule_outcome(py: Python<'_>, core: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<bool> {
    let Some([connection, future]) = arguments.only() else {
        return Err(PyTypeError::new_err("_schedule_outcome() takes a connection and a future"));
    };
    let connection = Instance::<Connection>::expect(py, connection)?;
    if connection.outcome.with(py, |outcome| *outcome == Outcome::Pending) {
        return Ok(false);
    }
    core.schedule_behind_poll(py, connection.object(), core::slice::from_ref(future))?;
    Ok(true)
}

/// `_begin(class, connection, protocol, waiter)`.
fn begin_connection(py: Python<'_>, core: &Instance<LoopCore>, arguments: Arguments<'_>) -> PyResult<Object> {
    let Some([class, connection, protocol, waiter]) = arguments.only() else {
        return Err(PyTypeError::new_err("_begin() takes a class, a connection, a protocol and a waiter"));
    };
    let Some(opened) = Instance::<Connection>::expect(py, connection)?.opened(py) else {
        return Err(PyRuntimeError::new_err("the connection has been closed"));
    };
    let parties = Parties {
        class: class.clone(),
        protocol: protocol.clone(),
        server: None,
        waiter: Some(waiter.clone()),
        context: None,
    };
    begin(py, core.object(), opened, parties)
}

/// Adds the methods to the core's class.
pub(crate) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(Method::any_arguments(
            c"_connect",
            connect,
            c"Start a TCP connection to a numeric address; None when host is anything else. The OSError of a call that fails \
              is raised.",
        ))
        .method(Method::any_arguments(
            c"_schedule_outcome",
            schedule_outcome,
            c"Give a future the outcome of a connection, in the turn in which a poll would show it. False when it is not \
              known yet: the caller has to watch the descriptor then.",
        ))
        .method(Method::any_arguments(
            c"_begin",
            begin_connection,
            c"Make the transport of a connection; the waiter is woken after connection_made().",
        ))
}

/// Makes the class and adds it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = Builder::<Instance<Connection>>::new()
        .called_with_one(tell)
        .method(Method::no_arguments(
            c"fileno",
            fileno,
            c"fileno($self)\n--\n\nThe number of the descriptor, -1 when there is none any more.",
        ))
        .method(Method::no_arguments(c"close", close, c"close($self)\n--\n\nClose the descriptor."))
        .method(Method::no_arguments(
            c"abandon",
            |py, connection: &Instance<Connection>| connection.opened(py).map_or(Ok(()), |opened| abandon(py, opened)),
            c"abandon($self)\n--\n\nDrop a connection that becomes no transport, with the warning of a socket that nobody \
              has closed.",
        ))
        .build_over_object(module.py())?;
    module.add("Connection", class)
}

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
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

use crate::core::LoopCore;
use crate::ffi::audit;
use crate::ffi::class::Instance;
use crate::ffi::errors::{made, os_error};
use crate::ffi::guarded::Guarded;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::trampoline::caught;
use crate::net::stream::{IPPROTO_TCP, Opened, Parties, abandon, begin};

/// A TCP connection that is not a transport yet. Closed when it is dropped.
#[pyclass(frozen, module = "ferrio._ferrio")]
pub(crate) struct Connection {
    descriptor: Guarded<Option<OwnedFd>>,
    address: SocketAddr,
    /// The outcome, if it was known at once.
    outcome: Guarded<Outcome>,
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

#[pymethods]
impl Connection {
    /// The number of the descriptor, -1 when there is none any more.
    fn fileno(&self, py: Python<'_>) -> RawFd {
        self.descriptor.with(py, |descriptor| descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// Gives a future the outcome, if it is known and the future is not done.
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        caught(|| {
            let py = future.py();
            if future.call_method0(&names(py).done)?.is_truthy()? {
                return Ok(());
            }
            match self.is_made(py) {
                Ok(true) => future.call_method1(&names(py).set_result, (py.None(),)).map(drop),
                Ok(false) => Ok(()),
                Err(error) => {
                    future.call_method1(&names(py).set_exception, (made(py, error).into_value(py),)).map(drop)
                }
            }
        })
    }

    /// Closes the descriptor.
    fn close(&self, py: Python<'_>) {
        drop(self.descriptor.with(py, Option::take));
    }

    /// Drops a connection that becomes no transport, with the warning of a socket that nobody has closed.
    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        self.opened(py).map_or(Ok(()), |opened| abandon(py, opened))
    }
}

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const SOCK_STREAM: i32 = 1;

/// `sys.audit` as the `socket` module does it for a new socket and for `connect`.
fn audit(py: Python<'_>, connection: &Bound<'_, Connection>, host: &CStr) -> PyResult<()> {
    let address = connection.get().address;
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let connection = Object::of(connection);
    audit::new_socket(py, connection, [family, SOCK_STREAM, i32::from(IPPROTO_TCP)])?;
    audit::connect(py, connection, host, address.port())
}

#[pymethods]
impl LoopCore {
    /// Starts a TCP connection to a numeric address; `None` when `host` is anything else.
    ///
    /// Raises the `OSError` of a call that fails.
    #[pyo3(signature = (host, port, /))]
    fn _connect<'py>(slf: &Bound<'py, Self>, host: &str, port: u16) -> PyResult<Option<Bound<'py, Connection>>> {
        let py = slf.py();
        slf.get().check_closed()?;
        // The kernel connects an unspecified address to another one.
        let Some(ip) = host.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified()) else { return Ok(None) };
        let address = match ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, 0)),
        };
        let connection =
            Connection { descriptor: Guarded::new(None), address, outcome: Guarded::new(Outcome::Pending) };
        let connection = Bound::new(py, connection)?;
        // A numeric address has no zero in it.
        let text = std::ffi::CString::new(host).unwrap_or_default();
        audit(py, &connection, &text)?;
        let (descriptor, outcome) = match stream_socket::connect(&address) {
            Ok(Connecting::Done(descriptor)) => (Some(descriptor), Outcome::Made),
            Ok(Connecting::Pending(descriptor)) => (Some(descriptor), Outcome::Pending),
            Ok(Connecting::Refused(error)) => (None, Outcome::Failed(error.errno)),
            Err(error) => return Err(os_error(py, error)),
        };
        connection.get().descriptor.with(py, |place| *place = descriptor);
        connection.get().outcome.with(py, |place| *place = outcome);
        Ok(Some(connection))
    }

    /// Gives a future the outcome of a connection, in the turn in which a poll would show it. False when it is not known
    /// yet: the caller has to watch the descriptor then.
    #[pyo3(signature = (connection, future, /))]
    fn _schedule_outcome(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, Connection>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let py = slf.py();
        if connection.get().outcome.with(py, |outcome| *outcome == Outcome::Pending) {
            return Ok(false);
        }
        Instance::of_bound(slf).schedule_behind_poll(py, Object::of(connection), &[Object::of(future).clone()])?;
        Ok(true)
    }

    /// Makes the transport of a connection; the waiter is woken after `connection_made()`.
    #[pyo3(signature = (class, connection, protocol, waiter, /))]
    fn _begin(
        slf: &Bound<'_, Self>,
        class: &Bound<'_, PyAny>,
        connection: &Bound<'_, Connection>,
        protocol: &Bound<'_, PyAny>,
        waiter: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Some(opened) = connection.get().opened(py) else {
            return Err(PyRuntimeError::new_err("the connection has been closed"));
        };
        let parties = Parties {
            class: Object::new(class.clone()),
            protocol: Object::new(protocol.clone()),
            server: None,
            waiter: Some(Object::new(waiter.clone())),
            context: None,
        };
        let transport = begin(py, &Object::new(slf.clone()), opened, parties)?;
        Ok(transport.into_bound(py).unbind())
    }
}

/// Adds the class to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Connection>()
}

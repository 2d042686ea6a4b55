//! The class `DatagramTransport`: its description, how it opens, and the table of its methods.

#![forbid(unsafe_code)]

use core::ffi::CStr;
use std::os::fd::RawFd;

use ferrio_engine::backend::Usage;
use ferrio_engine::reactor::Datagrams;
use ferrio_engine::sys::address::Family;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::state::{DatagramState, Remote, detach, start_over};
use super::{address, close, on_ready, read, write};
use crate::core::{LoopCore, Source};
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::class::{Builder, Class, Description, Heap, Instance, NativeClass};
use crate::ffi::descriptor::borrow;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::handle::context;
use crate::net::transport::{self, apply_change, opened, with};

/// The native half of `ferrio`'s datagram transport.
pub(crate) struct DatagramTransport;

/// A reference to a transport.
pub(super) type Endpoint = Instance<DatagramTransport>;

impl Class for DatagramTransport {
    type State = DatagramState;
    type Layout = Heap;

    #[inline]
    fn description() -> &'static Description<Self> {
        static DESCRIPTION: Description<DatagramTransport> = Description::new(0);
        &DESCRIPTION
    }
}

impl NativeClass for DatagramTransport {
    const NAME: &'static CStr = c"ferrio._ferrio.DatagramTransport";
    const DOC: &'static CStr = c"The native half of ferrio's datagram transport.";
    const IS_SUBCLASSABLE: bool = true;

    const END: Option<fn(Python<'_>, &Endpoint)> = Some(Self::before_clear);

    fn before_clear(py: Python<'_>, transport: &Endpoint) {
        detach(py, transport);
    }
}

/// `_open(loop, sock, protocol, address, is_connected, header_bytes, sends_empty, keeps_count)`: takes the socket and
/// attaches its descriptor.
fn open(py: Python<'_>, transport: &Endpoint, arguments: Arguments<'_>) -> PyResult<()> {
    let [event_loop, socket, protocol, remote, is_connected, header_bytes, sends_empty, keeps_count] =
        arguments.positional()
    else {
        return Err(PyTypeError::new_err("_open() takes eight arguments"));
    };
    // Of a closed loop too, as asyncio: the next that is asked of the loop fails, and the forgotten transport warns.
    let core = Instance::<LoopCore>::expect(py, event_loop)?;
    let family: Family = socket.bind(py).getattr("family")?.extract()?;
    let number: RawFd = call_method(py, &names(py).fileno, [socket])?.bind(py).extract()?;
    // The socket has it open, and the state holds the socket until the key is detached.
    let Some(borrowed) = borrow(number) else {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {number}")));
    };
    let is_connected = is_connected.bind(py).is_truthy()?;
    let sends_empty = sends_empty.bind(py).is_truthy()?;
    let keeps_count = keeps_count.bind(py).is_truthy()?;
    let header_bytes: usize = header_bytes.bind(py).extract()?;
    // As asyncio asks: whether the address is true.
    let remote = remote
        .bind(py)
        .is_truthy()?
        .then(|| Remote { object: remote.clone(), address: address::from_python(remote.bind(py), family) });
    core.forget_watch(py, number)?;
    // From here to the end no Python runs, so nothing opens it in between.
    start_over(py, transport)?;
    let key = core.attach(py, Source::Object { run: on_ready, object: None }, borrowed, Usage::Watched)?;
    let (event_loop, socket, protocol) = (core.clone(), socket.clone(), protocol.clone());
    let before = with(py, transport, |inner| {
        inner.common.number = number;
        inner.common.is_opened = true;
        inner.common.key = Some(key);
        inner.family = family;
        inner.is_connected = is_connected;
        inner.sends_empty = sends_empty;
        inner.keeps_count = keeps_count;
        (
            inner.common.event_loop.replace(event_loop),
            inner.common.protocol.replace(protocol),
            inner.socket.replace(socket),
            core::mem::replace(&mut inner.remote, remote),
            core::mem::replace(&mut inner.outgoing, Datagrams::new(header_bytes)),
        )
    });
    drop(before);
    Ok(())
}

/// `_start_reading()`: called once, after `connection_made`.
fn start_reading(py: Python<'_>, transport: &Endpoint) -> PyResult<()> {
    opened(py, transport, |_| ())?;
    let ctx = context::copy_current(py)?;
    let (before, change) = with(py, transport, |inner| (inner.read_context.replace(ctx), inner.common.reading.start()));
    drop(before);
    apply_change(py, transport, change)
}

fn sendto(py: Python<'_>, transport: &Endpoint, arguments: Arguments<'_>) -> PyResult<()> {
    if let Some([data, addr]) = arguments.only::<2>() {
        return write::sendto(py, transport, data, addr);
    }
    let [Some(data), addr] = arguments.parameters(py, "sendto", ["data", "addr"])? else {
        return Err(PyTypeError::new_err("sendto() missing 1 required positional argument: 'data'"));
    };
    match addr {
        Some(addr) => write::sendto(py, transport, data, addr),
        None => write::sendto(py, transport, data, &Object::none(py)),
    }
}

fn abort(py: Python<'_>, transport: &Endpoint) -> PyResult<()> {
    close::force_close(py, transport, &Object::none(py))
}

fn read_ready(py: Python<'_>, transport: &Endpoint) -> PyResult<()> {
    let (key, event_loop) = opened(py, transport, |inner| (inner.common.key, inner.common.event_loop.clone()))?;
    match (key, event_loop) {
        (Some(key), Some(event_loop)) => read::ready(py, &event_loop, transport, key),
        _ => Ok(()),
    }
}

fn sendto_ready(py: Python<'_>, transport: &Endpoint) -> PyResult<()> {
    match opened(py, transport, |inner| inner.common.event_loop.clone())? {
        Some(event_loop) => write::ready(py, &event_loop, transport),
        None => Ok(()),
    }
}

/// The methods that streams have not.
fn add_methods(builder: Builder<Endpoint>) -> Builder<Endpoint> {
    builder
        .method(Method::any_arguments(
            c"_open",
            open,
            c"Take the socket: _open(loop, sock, protocol, address, is_connected, header_bytes, sends_empty, keeps_count).",
        ))
        .method(Method::no_arguments(
            c"_start_reading",
            start_reading,
            c"Start to receive; once, after connection_made().",
        ))
        .method(Method::no_arguments(c"_release", close::release, c"Give everything up; the socket comes back."))
        .method(Method::one_argument(
            c"_force_close",
            close::force_close,
            c"End at once with an exception; what waits is lost.",
        ))
        .method(Method::no_arguments(c"_read_ready", read_ready, c"Receive what is there, within limits."))
        .method(Method::no_arguments(c"_sendto_ready", sendto_ready, c"Send what waits, as far as there is room."))
        .method(Method::any_arguments(
            c"sendto",
            sendto,
            c"sendto($self, data, addr=None)\n--\n\nSend one datagram; never blocks.\n\nIt leaves at once, or waits for \
              room behind those that wait already. What the socket answers is told to the protocol: \
              error_received().\n\nRaises:\n    TypeError: data is not bytes, bytearray or memoryview.\n    \
              ValueError: addr is not the remote address of the endpoint.\n\nLoop thread only. Follows \
              asyncio.DatagramTransport.sendto.",
        ))
        .method(Method::no_arguments(
            c"close",
            close::close,
            c"close($self)\n--\n\nReceive no more, send what is waiting, then call connection_lost(None).",
        ))
        .method(Method::no_arguments(
            c"abort",
            abort,
            c"abort($self)\n--\n\nClose at once; datagrams that wait are lost.",
        ))
}

/// asyncio's private names, and what the Python half asks.
fn add_attributes(builder: Builder<Endpoint>) -> Builder<Endpoint> {
    /// An attribute that shows something of the state.
    macro_rules! shows {
        ($name:literal, |$inner:ident| $value:expr) => {
            Attribute::read_only($name, |py, transport: &Endpoint| Ok(with(py, transport, |$inner| $value)))
        };
    }
    builder
        .attribute(shows!(c"_sock", |inner| inner.socket.clone()))
        .attribute(shows!(c"_address", |inner| inner.remote.as_ref().map(|remote| remote.object.clone())))
        .attribute(shows!(c"_buffer_size", |inner| inner.outgoing.pending_bytes()))
        .attribute(shows!(c"_is_sending", |inner| inner.common.key.is_some() && inner.write_context.is_some()))
}

/// Makes the class and adds it to the module.
///
/// # Errors
/// asyncio lacks the base.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // asyncio's own is a `Transport` with this mixin too; the Python half adds `DatagramTransport` to its bases.
    let base = OBJECTS.flow_control_mixin.bind(py)?.cast::<PyType>()?;
    let builder = transport::add_methods(Builder::new().instantiable());
    module.add("DatagramTransport", add_attributes(add_methods(builder)).build(py, base)?)
}

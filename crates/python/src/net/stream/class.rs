//! The class `StreamTransport`: its description and the table of its methods.

#![forbid(unsafe_code)]

use std::os::fd::RawFd;

use ferrio_engine::backend::Usage;
use ferrio_engine::sys::socket_name::{self, SocketName};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::descriptor::Descriptor;
use super::state::{Corking, StreamState, release_descriptor};
use super::{begin, close, details, write};
use crate::core::LoopCore;
use crate::ffi::arguments::Arguments;
use crate::ffi::call::call_method;
use crate::ffi::class::{Builder, Class, Description, Heap, Instance, NativeClass};
use crate::ffi::descriptor::borrow;
use crate::ffi::inherited::InheritedSlot;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::net::transport::{self, Transport, event_loop, opened, with};

/// The native half of `ferrio`'s socket transport.
pub(crate) struct StreamTransport;

/// A reference to a transport.
pub(super) type Stream = Instance<StreamTransport>;

impl Class for StreamTransport {
    type State = StreamState;
    type Layout = Heap;

    #[inline]
    fn description() -> &'static Description<Self> {
        static DESCRIPTION: Description<StreamTransport> = Description::new(0);
        &DESCRIPTION
    }
}

impl NativeClass for StreamTransport {
    const NAME: &'static core::ffi::CStr = c"ferrio._ferrio.StreamTransport";
    const DOC: &'static core::ffi::CStr = c"The native half of ferrio's socket transport.";
    const IS_SUBCLASSABLE: bool = true;
    const FINALIZES: bool = true;

    /// A transport that nobody refers to any more warns and closes, unless it has ended.
    fn finalize(py: Python<'_>, transport: &Stream) -> PyResult<()> {
        if with(py, transport, |inner| inner.descriptor.is_none()) {
            return Ok(());
        }
        call_method(py, &names(py)._warn_unclosed, [transport.object()]).map(drop)
    }

    const END: Option<fn(Python<'_>, &Stream)> = Some(Self::before_clear);

    fn before_clear(py: Python<'_>, transport: &Stream) {
        if let Some(socket) = release_descriptor(py, transport) {
            nesting::release(socket);
        }
    }
}

/// asyncio's `BaseTransport._extra`: the dictionary of [`details`].
pub(super) static EXTRA: InheritedSlot<StreamTransport> = InheritedSlot::new();

/// `_open(loop, sock, protocol, server, context)`: takes the socket over and attaches its descriptor.
fn open(py: Python<'_>, transport: &Stream, arguments: Arguments<'_>) -> PyResult<()> {
    let [event_loop, socket, protocol, server, context] = arguments.positional() else {
        return Err(PyTypeError::new_err("_open() takes loop, sock, protocol, server and context"));
    };
    Instance::<LoopCore>::expect(py, event_loop)?;
    let number: RawFd = call_method(py, &names(py).fileno, [socket])?.bind(py).extract()?;
    let descriptor = Descriptor::Python(socket.clone());
    let context = context.unless_none();
    begin::take(py, event_loop, transport, (number, Usage::Stream), descriptor, context.as_ref())?;
    let server = server.unless_none();
    with(py, transport, |inner| inner.server = server);
    StreamTransport::set_protocol(py, transport, protocol.clone())
}

/// `_read_names(proto)`: asks the kernel for the names of both ends; false when they are of a family that has to be asked
/// through Python.
fn read_names(py: Python<'_>, transport: &Stream, proto: &Object) -> PyResult<bool> {
    let proto: i64 = proto.bind(py).extract()?;
    let number = opened(py, transport, |inner| (!inner.descriptor.is_none()).then_some(inner.common.number))?;
    let Some(fd) = number.and_then(borrow) else { return Ok(false) };
    let (Ok(local), peer) = (socket_name::local(fd), socket_name::peer(fd)) else { return Ok(false) };
    let (Some(local), Some(peer), Ok(proto)) = (local, peer.unwrap_or(Some(SocketName::None)), u16::try_from(proto))
    else {
        return Ok(false);
    };
    with(py, transport, |inner| {
        inner.local = local;
        inner.peer = peer;
        inner.proto = proto;
    });
    Ok(true)
}

/// `_begin(waiter)`: schedules `connection_made`, the start of reading, and the waking of the waiter.
fn begin_transport(py: Python<'_>, transport: &Stream, waiter: &Object) -> PyResult<()> {
    opened(py, transport, |_| ())?;
    let Some(event_loop) = event_loop(py, transport) else { return Ok(()) };
    begin::schedule_beginning(py, &event_loop, transport, waiter.unless_none())
}

/// The one argument of a method, by position or by name.
#[inline]
fn only_argument<'a>(py: Python<'_>, method: &str, name: &str, arguments: Arguments<'a>) -> PyResult<&'a Object> {
    match arguments.only::<1>() {
        Some([value]) => Ok(value),
        None => unusual_argument(py, method, name, arguments),
    }
}

#[cold]
#[inline(never)]
fn unusual_argument<'a>(py: Python<'_>, method: &str, name: &str, arguments: Arguments<'a>) -> PyResult<&'a Object> {
    match arguments.parameters(py, method, [name]) {
        Ok([Some(value)]) => Ok(value),
        _ => Err(PyTypeError::new_err(format!("{method}() takes exactly one argument, '{name}'"))),
    }
}

fn write(py: Python<'_>, transport: &Stream, arguments: Arguments<'_>) -> PyResult<()> {
    write::write(py, transport, only_argument(py, "write", "data", arguments)?)
}

fn writelines(py: Python<'_>, transport: &Stream, arguments: Arguments<'_>) -> PyResult<()> {
    write::write_lines(py, transport, only_argument(py, "writelines", "list_of_data", arguments)?)
}

fn abort(py: Python<'_>, transport: &Stream) -> PyResult<()> {
    close::force_close(py, transport, &Object::none(py))
}

fn release(py: Python<'_>, transport: &Stream) -> PyResult<Object> {
    opened(py, transport, |_| ())?;
    let pair = close::release(py, transport);
    let [socket, server] = [pair.0, pair.1].map(|object| object.unwrap_or_else(|| Object::none(py)));
    Ok(Object::new((socket.bind(py), server.bind(py)).into_pyobject(py)?))
}

/// Somebody else may use the socket from now on.
fn share(py: Python<'_>, transport: &Stream) -> PyResult<()> {
    // While the loop's own `sendfile` uses the socket, nothing can be written.
    with(py, transport, |inner| {
        if inner.empty_waiter.is_none() {
            inner.corking = Corking::Never;
        }
    });
    write::flush_now(py, transport)
}

fn socket(py: Python<'_>, transport: &Stream) -> PyResult<Option<Object>> {
    share(py, transport)?;
    details::socket(py, transport)
}

fn call_connection_lost(py: Python<'_>, transport: &Stream, exception: &Object) -> PyResult<()> {
    opened(py, transport, |_| ())?;
    close::call_connection_lost(py, transport, exception)
}

/// The methods of asyncio's transports that datagrams have not.
fn add_methods(builder: Builder<Stream>) -> Builder<Stream> {
    builder
        .method(Method::any_arguments(
            c"get_extra_info",
            details::get_extra_info,
            c"get_extra_info($self, name, default=None)\n--\n\nWhat is known of the connection: 'socket', 'sockname', \
              'peername'.",
        ))
        .method(Method::any_arguments(
            c"write",
            write,
            c"write($self, data)\n--\n\nSend bytes; never blocks.\n\nExact bytes are held until they are sent, anything \
              else is copied now. Bytes written in one callback of the loop leave together when it returns.\n\nRaises:\n    \
              TypeError: data is not bytes, bytearray or memoryview.\n    RuntimeError: after write_eof(), or during \
              sendfile.\n\nLoop thread only. Follows asyncio.WriteTransport.write.",
        ))
        .method(Method::any_arguments(
            c"writelines",
            writelines,
            c"writelines($self, list_of_data)\n--\n\nSend several pieces with one system call. As write().",
        ))
        .method(Method::no_arguments(
            c"write_eof",
            close::write_eof,
            c"write_eof($self)\n--\n\nEnd the sending direction once everything written has been sent.",
        ))
        .method(Method::no_arguments(
            c"close",
            close::close,
            c"close($self)\n--\n\nRead no more, send what is waiting, then call connection_lost(None).",
        ))
        .method(Method::no_arguments(
            c"abort",
            abort,
            c"abort($self)\n--\n\nClose at once; bytes that the kernel has not taken are lost.",
        ))
}

/// What the Python half calls.
fn add_private_methods(builder: Builder<Stream>) -> Builder<Stream> {
    builder
        .method(Method::any_arguments(
            c"_open",
            open,
            c"Take the socket: _open(loop, sock, protocol, server, context).",
        ))
        .method(Method::one_argument(
            c"_read_names",
            read_names,
            c"Ask the kernel for both names; whether it has them.",
        ))
        .method(Method::one_argument(
            c"_begin",
            begin_transport,
            c"Schedule connection_made(), then reading, then the waiter.",
        ))
        .method(Method::no_arguments(c"_flush", write::flush_now, c"Send what the callback under way has written."))
        .method(Method::no_arguments(c"_share", share, c"Somebody else may use the socket: send each write at once."))
        .method(Method::one_argument(
            c"_call_connection_lost",
            call_connection_lost,
            c"Call connection_lost() and release everything.",
        ))
        .method(Method::no_arguments(c"_release", release, c"Release everything; (socket, server) come back."))
        .method(Method::one_argument(
            c"_force_close",
            close::force_close,
            c"End at once with an exception; pending bytes are lost.",
        ))
}

/// asyncio's private names, and what the Python half asks.
fn add_attributes(builder: Builder<Stream>) -> Builder<Stream> {
    /// An attribute that shows something of the state.
    macro_rules! shows {
        ($name:literal, |$inner:ident| $value:expr) => {
            Attribute::read_only($name, |py, transport: &Stream| Ok(with(py, transport, |$inner| $value)))
        };
    }
    builder
        .attribute(Attribute::read_only(c"_extra", details::dictionary).writable(|_, transport: &Stream, details| {
            EXTRA.set(transport, details.cloned());
            Ok(())
        }))
        .attribute(Attribute::read_only(c"_sock", socket))
        .attribute(shows!(c"_server", |inner| inner.server.clone()))
        .attribute(shows!(c"_context", |inner| inner.context.clone()))
        .attribute(shows!(c"_empty_waiter", |inner| inner.empty_waiter.clone()).writable(
            |py, transport: &Stream, waiter| {
                let waiter = waiter.and_then(Object::unless_none);
                let before = with(py, transport, |inner| core::mem::replace(&mut inner.empty_waiter, waiter));
                drop(before);
                Ok(())
            },
        ))
        .attribute(shows!(c"_eof", |inner| inner.is_eof_written))
        .attribute(shows!(c"_is_released", |inner| inner.descriptor.is_none()))
        .attribute(shows!(c"_is_sending", |inner| inner.stream.is_sending()))
        .attribute(shows!(c"_pending_bytes", |inner| inner.stream.pending_bytes()))
}

/// Makes the class and adds it to the module.
///
/// # Errors
/// asyncio lacks a base or a slot.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // Now, before a program puts a class of its own there.
    OBJECTS.socket_class.get(py)?;
    // asyncio's own sendfile fallback asks for the mixin by name.
    let base = OBJECTS.flow_control_mixin.bind(py)?.cast::<PyType>()?;
    let builder = transport::add_methods(Builder::new().instantiable());
    let class = add_attributes(add_private_methods(add_methods(builder))).build(py, base)?;
    EXTRA.find(OBJECTS.base_transport.bind(py)?.cast::<PyType>()?, "_extra")?;
    module.add("StreamTransport", class)
}

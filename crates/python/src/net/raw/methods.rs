//! `sock_recv`, `sock_recv_into`, `sock_recvfrom`, `sock_recvfrom_into`, `sock_sendall`, `sock_sendto`.
//!
//! Native for an exact `socket.socket` (see `class.rs`) and positional arguments. Everything else is asyncio's own coroutine, over
//! `_add_reader` and `_add_writer`: it has the right words for a wrong argument and an `SSLSocket`, and calls the methods that
//! a subclass overrides.

#![forbid(unsafe_code)]

use core::ops::RangeInclusive;

use pyo3::prelude::*;

use super::attempt::{Call, Method};
use super::class::is_plain_socket;
use super::{operation, registration, waiter};
use crate::core::{Direction, LoopBuilder, LoopCore};
use crate::ffi::arguments::Arguments;
use crate::ffi::class::Instance;
use crate::ffi::method;
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

type Loop = Instance<LoopCore>;
type Definition = method::Method<Loop>;

/// The operation, or asyncio's coroutine for an unusual call. `count` is how many arguments a usual one has.
#[inline]
fn begin(
    py: Python<'_>,
    qualified_name: &'static str,
    event_loop: &Loop,
    arguments: Arguments<'_>,
    count: RangeInclusive<usize>,
    call: impl FnOnce(&[Object]) -> Call,
) -> PyResult<Object> {
    let given = arguments.positional();
    if let [socket, rest @ ..] = given
        && is_plain_socket(py, socket)?
        && arguments.has_no_keywords()
        && count.contains(&given.len())
    {
        return operation::make(py, qualified_name, event_loop.clone(), socket.clone(), call(rest));
    }
    inherited(py, qualified_name, event_loop, arguments)
}

/// Asyncio's own coroutine.
#[cold]
fn inherited(py: Python<'_>, qualified_name: &str, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    let name = qualified_name.rsplit('.').next().unwrap_or(qualified_name);
    let method = OBJECTS.asyncio_selector_loop.bind(py)?.getattr(name)?;
    arguments.pass_on(py, Object::of(&method), event_loop.object())
}

fn hold(value: &Object) -> Held {
    Held::new(value.clone())
}

fn by_method(method: Method, rest: &[Object]) -> Call {
    Call::Method { method, first: hold(&rest[0]), second: rest.get(1).map(hold) }
}

fn sock_recv(py: Python<'_>, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    begin(py, "BaseSelectorEventLoop.sock_recv", event_loop, arguments, 2..=2, |rest| Call::Receive {
        size: hold(&rest[0]),
    })
}

fn sock_recv_into(py: Python<'_>, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    begin(py, "BaseSelectorEventLoop.sock_recv_into", event_loop, arguments, 2..=2, |rest| Call::ReceiveInto {
        buffer: hold(&rest[0]),
    })
}

fn sock_recvfrom(py: Python<'_>, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    begin(py, "BaseSelectorEventLoop.sock_recvfrom", event_loop, arguments, 2..=2, |rest| {
        by_method(Method::ReceiveFrom, rest)
    })
}

fn sock_recvfrom_into(py: Python<'_>, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    begin(py, "BaseSelectorEventLoop.sock_recvfrom_into", event_loop, arguments, 2..=3, |rest| {
        by_method(Method::ReceiveFromInto, rest)
    })
}

fn sock_sendall(py: Python<'_>, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    begin(py, "BaseSelectorEventLoop.sock_sendall", event_loop, arguments, 2..=2, |rest| Call::Send {
        data: hold(&rest[0]),
        view: None,
        sent: 0,
    })
}

fn sock_sendto(py: Python<'_>, event_loop: &Loop, arguments: Arguments<'_>) -> PyResult<Object> {
    begin(py, "BaseSelectorEventLoop.sock_sendto", event_loop, arguments, 3..=3, |rest| by_method(Method::SendTo, rest))
}

fn wait_readable(py: Python<'_>, event_loop: &Loop, socket: &Object) -> PyResult<Object> {
    let call = Call::Wait { direction: Direction::Read, has_waited: false };
    operation::make(py, "BaseSelectorEventLoop._sock_wait_readable", event_loop.clone(), socket.clone(), call)
}

fn wait_writable(py: Python<'_>, event_loop: &Loop, socket: &Object) -> PyResult<Object> {
    let call = Call::Wait { direction: Direction::Write, has_waited: false };
    operation::make(py, "BaseSelectorEventLoop._sock_wait_writable", event_loop.clone(), socket.clone(), call)
}

fn forget_socket(py: Python<'_>, event_loop: &Loop, weak: &Object) -> PyResult<()> {
    registration::forget(py, event_loop, weak)
}

fn end_wait(py: Python<'_>, _event_loop: &Loop, future: &Object) -> PyResult<()> {
    waiter::wake(py, future)
}

/// Adds the methods to the core's type.
pub(crate) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    let methods = [
        Definition::any_arguments(
            c"sock_recv",
            sock_recv,
            c"sock_recv($self, sock, n)\n--\n\n\
              Receive at most n bytes; b'' at the end of the stream.\n\n\
              The socket is asked first; the wait begins when it has nothing. Cancelled, it has taken no byte.\n\n\
              Raises:\n    OSError: What the socket reports.\n    RuntimeError: A transport uses the socket.\n    \
              ValueError: n is negative, or (debug mode) the socket blocks.\n\n\
              Follows asyncio.loop.sock_recv.",
        ),
        Definition::any_arguments(
            c"sock_recv_into",
            sock_recv_into,
            c"sock_recv_into($self, sock, buf)\n--\n\n\
              Receive into a writable buffer; how many bytes. As sock_recv.",
        ),
        Definition::any_arguments(
            c"sock_recvfrom",
            sock_recvfrom,
            c"sock_recvfrom($self, sock, bufsize)\n--\n\n\
              Receive a datagram of at most bufsize bytes: (data, address). As sock_recv.",
        ),
        Definition::any_arguments(
            c"sock_recvfrom_into",
            sock_recvfrom_into,
            c"sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n\
              Receive a datagram into a writable buffer: (number of bytes, address). As sock_recv.",
        ),
        Definition::any_arguments(
            c"sock_sendall",
            sock_sendall,
            c"sock_sendall($self, sock, data)\n--\n\n\
              Send all of data.\n\n\
              The buffer is exported until then: it must not change. Cancelled, it has sent a part.\n\n\
              Follows asyncio.loop.sock_sendall.",
        ),
        Definition::any_arguments(
            c"sock_sendto",
            sock_sendto,
            c"sock_sendto($self, sock, data, address)\n--\n\n\
              Send a datagram; the number of bytes. Follows asyncio.loop.sock_sendto.",
        ),
        Definition::one_argument(
            c"_sock_wait_readable",
            wait_readable,
            c"Wait until the socket, which has just refused, can be read.",
        ),
        Definition::one_argument(
            c"_sock_wait_writable",
            wait_writable,
            c"Wait until the socket, which has just refused, has room.",
        ),
        Definition::one_argument(c"_end_wait", end_wait, c"Complete the future of a wait, unless it is done."),
        Definition::one_argument(c"_forget_socket", forget_socket, c"A registered socket has been collected."),
    ];
    methods.into_iter().fold(builder, LoopBuilder::method)
}

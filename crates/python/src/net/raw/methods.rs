//! `sock_recv`, `sock_recv_into`, `sock_recvfrom`, `sock_recvfrom_into`, `sock_sendall`, `sock_sendto`.
//!
//! They are native functions in the class of the loop (see `coroutine/function.rs`), for an exact `socket.socket` (see
//! `class.rs`) and positional arguments. Everything else is asyncio's own coroutine, over `_add_reader` and `_add_writer`: it
//! has the right words for a wrong argument and an `SSLSocket`, and calls the methods that a subclass overrides.

#![forbid(unsafe_code)]

use core::ops::RangeInclusive;

use pyo3::prelude::*;

use super::attempt::{Call, Method};
use super::class::is_plain_socket;
use super::{operation, registration, waiter};
use crate::core::{Direction, LoopBuilder, LoopCore};
use crate::coroutine::function::{Named, Native};
use crate::ffi::arguments::Arguments;
use crate::ffi::class::Instance;
use crate::ffi::method;
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;

type Loop = Instance<LoopCore>;
type Definition = method::Method<Loop>;

/// The operation; `None` for an unusual call. `count` is how many arguments a usual one has besides the loop.
#[inline]
fn begin(
    py: Python<'_>,
    qualified_name: &'static str,
    arguments: Arguments<'_>,
    count: RangeInclusive<usize>,
    call: impl FnOnce(&[Object]) -> Call,
) -> PyResult<Option<Object>> {
    let [event_loop, given @ ..] = arguments.positional() else { return Ok(None) };
    if let Some(event_loop) = Loop::of(event_loop)
        && let [socket, rest @ ..] = given
        && is_plain_socket(py, socket)?
        && arguments.has_no_keywords()
        && count.contains(&given.len())
    {
        return operation::make(py, qualified_name, event_loop.clone(), socket.clone(), call(rest)).map(Some);
    }
    Ok(None)
}

fn hold(value: &Object) -> Held {
    Held::new(value.clone())
}

fn by_method(method: Method, rest: &[Object]) -> Call {
    Call::Method { method, first: hold(&rest[0]), second: rest.get(1).map(hold) }
}

fn sock_recv(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    begin(py, "BaseSelectorEventLoop.sock_recv", arguments, 2..=2, |rest| Call::Receive { size: hold(&rest[0]) })
}

fn sock_recv_into(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    begin(py, "BaseSelectorEventLoop.sock_recv_into", arguments, 2..=2, |rest| Call::ReceiveInto {
        buffer: hold(&rest[0]),
    })
}

fn sock_recvfrom(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    begin(py, "BaseSelectorEventLoop.sock_recvfrom", arguments, 2..=2, |rest| by_method(Method::ReceiveFrom, rest))
}

fn sock_recvfrom_into(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    begin(py, "BaseSelectorEventLoop.sock_recvfrom_into", arguments, 2..=3, |rest| {
        by_method(Method::ReceiveFromInto, rest)
    })
}

fn sock_sendall(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    begin(py, "BaseSelectorEventLoop.sock_sendall", arguments, 2..=2, |rest| Call::Send {
        data: hold(&rest[0]),
        view: None,
        sent: 0,
    })
}

fn sock_sendto(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    begin(py, "BaseSelectorEventLoop.sock_sendto", arguments, 3..=3, |rest| by_method(Method::SendTo, rest))
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

/// The methods that stand for asyncio's.
pub(crate) const FUNCTIONS: &[Named] = &[
    ("sock_recv", Native::Call(sock_recv)),
    ("sock_recv_into", Native::Call(sock_recv_into)),
    ("sock_recvfrom", Native::Call(sock_recvfrom)),
    ("sock_recvfrom_into", Native::Call(sock_recvfrom_into)),
    ("sock_sendall", Native::Call(sock_sendall)),
    ("sock_sendto", Native::Call(sock_sendto)),
];

/// Adds the methods on which they and asyncio's build to the core's type.
pub(crate) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    let methods = [
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

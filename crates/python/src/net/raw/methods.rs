//! `sock_recv`, `sock_recv_into`, `sock_recvfrom`, `sock_recvfrom_into`, `sock_sendall`, `sock_sendto`.
//!
//! Native for an exact `socket.socket` (see `class.rs`) and positional arguments. Everything else is asyncio's own coroutine, over
//! `_add_reader` and `_add_writer`: it has the right words for a wrong argument and an `SSLSocket`, and calls the methods that
//! a subclass overrides.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::attempt::{Call, Method};
use super::class::is_plain_socket;
use super::{operation, registration, waiter};
use crate::core::{Direction, LoopCore};
use crate::ffi::arguments::Arguments;
use crate::ffi::heap_type::{add_method, fast, fast_def, one_argument, one_argument_def};
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;

/// The class whose methods serve everything unusual.
static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn base(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let base = BASE.get_or_try_init(py, || {
        py.import("asyncio.selector_events")?.getattr("BaseSelectorEventLoop").map(Bound::unbind)
    })?;
    Ok(base.bind(py))
}

/// The operation, or asyncio's coroutine for an unusual call. `count` is how many arguments a usual one has.
#[inline]
fn begin(
    py: Python<'_>,
    name: &'static str,
    event_loop: *mut ffi::PyObject,
    arguments: Arguments<'_>,
    count: core::ops::RangeInclusive<usize>,
    call: impl FnOnce(&[*mut ffi::PyObject]) -> Call,
) -> PyResult<Object> {
    let given = arguments.positional_addresses();
    if let [socket, rest @ ..] = given {
        if is_plain_socket(py, *socket)? && arguments.has_no_keywords() && count.contains(&given.len()) {
            // SAFETY: the loop whose method is running.
            let event_loop = unsafe { Object::from_borrowed(event_loop) };
            // SAFETY: an argument of the call.
            let socket = unsafe { Object::from_borrowed(*socket) };
            return operation::make(py, name, event_loop, socket, call(rest));
        }
    }
    inherited(py, name, event_loop, arguments)
}

#[cold]
fn inherited(py: Python<'_>, name: &str, event_loop: *mut ffi::PyObject, arguments: Arguments<'_>) -> PyResult<Object> {
    let positional = [event_loop].into_iter().chain(arguments.positional_addresses().iter().copied());
    // SAFETY: the loop, and arguments of the call.
    let positional = positional.map(|value| unsafe { Bound::from_borrowed_ptr(py, value) });
    let positional = PyTuple::new(py, positional.collect::<Vec<_>>())?;
    let keywords = PyDict::new(py);
    for (keyword, value) in arguments.keywords(py) {
        // SAFETY: an argument of the call.
        keywords.set_item(keyword, unsafe { Bound::from_borrowed_ptr(py, value) })?;
    }
    let method = base(py)?.getattr(name)?;
    method.call(positional, Some(&keywords)).map(Object::new)
}

/// An argument of the call under way, to be kept.
fn keep(value: *mut ffi::PyObject) -> Object {
    // SAFETY: CPython keeps the arguments of a call alive while it lasts, and calls on an attached thread.
    unsafe { Object::from_borrowed(value) }
}

fn hold(value: *mut ffi::PyObject) -> Held {
    Held::new(keep(value))
}

fn method(method: Method, rest: &[*mut ffi::PyObject]) -> Call {
    Call::Method { method, first: hold(rest[0]), second: rest.get(1).map(|&value| hold(value)) }
}

fast!(sock_recv, |py, object, arguments| {
    begin(py, "sock_recv", object, arguments, 2..=2, |rest| Call::Receive { size: hold(rest[0]) })
});

fast!(sock_recv_into, |py, object, arguments| {
    begin(py, "sock_recv_into", object, arguments, 2..=2, |rest| Call::ReceiveInto { buffer: hold(rest[0]) })
});

fast!(sock_recvfrom, |py, object, arguments| {
    begin(py, "sock_recvfrom", object, arguments, 2..=2, |rest| method(Method::ReceiveFrom, rest))
});

fast!(sock_recvfrom_into, |py, object, arguments| {
    begin(py, "sock_recvfrom_into", object, arguments, 2..=3, |rest| method(Method::ReceiveFromInto, rest))
});

fast!(sock_sendall, |py, object, arguments| {
    begin(py, "sock_sendall", object, arguments, 2..=2, |rest| Call::Send { data: hold(rest[0]), view: None, sent: 0 })
});

fast!(sock_sendto, |py, object, arguments| {
    begin(py, "sock_sendto", object, arguments, 3..=3, |rest| method(Method::SendTo, rest))
});

/// `_sock_wait_readable(sock)`: waits, after an attempt in Python was refused.
fn wait(
    py: Python<'_>,
    event_loop: *mut ffi::PyObject,
    socket: *mut ffi::PyObject,
    name: &'static str,
    direction: Direction,
) -> PyResult<Object> {
    operation::make(py, name, keep(event_loop), keep(socket), Call::Wait { direction, has_waited: false })
}

one_argument!(wait_readable, |py, object, socket| wait(py, object, socket, "_sock_wait_readable", Direction::Read));
one_argument!(wait_writable, |py, object, socket| wait(py, object, socket, "_sock_wait_writable", Direction::Write));

one_argument!(forget_socket, |py, object, weak| {
    // SAFETY: a method of the core's type.
    let core = unsafe { LoopCore::of(py, object) };
    // SAFETY: an argument of the call.
    registration::forget(py, core, &unsafe { Bound::from_borrowed_ptr(py, weak) })?;
    Ok(none(py))
});

one_argument!(end_wait, |py, _object, future| {
    waiter::wake(py, &keep(future))?;
    Ok(none(py))
});

/// Adds the methods to the core's type.
pub(super) fn add(class: &Bound<'_, PyType>) -> PyResult<()> {
    add_method(
        class,
        fast_def(
            c"sock_recv",
            sock_recv,
            c"sock_recv($self, sock, n)\n--\n\n\
              Receive at most n bytes; b'' at the end of the stream.\n\n\
              The socket is asked first; the wait begins when it has nothing. Cancelled, it has taken no byte.\n\n\
              Raises:\n    OSError: What the socket reports.\n    RuntimeError: A transport uses the socket.\n    \
              ValueError: n is negative, or (debug mode) the socket blocks.\n\n\
              Follows asyncio.loop.sock_recv.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"sock_recv_into",
            sock_recv_into,
            c"sock_recv_into($self, sock, buf)\n--\n\n\
              Receive into a writable buffer; how many bytes. As sock_recv.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"sock_recvfrom",
            sock_recvfrom,
            c"sock_recvfrom($self, sock, bufsize)\n--\n\n\
              Receive a datagram of at most bufsize bytes: (data, address). As sock_recv.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"sock_recvfrom_into",
            sock_recvfrom_into,
            c"sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n\
              Receive a datagram into a writable buffer: (number of bytes, address). As sock_recv.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"sock_sendall",
            sock_sendall,
            c"sock_sendall($self, sock, data)\n--\n\n\
              Send all of data.\n\n\
              The buffer is exported until then: it must not change. Cancelled, it has sent a part.\n\n\
              Follows asyncio.loop.sock_sendall.",
        ),
    )?;
    add_method(
        class,
        fast_def(
            c"sock_sendto",
            sock_sendto,
            c"sock_sendto($self, sock, data, address)\n--\n\n\
              Send a datagram; the number of bytes. Follows asyncio.loop.sock_sendto.",
        ),
    )?;
    add_method(
        class,
        one_argument_def(
            c"_sock_wait_readable",
            wait_readable,
            c"Wait until the socket, which has just refused, can be read.",
        ),
    )?;
    add_method(
        class,
        one_argument_def(
            c"_sock_wait_writable",
            wait_writable,
            c"Wait until the socket, which has just refused, has room.",
        ),
    )?;
    add_method(class, one_argument_def(c"_end_wait", end_wait, c"Complete the future of a wait, unless it is done."))?;
    add_method(class, one_argument_def(c"_forget_socket", forget_socket, c"A registered socket has been collected."))
}

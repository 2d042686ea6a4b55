//! The type `DatagramTransport`: construction, collection, the method table.

use core::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::backend::Usage;
use ferrio_engine::flow::{GateSignal, Interest as ReadChange};
use ferrio_engine::reactor::Datagrams;
use ferrio_engine::sys::address::Family;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyType};

use super::state::{Remote, State};
use super::{address, close, read, write};
use crate::core::{LoopCore, Source};
use crate::ffi::arguments::unexpected_keyword;
use crate::ffi::errors::os_error;
use crate::ffi::heap_type::{
    Builder, fast, fast_def, getter, no_arguments, no_arguments_def, one_argument, one_argument_def, state_offset,
};
use crate::ffi::inherited::InheritedSlots;
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;
use crate::ffi::trampoline::{self, none};
use crate::handle::context;
use crate::net::transport::Limits;

/// All slots of the base classes. Flow control is native, so those of the mixin stay empty, unless a program fills them.
static INHERITED: InheritedSlots = InheritedSlots::new();

fn boolean(py: Python<'_>, value: bool) -> Object {
    Object::new(PyBool::new(py, value).to_owned())
}

fn or_none(py: Python<'_>, value: Option<Object>) -> Object {
    value.unwrap_or_else(|| none(py))
}

unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a ready type without variable-sized part.
    let object = unsafe { ffi::PyType_GenericAlloc(class, 0) };
    if !object.is_null() {
        // SAFETY: an instance of the type or of a subclass.
        let place = unsafe { State::place(object) };
        // SAFETY: zeroed memory of the state's size and alignment, not yet a state.
        unsafe { place.write(State::default()) };
    }
    object
}

/// Ends the watch and drops every reference of the state.
fn empty(py: Python<'_>, object: *mut ffi::PyObject) {
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(object) };
    if let Some(event_loop) = state.event_loop(py) {
        // SAFETY: whoever stores a loop has checked its type.
        state.detach(py, unsafe { LoopCore::of(py, event_loop.as_ptr()) });
    }
    let dropped = (state.strip(py), state.with(py, |inner| (inner.socket.take().map(Held::new), inner.remote.take())));
    drop(dropped);
}

unsafe fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: an object that nobody refers to any more; untracking twice is allowed.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: CPython frees objects on attached threads.
    let py = unsafe { Python::assume_attached() };
    empty(py, object);
    // SAFETY: an instance of the type.
    unsafe { INHERITED.clear(object) };
    // SAFETY: an instance of the type.
    let place = unsafe { State::place(object) };
    // SAFETY: the state that `new` put there, ended once.
    unsafe { place.drop_in_place() };
    // SAFETY: the type outlives its instances.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: memory from the type's allocator, untracked.
    unsafe { ffi::PyObject_GC_Del(object.cast()) };
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector runs on an attached thread.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(object) };
    // SAFETY: the type of a live object.
    let class: *mut ffi::PyObject = unsafe { ffi::Py_TYPE(object) }.cast();
    let call = |value: *mut ffi::PyObject| {
        // SAFETY: `visit` takes live objects that this one owns.
        if value.is_null() { 0 } else { unsafe { visit(value, arg) } }
    };
    // What the collector calls runs no Python.
    let stop = state.with(py, |inner| inner.objects().map(|value| call(value.as_ptr())).find(|&stop| stop != 0));
    match stop.unwrap_or_else(|| call(class)) {
        // SAFETY: an instance of the type; the rest is the collector's.
        0 => unsafe { INHERITED.visit(object, visit, arg) },
        stop => stop,
    }
}

unsafe fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: the collector runs on an attached thread.
    let py = unsafe { Python::assume_attached() };
    empty(py, object);
    // SAFETY: an instance of the type.
    unsafe { INHERITED.clear(object) };
    0
}

// `_open(loop, sock, protocol, address, is_connected, header_bytes, sends_empty, keeps_count)`: takes the socket and
// attaches its descriptor.
fast!(open, |py, object, arguments| {
    let &[event_loop, socket, protocol, remote, is_connected, header_bytes, sends_empty, keeps_count] =
        arguments.positional_addresses()
    else {
        return Err(PyTypeError::new_err("_open() takes eight arguments"));
    };
    // SAFETY: an argument of the call.
    let argument = |value| unsafe { Bound::from_borrowed_ptr(py, value) };
    let event_loop = argument(event_loop);
    // Of a closed loop too, as asyncio: the next that is asked of the loop fails, and the forgotten transport warns.
    let core = event_loop.cast::<LoopCore>()?.get();
    let socket = argument(socket);
    let family: Family = socket.getattr("family")?.extract()?;
    let fd: RawFd = socket.call_method0(intern!(py, "fileno"))?.extract()?;
    if fd < 0 {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {fd}")));
    }
    let [is_connected, sends_empty, keeps_count] = [is_connected, sends_empty, keeps_count].map(argument);
    let (is_connected, sends_empty) = (is_connected.is_truthy()?, sends_empty.is_truthy()?);
    let keeps_count = keeps_count.is_truthy()?;
    let header_bytes: usize = argument(header_bytes).extract()?;
    let remote = argument(remote);
    // As asyncio asks: whether the address is true.
    let remote = remote.is_truthy()?.then(|| {
        let address = address::from_python(&remote, family);
        Remote { object: Object::new(remote), address }
    });
    core.forget_watch(py, fd)?;
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    // From here to the end no Python runs, so nothing opens it in between.
    state.start_over(py)?;
    // SAFETY: the socket has it open, and the state holds the socket until the key is detached.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let key = core.attach(py, Source::Object { run: super::run_ready, object: None }, borrowed, Usage::Watched)?;
    let (event_loop, socket, protocol) =
        (Object::new(event_loop), Object::new(socket), Object::new(argument(protocol)));
    let before = state.with(py, |inner| {
        inner.fd = fd;
        inner.is_opened = true;
        inner.family = family;
        inner.is_connected = is_connected;
        inner.sends_empty = sends_empty;
        inner.keeps_count = keeps_count;
        inner.key = Some(key);
        (
            inner.event_loop.replace(event_loop),
            inner.socket.replace(socket),
            inner.protocol.replace(protocol),
            core::mem::replace(&mut inner.remote, remote),
            core::mem::replace(&mut inner.outgoing, Datagrams::new(header_bytes)),
        )
    });
    drop(before);
    Ok(none(py))
});

/// Makes the kernel watch what has changed.
fn follow(py: Python<'_>, object: *mut ffi::PyObject, state: &State, change: ReadChange) -> PyResult<()> {
    if change == ReadChange::Unchanged {
        return Ok(());
    }
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: whoever stores a loop has checked its type.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    state.apply_interest(py, core, object).map_err(|error| os_error(py, error))
}

/// asyncio's debug messages of a transport.
fn log_in_debug(py: Python<'_>, object: *mut ffi::PyObject, state: &State, message: &str) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: whoever stores a loop has checked its type.
    if unsafe { LoopCore::of(py, event_loop.as_ptr()) }.is_debug() {
        // SAFETY: the object of the method call.
        let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
        transport.call_method1("_log_debug", (message,))?;
    }
    Ok(())
}

// `_start_reading()`: called once, after `connection_made`.
no_arguments!(start_reading, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    state.opened(py, |_| ())?;
    let ctx = context::copy_current(py)?;
    let (before, change) = state.with(py, |inner| (inner.read_context.replace(ctx), inner.reading.start()));
    drop(before);
    follow(py, object, state, change)?;
    Ok(none(py))
});

no_arguments!(pause_reading, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    let (was_reading, change) = state.opened(py, |inner| (inner.reading.is_reading(), inner.reading.pause()))?;
    follow(py, object, state, change)?;
    if was_reading {
        log_in_debug(py, object, state, "%r pauses reading")?;
    }
    Ok(none(py))
});

no_arguments!(resume_reading, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    let (was_paused, change) =
        state.opened(py, |inner| (!inner.reading.is_reading() && !inner.life.is_closing(), inner.reading.resume()))?;
    if was_paused {
        // As in asyncio, where this makes a new callback of the descriptor.
        let ctx = context::copy_current(py)?;
        let before = state.with(py, |inner| inner.read_context.replace(ctx));
        drop(before);
    }
    follow(py, object, state, change)?;
    if was_paused {
        log_in_debug(py, object, state, "%r resumes reading")?;
    }
    Ok(none(py))
});

no_arguments!(is_reading, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    Ok(boolean(py, state.opened(py, |inner| inner.reading.is_reading())?))
});

no_arguments!(is_closing, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    Ok(boolean(py, state.opened(py, |inner| inner.life.is_closing())?))
});

fast!(sendto, |py, object, arguments| {
    // SAFETY: a singleton of the interpreter.
    let absent = unsafe { ffi::Py_None() };
    let (data, addr) = match (arguments.positional_addresses(), arguments.has_no_keywords()) {
        (&[data], true) => (data, absent),
        (&[data, addr], true) => (data, addr),
        (positional, _) => {
            let mut given = [None, None];
            if positional.len() > given.len() {
                return Err(PyTypeError::new_err("sendto() takes data and addr"));
            }
            for (place, &value) in given.iter_mut().zip(positional) {
                *place = Some(value);
            }
            for (name, value) in arguments.keywords(py) {
                let place = match name.to_string().as_str() {
                    "data" => &mut given[0],
                    "addr" => &mut given[1],
                    _ => return Err(unexpected_keyword("sendto", &name)),
                };
                if place.replace(value).is_some() {
                    return Err(PyTypeError::new_err(format!("sendto() got multiple values for argument '{name}'")));
                }
            }
            let [Some(data), addr] = given else {
                return Err(PyTypeError::new_err("sendto() missing 1 required positional argument: 'data'"));
            };
            (data, addr.unwrap_or(absent))
        }
    };
    write::sendto(py, object, data, addr)?;
    Ok(none(py))
});

no_arguments!(close_method, |py, object| {
    close::close(py, object)?;
    Ok(none(py))
});

no_arguments!(abort, |py, object| {
    close::force_close(py, object, &py.None().into_bound(py))?;
    Ok(none(py))
});

one_argument!(force_close, |py, object, exception| {
    // SAFETY: an argument of the call.
    let exception = unsafe { Bound::from_borrowed_ptr(py, exception) };
    close::force_close(py, object, &exception)?;
    Ok(none(py))
});

no_arguments!(release, |py, object| {
    // SAFETY: a method of the type.
    unsafe { State::of(object) }.opened(py, |_| ())?;
    Ok(close::release(py, object))
});

no_arguments!(read_ready, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    let (key, event_loop) = state.opened(py, |inner| (inner.key, inner.event_loop.clone()))?;
    if let (Some(key), Some(event_loop)) = (key, event_loop) {
        // SAFETY: whoever stores a loop has checked its type.
        let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
        // SAFETY: the object of the method call.
        read::ready(py, core, &unsafe { Object::from_borrowed(object) }, state, key)?;
    }
    Ok(none(py))
});

no_arguments!(sendto_ready, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    if let Some(event_loop) = state.opened(py, |inner| inner.event_loop.clone())? {
        // SAFETY: whoever stores a loop has checked its type.
        let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
        // SAFETY: the object of the method call.
        write::ready(py, core, &unsafe { Object::from_borrowed(object) }, state)?;
    }
    Ok(none(py))
});

one_argument!(set_protocol, |py, object, protocol| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    // SAFETY: an argument of the call.
    let protocol = unsafe { Object::from_borrowed(protocol) };
    let before = state.with(py, |inner| inner.protocol.replace(protocol));
    drop(before);
    Ok(none(py))
});

no_arguments!(get_protocol, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    Ok(or_none(py, state.with(py, |inner| inner.protocol.clone())))
});

no_arguments!(get_write_buffer_size, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    Ok(Object::new(PyInt::new(py, state.opened(py, |inner| inner.outgoing.pending_bytes())?)))
});

no_arguments!(get_write_buffer_limits, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    Ok(Object::new(state.with(py, |inner| inner.outgoing.gate.limits()).into_pyobject(py)?))
});

fast!(set_write_buffer_limits, |py, object, arguments| {
    let limits = Limits::from_arguments(py, arguments)?;
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    state.with(py, |inner| limits.set(&mut inner.outgoing.gate)).map_err(PyValueError::new_err)?;
    if state.with(py, |inner| inner.outgoing.after_write()) == GateSignal::Pause {
        // SAFETY: the object of the method call.
        unsafe { Bound::from_borrowed_ptr(py, object) }.call_method0(intern!(py, "_pause_writing"))?;
    }
    Ok(none(py))
});

macro_rules! attributes {
    ($($name:ident => |$py:ident, $inner:ident| $value:expr;)*) => {
        $(getter!($name, |$py, object| {
            // SAFETY: an attribute of the type.
            let state = unsafe { State::of(object) };
            let value = state.with($py, |$inner| $value);
            Ok(Object::new(value.into_pyobject($py)?.into_any()))
        });)*
    };
}

macro_rules! object_attributes {
    ($($name:ident => |$inner:ident| $value:expr;)*) => {
        $(getter!($name, |py, object| {
            // SAFETY: an attribute of the type.
            let state = unsafe { State::of(object) };
            Ok(or_none(py, state.with(py, |$inner| $value)))
        });)*
    };
}

attributes! {
    get_socket_fd => |py, inner| if inner.is_opened { inner.fd } else { -1 };
    get_conn_lost => |py, inner| inner.life.conn_lost();
    get_is_sending => |py, inner| PyBool::new(py, inner.key.is_some() && inner.write_context.is_some()).to_owned();
    get_is_watching => |py, inner| PyBool::new(py, inner.key.is_some() && inner.reading.is_wanted()).to_owned();
    get_protocol_paused => |py, inner| PyBool::new(py, inner.outgoing.gate.is_paused()).to_owned();
    get_buffer_size => |py, inner| inner.outgoing.pending_bytes();
}

object_attributes! {
    get_socket => |inner| inner.socket.clone();
    get_loop => |inner| inner.event_loop.clone();
    get_protocol_attribute => |inner| inner.protocol.clone();
    get_address => |inner| inner.remote.as_ref().map(|remote| remote.object.clone());
}

/// The methods.
fn methods(builder: Builder) -> Builder {
    builder
        .method(fast_def(
            c"_open",
            open,
            c"Take the socket: _open(loop, sock, protocol, address, is_connected, header_bytes, sends_empty, keeps_count).",
        ))
        .method(no_arguments_def(
            c"_start_reading",
            start_reading,
            c"Start to receive; once, after connection_made().",
        ))
        .method(no_arguments_def(c"_release", release, c"Let go of everything; the socket comes back."))
        .method(one_argument_def(
            c"_force_close",
            force_close,
            c"End at once with an exception; what waits is lost.",
        ))
        .method(no_arguments_def(c"_read_ready", read_ready, c"Receive what is there, within limits."))
        .method(no_arguments_def(c"_sendto_ready", sendto_ready, c"Send what waits, as far as there is room."))
        .method(fast_def(
            c"sendto",
            sendto,
            c"sendto($self, data, addr=None)\n--\n\nSend one datagram; never blocks.\n\nIt leaves at once, or waits for \
              room behind those that wait already. What the socket answers is told to the protocol: \
              error_received().\n\nRaises:\n    TypeError: data is not bytes, bytearray or memoryview.\n    \
              ValueError: addr is not the remote address of the endpoint.\n\nLoop thread only. Follows \
              asyncio.DatagramTransport.sendto.",
        ))
        .method(no_arguments_def(
            c"close",
            close_method,
            c"close($self)\n--\n\nReceive no more, send what is waiting, then call connection_lost(None).",
        ))
        .method(no_arguments_def(
            c"abort",
            abort,
            c"abort($self)\n--\n\nClose at once; datagrams that wait are lost.",
        ))
        .method(no_arguments_def(
            c"is_closing",
            is_closing,
            c"is_closing($self)\n--\n\nWhether it is closing or closed.",
        ))
        .method(no_arguments_def(
            c"is_reading",
            is_reading,
            c"is_reading($self)\n--\n\nWhether datagrams reach the protocol.",
        ))
        .method(no_arguments_def(
            c"pause_reading",
            pause_reading,
            c"pause_reading($self)\n--\n\nDeliver nothing until resume_reading().",
        ))
        .method(no_arguments_def(
            c"resume_reading",
            resume_reading,
            c"resume_reading($self)\n--\n\nDeliver again what the kernel has kept since pause_reading().",
        ))
        .method(one_argument_def(
            c"set_protocol",
            set_protocol,
            c"set_protocol($self, protocol, /)\n--\n\nSwitch to another protocol.",
        ))
        .method(no_arguments_def(c"get_protocol", get_protocol, c"get_protocol($self)\n--\n\nThe current protocol."))
        .method(no_arguments_def(
            c"get_write_buffer_size",
            get_write_buffer_size,
            c"get_write_buffer_size($self)\n--\n\nBytes that wait, with those that asyncio counts for each header.",
        ))
        .method(no_arguments_def(
            c"get_write_buffer_limits",
            get_write_buffer_limits,
            c"get_write_buffer_limits($self)\n--\n\n(low, high) in bytes.",
        ))
        .method(fast_def(
            c"set_write_buffer_limits",
            set_write_buffer_limits,
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\nBytes from which the protocol is paused and \
              resumed: 64 KiB and a quarter of it by default.",
        ))
}

/// The attributes: asyncio's private names, and what the Python half asks.
fn attributes(builder: Builder) -> Builder {
    builder
        .attribute(c"_sock", get_socket, None)
        .attribute(c"_sock_fd", get_socket_fd, None)
        .attribute(c"_loop", get_loop, None)
        .attribute(c"_protocol", get_protocol_attribute, None)
        .attribute(c"_address", get_address, None)
        .attribute(c"_conn_lost", get_conn_lost, None)
        .attribute(c"_protocol_paused", get_protocol_paused, None)
        .attribute(c"_buffer_size", get_buffer_size, None)
        .attribute(c"_is_sending", get_is_sending, None)
        .attribute(c"_is_watching", get_is_watching, None)
}

/// Makes the type and adds it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let transports = py.import("asyncio.transports")?;
    // asyncio's own is a `Transport` with this mixin too; the Python half adds `DatagramTransport` to its bases.
    let base = transports.getattr("_FlowControlMixin")?.cast_into::<PyType>()?;
    INHERITED.find(&base, &[])?;
    State::set_offset(state_offset(&base));
    let builder = Builder::new(c"ferrio._ferrio.DatagramTransport", c"The native half of ferrio's datagram transport.")
        .subclassable();
    let class = attributes(methods(builder))
        .slots([
            (ffi::Py_tp_new, new as *mut c_void),
            trampoline::slot!(tp_dealloc, deallocate),
            trampoline::slot!(tp_traverse, traverse),
            trampoline::slot!(tp_clear, clear),
        ])
        .build(py, &base, size_of::<State>())?;
    module.add("DatagramTransport", class)
}

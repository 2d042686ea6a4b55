//! The type `StreamTransport`: construction, collection, the method table.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::os::fd::{BorrowedFd, RawFd};

use ferrio_engine::backend::Usage;
use ferrio_engine::flow::Interest as ReadChange;
use ferrio_engine::sys::socket_name::{self, SocketName};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt, PyType};

use super::descriptor::Descriptor;
use super::limits::Limits;
use super::state::{Corking, State};
use super::{begin, close, details, write};
use crate::core::LoopCore;
use crate::ffi::arguments::Arguments;
use crate::ffi::errors::os_error;
use crate::ffi::heap_type::{
    Builder, fast, fast_def, getter, no_arguments, no_arguments_def, one_argument, one_argument_def, state_offset,
};
use crate::ffi::inherited::InheritedSlots;
use crate::ffi::nesting::Held;
use crate::ffi::object::Object;
use crate::ffi::trampoline::{self, none};

/// Offset of `asyncio.BaseTransport._extra`.
static EXTRA: AtomicUsize = AtomicUsize::new(0);

/// All slots of the base classes. Flow control is native, so those of the mixin stay empty, unless a program fills them.
static INHERITED: InheritedSlots = InheritedSlots::new();

static CLASS: PyOnceLock<Object> = PyOnceLock::new();

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

/// A new instance of a subclass, not opened yet.
pub(super) fn make(py: Python<'_>, class: &Bound<'_, PyType>) -> PyResult<Object> {
    let base = CLASS.get(py).ok_or_else(|| PyTypeError::new_err("the module is not ready"))?;
    if !class.is_subclass(base.bind(py))? {
        return Err(PyTypeError::new_err("a subclass of StreamTransport is required here"));
    }
    // SAFETY: a ready type with this file's `tp_new`, which takes no notice of arguments.
    let object = unsafe { new(class.as_type_ptr(), core::ptr::null_mut(), core::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(object) }.ok_or_else(|| PyErr::fetch(py))
}

/// Takes every reference out of the state, to be dropped by the caller.
fn empty(py: Python<'_>, object: *mut ffi::PyObject) -> Vec<Held> {
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(object) };
    let socket = state.let_go(py, object);
    state.with(py, |inner| {
        [
            inner.event_loop.take(),
            inner.protocol.take(),
            inner.server.take(),
            socket,
            inner.context.take(),
            inner.io_context.take(),
            inner.empty_waiter.take(),
        ]
        .into_iter()
        .flatten()
        .map(Held::new)
        .collect()
    })
}

pub(super) fn extra_slot<'a>(object: *mut ffi::PyObject) -> &'a mut *mut ffi::PyObject {
    // SAFETY: an instance of a subclass of `asyncio.BaseTransport`, with its slot at this offset.
    unsafe { crate::handle::slot_at(object, EXTRA.load(Ordering::Relaxed)) }
}

unsafe fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: an object that nobody refers to any more; untracking twice is allowed.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: CPython frees objects on attached threads.
    let py = unsafe { Python::assume_attached() };
    drop(empty(py, object));
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

/// A transport that nobody refers to any more warns and closes, unless it has ended.
unsafe fn finalize(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(object) };
    if state.with(py, |inner| inner.descriptor.is_gone()) {
        return Ok(());
    }
    // SAFETY: CPython keeps the object alive during this call.
    unsafe { Bound::from_borrowed_ptr(py, object) }.call_method0(intern!(py, "_warn_unclosed")).map(drop)
}

unsafe fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector runs on an attached thread.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an instance of the type.
    let state = unsafe { State::of(object) };
    // SAFETY: the type of a live object.
    let class: *mut ffi::PyObject = unsafe { ffi::Py_TYPE(object) }.cast();
    let mut owned = [core::ptr::null_mut(); State::OBJECTS + 1];
    state.with(py, |inner| {
        for (place, value) in owned.iter_mut().zip(inner.objects()) {
            *place = value.as_ptr();
        }
    });
    owned[State::OBJECTS] = class;
    for value in owned {
        if !value.is_null() {
            // SAFETY: `visit` takes live objects that this one owns.
            let stop = unsafe { visit(value, arg) };
            if stop != 0 {
                return stop;
            }
        }
    }
    // SAFETY: an instance of the type; the rest is the collector's.
    unsafe { INHERITED.visit(object, visit, arg) }
}

unsafe fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: the collector runs on an attached thread.
    let py = unsafe { Python::assume_attached() };
    drop(empty(py, object));
    // SAFETY: an instance of the type.
    unsafe { INHERITED.clear(object) };
    0
}

// `_open(loop, sock, protocol, server, context)`: takes the socket over and attaches its descriptor.
fast!(open, |py, object, arguments| {
    let &[event_loop, socket, protocol, server, context] = arguments.positional_addresses() else {
        return Err(PyTypeError::new_err("_open() takes loop, sock, protocol, server and context"));
    };
    // SAFETY: an argument of the call.
    let event_loop = unsafe { Bound::from_borrowed_ptr(py, event_loop) };
    event_loop.cast::<LoopCore>()?;
    let event_loop = Object::new(event_loop);
    // SAFETY: as above.
    let socket = unsafe { Object::from_borrowed(socket) };
    let number: RawFd = socket.bind(py).call_method0(intern!(py, "fileno"))?.extract()?;
    // SAFETY: arguments of the call.
    let [protocol, server, context] = [protocol, server, context].map(|value| unsafe { Object::from_borrowed(value) });
    let given = |value: Object| (!value.bind(py).is_none()).then_some(value);
    let (server, context) = (given(server), given(context));
    // SAFETY: the object of the method call.
    let transport = unsafe { Object::from_borrowed(object) };
    begin::take(py, &event_loop, &transport, (number, Usage::Stream), Descriptor::Python(socket), context.as_ref())?;
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    state.with(py, |inner| inner.server = server);
    begin::set_protocol(py, state, protocol)?;
    Ok(none(py))
});

// `_read_names(proto)`: asks the kernel for the names of both ends; false when they are of a family that has to be asked
// through Python.
one_argument!(read_names, |py, object, proto| {
    // SAFETY: an argument of the call.
    let proto = unsafe { Bound::from_borrowed_ptr(py, proto) }.extract::<i64>()?;
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    let number = state.opened(py, |inner| inner.fd)?;
    if state.with(py, |inner| inner.descriptor.is_gone()) {
        return Ok(boolean(py, false));
    }
    // SAFETY: a number that the transport's socket has open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let (Ok(local), peer) = (socket_name::local(fd), socket_name::peer(fd)) else { return Ok(boolean(py, false)) };
    let (Some(local), Some(peer), Ok(proto)) = (local, peer.unwrap_or(Some(SocketName::None)), u16::try_from(proto))
    else {
        return Ok(boolean(py, false));
    };
    state.with(py, |inner| {
        inner.local = local;
        inner.peer = peer;
        inner.proto = proto;
    });
    Ok(boolean(py, true))
});

// `_begin(waiter)`: schedules `connection_made`, the start of reading, and the waking of the waiter.
one_argument!(begin_method, |py, object, waiter| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    // SAFETY: an argument of the call.
    let waiter = unsafe { Object::from_borrowed(waiter) };
    let waiter = (!waiter.bind(py).is_none()).then_some(waiter);
    state.opened(py, |_| ())?;
    if let Some(event_loop) = state.event_loop(py) {
        // SAFETY: the object of the method call.
        let transport = unsafe { Object::from_borrowed(object) };
        begin::schedule_beginning(py, &event_loop, &transport, waiter.as_ref())?;
    }
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
    follow(py, object, state, change)?;
    if was_paused {
        log_in_debug(py, object, state, "%r resumes reading")?;
    }
    Ok(none(py))
});

// `_end_reading()`: the peer has ended its side and the protocol keeps ours open.
no_arguments!(end_reading, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    let change = state.opened(py, |inner| inner.reading.end_of_file())?;
    follow(py, object, state, change)?;
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

/// The one argument of a method, by position or by name.
#[inline]
fn only_argument(py: Python<'_>, function: &str, name: &str, arguments: Arguments<'_>) -> PyResult<*mut ffi::PyObject> {
    if let ([value], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) {
        return Ok(*value);
    }
    unusual_argument(py, function, name, arguments)
}

#[cold]
#[inline(never)]
fn unusual_argument(
    py: Python<'_>,
    function: &str,
    name: &str,
    arguments: Arguments<'_>,
) -> PyResult<*mut ffi::PyObject> {
    let mut keywords = arguments.keywords(py);
    match (arguments.positional_addresses(), keywords.next(), keywords.next()) {
        ([], Some((given, value)), None) if given.to_string() == name => Ok(value),
        _ => Err(PyTypeError::new_err(format!("{function}() takes exactly one argument, '{name}'"))),
    }
}

fast!(write_method, |py, object, arguments| {
    let data = only_argument(py, "write", "data", arguments)?;
    write::write(py, object, data)?;
    Ok(none(py))
});

fast!(writelines, |py, object, arguments| {
    let lines = only_argument(py, "writelines", "list_of_data", arguments)?;
    write::write_lines(py, object, lines)?;
    Ok(none(py))
});

no_arguments!(write_eof, |py, object| {
    close::write_eof(py, object)?;
    Ok(none(py))
});

no_arguments!(close_method, |py, object| {
    close::close(py, object)?;
    Ok(none(py))
});

no_arguments!(abort, |py, object| {
    // SAFETY: a method of the type.
    close::flush_now(py, object, unsafe { State::of(object) })?;
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
    let (socket, server) = close::release(py, object);
    let pair = [or_none(py, socket), or_none(py, server)];
    Ok(Object::new((pair[0].bind(py), pair[1].bind(py)).into_pyobject(py)?))
});

one_argument!(set_protocol, |py, object, protocol| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    // SAFETY: an argument of the call.
    begin::set_protocol(py, state, unsafe { Object::from_borrowed(protocol) })?;
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
    state.opened(py, |_| ())?;
    close::flush_now(py, object, state)?;
    Ok(Object::new(PyInt::new(py, state.with(py, |inner| inner.stream.pending_bytes()))))
});

no_arguments!(get_write_buffer_limits, |py, object| {
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    Ok(Object::new(state.with(py, |inner| inner.stream.gate.limits()).into_pyobject(py)?))
});

fast!(set_write_buffer_limits, |py, object, arguments| {
    let limits = Limits::from_arguments(py, arguments)?;
    // SAFETY: a method of the type.
    let state = unsafe { State::of(object) };
    state.with(py, |inner| limits.set(&mut inner.stream.gate)).map_err(PyValueError::new_err)?;
    close::flush_now(py, object, state)?;
    let signal = state.with(py, |inner| inner.stream.after_write());
    if signal == ferrio_engine::flow::GateSignal::Pause {
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
    ($($name:ident => $field:ident;)*) => {
        $(getter!($name, |py, object| {
            // SAFETY: an attribute of the type.
            let state = unsafe { State::of(object) };
            Ok(or_none(py, state.with(py, |inner| inner.$field.clone())))
        });)*
    };
}

attributes! {
    get_socket_fd => |py, inner| if inner.is_new() { -1 } else { inner.fd };
    get_conn_lost => |py, inner| inner.life.conn_lost();
    get_is_sending => |py, inner| PyBool::new(py, inner.stream.is_sending()).to_owned();
    get_is_released => |py, inner| PyBool::new(py, inner.descriptor.is_gone()).to_owned();
    get_is_watching => |py, inner| PyBool::new(py, inner.key.is_some() && inner.reading.is_wanted()).to_owned();
    get_eof => |py, inner| PyBool::new(py, inner.is_eof_written).to_owned();
    get_protocol_paused => |py, inner| PyBool::new(py, inner.stream.gate.is_paused()).to_owned();
    get_buffer_size => |py, inner| inner.stream.pending_bytes();
}

/// Somebody else may use the socket from now on.
fn share(py: Python<'_>, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    // While the loop's own `sendfile` uses the socket, nothing can be written.
    state.with(py, |inner| {
        if inner.empty_waiter.is_none() {
            inner.corking = Corking::Never;
        }
    });
    close::flush_now(py, object, state)
}

no_arguments!(flush, |py, object| {
    // SAFETY: a method of the type.
    close::flush_now(py, object, unsafe { State::of(object) })?;
    Ok(none(py))
});

no_arguments!(share_method, |py, object| {
    // SAFETY: a method of the type.
    share(py, object, unsafe { State::of(object) })?;
    Ok(none(py))
});

getter!(get_socket, |py, object| {
    // SAFETY: an attribute of the type.
    let state = unsafe { State::of(object) };
    share(py, object, state)?;
    Ok(or_none(py, details::socket(py, state)?))
});

fast!(get_extra_info, |py, object, arguments| details::get_extra_info(py, object, arguments));

one_argument!(call_connection_lost, |py, object, exception| {
    // SAFETY: a method of the type.
    unsafe { State::of(object) }.opened(py, |_| ())?;
    close::call_connection_lost(py, object, exception)?;
    Ok(none(py))
});

object_attributes! {
    get_loop => event_loop;
    get_protocol_attribute => protocol;
    get_server => server;
    get_context => context;
    get_empty_waiter => empty_waiter;
}

unsafe extern "C" fn set_empty_waiter(object: *mut ffi::PyObject, value: *mut ffi::PyObject, _: *mut c_void) -> c_int {
    let body = |py: Python<'_>| {
        // SAFETY: null stands for deletion, anything else is a live object.
        let value = (!value.is_null()).then(|| unsafe { Object::from_borrowed(value) });
        let value = value.filter(|value| !value.bind(py).is_none());
        // SAFETY: an attribute of the type.
        let state = unsafe { State::of(object) };
        let before = state.with(py, |inner| core::mem::replace(&mut inner.empty_waiter, value));
        drop(before);
        Ok(0)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::run(-1, body) }
}

/// Makes the type and adds it to the module.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let transports = py.import("asyncio.transports")?;
    // asyncio's own sendfile fallback asks for the mixin by name.
    let base = transports.getattr("_FlowControlMixin")?.cast_into::<PyType>()?;
    let base_transport = transports.getattr("BaseTransport")?.cast_into::<PyType>()?;
    EXTRA.store(crate::handle::offset_of(&base_transport, "_extra")?, Ordering::Relaxed);
    INHERITED.find(&base, &[])?;
    State::set_offset(state_offset(&base));
    let class = Builder::new(c"ferrio._ferrio.StreamTransport", c"The native half of ferrio's socket transport.")
        .subclassable()
        .method(fast_def(c"_open", open, c"Take the socket: _open(loop, sock, protocol, server, context)."))
        .method(one_argument_def(c"_read_names", read_names, c"Ask the kernel for both names; whether it has them."))
        .method(one_argument_def(c"_begin", begin_method, c"Schedule connection_made(), then reading, then the waiter."))
        .method(no_arguments_def(c"_flush", flush, c"Send what the callback under way has written."))
        .method(no_arguments_def(c"_share", share_method, c"Somebody else may use the socket: send each write at once."))
        .method(no_arguments_def(c"_end_reading", end_reading, c"Read no more: the peer has ended its side."))
        .method(one_argument_def(
            c"_call_connection_lost",
            call_connection_lost,
            c"Call connection_lost() and let go of everything.",
        ))
        .method(fast_def(
            c"get_extra_info",
            get_extra_info,
            c"get_extra_info($self, name, default=None)\n--\n\nWhat is known of the connection: 'socket', 'sockname', \
              'peername'.",
        ))
        .method(no_arguments_def(c"_release", release, c"Let go of everything; (socket, server) come back."))
        .method(one_argument_def(c"_force_close", force_close, c"End at once with an exception; pending bytes are lost."))
        .method(fast_def(
            c"write",
            write_method,
            c"write($self, data)\n--\n\nSend bytes; never blocks.\n\nExact bytes are held until they are sent, anything \
              else is copied now. Bytes written in one callback of the loop leave together when it returns.\n\nRaises:\n    \
              TypeError: data is not bytes, bytearray or memoryview.\n    RuntimeError: after write_eof(), or during \
              sendfile.\n\nLoop thread only. Follows asyncio.WriteTransport.write.",
        ))
        .method(fast_def(
            c"writelines",
            writelines,
            c"writelines($self, list_of_data)\n--\n\nSend several pieces with one system call. As write().",
        ))
        .method(no_arguments_def(
            c"write_eof",
            write_eof,
            c"write_eof($self)\n--\n\nEnd the sending direction once everything written has been sent.",
        ))
        .method(no_arguments_def(
            c"close",
            close_method,
            c"close($self)\n--\n\nRead no more, send what is waiting, then call connection_lost(None).",
        ))
        .method(no_arguments_def(
            c"abort",
            abort,
            c"abort($self)\n--\n\nClose at once; bytes that the kernel has not taken are lost.",
        ))
        .method(no_arguments_def(c"is_closing", is_closing, c"is_closing($self)\n--\n\nWhether it is closing or closed."))
        .method(no_arguments_def(
            c"is_reading",
            is_reading,
            c"is_reading($self)\n--\n\nWhether received bytes reach the protocol.",
        ))
        .method(no_arguments_def(
            c"pause_reading",
            pause_reading,
            c"pause_reading($self)\n--\n\nDeliver nothing until resume_reading().",
        ))
        .method(no_arguments_def(
            c"resume_reading",
            resume_reading,
            c"resume_reading($self)\n--\n\nDeliver again what pause_reading() held back.",
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
            c"get_write_buffer_size($self)\n--\n\nBytes that the kernel has not taken.",
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
        .attribute(c"_extra", details::get_extra, Some(details::set_extra))
        .attribute(c"_is_released", get_is_released, None)
        .attribute(c"_sock", get_socket, None)
        .attribute(c"_sock_fd", get_socket_fd, None)
        .attribute(c"_loop", get_loop, None)
        .attribute(c"_protocol", get_protocol_attribute, None)
        .attribute(c"_server", get_server, None)
        .attribute(c"_context", get_context, None)
        .attribute(c"_conn_lost", get_conn_lost, None)
        .attribute(c"_eof", get_eof, None)
        .attribute(c"_protocol_paused", get_protocol_paused, None)
        .attribute(c"_pending_bytes", get_buffer_size, None)
        .attribute(c"_is_sending", get_is_sending, None)
        .attribute(c"_is_watching", get_is_watching, None)
        .attribute(c"_empty_waiter", get_empty_waiter, Some(set_empty_waiter))
        .slots([
            (ffi::Py_tp_new, new as *mut c_void),
            trampoline::slot!(tp_dealloc, deallocate),
            trampoline::slot!(tp_traverse, traverse),
            trampoline::slot!(tp_clear, clear),
            trampoline::slot!(tp_finalize, finalize),
        ])
        .build(py, &base, size_of::<State>())?;
    CLASS.get_or_init(py, || Object::new(class.clone()));
    module.add("StreamTransport", class)
}

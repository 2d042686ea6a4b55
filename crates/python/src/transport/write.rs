//! Sending: from the program to the socket.
//!
//! Written bytes wait for the end of the callback that writes them, so that a header and a body leave with one system call
//! ("corking"). They leave earlier when there are many, when somebody asks how many are waiting, and when the transport
//! closes; outside a callback of the loop they leave at once. What a callback can tell: bytes it has written reach a peer, and
//! a failing connection shows, only after it has returned.
//!
//! Somebody else may use the socket: whoever gave it to the transport, or was given its number or a duplicate by it. What is
//! written to such a *shared* connection leaves at once, so that it is before whatever they do next, as in asyncio.

use core::ptr::NonNull;

use ferrio_engine::backend::Key;
use ferrio_engine::buf::Chunk;
use ferrio_engine::flow::{DrainedStep, GateSignal, WriteVerdict};
use ferrio_engine::sys::Error;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use super::close::finally;
use super::read::fatal;
use super::state::{Corking, Inner, NOT_OPENED, State};
use super::{Callback, report_failed_callback};
use crate::convert::errors::{os_error, while_handling};
use crate::event_loop::{Exit, LoopCore, settle};
use crate::object::Object;

unsafe extern "C" {
    // Public in `bytesobject.h`; pyo3-ffi keeps it to itself.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> core::ffi::c_int;
}

const WRITE_FAILED: &str = "Fatal write error on socket transport";

/// Bytes that are worth a system call of their own, however many more the callback may write.
const CORK_BYTES: usize = 64 * 1024;

/// A chunk that shares the memory of exact `bytes`, and copies the bytes of any other buffer.
///
/// The copy is a `bytes` object: memory of a size that a program decides is Python's to refuse.
///
/// # Errors
/// `MemoryError`, or that of an object that exports no buffer.
pub(crate) fn chunk_of(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Chunk> {
    if is_exact_bytes(data.as_ptr()) {
        // SAFETY: exact `bytes`, alive during the call.
        return Ok(unsafe { share_bytes(data.as_ptr()) });
    }
    // SAFETY: a live object; null is an exception.
    let bytes = unsafe { ffi::PyBytes_FromObject(data.as_ptr()) };
    // SAFETY: a new reference, or null with an exception.
    let bytes = unsafe { Object::from_owned(bytes) }.ok_or_else(|| PyErr::fetch(py))?;
    // SAFETY: exact `bytes`, which is all that this function makes.
    Ok(unsafe { share_bytes(bytes.as_ptr()) })
}

/// A large contiguous buffer that is about to be written, and the memory for what the kernel will not take of it at once.
///
/// The memory is asked for before the first byte leaves: a write that fails for the lack of it has sent nothing.
struct Large {
    lent: PyBuffer<u8>,
    spare: Object,
}

impl Large {
    /// `None` for what is better copied as a whole: it is small, or not contiguous.
    fn of(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Ok(lent) = PyBuffer::<u8>::get(data) else { return Ok(None) };
        if lent.len_bytes() < CORK_BYTES || !lent.is_c_contiguous() {
            return Ok(None);
        }
        let length = ffi::Py_ssize_t::try_from(lent.len_bytes())?;
        // SAFETY: a positive size; null is an exception.
        let spare = unsafe { ffi::PyBytes_FromStringAndSize(core::ptr::null(), length) };
        // SAFETY: a new reference, or null with an exception.
        let spare = unsafe { Object::from_owned(spare) }.ok_or_else(|| PyErr::fetch(py))?;
        Ok(Some(Self { lent, spare }))
    }

    /// The bytes, for one system call or one copy, in which no Python code runs.
    fn as_slice(&self) -> &[u8] {
        let (start, length) = (self.lent.buf_ptr().cast::<u8>(), self.lent.len_bytes());
        // SAFETY: a contiguous buffer of that length, exported for as long as `lent` lives.
        unsafe { core::slice::from_raw_parts(start, length) }
    }

    /// A copy of the bytes from `start` on, which are not all.
    fn into_rest(self, py: Python<'_>, start: usize) -> PyResult<Chunk> {
        let rest = &self.as_slice()[start..];
        let length = ffi::Py_ssize_t::try_from(rest.len())?;
        // SAFETY: a new `bytes`.
        let place = unsafe { ffi::PyBytes_AsString(self.spare.as_ptr()) }.cast::<u8>();
        // SAFETY: the new object is as long as the whole buffer, and nobody else has seen it.
        unsafe { place.copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
        let mut bytes = self.spare.into_ptr();
        // SAFETY: the only reference to a `bytes` that nobody has hashed; on failure it is gone and null is left.
        unsafe { _PyBytes_Resize(&raw mut bytes, length) };
        // SAFETY: the resized object's reference, or null with an exception.
        let bytes = unsafe { Object::from_owned(bytes) }.ok_or_else(|| PyErr::fetch(py))?;
        // SAFETY: exact `bytes`.
        Ok(unsafe { share_bytes(bytes.as_ptr()) })
    }
}

/// Whether these are `bytes` and nothing derived.
#[inline]
pub(crate) fn is_exact_bytes(data: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller shows a live object.
    unsafe { ffi::PyBytes_CheckExact(data) != 0 }
}

/// A chunk that shares the memory of `bytes`.
///
/// # Safety
/// `data` is exact `bytes`, and the thread is attached.
#[inline]
unsafe fn share_bytes(data: *mut ffi::PyObject) -> Chunk {
    // SAFETY: passed on to the caller.
    let object = unsafe { Object::from_borrowed(data) };
    // SAFETY: passed on to the caller.
    let length = unsafe { ffi::Py_SIZE(data) }.unsigned_abs();
    // SAFETY: passed on to the caller.
    let start = unsafe { ffi::PyBytes_AsString(data) }.cast();
    // SAFETY: the data of a `bytes` follows its head, so it is never at null.
    let start = unsafe { NonNull::new_unchecked(start) };
    // SAFETY: `bytes` never change, and the reference given to the chunk keeps these alive until `release_bytes`.
    unsafe { Chunk::from_foreign(start, length, object.into_ptr().cast(), release_bytes) }
}

/// Gives back the reference to a `bytes`; freeing one runs no Python.
///
/// # Safety
/// `object` is the reference that [`share_bytes`] gave away, and the thread is attached.
unsafe fn release_bytes(object: *mut ()) {
    // SAFETY: passed on to the caller.
    unsafe { ffi::Py_DECREF(object.cast()) }
}

fn is_bytes_like(data: &Bound<'_, PyAny>) -> bool {
    data.is_instance_of::<pyo3::types::PyBytes>()
        || data.is_instance_of::<pyo3::types::PyByteArray>()
        || data.is_instance_of::<pyo3::types::PyMemoryView>()
}

/// What a write comes to.
enum Verdict {
    /// It may not be made.
    Refused(&'static str),
    /// The connection is lost: nobody will read it.
    Lost(WriteVerdict),
    /// Queued; the transport waits in the loop's list for the end of the callback.
    Corked,
    /// Queued; it is to be put on that list, or to be sent now.
    Queued { event_loop: *mut ffi::PyObject, may_wait: bool },
}

/// What speaks against a write, if anything does.
fn refusal(inner: &Inner, eof: &'static str, sendfile: &'static str) -> Option<&'static str> {
    if inner.is_eof_written {
        Some(eof)
    } else if inner.empty_waiter.is_some() {
        Some(sendfile)
    } else {
        None
    }
}

/// Where the bytes that were just queued have to go.
fn after_queueing(inner: &Inner) -> Verdict {
    // Whether the protocol must pause is decided by what the kernel leaves, so it is asked first.
    let (_, high) = inner.stream.gate.limits();
    let may_wait = inner.corking != Corking::Never
        && inner.stream.queued_bytes() < CORK_BYTES
        && inner.stream.pending_bytes() <= high;
    match &inner.event_loop {
        _ if may_wait && inner.corking == Corking::Listed => Verdict::Corked,
        Some(event_loop) => Verdict::Queued { event_loop: event_loop.as_ptr(), may_wait },
        // One that has ended takes no bytes: this one was never opened.
        None => Verdict::Refused(NOT_OPENED),
    }
}

fn accept(inner: &mut Inner) -> Result<(), Verdict> {
    match inner.life.on_write() {
        WriteVerdict::Accept => Ok(()),
        lost => Err(Verdict::Lost(lost)),
    }
}

/// `write(data)`.
pub(super) fn write(py: Python<'_>, object: *mut ffi::PyObject, data: *mut ffi::PyObject) -> PyResult<()> {
    const REFUSALS: (&str, &str) =
        ("Cannot call write() after write_eof()", "unable to write; sendfile is in progress");
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    if is_exact_bytes(data) {
        // SAFETY: exact `bytes`, an argument of the call.
        let chunk = unsafe { share_bytes(data) };
        let is_empty = chunk.is_empty();
        let verdict = state.with(py, |inner| {
            if let Some(text) = refusal(inner, REFUSALS.0, REFUSALS.1) {
                return Verdict::Refused(text);
            }
            if is_empty {
                return Verdict::Corked;
            }
            if let Err(lost) = accept(inner) {
                return lost;
            }
            // Not empty, so it is kept; and releasing a `bytes` would run nothing.
            let _ = inner.stream.queue(chunk);
            after_queueing(inner)
        });
        return follow(py, object, state, &verdict);
    }
    // SAFETY: an argument of the call.
    let data = unsafe { Bound::from_borrowed_ptr(py, data) };
    if !is_bytes_like(&data) {
        return refuse(py, object, data);
    }
    if let Some(text) = state.with(py, |inner| refusal(inner, REFUSALS.0, REFUSALS.1)) {
        return Err(PyRuntimeError::new_err(text));
    }
    if !data.is_truthy()? {
        return Ok(());
    }
    if state.with(py, |inner| inner.key.is_some() && inner.stream.pending_bytes() == 0)
        && let Some(large) = Large::of(py, &data)?
    {
        return write_large(py, object, state, large);
    }
    let chunk = chunk_of(py, &data)?;
    let verdict = state.with(py, |inner| accept(inner).map_or_else(|lost| lost, |()| queue(inner, chunk)));
    follow(py, object, state, &verdict)
}

fn queue(inner: &mut Inner, chunk: Chunk) -> Verdict {
    // What comes back is empty; releasing a `bytes` runs nothing.
    let _ = inner.stream.queue(chunk);
    after_queueing(inner)
}

/// Sends what the kernel takes of a large buffer from where it lies, and queues a copy of the rest.
fn write_large(py: Python<'_>, object: *mut ffi::PyObject, state: &State, large: Large) -> PyResult<()> {
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    // SAFETY: the state holds the loop, whose type was checked when it was stored.
    let core = unsafe { LoopCore::of(py, event_loop.as_ptr()) };
    let sent = state.with(py, |inner| {
        accept(inner)?;
        let Some(key) = inner.key else { return Ok(Ok(0)) };
        let bytes = large.as_slice();
        Ok(core.with_reactor(py, |reactor| inner.stream.send_now(&mut reactor.backend, key, bytes)))
    });
    let taken = match sent {
        Err(lost) => return follow(py, object, state, &lost),
        Ok(Ok(taken)) => taken,
        Ok(Err(error)) => return fail(py, object, state, error),
    };
    core.counters.sent.add(taken);
    if taken == large.as_slice().len() {
        return Ok(());
    }
    let chunk = large.into_rest(py, taken)?;
    let verdict = state.with(py, |inner| queue(inner, chunk));
    follow(py, object, state, &verdict)
}

/// `writelines(list_of_data)`.
pub(super) fn write_lines(py: Python<'_>, object: *mut ffi::PyObject, lines: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: an argument of the call.
    let lines = unsafe { Bound::from_borrowed_ptr(py, lines) };
    if !cfg!(Py_3_12) {
        // Up to 3.11 this is asyncio's whole method.
        let joined = PyBytes::new(py, b"").call_method1("join", (lines,))?;
        return write(py, object, joined.as_ptr());
    }
    // SAFETY: a method of the transport's type.
    let state = unsafe { State::of(object) };
    let refused = state.with(py, |inner| {
        refusal(inner, "Cannot call writelines() after write_eof()", "unable to writelines; sendfile is in progress")
    });
    if let Some(text) = refused {
        return Err(PyRuntimeError::new_err(text));
    }
    if !lines.is_truthy()? {
        return Ok(());
    }
    // All or nothing: a line that is no bytes is found before anything is queued.
    let mut chunks = Vec::new();
    for line in lines.try_iter()? {
        let line = line?;
        // Since 3.14 asyncio passes over what is empty, whatever it is.
        if cfg!(Py_3_14) && !line.is_truthy()? {
            continue;
        }
        // Any buffer will do, as in asyncio; for anything else the error is the memoryview's.
        let line = if is_bytes_like(&line) { line } else { PyMemoryView::from(&line)?.into_any() };
        chunks.push(chunk_of(py, &line)?);
    }
    if chunks.iter().all(Chunk::is_empty) {
        return Ok(());
    }
    let verdict = state.with(py, |inner| {
        if let Err(lost) = accept(inner) {
            return lost;
        }
        for chunk in chunks.drain(..) {
            // What comes back is empty; releasing a `bytes` or a copy runs nothing.
            let _ = inner.stream.queue(chunk);
        }
        after_queueing(inner)
    });
    follow(py, object, state, &verdict)
}

/// asyncio's `TypeError` for data that is no bytes, in the words of this interpreter's version.
#[cold]
fn refuse(py: Python<'_>, object: *mut ffi::PyObject, data: Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the object of the method call.
    let transport = unsafe { Bound::from_borrowed_ptr(py, object) };
    transport.call_method1("_refuse", (data,))?;
    Ok(())
}

#[cold]
fn warn_lost(py: Python<'_>) -> PyResult<()> {
    py.import("asyncio.log")?.getattr("logger")?.call_method1("warning", ("socket.send() raised exception.",))?;
    Ok(())
}

/// Sends now or when the callback ends, and tells the protocol to pause when too much is waiting.
fn follow(py: Python<'_>, object: *mut ffi::PyObject, state: &State, verdict: &Verdict) -> PyResult<()> {
    match *verdict {
        Verdict::Refused(text) => Err(PyRuntimeError::new_err(text)),
        Verdict::Lost(WriteVerdict::DiscardAndWarn) => warn_lost(py),
        Verdict::Corked | Verdict::Lost(_) => Ok(()),
        Verdict::Queued { event_loop, may_wait } => {
            // SAFETY: the state holds the loop, whose type was checked when it was stored.
            let core = unsafe { LoopCore::of(py, event_loop) };
            if may_wait && core.is_in_entry() {
                state.with(py, |inner| inner.corking = Corking::Listed);
                // SAFETY: the object of the method call.
                core.cork(py, unsafe { Object::from_borrowed(object) });
                return Ok(());
            }
            // Flushing may end the transport, and with it the last reference to its loop.
            // SAFETY: as above.
            let held = unsafe { Object::from_borrowed(event_loop) };
            flush(py, core, object, state)?;
            drop(held);
            match state.with(py, |inner| inner.stream.after_write()) {
                GateSignal::Pause => tell(py, object, "_pause_writing"),
                GateSignal::Keep | GateSignal::Resume => Ok(()),
            }
        }
    }
}

fn tell(py: Python<'_>, object: *mut ffi::PyObject, method: &str) -> PyResult<()> {
    // SAFETY: the transport, kept alive by the caller.
    unsafe { Bound::from_borrowed_ptr(py, object) }.call_method0(method)?;
    Ok(())
}

/// Hands what is queued to the kernel.
pub(super) fn flush(py: Python<'_>, core: &LoopCore, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    let outcome = state.with(py, |inner| {
        let key = inner.key?;
        if inner.stream.queued_bytes() == 0 || inner.stream.is_sending() {
            return None;
        }
        Some(core.with_reactor(py, |reactor| inner.stream.flush(&mut reactor.backend, key)))
    });
    match outcome {
        None => Ok(()),
        Some(Ok(flushed)) => {
            core.counters.sent.add(flushed.bytes);
            if !flushed.is_empty {
                // The loop holds the transport from now on. A send under way is watched already.
                hold(py, core, object, state)?;
            }
            Ok(())
        }
        Some(Err(error)) => fail(py, object, state, error),
    }
}

/// Ends the transport for an error of a send.
#[cold]
fn fail(py: Python<'_>, object: *mut ffi::PyObject, state: &State, error: Error) -> PyResult<()> {
    state.with(py, |inner| inner.stream.discard());
    // SAFETY: the transport, kept alive by the caller.
    let transport = unsafe { Object::from_borrowed(object) };
    fatal(py, &transport, os_error(py, error), WRITE_FAILED)
}

fn hold(py: Python<'_>, core: &LoopCore, object: *mut ffi::PyObject, state: &State) -> PyResult<()> {
    state.apply_interest(py, core, object).map_err(|error| os_error(py, error))
}

/// Flushes a transport that was corked; the loop calls it when the entry under way has run.
///
/// # Errors
/// What leaves the loop.
#[inline]
pub(crate) fn flush_corked(py: Python<'_>, core: &LoopCore, transport: &Object) -> Result<(), Exit> {
    // SAFETY: the corked list holds transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    state.with(py, Inner::uncork);
    match flush(py, core, transport.as_ptr(), state) {
        Ok(()) => Ok(()),
        Err(error) => fail_flush(py, transport, state, error),
    }
}

/// A flush has failed with nobody there to be told, since `write` has returned: the transport ends.
#[cold]
fn fail_flush(py: Python<'_>, transport: &Object, state: &State, error: PyErr) -> Result<(), Exit> {
    let event_loop = state.event_loop(py);
    settle(py, fatal(py, transport, error, WRITE_FAILED), |exception| match &event_loop {
        Some(event_loop) => report_failed_callback(py, event_loop, transport, Callback::Write, true, exception),
        None => Err(PyErr::from_value(exception.clone())),
    })
}

/// Drops what a corked transport has to send, and what the kernel has not taken of the send before: in a forked child they
/// are the parent's.
pub(crate) fn forget_queued(py: Python<'_>, transport: &Object) {
    // SAFETY: the corked list holds transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    state.with(py, |inner| {
        inner.uncork();
        inner.stream.discard();
    });
}

/// There is room to send more.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Object, state: &State, key: Key) -> PyResult<()> {
    let object = transport.as_ptr();
    let outcome =
        state.with(py, |inner| core.with_reactor(py, |reactor| inner.stream.progress(&mut reactor.backend, key)));
    if let Ok(flushed) = &outcome {
        core.counters.sent.add(flushed.bytes);
    }
    if let Err(error) = outcome {
        state.with(py, |inner| inner.stream.discard());
        let exception = os_error(py, error);
        let waiter = state.with(py, |inner| inner.empty_waiter.clone());
        let value = exception.value(py).clone().into_any();
        fatal(py, transport, exception, WRITE_FAILED)?;
        if let Some(waiter) = waiter {
            while_handling(py, &value, || waiter.bind(py).call_method1("set_exception", (&value,)))?;
        }
        return Ok(());
    }
    if state.with(py, |inner| inner.stream.after_progress()) == GateSignal::Resume {
        // The protocol may write more. What it raises that leaves the loop leaves nothing undone here.
        let resumed = tell(py, object, "_resume_writing");
        let resumed = finally(py, resumed, || flush(py, core, object, state));
        return finally(py, resumed, || after_sending(py, core, transport, state));
    }
    after_sending(py, core, transport, state)
}

/// Does what was put off until everything is sent.
fn after_sending(py: Python<'_>, core: &LoopCore, transport: &Object, state: &State) -> PyResult<()> {
    let object = transport.as_ptr();
    let (drained, waiter, is_eof_written) = state.with(py, |inner| {
        let is_drained = inner.stream.pending_bytes() == 0;
        (is_drained, inner.empty_waiter.clone(), inner.is_eof_written)
    });
    if !drained {
        return Ok(());
    }
    if state.with(py, |inner| inner.key.is_none()) {
        // The protocol, or a failed write, has ended the transport.
        return Ok(());
    }
    hold(py, core, object, state)?;
    if let Some(waiter) = waiter {
        waiter.bind(py).call_method1("set_result", (py.None(),))?;
    }
    match state.with(py, |inner| inner.life.drained()) {
        DrainedStep::LoseNow => {
            state.detach(py, core);
            transport.bind(py).call_method1("_call_connection_lost", (py.None(),))?;
        }
        DrainedStep::Nothing if is_eof_written => super::close::shut_down(py, state)?,
        DrainedStep::Nothing => {}
    }
    Ok(())
}

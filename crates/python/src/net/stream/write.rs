//! Sending: from the program to the socket.
//!
//! Written bytes wait for the end of the callback that writes them, so that a header and a body leave with one system call
//! ("corking"). They leave earlier when there are many, when somebody asks how many are waiting, and when the transport
//! closes; outside a callback of the loop they leave at once. What a callback can tell: bytes it has written reach a peer, and
//! a failing connection shows, only after it has returned.
//!
//! Somebody else may use the socket: whoever gave it to the transport, or was given its number or a duplicate by it. What is
//! written to such a *shared* connection leaves at once, so that it is before whatever they do next, as in asyncio.

#![forbid(unsafe_code)]

use ferrio_engine::backend::Key;
use ferrio_engine::buf::Chunk;
use ferrio_engine::flow::{DrainedStep, GateSignal, WriteVerdict};
use ferrio_engine::sys::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::class::Stream;
use super::close::{call_connection_lost, finally, shut_down};
use super::part;
use super::state::{Corking, Inner, detach};
use crate::core::{Exit, LoopCore, settle};
use crate::ffi::buffer::Readable;
use crate::ffi::bytes::{Blank, Bytes, chunk_of, copy_into};
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::errors::{os_error, while_handling};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::net::transport::{
    Callback, NOT_OPENED, apply_interest, event_loop, fatal, pause_if_full, report_failed_callback, tell, warn_lost,
    with,
};

const WRITE_FAILED: &str = "Fatal write error on socket transport";

/// Bytes that are worth a system call of their own, however many more the callback may write.
const CORK_BYTES: usize = 64 * 1024;

/// A large contiguous buffer that is about to be written, and the memory for what the kernel will not take of it at once.
///
/// The memory is asked for before the first byte leaves: a write that fails for the lack of it has sent nothing.
struct Large {
    buffer: Readable,
    memory: Blank,
}

impl Large {
    /// # Errors
    /// `MemoryError`.
    fn of(py: Python<'_>, buffer: Readable) -> PyResult<Self> {
        let memory = Blank::new(py, buffer.len())?;
        Ok(Self { buffer, memory })
    }

    /// A copy of the bytes from `start` on, which are not all.
    fn into_rest(self, py: Python<'_>, start: usize) -> PyResult<Chunk> {
        let rest = self.memory.fill(py, |room| self.buffer.with(|bytes| copy_into(room, &bytes[start..])))?;
        chunk_of(py, &rest.unwrap_or_else(|| Object::new(PyBytes::new(py, b""))))
    }
}

fn is_bytes_like(data: &Bound<'_, PyAny>) -> bool {
    data.is_instance_of::<PyBytes>() || data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>()
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
    Queued { event_loop: Instance<LoopCore>, may_wait: bool },
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
    match &inner.common.event_loop {
        _ if may_wait && inner.corking == Corking::Listed => Verdict::Corked,
        Some(event_loop) => Verdict::Queued { event_loop: event_loop.clone(), may_wait },
        // One that has ended takes no bytes: this one was never opened.
        None => Verdict::Refused(NOT_OPENED),
    }
}

fn accept(inner: &mut Inner) -> Result<(), Verdict> {
    match inner.common.life.on_write() {
        WriteVerdict::Accept => Ok(()),
        lost => Err(Verdict::Lost(lost)),
    }
}

/// `write(data)`.
pub(super) fn write(py: Python<'_>, transport: &Stream, data: &Object) -> PyResult<()> {
    const REFUSALS: (&str, &str) =
        ("Cannot call write() after write_eof()", "unable to write; sendfile is in progress");
    if let Some(bytes) = Bytes::of(data) {
        let chunk = bytes.chunk();
        let is_empty = chunk.is_empty();
        let verdict = with(py, transport, |inner| {
            if let Some(text) = refusal(inner, REFUSALS.0, REFUSALS.1) {
                return Verdict::Refused(text);
            }
            if is_empty {
                return Verdict::Corked;
            }
            accept(inner).map_or_else(|lost| lost, |()| queue(inner, chunk))
        });
        return follow(py, transport, verdict);
    }
    let bound = data.bind(py);
    if !is_bytes_like(bound) {
        return refuse(py, transport, data);
    }
    if let Some(text) = with(py, transport, |inner| refusal(inner, REFUSALS.0, REFUSALS.1)) {
        return Err(PyRuntimeError::new_err(text));
    }
    if !bound.is_truthy()? {
        return Ok(());
    }
    let buffer = Readable::of(bound);
    let may_send = with(py, transport, |inner| inner.common.key.is_some() && inner.stream.pending_bytes() == 0);
    let chunk = match buffer {
        Some(buffer) if may_send && buffer.len() >= CORK_BYTES => {
            return write_large(py, transport, Large::of(py, buffer)?);
        }
        Some(buffer) => buffer.copy()?,
        None => chunk_of(py, data)?,
    };
    let verdict = with(py, transport, |inner| accept(inner).map_or_else(|lost| lost, |()| queue(inner, chunk)));
    follow(py, transport, verdict)
}

fn queue(inner: &mut Inner, chunk: Chunk) -> Verdict {
    // What comes back is empty; releasing a `bytes` runs nothing.
    let _ = inner.stream.queue(chunk);
    after_queueing(inner)
}

/// Sends what the kernel takes of a large buffer from where it lies, and queues a copy of the rest.
fn write_large(py: Python<'_>, transport: &Stream, large: Large) -> PyResult<()> {
    let Some(event_loop) = event_loop(py, transport) else { return Ok(()) };
    let core: &LoopCore = &event_loop;
    let sent = large.buffer.with(|bytes| {
        with(py, transport, |inner| {
            accept(inner)?;
            let Some(key) = inner.common.key else { return Ok(Ok(0)) };
            if let Err(error) = inner.ensure_number("send") {
                return Ok(Err(error));
            }
            Ok(core.with_reactor(py, |reactor| inner.stream.send_now(&mut reactor.backend, key, bytes)))
        })
    });
    let taken = match sent {
        Err(lost) => return follow(py, transport, lost),
        Ok(Ok(taken)) => taken,
        Ok(Err(error)) => return fail(py, transport, error),
    };
    core.counters.sent.add(taken);
    if taken == large.buffer.len() {
        return Ok(());
    }
    let chunk = large.into_rest(py, taken)?;
    let verdict = with(py, transport, |inner| queue(inner, chunk));
    follow(py, transport, verdict)
}

/// `writelines(list_of_data)`.
pub(super) fn write_lines(py: Python<'_>, transport: &Stream, lines: &Object) -> PyResult<()> {
    let lines = lines.bind(py);
    if !cfg!(Py_3_12) {
        // Up to 3.11 this is asyncio's whole method.
        let joined = PyBytes::new(py, b"").call_method1("join", (lines,))?;
        return write(py, transport, Object::of(&joined));
    }
    let refused = with(py, transport, |inner| {
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
        if let Some(bytes) = Bytes::of(Object::of(&line)) {
            chunks.push(bytes.chunk());
            continue;
        }
        // Since 3.14 asyncio passes over what is empty, whatever it is.
        if cfg!(Py_3_14) && !line.is_truthy()? {
            continue;
        }
        // Any buffer will do, as in asyncio; for anything else the error is the memoryview's.
        let line = if is_bytes_like(&line) { line } else { PyMemoryView::from(&line)?.into_any() };
        chunks.push(chunk_of(py, Object::of(&line))?);
    }
    if chunks.iter().all(Chunk::is_empty) {
        return Ok(());
    }
    let verdict = with(py, transport, |inner| {
        if let Err(lost) = accept(inner) {
            return lost;
        }
        for chunk in chunks.drain(..) {
            // What comes back is empty; releasing a `bytes` or a copy runs nothing.
            let _ = inner.stream.queue(chunk);
        }
        after_queueing(inner)
    });
    follow(py, transport, verdict)
}

/// asyncio's `TypeError` for data that is no bytes, in the words of this interpreter's version.
#[cold]
fn refuse(py: Python<'_>, transport: &Stream, data: &Object) -> PyResult<()> {
    call_method(py, &names(py)._raise_type_error, [transport.object(), data]).map(drop)
}

/// Sends now or when the callback ends, and tells the protocol to pause when too much is waiting.
fn follow(py: Python<'_>, transport: &Stream, verdict: Verdict) -> PyResult<()> {
    match verdict {
        Verdict::Refused(text) => Err(PyRuntimeError::new_err(text)),
        Verdict::Lost(WriteVerdict::DiscardAndWarn) => warn_lost(py),
        Verdict::Corked | Verdict::Lost(_) => Ok(()),
        Verdict::Queued { event_loop, may_wait } => {
            if may_wait && event_loop.is_in_entry() {
                with(py, transport, |inner| inner.corking = Corking::Listed);
                part::cork(py, &event_loop, transport.object().clone());
                return Ok(());
            }
            flush(py, &event_loop, transport)?;
            pause_if_full(py, transport)
        }
    }
}

/// Sends what a callback has written so far.
pub(super) fn flush_now(py: Python<'_>, transport: &Stream) -> PyResult<()> {
    event_loop(py, transport).map_or(Ok(()), |event_loop| flush(py, &event_loop, transport))
}

/// Hands what is queued to the kernel.
fn flush(py: Python<'_>, core: &LoopCore, transport: &Stream) -> PyResult<()> {
    let outcome = with(py, transport, |inner| {
        let key = inner.common.key?;
        if inner.stream.queued_bytes() == 0 || inner.stream.is_sending() {
            return None;
        }
        let open = inner.ensure_number("send");
        Some(open.and_then(|()| core.with_reactor(py, |reactor| inner.stream.flush(&mut reactor.backend, key))))
    });
    match outcome {
        None => Ok(()),
        Some(Ok(flushed)) => {
            core.counters.sent.add(flushed.bytes);
            if !flushed.is_empty {
                // The loop holds the transport from now on. A send under way is watched already.
                hold(py, core, transport)?;
            }
            Ok(())
        }
        Some(Err(error)) => fail(py, transport, error),
    }
}

/// Ends the transport for an error of a send.
#[cold]
fn fail(py: Python<'_>, transport: &Stream, error: Error) -> PyResult<()> {
    with(py, transport, |inner| inner.stream.discard());
    fatal(py, transport.object(), os_error(py, error), WRITE_FAILED)
}

fn hold(py: Python<'_>, core: &LoopCore, transport: &Stream) -> PyResult<()> {
    apply_interest(py, core, transport).map_err(|error| os_error(py, error))
}

/// Flushes a transport that was corked; the loop calls it when the entry under way has run.
///
/// # Errors
/// What leaves the loop.
#[inline]
pub(super) fn flush_corked(py: Python<'_>, core: &LoopCore, object: &Object) -> Result<(), Exit> {
    let Some(transport) = Stream::of(object) else { return Ok(()) };
    with(py, transport, Inner::uncork);
    match flush(py, core, transport) {
        Ok(()) => Ok(()),
        Err(error) => fail_flush(py, transport, error),
    }
}

/// Ends a transport whose flush has failed: `write` has returned, so there is no caller to raise to.
#[cold]
fn fail_flush(py: Python<'_>, transport: &Stream, error: PyErr) -> Result<(), Exit> {
    let (event_loop, transport) = (event_loop(py, transport), transport.object());
    settle(py, fatal(py, transport, error, WRITE_FAILED), |exception| match &event_loop {
        Some(event_loop) => {
            report_failed_callback(py, event_loop.object(), transport, Callback::Write, true, exception)
        }
        None => Err(PyErr::from_value(exception.clone())),
    })
}

/// Drops what a corked transport has to send, and what the kernel has not taken of the send before: in a forked child they
/// are the parent's.
pub(super) fn forget_queued(py: Python<'_>, object: &Object) {
    let Some(transport) = Stream::of(object) else { return };
    with(py, transport, |inner| {
        inner.uncork();
        inner.stream.discard();
    });
}

/// There is room to send more.
pub(super) fn ready(py: Python<'_>, core: &LoopCore, transport: &Stream, key: Key) -> PyResult<()> {
    let outcome = with(py, transport, |inner| {
        inner.ensure_number("send")?;
        core.with_reactor(py, |reactor| inner.stream.progress(&mut reactor.backend, key))
    });
    match outcome {
        Ok(flushed) => core.counters.sent.add(flushed.bytes),
        Err(error) => {
            let waiter = with(py, transport, |inner| {
                inner.stream.discard();
                inner.empty_waiter.clone()
            });
            let exception = os_error(py, error);
            let value = exception.value(py).clone().into_any();
            fatal(py, transport.object(), exception, WRITE_FAILED)?;
            if let Some(waiter) = waiter {
                let set_exception = &names(py).set_exception;
                while_handling(py, &value, || call_method(py, set_exception, [&waiter, Object::of(&value)]))?;
            }
            return Ok(());
        }
    }
    if with(py, transport, |inner| inner.stream.after_progress()) == GateSignal::Resume {
        // The protocol may write more. What it raises that leaves the loop leaves nothing undone here.
        let resumed = tell(py, transport.object(), &names(py)._resume_writing);
        let resumed = finally(py, resumed, || flush(py, core, transport));
        return finally(py, resumed, || after_sending(py, core, transport));
    }
    after_sending(py, core, transport)
}

/// Does what was put off until everything is sent.
fn after_sending(py: Python<'_>, core: &LoopCore, transport: &Stream) -> PyResult<()> {
    let (is_drained, waiter, is_eof_written) = with(py, transport, |inner| {
        // The protocol, or a failed write, may have ended the transport.
        let is_drained = inner.stream.pending_bytes() == 0 && inner.common.key.is_some();
        (is_drained, inner.empty_waiter.clone(), inner.is_eof_written)
    });
    if !is_drained {
        return Ok(());
    }
    hold(py, core, transport)?;
    if let Some(waiter) = waiter {
        call_method(py, &names(py).set_result, [&waiter, &Object::none(py)])?;
    }
    match with(py, transport, |inner| inner.common.life.drained()) {
        DrainedStep::LoseNow => {
            detach(py, core, transport);
            call_connection_lost(py, transport, &Object::none(py))
        }
        DrainedStep::Nothing if is_eof_written => shut_down(py, transport),
        DrainedStep::Nothing => Ok(()),
    }
}

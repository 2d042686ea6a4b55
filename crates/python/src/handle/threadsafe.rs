//! Cancelling a handle of `call_soon_threadsafe` from another thread, as CPython 3.14 does it.
//!
//! asyncio's handle has an `RLock`, held while it runs: when `cancel()` returns, the callback either has run to its end or
//! never will. Here each loop has one gate, which knows what runs and in which thread, so that a handle needs no lock of its
//! own. As with the lock, the thread that runs a handle may cancel it, and a thread that waits in the main thread has its
//! signals handled: it waits for a lock of Python's.
//!
//! # Invariants
//! 1. `running` has an entry for each [`Running`] that lives, and nothing else.
//! 2. Whoever waits has its lock in `waiting`; the end of the handle's last run takes it out and releases it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::core::parts::{Part, part};
use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;

/// A handle that is being run.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Run {
    handle: *mut ffi::PyObject,
    thread: u64,
}

#[derive(Default)]
struct Gate {
    running: Vec<Run>,
    /// What the locks' threads wait for, and the locks.
    waiting: Vec<(*mut ffi::PyObject, Object)>,
}

impl Gate {
    /// Whether a thread other than `thread` runs `handle`.
    fn is_held(&self, handle: *mut ffi::PyObject, thread: u64) -> bool {
        self.running.iter().any(|run| run.handle == handle && run.thread != thread)
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct RunningGate(Guarded<Gate>);

part!(RunningGate);

impl Part for RunningGate {
    fn visit(&self, _py: Python<'_>, _visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The locks in it belong to threads that wait, and refer to nothing.
        Ok(())
    }

    fn clear(&self, _py: Python<'_>) {
        // Threads that wait leave by themselves.
    }
}

/// A handle that is being run, until this is dropped.
pub(crate) struct Running<'a> {
    gate: &'a RunningGate,
    py: Python<'a>,
    run: Run,
}

/// The calling thread.
fn this_thread() -> u64 {
    // SAFETY: no conditions.
    let thread = unsafe { ffi::PyThread_get_thread_ident() };
    thread as u64
}

impl RunningGate {
    /// The calling thread starts to run `handle`, once no other one does.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub(crate) fn enter<'a>(&'a self, py: Python<'a>, handle: *mut ffi::PyObject) -> PyResult<Running<'a>> {
        let run = Run { handle, thread: this_thread() };
        loop {
            let is_free = self.0.with(py, |gate| {
                let is_free = !gate.is_held(handle, run.thread);
                if is_free {
                    gate.running.push(run);
                }
                is_free
            });
            if is_free {
                return Ok(Running { gate: self, py, run });
            }
            self.wait_until_ended(py, handle)?;
        }
    }

    /// Waits until no other thread runs `handle`.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub(crate) fn wait_until_ended(&self, py: Python<'_>, handle: *mut ffi::PyObject) -> PyResult<()> {
        let thread = this_thread();
        while self.0.with(py, |gate| gate.is_held(handle, thread)) {
            self.wait(py, handle, thread)?;
        }
        Ok(())
    }

    /// Waits for the end of a run of `handle`.
    #[cold]
    fn wait(&self, py: Python<'_>, handle: *mut ffi::PyObject, thread: u64) -> PyResult<()> {
        static ALLOCATE: PyOnceLock<Object> = PyOnceLock::new();
        let allocate =
            ALLOCATE.get_or_try_init(py, || py.import("_thread")?.getattr("allocate_lock").map(Object::new))?.bind(py);
        let lock = allocate.call0()?;
        lock.call_method0(intern!(py, "acquire"))?;
        let entry = Object::new(lock.clone());
        // Making the lock may have let the other thread go on.
        let unused = self.0.with(py, |gate| {
            if gate.is_held(handle, thread) {
                gate.waiting.push((handle, entry));
                None
            } else {
                Some(entry)
            }
        });
        if unused.is_some() {
            return Ok(());
        }
        let outcome = lock.call_method0(intern!(py, "acquire"));
        let left = self.0.with(py, |gate| {
            let place = gate.waiting.iter().position(|(_, waiting)| waiting.as_ptr() == lock.as_ptr());
            place.map(|place| gate.waiting.swap_remove(place))
        });
        drop(left);
        outcome.map(drop)
    }

    /// In a forked child, which has of all threads the one that forked: what others ran never ends, and none of them waits.
    pub(crate) fn after_fork(&self, py: Python<'_>) {
        let thread = this_thread();
        let waited = self.0.with(py, |gate| {
            gate.running.retain(|run| run.thread == thread);
            core::mem::take(&mut gate.waiting)
        });
        drop(waited);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let (py, run) = (self.py, self.run);
        let woken: Vec<_> = self.gate.0.with(py, |gate| {
            if let Some(place) = gate.running.iter().rposition(|each| *each == run) {
                gate.running.remove(place);
            }
            if gate.waiting.is_empty() || gate.running.contains(&run) {
                return Vec::new();
            }
            let waiting = core::mem::take(&mut gate.waiting).into_iter();
            let (woken, others) = waiting.partition(|(handle, _)| *handle == run.handle);
            gate.waiting = others;
            woken
        });
        for (_, lock) in woken {
            if let Err(error) = lock.bind(py).call_method0(intern!(py, "release")) {
                error.write_unraisable(py, Some(lock.bind(py)));
            }
        }
    }
}

// SAFETY: the addresses are compared only.
unsafe impl Send for Gate {}

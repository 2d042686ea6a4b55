//! Cancelling a handle of `call_soon_threadsafe` from another thread, as CPython 3.14 does it.
//!
//! asyncio's handle has an `RLock`, held while it runs: when `cancel()` returns, the callback either has run to its end or
//! never will. Here each loop has one gate, which knows what runs and in which thread, so that a handle needs no lock of its
//! own. As with the lock, the thread that runs a handle may cancel it, and a thread that waits in the main thread has its
//! signals handled: it waits for a lock of Python's.
//!
//! # Invariants
//! 1. `only` and `further` have an entry for each [`Running`] that lives, and nothing else. `further` has some only where
//!    runs are nested, or two threads run handles of one loop; `only` is used again once there are none.
//! 2. Whoever waits has its lock in `waiting`; the end of the handle's last run takes it out and releases it.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

use crate::core::parts::{Part, part};
use crate::ffi::call::call_method;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::thread;

/// A handle that is being run.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The handle's address.
    handle: usize,
    thread: u64,
}

#[derive(Default)]
struct Gate {
    /// What runs first of all, as a rule alone.
    only: Option<Run>,
    further: Vec<Run>,
    /// What the locks' threads wait for, and the locks.
    waiting: Vec<(usize, Object)>,
}

impl Gate {
    /// Whether a thread other than `thread` runs `handle`.
    fn is_held(&self, handle: usize, thread: u64) -> bool {
        self.only.iter().chain(&self.further).any(|run| run.handle == handle && run.thread != thread)
    }

    /// Enters `run`, if nothing is running.
    #[inline]
    fn enter_alone(&mut self, run: Run) -> bool {
        let is_alone = self.only.is_none() && self.further.is_empty();
        if is_alone {
            self.only = Some(run);
        }
        is_alone
    }

    /// Ends the one run that there is, if nobody waits for it.
    #[inline]
    fn leave_alone(&mut self) -> bool {
        let is_alone = self.further.is_empty() && self.waiting.is_empty();
        if is_alone {
            self.only = None;
        }
        is_alone
    }

    /// Ends `run`, the last one that is equal to it; the locks of those who waited for it come back.
    fn leave(&mut self, run: Run) -> Vec<(usize, Object)> {
        if let Some(place) = self.further.iter().rposition(|each| *each == run) {
            self.further.remove(place);
        } else {
            self.only = None;
        }
        if self.only == Some(run) || self.further.contains(&run) {
            return Vec::new();
        }
        let waiting = core::mem::take(&mut self.waiting).into_iter();
        let (woken, others) = waiting.partition(|(handle, _)| *handle == run.handle);
        self.waiting = others;
        woken
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct RunningGate(Guarded<Gate>);

part!(RunningGate);

impl Part for RunningGate {
    fn visit(&self, _py: Python<'_>, _: &Collector) -> Visited {
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

impl RunningGate {
    /// The calling thread starts to run `handle`, once no other one does.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub(crate) fn enter<'a>(&'a self, py: Python<'a>, handle: &Object) -> PyResult<Running<'a>> {
        let run = Run { handle: handle.address(), thread: thread::current() };
        if !self.0.with(py, |gate| gate.enter_alone(run)) {
            self.enter_among_others(py, handle, run)?;
        }
        Ok(Running { gate: self, py, run })
    }

    #[cold]
    #[inline(never)]
    fn enter_among_others(&self, py: Python<'_>, handle: &Object, run: Run) -> PyResult<()> {
        loop {
            let is_free = self.0.with(py, |gate| {
                let is_free = !gate.is_held(run.handle, run.thread);
                if is_free {
                    gate.further.push(run);
                }
                is_free
            });
            if is_free {
                return Ok(());
            }
            self.wait_until_ended(py, handle)?;
        }
    }

    /// Ends a run that is not alone or that others wait for.
    #[cold]
    #[inline(never)]
    fn leave_others(&self, py: Python<'_>, run: Run) {
        let woken = self.0.with(py, |gate| gate.leave(run));
        for (_, lock) in woken {
            if let Err(error) = call_method(py, &names(py).release, [&lock]) {
                error.write_unraisable(py, Some(lock.bind(py)));
            }
        }
    }

    /// Waits until no other thread runs `handle`.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub(crate) fn wait_until_ended(&self, py: Python<'_>, handle: &Object) -> PyResult<()> {
        let handle = handle.address();
        let thread = thread::current();
        while self.0.with(py, |gate| gate.is_held(handle, thread)) {
            self.wait(py, handle, thread)?;
        }
        Ok(())
    }

    /// Waits for the end of a run of `handle`.
    #[cold]
    fn wait(&self, py: Python<'_>, handle: usize, thread: u64) -> PyResult<()> {
        let lock = Object::new(OBJECTS.allocate_lock.bind(py)?.call0()?);
        call_method(py, &names(py).acquire, [&lock])?;
        let entry = lock.clone();
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
        let outcome = call_method(py, &names(py).acquire, [&lock]);
        let left = self.0.with(py, |gate| {
            let place = gate.waiting.iter().position(|(_, waiting)| waiting.is(&lock));
            place.map(|place| gate.waiting.swap_remove(place))
        });
        drop(left);
        outcome.map(drop)
    }

    /// In a forked child, which has of all threads the one that forked: what others ran never ends, and none of them waits.
    pub(crate) fn after_fork(&self, py: Python<'_>) {
        let thread = thread::current();
        let waited = self.0.with(py, |gate| {
            gate.only.take_if(|run| run.thread != thread);
            gate.further.retain(|run| run.thread == thread);
            core::mem::take(&mut gate.waiting)
        });
        drop(waited);
    }
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.gate.0.with(self.py, Gate::leave_alone) {
            self.gate.leave_others(self.py, self.run);
        }
    }
}

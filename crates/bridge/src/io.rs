//! A descriptor that the running loop watches, and calls on it that are tried again when it is ready.
//!
//! # Invariants
//! 1. The descriptor is open for as long as the loop watches it: the watch ends before the fields are dropped.
//! 2. One waiter for each direction; a direction is watched once after each call that has found nothing to do.

use core::ffi::c_int;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use pyo3::intern;
use pyo3::prelude::*;

use crate::awaitable::running_loop;
use crate::c_api::{Api, Told};
use crate::errors::os_error;
use crate::hub::{hub_of, locked};

/// What is waited for, as the bits of [`Api::watch_for`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 1,
    Write = 2,
}

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

impl Direction {
    const fn place(self) -> usize {
        self as usize - 1
    }
}

/// Who waits for a descriptor; shared with the loop.
#[derive(Default)]
struct Waiters([Mutex<Option<Waker>>; 2]);

impl Waiters {
    fn wake(&self, direction: Direction) {
        let waker = locked(&self.0[direction.place()]).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Told for Waiters {
    fn told(self: &Arc<Self>, _py: Python<'_>, news: c_int) {
        for direction in DIRECTIONS {
            if news & direction as c_int != 0 {
                self.wake(direction);
            }
        }
    }
}

/// In which directions `add_reader` and `add_writer` have a callback. Touched on the loop's thread.
#[derive(Default)]
struct Registered([AtomicBool; 2]);

/// How the loop watches the descriptor.
enum Watch {
    Ferrio(Api, Py<PyAny>),
    Registered(Arc<Registered>),
}

/// What `add_reader` and `add_writer` call.
#[pyclass(frozen, module = "ferrio_pyo3")]
struct Ready {
    waiters: Arc<Waiters>,
    registered: Arc<Registered>,
    direction: Direction,
    fd: c_int,
}

#[pymethods]
impl Ready {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.registered.0[self.direction.place()].store(false, Ordering::Relaxed);
        remove(&running_loop(py)?, self.direction, self.fd)?;
        self.waiters.wake(self.direction);
        Ok(())
    }
}

fn remove(event_loop: &Bound<'_, PyAny>, direction: Direction, fd: c_int) -> PyResult<()> {
    let py = event_loop.py();
    let name = match direction {
        Direction::Read => intern!(py, "remove_reader"),
        Direction::Write => intern!(py, "remove_writer"),
    };
    event_loop.call_method1(name, (fd,)).map(drop)
}

/// See the module. It stays on its loop's thread.
pub(crate) struct Io {
    waiters: Arc<Waiters>,
    watch: Watch,
    event_loop: Py<PyAny>,
    fd: OwnedFd,
    stays: PhantomData<*const ()>,
}

impl Io {
    /// Has the running loop watch a non-blocking descriptor.
    ///
    /// # Errors
    /// No loop runs on this thread; the loop cannot watch it.
    pub(crate) fn new(fd: OwnedFd) -> PyResult<Self> {
        Python::attach(|py| {
            let event_loop = running_loop(py)?;
            let waiters = Arc::new(Waiters::default());
            let watch = if let Some(api) = hub_of(&event_loop)?.api() {
                let watch = api.watch(&event_loop, fd.as_raw_fd(), Arc::clone(&waiters))?;
                Watch::Ferrio(api, watch.unbind())
            } else {
                Watch::Registered(Arc::default())
            };
            Ok(Self { waiters, watch, event_loop: event_loop.unbind(), fd, stays: PhantomData })
        })
    }

    /// Calls `attempt` until it is not told that the call would block.
    pub(crate) fn poll_call<T>(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<Result<T, Failure>> {
        loop {
            match attempt(self.fd.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return match self.wait_for(direction, context.waker()) {
                        Ok(()) => Poll::Pending,
                        Err(error) => Poll::Ready(Err(Failure::Loop(error))),
                    };
                }
                Err(error) => return Poll::Ready(Err(Failure::Call(error))),
                Ok(value) => return Poll::Ready(Ok(value)),
            }
        }
    }

    /// Has `waker` called when the direction is ready.
    fn wait_for(&self, direction: Direction, waker: &Waker) -> PyResult<()> {
        let before = locked(&self.waiters.0[direction.place()]).replace(waker.clone());
        drop(before);
        Python::attach(|py| match &self.watch {
            Watch::Ferrio(api, watch) => api.watch_for(watch.bind(py), direction as c_int),
            Watch::Registered(registered) => self.register(py, registered, direction),
        })
    }

    fn register(&self, py: Python<'_>, registered: &Arc<Registered>, direction: Direction) -> PyResult<()> {
        let is_registered = &registered.0[direction.place()];
        if is_registered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let fd = self.fd.as_raw_fd();
        let (waiters, registered) = (Arc::clone(&self.waiters), Arc::clone(registered));
        let ready = Bound::new(py, Ready { waiters, registered, direction, fd })?;
        let name = match direction {
            Direction::Read => intern!(py, "add_reader"),
            Direction::Write => intern!(py, "add_writer"),
        };
        self.event_loop.bind(py).call_method1(name, (fd, ready))?;
        is_registered.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn end(&self, py: Python<'_>) -> PyResult<()> {
        match &self.watch {
            Watch::Ferrio(api, watch) => api.stop(watch.bind(py)),
            Watch::Registered(registered) => {
                let event_loop = self.event_loop.bind(py);
                if event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? {
                    return Ok(());
                }
                for direction in DIRECTIONS {
                    if registered.0[direction.place()].swap(false, Ordering::Relaxed) {
                        remove(event_loop, direction, self.fd.as_raw_fd())?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        for waiter in &self.waiters.0 {
            let waker = locked(waiter).take();
            drop(waker);
        }
        // Nothing watches it once the interpreter has ended.
        let _ = Python::try_attach(|py| {
            if let Err(error) = self.end(py) {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// Why a call has failed.
pub(crate) enum Failure {
    Call(io::Error),
    /// The loop would not watch the descriptor.
    Loop(PyErr),
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Call(error) => error,
            Failure::Loop(error) => Self::other(error),
        }
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Call(error) => os_error(error),
            Failure::Loop(error) => error,
        }
    }
}

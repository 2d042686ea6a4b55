//! What `sock_recv` and its relatives return: a native coroutine of a class of its own, `SocketOperation`.
//!
//! It does nothing until it is first awaited, then tries; refused, it yields a [future](super::waiter) and tries again when
//! it is resumed. Since only the operation itself takes or gives bytes, one that is cancelled, closed or forgotten while it
//! waits has taken none. `collections.abc` recognises the class by its methods, and with that `asyncio.iscoroutine` and
//! `inspect.isawaitable`.

#![forbid(unsafe_code)]

use core::ffi::CStr;
use std::os::fd::RawFd;

use ferrio_engine::backend::Key;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyModule;

use super::attempt::{Call, Outcome};
use super::registration;
use super::waiter::bad_descriptor;
use crate::core::{Direction, LoopCore};
use crate::coroutine::{self, Body, Coroutine, Input, Step};
use crate::ffi::cell::{Plain, Takeable};
use crate::ffi::class::{Description, Instance};
use crate::ffi::fields::{holds_no_object, native_state};
use crate::ffi::object::Object;
use crate::ffi::socket::{is_blocking, number};

/// Freed operations that keep their memory.
const MOST_FREE: usize = 256;

holds_no_object!(Direction);

native_state! {
    /// See the module.
    pub(super) struct Operation {
        qualified_name: &'static str,
        /// Taken out while the operation runs; none when it has ended.
        work: Takeable<Work>,
    }
}

native_state! {
    /// What an operation works with.
    struct Work {
        event_loop: Instance<LoopCore>,
        socket: Object,
        call: Call,
        wait: Takeable<Wait>,
    }
}

native_state! {
    /// A wait, from its beginning until the operation is resumed.
    struct Wait {
        waiter: Object,
        direction: Direction,
        fd: RawFd,
        /// What the kernel called the socket when it began.
        identity: u64,
        /// The registration, if the number had one.
        key: Plain<Option<Key>>,
    }
}

impl Wait {
    fn leave(&self, py: Python<'_>, core: &LoopCore) -> PyResult<()> {
        registration::leave(py, core, self.fd, self.direction, &self.waiter)
    }

    /// The registration, if the number has had no other since the wait began.
    fn lasting(&self, py: Python<'_>, core: &LoopCore, fd: RawFd) -> Option<Key> {
        self.key.get().filter(|&key| fd == self.fd && registration::is_current(py, core, fd, key))
    }
}

impl Work {
    fn run(&mut self, py: Python<'_>, is_first: bool) -> PyResult<Step> {
        let Self { event_loop: core, socket, call, wait } = self;
        if is_first && core.is_debug() && is_blocking(py, socket)? {
            return Err(PyValueError::new_err("the socket must be non-blocking"));
        }
        let fd = number(py, socket)?;
        let mut awaited = None;
        if let Some(before) = wait.take() {
            before.leave(py, core)?;
            awaited = before.lasting(py, core, fd);
            if !registration::is_named(py, core, awaited, fd, before.identity) {
                return Err(bad_descriptor(py));
            }
        }
        if registration::is_stale(py, core, socket, fd) {
            return Err(bad_descriptor(py));
        }
        let emptied = if is_first && call.takes_stream() {
            registration::find(py, core, socket, fd).filter(|&key| registration::is_emptied(py, core, key))
        } else {
            None
        };
        match call.attempt(py, core, socket, fd, emptied.is_some())? {
            Outcome::Done(result) => Ok(Step::Return(result)),
            Outcome::Short(result) => {
                if let Some(key) = awaited {
                    registration::received_short(py, core, key);
                }
                Ok(Step::Return(result))
            }
            Outcome::NotYet(direction) => {
                let registration::Begun { waiter, identity, key } =
                    registration::wait(py, core, socket, fd, direction, emptied)?;
                wait.put(Wait { waiter: waiter.clone(), direction, fd, identity, key: Plain::new(key) });
                Ok(Step::Yield(waiter))
            }
        }
    }

    /// Leaves the wait under way, if there is one.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.wait.take().map_or(Ok(()), |wait| wait.leave(py, &self.event_loop))
    }
}

impl Operation {
    /// Works until it waits, for which the work is put back, or ends.
    #[inline]
    fn run(&self, py: Python<'_>, is_first: bool) -> PyResult<Step> {
        let Some(mut work) = self.work.take() else {
            return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
        };
        let step = work.run(py, is_first)?;
        if let Step::Yield(_) = step {
            self.work.put(work);
        }
        Ok(step)
    }

    /// Leaves the wait for good.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.work.take().map_or(Ok(()), |work| work.leave(py))
    }
}

impl Body for Operation {
    const NAME: &'static CStr = c"ferrio._ferrio.SocketOperation";
    const DOC: &'static CStr = c"The coroutine of sock_recv and its relatives.";

    #[inline]
    fn description() -> &'static Description<Coroutine<Self>> {
        static DESCRIPTION: Description<Coroutine<Operation>> = Description::new(MOST_FREE);
        &DESCRIPTION
    }

    fn qualified_name(&self) -> &'static str {
        self.qualified_name
    }

    fn awaited(&self) -> Option<Object> {
        let work = self.work.take()?;
        let waiter = work.wait.take().map(|wait| {
            let waiter = wait.waiter.clone();
            work.wait.put(wait);
            waiter
        });
        self.work.put(work);
        waiter
    }

    #[inline]
    fn start(&self, py: Python<'_>) -> PyResult<Step> {
        self.run(py, true)
    }

    #[inline]
    fn advance(&self, py: Python<'_>, input: Input) -> PyResult<Step> {
        match input {
            Input::Send => self.run(py, false),
            Input::Throw(error) => {
                self.leave(py)?;
                Err(error)
            }
            Input::Close => {
                self.leave(py)?;
                Ok(Step::Return(Object::none(py)))
            }
        }
    }

    #[inline]
    fn release(&self) {
        drop(self.work.take());
    }
}

/// Makes an operation that has not begun: `socket` is an exact `socket.socket`.
pub(super) fn make(
    py: Python<'_>,
    qualified_name: &'static str,
    event_loop: Instance<LoopCore>,
    socket: Object,
    call: Call,
) -> PyResult<Object> {
    let work = Work { event_loop, socket, call, wait: Takeable::empty() };
    coroutine::make_of(py, Operation { qualified_name, work: Takeable::new(work) })
}

/// Makes the class and adds it to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let builder = coroutine::builder::<Operation>(py).awaits(coroutine::await_once::<Operation>);
    module.add("SocketOperation", builder.build(py, &py.get_type::<PyAny>())?)
}

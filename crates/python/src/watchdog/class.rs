//! `Watchdog`: the native half of `ferrio.watch`.

use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::thread::{self, Thread};

use ferrio_engine::sys::wake::Wake;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::inspector::Inspector;
use super::observer::{Change, Watch, observe};
use crate::core::LoopCore;
use crate::ffi::context_fields;
use crate::ffi::errors::os_error;
use crate::ffi::outside_stack::{self, Stack};

/// File, qualified name of the function, line (0 for none).
type ShownFrame = (String, String, usize);

/// What has happened (`begun`, `lasting`, `ended`), the number of the stall, the seconds that it has lasted, the seconds since
/// that was seen, and the stack, the innermost frame first.
type ShownNews = (&'static str, u64, f64, f64, Option<Vec<ShownFrame>>);

/// Watches one loop; see the folder's module. It ends with the loop, and when it is freed.
#[pyclass(frozen, module = "ferrio._ferrio")]
pub(crate) struct Watchdog {
    watch: Arc<Watch>,
    thread: Thread,
}

#[pymethods]
impl Watchdog {
    /// Watches `event_loop` for entries that last for `slow_s` seconds, in a thread that gets the caller's mask of signals.
    #[new]
    fn new(py: Python<'_>, event_loop: &Bound<'_, LoopCore>, slow_s: f64) -> PyResult<Self> {
        let limit = Duration::try_from_secs_f64(slow_s).ok().filter(|limit| !limit.is_zero());
        let limit = limit.ok_or_else(|| PyValueError::new_err("slow_s must be a positive number of seconds"))?;
        let bell = Wake::new().map_err(|error| os_error(py, error))?;
        let pulse = Arc::clone(&event_loop.get().pulse);
        let watch = Arc::new(Watch::new(pulse, limit, outside_stack::is_reliable(py), bell));
        let thread = thread::Builder::new().name("ferrio-watch".into()).spawn({
            let watch = Arc::clone(&watch);
            move || observe(&watch)
        });
        let thread = thread.map_err(|error| PyRuntimeError::new_err(format!("can't start new thread: {error}")))?;
        Ok(Self { watch, thread: thread.thread().clone() })
    }

    /// The number of a descriptor that is readable while there are news, or the watch has ended. It is the watchdog's.
    fn fileno(&self) -> i32 {
        self.watch.bell.as_fd().as_raw_fd()
    }

    /// The news since the last call.
    fn take(&self) -> Vec<ShownNews> {
        let show = |news: super::observer::News| {
            let change = match news.change {
                Change::Begun => "begun",
                Change::Lasting => "lasting",
                Change::Ended => "ended",
            };
            let waited = news.seen.elapsed().as_secs_f64();
            (change, news.stall, news.lasted.as_secs_f64(), waited, news.stack.map(shown))
        };
        self.watch.take().into_iter().map(show).collect()
    }

    /// Seconds for which news wait before whoever takes them is thought to be kept out of the interpreter.
    #[getter]
    fn grace_s(&self) -> f64 {
        self.watch.grace().as_secs_f64()
    }

    /// Whether stacks can be read from outside; otherwise `stack` gives none, nor do the news.
    #[getter]
    fn reads_stacks(&self) -> bool {
        self.watch.reads_stacks
    }

    /// Whether the loop still is at what stalled it.
    fn is_in(&self, stall: u64) -> bool {
        self.watch.is_in(stall)
    }

    /// The stack of the thread that runs the loop, the innermost frame first. `None`: no entry is being run.
    fn stack(&self) -> Option<Vec<ShownFrame>> {
        let pulse = &self.watch.pulse;
        let is_known = self.watch.reads_stacks && pulse.moment().is_in_entry();
        is_known.then(|| Stack::of_thread(pulse.thread_state())).flatten().map(shown)
    }

    /// The context in which the loop's thread is. `None`: no entry is being run.
    fn context<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let pulse = &self.watch.pulse;
        let is_known = pulse.moment().is_in_entry();
        let context = is_known.then(|| context_fields::context_of(py, pulse.thread_state())).flatten()?;
        Some(context.into_bound(py))
    }

    /// Whether there is nothing to watch any more.
    #[getter]
    fn has_ended(&self) -> bool {
        self.watch.has_ended()
    }

    /// Stops watching.
    fn end(&self) {
        self.watch.end();
        self.thread.unpark();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end();
    }
}

#[pymethods]
impl LoopCore {
    /// The stack of the thread that runs the loop, the innermost frame first, empty where stacks cannot be read from outside.
    /// `None`: no callback is being run.
    fn _stack(&self, py: Python<'_>) -> Option<Vec<ShownFrame>> {
        let is_known = self.pulse.moment().is_in_entry();
        let read = || outside_stack::is_reliable(py).then(|| Stack::of_thread(self.pulse.thread_state())).flatten();
        is_known.then(|| read().map(shown).unwrap_or_default())
    }
}

fn shown(stack: Stack) -> Vec<ShownFrame> {
    stack.0.into_iter().map(|frame| (frame.file, frame.function, frame.line)).collect()
}

/// Adds the class to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Inspector>()?;
    module.add_class::<Watchdog>()
}

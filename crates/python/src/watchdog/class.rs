//! `Watchdog`: the native half of `ferrio.watch`.

use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::thread::{self, Thread};

use ferrio_engine::sys::wake::Wake;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::inspector;
use super::observer::{Change, News, Watch, observe};
use crate::core::{LoopBuilder, LoopCore};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::context_fields;
use crate::ffi::errors::os_error;
use crate::ffi::fields::{Collector, Fields, Visited};
use crate::ffi::method::{Attribute, Method};
use crate::ffi::object::Object;
use crate::ffi::outside_stack::{self, Stack};

/// File, qualified name of the function, line (0 for none).
type ShownFrame = (String, String, usize);

/// What has happened (`begun`, `lasting`, `ended`), the number of the stall, the seconds that it has lasted, the seconds since
/// that was seen, and the stack, the innermost frame first.
type ShownNews = (&'static str, u64, f64, f64, Option<Vec<ShownFrame>>);

/// Watches one loop; see the folder's module. It ends with the loop, and when it is freed.
pub(crate) struct Watchdog {
    watch: Arc<Watch>,
    thread: Thread,
}

class_over_object! {
    Watchdog, c"ferrio._ferrio.Watchdog",
    c"Watches one loop, in a thread of its own. It ends with the loop, and when it is freed.";
}

impl Fields for Watchdog {
    const IS_EMPTY_WHEN_CLEARED: bool = false;

    fn visit(&self, _: &Collector) -> Visited {
        Ok(())
    }

    fn clear(&self) {}
}

impl Watchdog {
    /// `Watchdog(event_loop, slow_s)`: watches a loop for entries that last for so many seconds, in a thread that gets the
    /// caller's mask of signals.
    fn new(arguments: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let py = arguments.py();
        if arguments.len() != 2 {
            return Err(PyTypeError::new_err("Watchdog() takes a loop and a number of seconds"));
        }
        let (event_loop, slow_s) = (Object::new(arguments.get_item(0)?), arguments.get_item(1)?.extract()?);
        let event_loop = Instance::<LoopCore>::expect(py, &event_loop)?;
        let limit = Duration::try_from_secs_f64(slow_s).ok().filter(|limit| !limit.is_zero());
        let limit = limit.ok_or_else(|| PyValueError::new_err("slow_s must be a positive number of seconds"))?;
        let bell = Wake::new().map_err(|error| os_error(py, error))?;
        let pulse = Arc::clone(&event_loop.pulse);
        let watch = Arc::new(Watch::new(pulse, limit, outside_stack::is_reliable(py), bell));
        let thread = thread::Builder::new().name("ferrio-watch".into()).spawn({
            let watch = Arc::clone(&watch);
            move || observe(&watch)
        });
        let thread = thread.map_err(|error| PyRuntimeError::new_err(format!("can't start new thread: {error}")))?;
        Ok(Self { watch, thread: thread.thread().clone() })
    }

    /// The news since the last call.
    fn take(&self) -> Vec<ShownNews> {
        let show = |news: News| {
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

    fn stack(&self) -> Option<Vec<ShownFrame>> {
        let pulse = &self.watch.pulse;
        let is_known = self.watch.reads_stacks && pulse.moment().is_in_entry();
        is_known.then(|| Stack::of_thread(pulse.thread_state())).flatten().map(shown)
    }

    fn context(&self, py: Python<'_>) -> Option<Object> {
        let pulse = &self.watch.pulse;
        let is_known = pulse.moment().is_in_entry();
        is_known.then(|| context_fields::context_of(py, pulse.thread_state())).flatten()
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

fn shown(stack: Stack) -> Vec<ShownFrame> {
    stack.0.into_iter().map(|frame| (frame.file, frame.function, frame.line)).collect()
}

/// `_stack()` of a loop.
fn stack_of(py: Python<'_>, event_loop: &Instance<LoopCore>) -> PyResult<Object> {
    let is_known = event_loop.pulse.moment().is_in_entry();
    let read = || outside_stack::is_reliable(py).then(|| Stack::of_thread(event_loop.pulse.thread_state())).flatten();
    let stack: Option<Vec<ShownFrame>> = is_known.then(|| read().map(shown).unwrap_or_default());
    stack.into_pyobject(py).map(Object::new)
}

/// Adds the methods to the core's class.
pub(crate) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder.method(Method::no_arguments(
        c"_stack",
        stack_of,
        c"The stack of the thread that runs the loop, the innermost frame first, empty where stacks cannot be read from \
          outside. None: no callback is being run.",
    ))
}

fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    type This = Instance<Watchdog>;
    Builder::<This>::new()
        .constructed_by(|arguments, _| Watchdog::new(arguments))
        .method(Method::no_arguments(
            c"fileno",
            |_, watchdog: &This| Ok(watchdog.watch.bell.as_fd().as_raw_fd()),
            c"The number of a descriptor that is readable while there are news, or the watch has ended. It is the \
              watchdog's.",
        ))
        .method(Method::no_arguments(
            c"take",
            |py, watchdog: &This| watchdog.take().into_pyobject(py).map(Object::new),
            c"The news since the last call.",
        ))
        .method(Method::one_argument(
            c"is_in",
            |py, watchdog: &This, stall| Ok(watchdog.watch.is_in(stall.bind(py).extract()?)),
            c"Whether the loop still is at what stalled it.",
        ))
        .method(Method::no_arguments(
            c"stack",
            |py, watchdog: &This| watchdog.stack().into_pyobject(py).map(Object::new),
            c"The stack of the thread that runs the loop, the innermost frame first. None: no entry is being run.",
        ))
        .method(Method::no_arguments(
            c"context",
            |py, watchdog: &This| Ok(watchdog.context(py)),
            c"The context in which the loop's thread is. None: no entry is being run.",
        ))
        .method(Method::no_arguments(
            c"end",
            |_, watchdog: &This| {
                watchdog.end();
                Ok(())
            },
            c"Stop watching.",
        ))
        // Seconds for which news wait before whoever takes them is thought to be kept out of the interpreter.
        .attribute(Attribute::read_only(c"grace_s", |py, watchdog: &This| {
            watchdog.watch.grace().as_secs_f64().into_pyobject(py).map(Object::new).map_err(Into::into)
        }))
        // Whether stacks can be read from outside; otherwise `stack` gives none, nor do the news.
        .attribute(Attribute::read_only(c"reads_stacks", |_, watchdog: &This| Ok(watchdog.watch.reads_stacks)))
        // Whether there is nothing to watch any more.
        .attribute(Attribute::read_only(c"has_ended", |_, watchdog: &This| Ok(watchdog.watch.has_ended())))
        .build_over_object(py)
}

/// Adds the classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("Watchdog", make_class(module.py())?)?;
    inspector::register(module)
}

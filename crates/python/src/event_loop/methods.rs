//! The core's attributes and once-per-loop methods, under the names that asyncio's base class uses.
//!
//! `BaseEventLoop` keeps its state in attributes (`_closed`, `_stopping`, `_debug`, ...) and reads them in dozens of
//! methods that Ferrio inherits. Here these attributes are windows on the native state.

#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use ferrio_engine::time::Expirable;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyType};

use super::{scheduling, watch};
use crate::core::{Entry, LoopCore};
use crate::ffi::attributes;
use crate::ffi::class::Instance;
use crate::ffi::names::names;
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::ffi::trampoline::caught;
use crate::handle::{self, is_handle};
use crate::task::unlink_all;

#[pymethods]
impl LoopCore {
    /// Runs until `stop()`; the caller has set the loop up (`_run_forever_setup`). Signals write to `wakeup_descriptor`
    /// meanwhile; -1 for none.
    fn _run_until_stopped(slf: &Bound<'_, Self>, wakeup_descriptor: i32) -> PyResult<()> {
        let (py, core) = (slf.py(), slf.get());
        let _level = nesting::enter(py)?;
        let _lent = core.lend_wakeup_descriptor(py, wakeup_descriptor);
        caught(|| core.run_as(py, Object::of(slf), || core.run_until_stopped(py)))
    }

    /// Runs one turn; callbacks may ask for one within it.
    fn _run_once(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, core) = (slf.py(), slf.get());
        let _level = nesting::enter(py)?;
        caught(|| core.run_as(py, Object::of(slf), || core.run_once(py)))
    }

    /// Lets go of every callback and descriptor: the end of the loop.
    fn _release(&self, py: Python<'_>) {
        self.release_everything(py);
    }

    /// Stop after the turn under way, or after the next one when none is.
    fn stop(&self) {
        self.flags.stopping.set(true);
    }

    /// Whether the loop is running.
    pub(crate) fn is_running(&self) -> bool {
        self.flags.thread.load(Ordering::Relaxed) != 0
    }

    /// Whether the loop is closed.
    fn is_closed(&self) -> bool {
        self.flags.closed.get()
    }

    /// Whether debug mode is on.
    fn get_debug(&self) -> bool {
        self.is_debug()
    }

    fn _check_closed(&self) -> PyResult<()> {
        self.check_closed()
    }

    /// Whether the signals' socket pair is watched, and whether the loop has signal handlers, which are called through it.
    fn _set_signal_pair_state(&self, is_watched: bool, has_handlers: bool) {
        self.flags.has_signal_pair.set(is_watched);
        self.flags.is_signal_pair_idle.set(is_watched && !has_handlers);
    }

    /// Ends a wait under way, from any thread.
    fn _write_to_self(&self, py: Python<'_>) {
        self.interrupt(py);
    }

    /// What `selectors` calls the events of a descriptor: 1 read, 2 write, 0 not registered.
    fn _watched_events(&self, py: Python<'_>, fd: i32) -> u8 {
        self.watched(py, fd).bits()
    }

    /// The numbers of the descriptors that `add_reader`, `add_writer` and `sock_*` watch.
    fn _watched_descriptors(&self, py: Python<'_>) -> Vec<i32> {
        self.watched_numbers(py)
    }

    /// Makes a handle ready, one of asyncio's own or ours, or what behaves like one.
    #[pyo3(name = "_add_callback")]
    fn add_callback(slf: &Bound<'_, Self>, handle: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if is_handle(Object::of(&handle)) {
            slf.get().push_ready(py, handle::entry(Object::new(handle)));
            return Ok(());
        }
        // asyncio asks no more of it than these two.
        if handle.getattr(&names(py)._cancelled)?.is_truthy()? {
            return Ok(());
        }
        let run = handle.getattr(&names(py)._run)?;
        Instance::of_bound(slf).schedule(py, Object::of(&run), &[], None)
    }

    /// As `_add_callback`, from a signal handler: the loop may be about to sleep.
    #[pyo3(name = "_add_callback_signalsafe")]
    fn add_callback_signalsafe(slf: &Bound<'_, Self>, handle: Bound<'_, PyAny>) -> PyResult<()> {
        Self::add_callback(slf, handle)?;
        slf.get().interrupt(slf.py());
        Ok(())
    }

    fn _timer_handle_cancelled(&self, py: Python<'_>, _handle: &Bound<'_, PyAny>) {
        self.note_cancelled_timer(py);
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.flags.closed.get()
    }

    #[setter(_closed)]
    fn set_closed(&self, closed: bool) {
        self.flags.closed.set(closed);
    }

    #[getter]
    fn _stopping(&self) -> bool {
        self.flags.stopping.get()
    }

    #[setter(_stopping)]
    fn set_stopping(&self, stopping: bool) {
        self.flags.stopping.set(stopping);
    }

    #[getter]
    fn _debug(&self) -> bool {
        self.is_debug()
    }

    #[setter(_debug)]
    fn set_debug(&self, debug: &Bound<'_, PyAny>) -> PyResult<()> {
        self.flags.debug.set(debug.is_truthy()?);
        Ok(())
    }

    #[getter]
    fn _thread_id(&self) -> Option<u64> {
        Some(self.flags.thread.load(Ordering::Relaxed)).filter(|&thread| thread != 0)
    }

    #[setter(_thread_id)]
    fn set_thread_id(&self, thread: Option<u64>) {
        self.flags.thread.store(thread.unwrap_or(0), Ordering::Relaxed);
    }

    /// The handles that are ready, in order; a snapshot. A task's entries are shown as the handles that they stand for.
    #[getter]
    fn _ready<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let core = slf.get();
        core.take_inbox(py);
        handle::attach_all(py, Instance::of_bound(slf))?;
        let calls: Vec<_> = core.with_reactor(py, |reactor| reactor.ready.iter().filter_map(Entry::shown).collect());
        caught(|| {
            let handles = PyList::empty(py);
            for (shown_as, object, argument) in calls {
                handles.append(shown_as(py, Object::of(slf), &object, argument.as_ref())?.bind(py))?;
            }
            Ok(handles)
        })
    }

    /// `BaseEventLoop` assigns its own queue; the loop keeps its.
    #[setter(_ready)]
    #[expect(clippy::unused_self, reason = "the signature of a setter")]
    fn set_ready(&self, _queue: &Bound<'_, PyAny>) {}

    /// The pending timer handles, in no particular order; a snapshot.
    #[getter]
    fn _scheduled<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let (py, core) = (slf.py(), slf.get());
        Instance::of_bound(slf).show_sleeps(py)?;
        let handles: Vec<Object> = core.with_reactor(py, |reactor| {
            reactor.timers.iter().filter_map(|(_, timer)| timer.handle().cloned()).collect()
        });
        caught(|| PyList::new(py, handles.iter().map(|handle| handle.bind(py))))
    }

    #[getter]
    fn _task_factory(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.task_factory.with(py, |factory| factory.clone()).map(|factory| factory.into_bound(py).unbind())
    }

    #[setter(_task_factory)]
    fn set_task_factory(&self, factory: Bound<'_, PyAny>) {
        let py = factory.py();
        let factory = (!factory.is_none()).then(|| Object::new(factory));
        self.flags.has_task_factory.set(factory.is_some());
        let before = self.task_factory.with(py, |place| core::mem::replace(place, factory));
        drop(before);
    }

    /// Whether `create_task` and `create_future` make Ferrio's own tasks and futures.
    #[getter]
    fn _native_tasks(&self) -> bool {
        self.flags.native_tasks.get()
    }

    #[setter(_native_tasks)]
    fn set_native_tasks(&self, native: bool) {
        self.flags.native_tasks.set(native);
    }

    /// Whether `create_task` hands `eager_start` on to the task.
    #[getter]
    fn _starts_eagerly(&self) -> bool {
        self.flags.starts_eagerly.get()
    }

    #[setter(_starts_eagerly)]
    fn set_starts_eagerly(&self, eager: bool) {
        self.flags.starts_eagerly.set(eager);
    }

    /// Whether a program has replaced `call_soon`, which tasks then go through.
    #[getter]
    fn _has_other_call_soon(&self) -> bool {
        self.flags.has_other_call_soon.get()
    }

    #[setter(_has_other_call_soon)]
    fn set_has_other_call_soon(&self, other: bool) {
        self.flags.has_other_call_soon.set(other);
    }

    /// Whether a program has replaced one of the methods with which waiting begins.
    #[getter]
    fn _has_other_waits(&self) -> bool {
        self.flags.has_other_waits.get()
    }

    #[setter(_has_other_waits)]
    fn set_has_other_waits(&self, other: bool) {
        self.flags.has_other_waits.set(other);
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if name == "call_soon" {
            slf.get().flags.has_other_call_soon.set(true);
            unlink_all(slf)?;
        } else if name == "create_future" || name == "call_later" || name == "call_at" {
            slf.get().flags.has_other_waits.set(true);
        }
        attributes::set(slf, name, value)
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        attributes::delete(slf, name)
    }

    /// `BaseEventLoop` assigns its own heap; the loop keeps its.
    #[setter(_scheduled)]
    #[expect(clippy::unused_self, reason = "the signature of a setter")]
    fn set_scheduled(&self, _heap: &Bound<'_, PyAny>) {}

    #[getter]
    fn _timer_cancelled_count(&self, py: Python<'_>) -> usize {
        self.with_reactor(py, |reactor| reactor.timers.iter().filter(|(_, timer)| timer.is_cancelled()).count())
    }

    #[setter(_timer_cancelled_count)]
    #[expect(clippy::unused_self, reason = "the signature of a setter")]
    fn set_timer_cancelled_count(&self, _count: usize) {}
}

/// Adds the core to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class: Bound<'_, PyType> = module.py().get_type::<LoopCore>();
    scheduling::add(&class)?;
    watch::add_methods(&class)?;
    crate::task::making::add(&class)?;
    crate::net::accept::add_methods(&class)?;
    module.add_class::<LoopCore>()
}

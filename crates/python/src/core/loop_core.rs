//! The state of a loop.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::Arc;

use ferrio_engine::backend::epoll::EpollBackend;
use ferrio_engine::backend::{Backend, Interest, Key, Usage};
use ferrio_engine::queue::{Inbox, Wake as WakeNeed};
use ferrio_engine::reactor::Reactor;
use ferrio_engine::sys::wake::Wake;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::entry::{Entry, PythonWork, RunDetached};
use super::exit::{Exit, leaves_loop};
use super::measures::Measures;
use super::pace::Pace;
use super::parts::{self, Parts, Placed};
use super::pulse::Pulse;
use super::shared_context::SharedContexts;
use super::source::Source;
use super::statistics::Counters;
use super::timer::Timer;
use crate::ffi::bytes::{Recycled, Scratch, recycled};
use crate::ffi::call::call_named;
use crate::ffi::cell::Plain;
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::class_version::ClassVersion;
use crate::ffi::errors::os_error;
use crate::ffi::fields::{Collector, Fields, Visited};
use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::thread;

/// Bytes of one receive at the most: asyncio's `max_size`.
pub(crate) const RECEIVE_BYTES: usize = 256 * 1024;

/// The backend.
pub(crate) type Kernel = EpollBackend;

pub(crate) type PythonReactor = Reactor<Kernel, PythonWork>;

/// The native core of a loop; see the folder's module. One thread runs it; others enter through the inbox.
pub(crate) struct LoopCore {
    pub(crate) reactor: Guarded<PythonReactor>,
    /// Entries of descriptors that are known to be ready: they run with what the next poll finds, behind it.
    behind_poll: Guarded<Vec<Entry>>,
    /// Entries whose context was entered when a nested turn came to them. They become ready when the entry around that turn
    /// has ended.
    put_off: Guarded<Vec<Entry>>,
    /// Shared with handles that other threads hold, which may outlive the loop.
    pub(crate) inbox: Arc<Inbox<Entry>>,
    pub(super) pace: Pace,
    /// The contexts that handles share.
    pub(crate) contexts: SharedContexts,
    /// A copy of the hook of that name: a callback needs one load for it.
    pub(super) run_detached: RunDetached,
    /// Closed with the loop.
    wake: Guarded<Option<Wake>>,
    /// The buffer that small receives go through; taken out while in use.
    scratch: Guarded<Option<Scratch>>,
    /// The last received `bytes`, to be used again.
    recycled: Guarded<Option<Recycled>>,
    /// What the rooms above keep.
    parts: Parts,
    /// `_task_factory`; none stands for `None`.
    pub(crate) task_factory: Guarded<Option<Object>>,
    /// The loop itself, while it is being run.
    running: Guarded<Option<Object>>,
    pub(crate) flags: Flags,
    /// Shared with whoever watches the loop.
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) counters: Counters,
    pub(super) measures: Measures,
}

class_over_object! {
    LoopCore, c"ferrio._ferrio.LoopCore",
    c"The native core of a loop; see the folder's module. One thread runs it; others enter through the inbox.";
    const IS_SUBCLASSABLE: bool = true;
    const END: Option<fn(Python<'_>, &Instance<Self>)> = Some(Self::before_clear);

    fn before_clear(py: Python<'_>, core: &Instance<Self>) {
        core.release_everything(py);
    }
}

/// Makes the class of loops' cores, to which the rooms give their methods.
pub(crate) type LoopBuilder = Builder<Instance<LoopCore>>;

/// One word that only attached threads touch; ordered by what attaches them. Costs what a plain word costs.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn replace(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Plain values of a loop.
#[derive(Default)]
pub(crate) struct Flags {
    pub(crate) closed: Flag,
    pub(crate) stopping: Flag,
    debug: Flag,
    /// A program has replaced `_run` of asyncio's handles.
    has_other_run: Flag,
    /// One of these two: callbacks, and the steps of tasks, are run as handles through `_run`.
    calls_run: Flag,
    /// The state of asyncio's class of handles that the second is about.
    handle_class: Plain<Option<ClassVersion>>,
    /// Identity of the thread that runs the loop, 0 for none.
    pub(crate) thread: AtomicU64,
    /// `run_until_stopped` is under way.
    pub(crate) turning: Flag,
    /// A room has asked for its hook after the entry under way.
    pub(crate) asked_after_entry: Flag,
    /// `behind_poll` is not empty.
    pub(crate) has_behind_poll: Flag,
    /// `put_off` is not empty.
    has_put_off: Flag,
    /// There is a task factory.
    pub(crate) has_task_factory: Flag,
    /// `create_task` and `create_future` make Ferrio's own tasks and futures.
    pub(crate) native_tasks: Flag,
    /// `create_task` hands `eager_start` on to the task.
    pub(crate) starts_eagerly: Flag,
    /// A program has replaced `call_soon`: tasks are to be scheduled through it.
    pub(crate) has_other_call_soon: Flag,
    /// A room has asked for its hook before the loop sleeps.
    pub(crate) asked_before_sleep: Flag,
    /// A program has replaced `create_future`, `call_later` or `call_at`: native code is to call them.
    pub(crate) has_other_waits: Flag,
    /// A program has replaced `time` or the selector's `select`: turns and new timers ask them.
    pub(super) follows_program: Flag,
    /// Turns are measured.
    pub(super) is_measured: Flag,
    /// One of these two: turns are not the ordinary ones.
    pub(super) turns_specially: Flag,
    /// Identity of the thread that is in the `select` of a turn, 0 for none.
    pub(super) selecting_thread: AtomicU64,
    /// The wait of that `select` has made entries ready.
    pub(super) has_announced: Flag,
    /// The last `sock_recv` that could bring much did.
    receives_large: Flag,
    /// The signals' socket pair is watched.
    pub(crate) has_signal_pair: Flag,
    /// Nobody waits for what comes through it: it need not be asked for in a turn that does not sleep.
    pub(crate) is_signal_pair_idle: Flag,
    /// The pair is the process's wake-up descriptor until the run ends.
    pub(crate) owns_wakeup_descriptor: Flag,
}

impl LoopCore {
    /// Whether the loop is running.
    pub(crate) fn is_running(&self) -> bool {
        self.flags.thread.load(Ordering::Relaxed) != 0
    }

    /// Whether tasks are scheduled as entries of the ready queue; otherwise through `call_soon`.
    #[inline]
    pub(crate) fn takes_task_entries(&self) -> bool {
        !self.calls_run() && !self.flags.has_other_call_soon.get()
    }

    /// Whether native code may make futures and timers without calling the loop's methods.
    #[inline]
    pub(crate) fn waits_natively(&self) -> bool {
        !self.flags.has_other_waits.get()
    }

    /// Whether `create_task` knows `eager_start`.
    pub(crate) fn starts_eagerly(&self) -> bool {
        self.flags.starts_eagerly.get()
    }

    /// Whether the loop turns, and will show the tasks that are ready to the collector when it stops.
    #[inline]
    pub(crate) fn is_turning(&self) -> bool {
        self.flags.turning.get()
    }

    /// Whether debug mode is on.
    #[inline]
    pub(crate) fn is_debug(&self) -> bool {
        self.flags.debug.get()
    }

    /// Switches debug mode on or off.
    pub(crate) fn set_debug(&self, value: bool) {
        self.flags.debug.set(value);
        self.flags.calls_run.set(value || self.flags.has_other_run.get());
    }

    /// Whether callbacks are run through `_run` of their handles, and steps of tasks as handles.
    #[inline]
    pub(crate) fn calls_run(&self) -> bool {
        self.flags.calls_run.get()
    }

    /// Looks whether a program has replaced `_run` of asyncio's handles, if the class has changed since the last look.
    ///
    /// # Errors
    /// What leaves the loop.
    #[inline]
    pub(crate) fn look_at_handles(&self, py: Python<'_>) -> PyResult<()> {
        let class = OBJECTS.asyncio_handle.bind(py)?.cast::<PyType>()?;
        let version = ClassVersion::of(class);
        if version.is_some() && version == self.flags.handle_class.get() { Ok(()) } else { self.look_at_run(class) }
    }

    #[cold]
    fn look_at_run(&self, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = class.py();
        let answer = call_named(self.python(py)?, "runs_as_asyncio", (class,));
        match answer.and_then(|answer| answer.bind(py).is_truthy()) {
            Ok(is_own) => {
                self.flags.handle_class.set(ClassVersion::assigned(class));
                self.flags.has_other_run.set(!is_own);
                self.set_debug(self.is_debug());
                Ok(())
            }
            Err(error) if leaves_loop(py, &error) => Err(error),
            // It is asked again in the next turn.
            Err(_) => Ok(()),
        }
    }

    /// Whether the calling thread is the one that runs the loop.
    #[inline]
    pub(crate) fn is_own_thread(&self) -> bool {
        self.flags.thread.load(Ordering::Relaxed) == thread::current()
    }

    /// Whether an entry of this loop is being run by the calling thread: written bytes wait for its end.
    #[inline]
    pub(crate) fn is_in_entry(&self) -> bool {
        self.pulse.entry() != 0 && self.is_own_thread()
    }

    /// `RuntimeError` when the loop is closed.
    #[inline]
    pub(crate) fn check_closed(&self) -> PyResult<()> {
        if self.flags.closed.get() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        Ok(())
    }

    /// The module of the loop's Python side.
    #[expect(clippy::unused_self, reason = "reads as a question to the loop")]
    pub(crate) fn python<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        OBJECTS.ferrio_event_loop.bind(py)
    }

    /// Runs `body`, which runs the loop, `event_loop`.
    pub(crate) fn run_as<R>(&self, py: Python<'_>, event_loop: &Object, body: impl FnOnce() -> R) -> R {
        struct Around<'a>(&'a LoopCore, Python<'a>, Option<Object>);
        impl Drop for Around<'_> {
            fn drop(&mut self) {
                let around = self.2.take();
                drop(self.0.running.with(self.1, |running| core::mem::replace(running, around)));
            }
        }
        let around = self.running.with(py, |running| running.replace(event_loop.clone()));
        let _around = Around(self, py, around);
        body()
    }

    /// The loop itself.
    ///
    /// # Errors
    /// `RuntimeError` when it is not being run.
    pub(crate) fn running(&self, py: Python<'_>) -> PyResult<Object> {
        let running = self.running.with(py, |running| running.clone());
        running.ok_or_else(|| PyRuntimeError::new_err("the loop is not being run"))
    }

    /// Runs `section` with the reactor. It must not call Python, nor drop an entry.
    #[inline]
    pub(crate) fn with_reactor<R>(&self, py: Python<'_>, section: impl FnOnce(&mut PythonReactor) -> R) -> R {
        self.reactor.with(py, section)
    }

    /// Gives a descriptor a key, under which its readiness is reported to `source`.
    ///
    /// # Errors
    /// The `OSError` of a number that is not open, or of memory that has run out.
    pub(crate) fn attach(&self, py: Python<'_>, source: Source, fd: BorrowedFd<'_>, usage: Usage) -> PyResult<Key> {
        let attached = self.with_reactor(py, |reactor| {
            let key = reactor.sources.insert(source);
            let outcome = reactor.backend.attach(key, fd, usage);
            outcome.map(|()| key).map_err(|error| (error, reactor.sources.remove(key)))
        });
        attached.map_err(|(error, source)| {
            drop(source);
            os_error(py, error)
        })
    }

    /// Ends a key, and lets go of what heard of it.
    pub(crate) fn detach(&self, py: Python<'_>, key: Key) {
        let released = self.with_reactor(py, |reactor| (reactor.backend.detach(key), reactor.sources.remove(key)));
        drop(released);
    }

    /// Adds an entry behind all that are ready, those from other threads included.
    #[inline]
    pub(crate) fn push_ready(&self, py: Python<'_>, entry: Entry) {
        self.take_inbox(py);
        self.reactor.with(py, |reactor| reactor.ready.push(entry));
    }

    /// Makes what came from other threads ready.
    #[expect(clippy::inline_always, reason = "a look at one word, three times a turn and at each entry")]
    #[inline(always)]
    pub(crate) fn take_inbox(&self, py: Python<'_>) {
        if !self.inbox.is_empty() {
            self.empty_inbox(py);
        }
    }

    #[inline(never)]
    fn empty_inbox(&self, py: Python<'_>) {
        self.pace.taken();
        self.reactor.with(py, |reactor| self.inbox.take(|entry| reactor.ready.push(entry)));
    }

    /// Adds an entry that runs with what the next poll finds, behind it.
    pub(crate) fn push_behind_poll(&self, py: Python<'_>, entry: Entry) {
        self.flags.has_behind_poll.set(true);
        self.behind_poll.with(py, |entries| entries.push(entry));
    }

    /// Makes these entries ready.
    #[inline]
    pub(crate) fn take_behind_poll(&self, py: Python<'_>) {
        if self.flags.has_behind_poll.get() {
            self.take_from_behind_poll(py);
        }
    }

    #[cold]
    fn take_from_behind_poll(&self, py: Python<'_>) {
        self.flags.has_behind_poll.set(false);
        let entries = self.behind_poll.with(py, core::mem::take);
        self.reactor.with(py, |reactor| entries.into_iter().for_each(|entry| reactor.ready.push(entry)));
    }

    /// Keeps an entry until one that is being run has ended.
    pub(super) fn put_off(&self, py: Python<'_>, entry: Entry) {
        self.put_off.with(py, |entries| entries.push(entry));
        self.flags.has_put_off.set(true);
        self.ask_after_entry();
    }

    /// What the room of `T` keeps for this loop.
    #[inline]
    pub(crate) fn part<T: Placed>(&self) -> &T {
        self.parts.get()
    }

    /// Has the rooms' hook called when the entry under way has run.
    #[inline]
    pub(crate) fn ask_after_entry(&self) {
        self.flags.asked_after_entry.set(true);
    }

    /// Has the rooms' hook called before the loop sleeps.
    #[inline]
    pub(crate) fn ask_before_sleep(&self) {
        self.flags.asked_before_sleep.set(true);
    }

    /// Ends what others have registered for a number that a transport takes over.
    pub(crate) fn forget_watch(&self, py: Python<'_>, fd: RawFd) -> PyResult<()> {
        (parts::hooks().forget_number)(py, self, fd)
    }

    /// Calls what was asked for ([`Self::ask_after_entry`]), now.
    ///
    /// # Errors
    /// What leaves the loop.
    #[inline]
    pub(crate) fn run_after_entry(&self, py: Python<'_>) -> Result<(), Exit> {
        if !self.flags.asked_after_entry.replace(false) {
            return Ok(());
        }
        if self.flags.has_put_off.replace(false) {
            let put_off = self.put_off.with(py, core::mem::take);
            self.reactor.with(py, |reactor| put_off.into_iter().for_each(|entry| reactor.ready.push(entry)));
        }
        (parts::hooks().after_entry)(py, self)
    }

    /// Adds an entry from any thread and wakes the loop.
    #[inline]
    pub(crate) fn push_from_any_thread(&self, py: Python<'_>, entry: Entry) {
        let thread = self.flags.thread.load(Ordering::Relaxed);
        if cfg!(Py_GIL_DISABLED) && thread != thread::current() {
            if self.inbox.push(entry) == WakeNeed::Needed {
                self.signal(py);
            }
            return self.pace_producer(py);
        }
        // With the GIL whoever is attached is alone with the queue. The loop looks at it right before it sleeps, and runs no
        // Python in between.
        self.push_ready(py, entry);
        if thread != 0 && thread != thread::current() {
            if self.inbox.rouse() == WakeNeed::Needed {
                self.signal(py);
            }
            self.pace_producer(py);
        }
    }

    /// Ends a wait under way, from any thread.
    pub(crate) fn interrupt(&self, py: Python<'_>) {
        if self.inbox.interrupt() == WakeNeed::Needed {
            self.signal(py);
        }
    }

    fn signal(&self, py: Python<'_>) {
        // Nothing to be done about an eventfd that cannot be written; there is no such case.
        let _ = self.wake.with(py, |wake| wake.as_ref().map(Wake::signal));
    }

    /// Takes the wake-up descriptor's news.
    pub(crate) fn clear_wake(&self, py: Python<'_>) {
        let _ = self.wake.with(py, |wake| wake.as_ref().map(Wake::clear));
    }

    /// The inbox, and the descriptor that wakes the loop for what is in it: for threads that are not attached.
    ///
    /// # Errors
    /// `RuntimeError` when the loop is closed; the `OSError` of a descriptor that cannot be had.
    pub(crate) fn door(&self, py: Python<'_>) -> PyResult<(Arc<Inbox<Entry>>, Wake)> {
        let bell = self.wake.with(py, |wake| wake.as_ref().map(Wake::share));
        let bell = bell.ok_or_else(|| PyRuntimeError::new_err("Event loop is closed"))?;
        Ok((Arc::clone(&self.inbox), bell.map_err(|error| os_error(py, error))?))
    }

    /// In a forked child: an epoll instance and a wake-up descriptor of its own. Without the resources for them the loop has
    /// neither, as after its end: what it shares with the parent it must not use.
    pub(crate) fn renew_descriptors(&self, py: Python<'_>) {
        let renewed = self.with_reactor(py, |reactor| reactor.backend.after_fork());
        let renewed = renewed.and_then(|()| self.wake.with(py, |wake| wake.as_ref().map_or(Ok(()), Wake::renew)));
        if renewed.is_err() {
            self.with_reactor(py, |reactor| reactor.backend.close());
            drop(self.wake.with(py, Option::take));
        }
    }

    /// Counts a cancelled timer, and gives up those that the timers no longer hold.
    pub(crate) fn note_cancelled_timer(&self, py: Python<'_>) {
        let mut discarded = self.reactor.with(py, |reactor| reactor.timers.note_cancelled());
        Timer::discard(&mut discarded);
    }

    /// Takes the receive buffer; [`Self::return_scratch`] gives it back.
    pub(crate) fn take_scratch(&self, py: Python<'_>) -> Scratch {
        self.scratch.with(py, Option::take).unwrap_or_else(|| Scratch::new(RECEIVE_BYTES))
    }

    pub(crate) fn return_scratch(&self, py: Python<'_>, buffer: Scratch) {
        let surplus = self.scratch.with(py, |scratch| scratch.replace(buffer));
        drop(surplus);
    }

    /// A `bytes` with a copy of what was received.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub(crate) fn received_bytes(&self, py: Python<'_>, data: &[u8]) -> PyResult<Object> {
        recycled(py, &self.recycled, data)
    }

    /// The number of the turn under way.
    pub(crate) fn turn(&self) -> u64 {
        self.pulse.turns.get()
    }

    /// Whether the last `sock_recv` that could bring much did.
    pub(crate) fn receives_large(&self) -> bool {
        self.flags.receives_large.get()
    }

    pub(crate) fn set_receives_large(&self, large: bool) {
        self.flags.receives_large.set(large);
    }
}

impl LoopCore {
    /// A loop's core: its epoll instance and its wake-up descriptor.
    ///
    /// # Errors
    /// The `OSError` of one that cannot be had.
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let raise = |error| os_error(py, error);
        let wake = Wake::new().map_err(raise)?;
        let mut reactor = Reactor::new(Kernel::new().map_err(raise)?);
        let key = reactor.sources.insert(Source::Wake);
        reactor.backend.attach(key, wake.as_fd(), Usage::Watched).map_err(raise)?;
        reactor.backend.watch(key, Interest::READ).map_err(raise)?;
        Ok(Self {
            reactor: Guarded::new(reactor),
            behind_poll: Guarded::default(),
            put_off: Guarded::default(),
            inbox: Arc::new(Inbox::new()),
            pace: Pace::default(),
            contexts: SharedContexts::default(),
            run_detached: parts::hooks().run_detached,
            wake: Guarded::new(Some(wake)),
            parts: Parts::new(),
            scratch: Guarded::default(),
            recycled: Guarded::default(),
            task_factory: Guarded::default(),
            running: Guarded::default(),
            flags: Flags::default(),
            pulse: Arc::default(),
            counters: Counters::default(),
            measures: Measures::default(),
        })
    }
}

impl Fields for LoopCore {
    const IS_EMPTY_WHEN_CLEARED: bool = false;

    fn visit(&self, collector: &Collector) -> Visited {
        let py = collector.py();
        #[expect(unsafe_code, reason = "the engine knows nothing of attached threads")]
        // SAFETY: entries are taken by attached threads alone, and this one is at it.
        unsafe { self.inbox.look(|entry| entry.visit(collector)) }?;
        for apart in [&self.behind_poll, &self.put_off] {
            apart.with(py, |entries| entries.iter().try_for_each(|entry| entry.visit(collector)))?;
        }
        self.reactor.with(py, |reactor| {
            for entry in reactor.ready.iter() {
                entry.visit(collector)?;
            }
            for (_, timer) in reactor.timers.iter() {
                timer.visit(collector)?;
            }
            reactor.sources.iter().try_for_each(|source| source.visit(collector))
        })?;
        self.contexts.visit(py, collector)?;
        self.parts.iter().try_for_each(|part| part.visit(py, collector))?;
        self.task_factory.with(py, |factory| factory.as_ref().map_or(Ok(()), |factory| factory.visit(collector)))
    }

    /// Nothing is left: everything has been released.
    fn clear(&self) {}
}

impl LoopCore {
    /// Lets go of every entry and every descriptor: the end of the loop.
    pub(crate) fn release_everything(&self, py: Python<'_>) {
        self.pulse.end();
        self.take_inbox(py);
        self.note_stop(py);
        let released = self.reactor.with(py, |reactor| {
            // First: in a forked child the registrations are the parent's as well, and stay.
            reactor.backend.close();
            let watched: Vec<Key> = reactor.sources.keys().collect();
            let chains: Vec<_> = watched.into_iter().map(|key| reactor.backend.detach(key)).collect();
            (reactor.ready.drain(), reactor.timers.drain(), reactor.sources.drain(), chains)
        });
        let wake = self.wake.with(py, Option::take);
        self.contexts.give_up(py);
        self.flags.has_behind_poll.set(false);
        self.flags.has_put_off.set(false);
        let apart = [&self.behind_poll, &self.put_off].map(|entries| entries.with(py, core::mem::take));
        let factory = self.task_factory.with(py, Option::take);
        drop(self.recycled.with(py, Option::take));
        self.parts.iter().for_each(|part| part.clear(py));
        drop((released, apart, wake, factory));
    }
}

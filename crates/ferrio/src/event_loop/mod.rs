//! The event loop: what runs futures and callbacks in turns on one thread.
//!
//! A turn has the order of the engine's `reactor`: look at the kernel and sleep if there is nothing to do, take what other
//! threads have sent, fire due timers, then run exactly the entries that are ready. What these add waits for the next turn.
//!
//! # Invariants
//! 1. The reactor is borrowed for single steps that run, wake and drop nothing of the program's: each of those may come
//!    back to the loop.
//! 2. A cancelled timer holds nothing of the program's, so dropping one runs none of its code.
//! 3. A task is listed in `tasks` from its spawning until its future has been dropped. A loop that closes drops the
//!    futures of all that are listed, on its own thread, before it says that it has closed.
//! 4. While entries are ready, the kernel and the clock are asked once in [`ENTRIES_BETWEEN_POLLS`] entries at least. A turn
//!    that has nothing ready always asks both.

mod current;
mod entry;
mod shared;
mod sources;

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use ferrio_engine::backend::epoll::EpollBackend;
use ferrio_engine::backend::{Backend, Interest, Key, Poller, Slots, Usage};
use ferrio_engine::reactor::{Reactor, Work};
use ferrio_engine::sys::clock;
use ferrio_engine::sys::error::Error;
use ferrio_engine::time::{Nanos, SleepBudget};
use rustix::io::Errno;

pub(crate) use self::current::current;
use self::entry::MainWaker;
pub(crate) use self::entry::{Alarm, Callback, Entry, Timer, once};
pub(crate) use self::shared::{Remote, Shared};
pub(crate) use self::sources::{Direction, Room, Sending, Source};

/// Entries after which the kernel and the clock are asked though more entries are ready.
const ENTRIES_BETWEEN_POLLS: usize = 64;

/// Calls that one entry may make on sockets which are ready, before it lets others run.
const CALLS_IN_AN_ENTRY: u32 = 128;

/// Registrations that a loop has by itself: its wake-up descriptor.
const OWN_REGISTRATIONS: usize = 1;

/// Sources that a loop has by itself.
const OWN_SOURCES: usize = 1;

/// What a loop holds: [`statistics`](crate::statistics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Statistics {
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Sleeps, limits and callbacks that wait for a deadline.
    pub timers: usize,
    /// Sockets that belong to the loop.
    pub sockets: usize,
}

/// What the engine's parts hold for this crate.
pub(crate) struct Kinds;

impl Work for Kinds {
    type Entry = Entry;
    type Timer = Timer;
    type Source = Source;
}

/// A loop's state. Loop thread only; `shared` is for all.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reactor: RefCell<Reactor<EpollBackend, Kinds>>,
    /// Wakes each task that has not ended.
    tasks: RefCell<Slots<Waker>>,
    /// Connections that have been written to by the entry that runs.
    corked: RefCell<Vec<Key>>,
    wake_up: Key,
    entries_since_poll: Cell<usize>,
    /// Calls that the present entry may still make.
    calls_left: Cell<u32>,
    is_closing: Cell<bool>,
    tasks_made: Cell<u64>,
}

/// A failed system call as the standard library's error.
pub(crate) fn os_error(error: Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error())
}

impl Core {
    /// A loop with nothing to do.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let shared = Arc::new(Shared::new().map_err(os_error)?);
        let mut reactor = Reactor::new(EpollBackend::new().map_err(os_error)?);
        let wake_up = reactor.sources.insert(Source::default());
        let attached = reactor.backend.attach(wake_up, shared.wake_up(), Usage::Watched);
        attached.and_then(|()| reactor.backend.watch(wake_up, Interest::READ)).map_err(os_error)?;
        Ok(Rc::new(Self {
            shared,
            reactor: RefCell::new(reactor),
            tasks: RefCell::default(),
            corked: RefCell::default(),
            wake_up,
            entries_since_poll: Cell::new(0),
            calls_left: Cell::new(CALLS_IN_AN_ENTRY),
            is_closing: Cell::new(false),
            tasks_made: Cell::new(0),
        }))
    }

    /// Turns the loop until `future` is done.
    ///
    /// # Panics
    /// When a loop runs on this thread already, when the kernel refuses to wait, and with what `future` panics with.
    pub(crate) fn run<F: Future>(self: &Rc<Self>, future: F) -> F::Output {
        let _entered = current::enter_to_run(self);
        let mut future = pin!(future);
        let main = MainWaker::new(Arc::clone(&self.shared));
        let waker = Waker::from(Arc::clone(&main));
        let mut context = Context::from_waker(&waker);
        let mut output = None;
        let mut poll_main = || {
            main.polled();
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => {
                    output = Some(value);
                    true
                }
                Poll::Pending => false,
            }
        };
        waker.wake_by_ref();
        while !self.turn(&mut poll_main) {}
        let Some(output) = output else { unreachable!("the loop turns until there is an output") };
        output
    }

    /// What the loop holds.
    pub(crate) fn statistics(&self) -> Statistics {
        let reactor = self.reactor.borrow();
        Statistics {
            tasks: self.tasks.borrow().len(),
            timers: reactor.timers.len() - reactor.timers.cancelled_len(),
            sockets: reactor.sources.len().saturating_sub(OWN_SOURCES),
        }
    }

    /// One turn; whether the main future is done.
    fn turn(&self, poll_main: &mut impl FnMut() -> bool) -> bool {
        self.take_inbox();
        let is_idle = self.reactor.borrow().ready.is_empty();
        if is_idle || self.entries_since_poll.get() >= ENTRIES_BETWEEN_POLLS {
            self.look_outside();
        }
        self.run_entries(poll_main)
    }

    /// Asks the kernel, the other threads and the clock for news; sleeps until there is any, if no entry is ready.
    fn look_outside(&self) {
        self.entries_since_poll.set(0);
        let mut discarded = Vec::new();
        let budget = self.reactor.borrow_mut().plan(false, &mut discarded, clock::now);
        match budget {
            SleepBudget::None => self.poll(),
            SleepBudget::For(limit) => self.sleep(Some(limit)),
            SleepBudget::Forever => self.sleep(None),
        }
        self.take_inbox();
        self.fire_timers(&mut discarded);
    }

    fn poll(&self) {
        if self.reactor.borrow().backend.registrations() > OWN_REGISTRATIONS {
            self.wait(Some(Nanos::ZERO));
        }
    }

    fn sleep(&self, limit: Option<Nanos>) {
        if self.shared.inbox.prepare_sleep() {
            self.wait(limit);
            self.shared.inbox.awake();
        } else {
            self.poll();
        }
    }

    fn wait(&self, limit: Option<Nanos>) {
        let mut poller = self.reactor.borrow_mut().start_wait();
        let outcome = poller.wait(limit);
        let found = self.reactor.borrow_mut().end_wait(poller);
        match outcome {
            Ok(()) | Err(Error { errno: Errno::INTR, .. }) => {}
            Err(error) => panic!("the kernel refuses to wait: {error}"),
        }
        for announcement in &found {
            if announcement.key == self.wake_up {
                self.shared.clear();
            } else {
                self.announce(*announcement);
            }
        }
        self.reactor.borrow_mut().recycle(found);
    }

    fn take_inbox(&self) {
        self.shared.inbox.take(|remote| self.push(Entry::from(remote)));
    }

    fn fire_timers(&self, discarded: &mut Vec<Timer>) {
        if self.reactor.borrow().timers.is_empty() {
            return;
        }
        let now = clock::now();
        let mut due = Vec::new();
        self.reactor.borrow_mut().timers.take_due(now, discarded, |_, timer| due.push(timer));
        for timer in due {
            match timer {
                Timer::Alarm(alarm) => alarm.fire(),
                Timer::Call(callback) => self.push(Entry::Call(callback)),
            }
        }
    }

    /// Runs the entries that are ready now, up to the one in which the main future is done; whether it is.
    fn run_entries(&self, poll_main: &mut impl FnMut() -> bool) -> bool {
        let count = self.reactor.borrow().ready.turn();
        for _ in 0..count {
            let Some(entry) = self.reactor.borrow_mut().ready.pop() else { return false };
            self.entries_since_poll.set(self.entries_since_poll.get() + 1);
            self.calls_left.set(CALLS_IN_AN_ENTRY);
            let mut is_done = false;
            match entry {
                Entry::Task(runnable) => {
                    runnable.run();
                }
                Entry::Call(callback) => {
                    // The panic hook has reported it, and nobody waits for the callback's end.
                    let _ = catch_unwind(AssertUnwindSafe(|| callback.call()));
                }
                Entry::Main => is_done = poll_main(),
            }
            self.flush_corked();
            if is_done {
                return true;
            }
        }
        false
    }

    /// Makes an entry ready, behind all others.
    #[inline]
    pub(crate) fn push(&self, entry: Entry) {
        self.reactor.borrow_mut().ready.push(entry);
    }

    /// Whether the present entry may make one more call on a socket. One that may not is to be woken and to wait: a peer that
    /// is always ready would keep it running for ever.
    #[inline]
    pub(crate) fn may_call(&self) -> bool {
        let left = self.calls_left.get();
        self.calls_left.set(left.saturating_sub(1));
        left != 0
    }

    /// Sets a timer for `deadline` on the engine's clock.
    pub(crate) fn set_timer(&self, deadline: Nanos, timer: Timer) {
        self.reactor.borrow_mut().timers.push(deadline, timer);
    }

    /// One timer that waits has been cancelled.
    pub(crate) fn note_cancelled_timer(&self) {
        let swept = self.reactor.borrow_mut().timers.note_cancelled();
        drop(swept);
    }

    /// Lists a task; `None` in a loop that closes and runs none any more.
    pub(crate) fn list_task(&self) -> Option<Key> {
        (!self.is_closing.get()).then(|| self.tasks.borrow_mut().insert(Waker::noop().clone()))
    }

    /// What wakes a listed task.
    pub(crate) fn set_waker_of_task(&self, key: Key, waker: Waker) {
        if let Some(place) = self.tasks.borrow_mut().get_mut(key) {
            *place = waker;
        }
    }

    /// A task's future is being dropped.
    pub(crate) fn unlist_task(&self, key: Key) {
        let waker = self.tasks.borrow_mut().remove(key);
        drop(waker);
    }

    /// The number of a new task, from 1 on.
    pub(crate) fn next_task_number(&self) -> u64 {
        self.tasks_made.set(self.tasks_made.get() + 1);
        self.tasks_made.get()
    }

    /// The connection under `key` is sent what has been written to it when the present entry ends.
    pub(crate) fn cork(&self, key: Key) {
        self.corked.borrow_mut().push(key);
    }

    fn flush_corked(&self) {
        if self.corked.borrow().is_empty() {
            return;
        }
        let mut corked = self.corked.take();
        for key in corked.drain(..) {
            self.flush(key);
        }
        // Flushing wakes, which may write.
        let mut now = self.corked.borrow_mut();
        if now.is_empty() {
            *now = corked;
        }
    }

    /// Drops the futures of all tasks, then everything else that waits. The loop is the current one meanwhile.
    pub(crate) fn close(self: &Rc<Self>) {
        let _entered = current::enter(self);
        self.is_closing.set(true);
        loop {
            let wakers: Vec<Waker> = self.tasks.borrow().iter().cloned().collect();
            if wakers.is_empty() {
                break;
            }
            // A waker brings the task into the queue, and dropping it there drops its future.
            wakers.into_iter().for_each(Waker::wake);
            self.take_inbox();
            let entries = self.reactor.borrow_mut().ready.drain();
            drop(entries);
        }
        self.flush_corked();
        let (sources, timers, entries) = {
            let mut reactor = self.reactor.borrow_mut();
            let keys: Vec<Key> = reactor.sources.keys().collect();
            let sources: Vec<_> =
                keys.into_iter().map(|key| (reactor.backend.detach(key), reactor.sources.remove(key))).collect();
            reactor.backend.close();
            (sources, reactor.timers.drain(), reactor.ready.drain())
        };
        drop((sources, timers, entries));
        self.shared.close();
    }
}

//! What a loop runs: steps of tasks, callbacks, the main future; and what waits for a deadline.

use core::cell::Cell;
use core::task::Waker;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use async_task::Runnable;
use ferrio_engine::time::Expirable;

use super::shared::{Remote, Shared};

/// What is run in a turn.
pub(crate) enum Entry {
    /// The next step of a task.
    Task(Runnable),
    /// A callback.
    Call(Rc<dyn Callback>),
    /// The future of `run`.
    Main,
}

impl From<Remote> for Entry {
    fn from(remote: Remote) -> Self {
        match remote {
            Remote::Task(runnable) => Self::Task(runnable),
            Remote::Main => Self::Main,
            Remote::Call(function) => Self::Call(once(function)),
        }
    }
}

/// A function that is to be called once, unless it is cancelled before.
pub(crate) trait Callback {
    /// Calls the function, unless it has been called or cancelled.
    fn call(&self);
    /// Drops the function, unless it has been called.
    fn cancel(&self);
    /// Whether it has been cancelled before it was called.
    fn is_cancelled(&self) -> bool;
}

struct Once<F> {
    function: Cell<Option<F>>,
    is_cancelled: Cell<bool>,
}

impl<F: FnOnce()> Callback for Once<F> {
    fn call(&self) {
        if let Some(function) = self.function.take() {
            function();
        }
    }

    fn cancel(&self) {
        if let Some(function) = self.function.take() {
            self.is_cancelled.set(true);
            drop(function);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }
}

/// `function` as the loop keeps it.
pub(crate) fn once(function: impl FnOnce() + 'static) -> Rc<dyn Callback> {
    Rc::new(Once { function: Cell::new(Some(function)), is_cancelled: Cell::new(false) })
}

/// What waits for a deadline.
pub(crate) enum Timer {
    /// Wakes a future.
    Alarm(Rc<Alarm>),
    /// Makes a callback ready.
    Call(Rc<dyn Callback>),
}

impl Expirable for Timer {
    #[inline]
    fn is_cancelled(&self) -> bool {
        match self {
            Self::Alarm(alarm) => alarm.state.get() == AlarmState::Cancelled,
            Self::Call(callback) => callback.is_cancelled(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AlarmState {
    Waiting,
    Fired,
    Cancelled,
}

/// Wakes a future at a deadline.
pub(crate) struct Alarm {
    state: Cell<AlarmState>,
    waker: Cell<Option<Waker>>,
}

impl Alarm {
    /// An alarm that wakes `waker`.
    pub(crate) fn new(waker: Waker) -> Rc<Self> {
        Rc::new(Self { state: Cell::new(AlarmState::Waiting), waker: Cell::new(Some(waker)) })
    }

    /// The deadline has come. May run code of the program's.
    pub(crate) fn fire(&self) {
        self.state.set(AlarmState::Fired);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the deadline has come.
    pub(crate) fn has_fired(&self) -> bool {
        self.state.get() == AlarmState::Fired
    }

    /// Nobody waits any more; whether the timer is still in the heap and has to be counted as cancelled.
    pub(crate) fn cancel(&self) -> bool {
        let was_waiting = self.state.get() == AlarmState::Waiting;
        if was_waiting {
            self.state.set(AlarmState::Cancelled);
        }
        drop(self.waker.take());
        was_waiting
    }

    /// Wakes this one instead of who was to be woken.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let former = self.waker.take();
        let kept = match former {
            Some(former) if former.will_wake(waker) => former,
            former => {
                drop(former);
                waker.clone()
            }
        };
        self.waker.set(Some(kept));
    }
}

/// Wakes the future of `run`, from any thread. It is in the queue once, however often it is woken.
pub(super) struct MainWaker {
    shared: Arc<Shared>,
    is_scheduled: AtomicBool,
}

impl MainWaker {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, is_scheduled: AtomicBool::new(false) })
    }

    /// The future is about to be polled: whoever wakes it from here on schedules it again.
    pub(super) fn polled(&self) {
        self.is_scheduled.swap(false, Ordering::AcqRel);
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_scheduled.swap(true, Ordering::AcqRel) {
            self.shared.schedule(Remote::Main);
        }
    }
}

//! Functions that the loop calls once: in its next turn, or at a deadline.

use core::fmt;
use core::time::Duration;
use std::rc::{Rc, Weak};

use crate::event_loop::{Callback, Core, Entry, Timer, current, once};
use crate::time::deadline_after;

/// Has the loop call `function` in its next turn, behind what is ready already. Follows `loop.call_soon`.
///
/// A panic of the function is reported by the panic hook and ends nothing else.
///
/// # Panics
/// Outside of [`ferrio::run`](crate::run).
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// ferrio::run(async {
///     let called = Rc::new(Cell::new(false));
///     let seen = called.clone();
///     ferrio::call_soon(move || seen.set(true));
///     assert!(!called.get());
///     ferrio::yield_now().await;
///     assert!(called.get());
/// });
/// ```
#[track_caller]
pub fn call_soon(function: impl FnOnce() + 'static) -> CallHandle {
    let core = current();
    let callback = once(function);
    core.push(Entry::Call(Rc::clone(&callback)));
    CallHandle { callback, timer_of: None }
}

/// Has the loop call `function` once `delay` has passed, not before. Follows `loop.call_later`.
///
/// # Panics
/// As [`call_soon`].
///
/// # Examples
/// ```
/// use core::time::Duration;
///
/// ferrio::run(async {
///     let event = std::rc::Rc::new(ferrio::Event::new());
///     let there = event.clone();
///     ferrio::call_later(Duration::from_millis(1), move || there.set());
///     let never = ferrio::call_later(Duration::from_secs(3600), || unreachable!("it is cancelled"));
///     event.wait().await;
///     never.cancel();
/// });
/// ```
#[track_caller]
pub fn call_later(delay: Duration, function: impl FnOnce() + 'static) -> CallHandle {
    let core = current();
    let callback = once(function);
    core.set_timer(deadline_after(delay), Timer::Call(Rc::clone(&callback)));
    CallHandle { callback, timer_of: Some(Rc::downgrade(&core)) }
}

/// A function that is to be called. Dropping the handle changes nothing.
pub struct CallHandle {
    callback: Rc<dyn Callback>,
    timer_of: Option<Weak<Core>>,
}

impl CallHandle {
    /// Drops the function instead of calling it; does nothing after the call.
    pub fn cancel(&self) {
        let was_cancelled = self.callback.is_cancelled();
        self.callback.cancel();
        if !was_cancelled
            && self.callback.is_cancelled()
            && let Some(core) = self.timer_of.as_ref().and_then(Weak::upgrade)
        {
            core.note_cancelled_timer();
        }
    }

    /// Whether it was cancelled before it was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.callback.is_cancelled()
    }
}

impl fmt::Debug for CallHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CallHandle").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

//! Waiting for a time: sleeps and limits.
//!
//! A sleep ends no sooner than its deadline. Its timer is set when it is first polled, and leaves the loop when the sleep is
//! dropped.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Instant;

use ferrio_engine::sys::clock;
use ferrio_engine::time::Nanos;
use pin_project_lite::pin_project;

use crate::event_loop::{Alarm, Core, Timer, current};
use crate::yield_now::{YieldNow, yield_now};

/// The time on the loop's clock that is `delay` from now.
pub(crate) fn deadline_after(delay: Duration) -> Nanos {
    clock::now().saturating_add(nanos_of(delay))
}

/// What does not fit is for ever.
fn nanos_of(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).map_or(Nanos::MAX, Nanos::from_nanos)
}

/// Waits until `delay` has passed. With no delay at all it lets others run, as [`yield_now`](crate::yield_now) does.
///
/// The time runs from this call, not from the first poll.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use std::time::Instant;
///
/// let start = Instant::now();
/// ferrio::run(ferrio::sleep(Duration::from_millis(2)));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    if delay.is_zero() {
        return Sleep(State::Yields(yield_now()));
    }
    Sleep(State::New { deadline: deadline_after(delay) })
}

/// Waits until `deadline`.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use std::time::Instant;
///
/// let deadline = Instant::now() + Duration::from_millis(2);
/// ferrio::run(ferrio::sleep_until(deadline));
/// assert!(Instant::now() >= deadline);
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    let (instant, nanos) = *ANCHOR.get_or_init(|| {
        let instant = Instant::now();
        // Read later, so that no sleep ends early.
        (instant, clock::now())
    });
    let deadline = match deadline.checked_duration_since(instant) {
        Some(after) => nanos.saturating_add(nanos_of(after)),
        None => nanos.saturating_sub(nanos_of(instant.saturating_duration_since(deadline))),
    };
    Sleep(State::New { deadline })
}

/// One moment on both clocks: equal instants are equal deadlines.
static ANCHOR: OnceLock<(Instant, Nanos)> = OnceLock::new();

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep(State);

enum State {
    /// Without a delay.
    Yields(YieldNow),
    /// Not polled yet.
    New { deadline: Nanos },
    /// The timer waits, or has fired.
    Set(Set),
}

/// A timer that has been set, until this is dropped.
struct Set {
    alarm: Rc<Alarm>,
    core: Rc<Core>,
}

impl Drop for Set {
    fn drop(&mut self) {
        if self.alarm.cancel() {
            self.core.note_cancelled_timer();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// Outside of [`ferrio::run`](crate::run).
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            State::Yields(yields) => Pin::new(yields).poll(context),
            State::New { deadline } => {
                let core = current();
                let alarm = Alarm::new(context.waker().clone());
                core.set_timer(*deadline, Timer::Alarm(Rc::clone(&alarm)));
                self.0 = State::Set(Set { alarm, core });
                Poll::Pending
            }
            State::Set(set) if set.alarm.has_fired() => Poll::Ready(()),
            State::Set(set) => {
                set.alarm.set_waker(context.waker());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Yields(_) => "yields",
            State::New { .. } => "new",
            State::Set(set) if set.alarm.has_fired() => "over",
            State::Set(_) => "waits",
        };
        formatter.debug_tuple("Sleep").field(&state).finish()
    }
}

/// The time was up before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the time is up")]
pub struct TimedOut;

impl From<TimedOut> for std::io::Error {
    fn from(error: TimedOut) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, error)
    }
}

/// Awaits `future` for at most `limit`; what is not done by then is dropped. Follows `asyncio.wait_for`.
///
/// # Errors
/// [`TimedOut`]. A future that is done when its time is up wins.
///
/// # Examples
/// ```
/// use core::future::{pending, ready};
/// use core::time::Duration;
/// use ferrio::{TimedOut, timeout};
///
/// ferrio::run(async {
///     assert_eq!(timeout(Duration::from_millis(1), pending::<()>()).await, Err(TimedOut));
///     assert_eq!(timeout(Duration::ZERO, ready(7)).await, Ok(7));
/// });
/// ```
pub fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep(limit) }
}

pin_project! {
    /// The future of [`timeout`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(context).map(|()| Err(TimedOut))
    }
}

//! Sleeping: timers of the loop that runs.

use core::ffi::c_int;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;

use crate::awaitable::running_loop;
use crate::c_api::{Api, Told};
use crate::hub::{hub_of, locked};

/// Sleeps for `delay`, counted from the first poll, as `asyncio.sleep` counts from its `await`.
///
/// It ends no sooner, and with an error where no loop runs on the thread that polls it, or where the program's clock raises one.
pub fn sleep(delay: Duration) -> Sleep {
    Sleep::new(When::After(delay))
}

/// Sleeps until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(When::At(deadline))
}

#[derive(Debug, Clone, Copy)]
enum When {
    After(Duration),
    At(Instant),
}

/// The future of [`sleep`] and [`sleep_until`]. Dropping it cancels its timer. It stays on the thread that polls it.
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Sleep {
    when: When,
    timer: Option<Timer>,
    stays: PhantomData<*const ()>,
}

impl Sleep {
    fn new(when: When) -> Self {
        Self { when, timer: None, stays: PhantomData }
    }
}

impl Future for Sleep {
    type Output = PyResult<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<PyResult<()>> {
        if let Some(timer) = &self.timer {
            return timer.poll(context).map(Ok);
        }
        let delay = match self.when {
            When::After(delay) => delay,
            When::At(deadline) => deadline.saturating_duration_since(Instant::now()),
        };
        match Python::attach(|py| Timer::start(py, delay, context.waker())) {
            Ok(timer) => {
                self.timer = Some(timer);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// What a timer and the loop share.
#[derive(Debug, Default)]
struct Due {
    is_over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Due {
    fn wake(&self) {
        self.is_over.store(true, Ordering::Release);
        let waker = locked(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Told for Due {
    fn told(self: &Arc<Self>, _py: Python<'_>, _news: c_int) {
        self.wake();
    }
}

/// What `call_later` calls.
#[pyclass(frozen, module = "ferrio_pyo3")]
struct WakeWhenDue(Arc<Due>);

#[pymethods]
impl WakeWhenDue {
    fn __call__(&self) {
        self.0.wake();
    }
}

/// A timer of a loop; cancelled when it is dropped.
struct Timer {
    due: Arc<Due>,
    /// What stands for it with the loop: an object of Ferrio's functions, or a `TimerHandle`.
    handle: Py<PyAny>,
    api: Option<Api>,
}

impl Timer {
    fn start(py: Python<'_>, delay: Duration, waker: &Waker) -> PyResult<Self> {
        let event_loop = running_loop(py)?;
        let due = Arc::new(Due { is_over: AtomicBool::new(false), waker: Mutex::new(Some(waker.clone())) });
        let (api, delay_s) = (hub_of(&event_loop)?.api(), delay.as_secs_f64());
        let handle = if let Some(api) = api {
            api.timer(&event_loop, delay_s, Arc::clone(&due))?
        } else {
            let wake = Bound::new(py, WakeWhenDue(Arc::clone(&due)))?;
            event_loop.call_method1(intern!(py, "call_later"), (delay_s, wake))?
        };
        Ok(Self { due, handle: handle.unbind(), api })
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut waker = locked(&self.due.waker);
        if self.due.is_over.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            let before = waker.replace(context.waker().clone());
            drop(waker);
            drop(before);
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = locked(&self.due.waker).take();
        drop(waker);
        if self.due.is_over.load(Ordering::Acquire) {
            return;
        }
        // Nothing to cancel once the interpreter has ended.
        let _ = Python::try_attach(|py| {
            let handle = self.handle.bind(py);
            let ended = match self.api {
                Some(api) => api.stop(handle),
                None => handle.call_method0(intern!(py, "cancel")).map(drop),
            };
            if let Err(error) = ended {
                error.write_unraisable(py, Some(handle));
            }
        });
    }
}

impl core::fmt::Debug for Timer {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.due.fmt(formatter)
    }
}

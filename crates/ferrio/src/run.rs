//! The ways into a loop.

use core::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::event_loop::{Core, Statistics, current};
use crate::remote::Handle;

/// An event loop whose tasks go on from one [`run`](Self::run) to the next. [`ferrio::run`](crate::run) makes one for a
/// single future.
///
/// One thread may have several, and runs one at a time. Dropping the loop drops the futures of its tasks and closes its
/// registrations; sockets that outlive it answer every operation with an error.
///
/// # Examples
/// ```
/// let mut event_loop = ferrio::EventLoop::new()?;
/// let task = event_loop.run(async { ferrio::spawn(async { 6 * 7 }) });
/// assert_eq!(event_loop.run(task), Ok(42));
/// # std::io::Result::Ok(())
/// ```
pub struct EventLoop {
    core: Rc<Core>,
}

impl EventLoop {
    /// A loop with nothing to do.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`: it has two descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self { core: Core::new()? })
    }

    /// Turns the loop until `future` is done. Other tasks stay as they are then, and go on with the next run.
    ///
    /// # Panics
    /// When a loop runs on this thread already, and with what `future` panics with. When the kernel refuses to wait, which
    /// it has no reason to.
    pub fn run<F: Future>(&mut self, future: F) -> F::Output {
        self.core.run(future)
    }

    /// What other threads need to reach this loop.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.core.shared))
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl core::fmt::Debug for EventLoop {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("EventLoop").field("holds", &self.core.statistics()).finish_non_exhaustive()
    }
}

/// Runs `future` on a new event loop until it is done; what it has spawned is dropped then.
///
/// # Panics
/// When a loop runs on this thread already, when there are no descriptors left for a new one, and with what `future`
/// panics with.
///
/// # Examples
/// ```
/// let answer = ferrio::run(async {
///     let task = ferrio::spawn(async { 6 * 7 });
///     task.await
/// });
/// assert_eq!(answer, Ok(42));
/// ```
pub fn run<F: Future>(future: F) -> F::Output {
    match EventLoop::new() {
        Ok(mut event_loop) => event_loop.run(future),
        Err(error) => panic!("no event loop can be made: {error}"),
    }
}

/// What other threads need to reach the loop that runs here.
///
/// # Panics
/// Outside of [`run`].
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let handle = ferrio::handle();
///     let there = std::thread::spawn(move || handle.spawn_threadsafe(|| async { 7 }));
///     let task = there.join().expect("the thread does not panic");
///     assert_eq!(task.await, Ok(7));
/// });
/// ```
#[must_use]
#[track_caller]
pub fn handle() -> Handle {
    Handle::new(Arc::clone(&current().shared))
}

/// What the loop that runs here holds.
///
/// # Panics
/// Outside of [`run`].
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let task = ferrio::spawn(ferrio::yield_now());
///     assert_eq!(ferrio::statistics().tasks, 1);
///     task.await
/// })?;
/// # Ok::<(), ferrio::Cancelled>(())
/// ```
#[must_use]
#[track_caller]
pub fn statistics() -> Statistics {
    current().statistics()
}

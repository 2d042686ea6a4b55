//! A loop as other threads see it.

use core::future::{Future, pending};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_core::Stream;
use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::event_loop::{Remote, Shared};
use crate::task::{Cancelled, spawn};

/// Reaches a loop from every thread: [`ferrio::handle`](crate::handle) or [`EventLoop::handle`](crate::EventLoop::handle).
///
/// # Examples
/// ```
/// let doubled = ferrio::run(async {
///     let handle = ferrio::handle();
///     ferrio::spawn_blocking(move || {
///         // Another thread, which waits for what the loop answers.
///         handle.spawn_threadsafe(|| async { 21 * 2 }).wait()
///     })
///     .await
/// });
/// assert_eq!(doubled, Ok(42));
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Has the loop call `function` in its next turn; wakes it if it sleeps. Nothing is called once the loop has closed.
    ///
    /// # Examples
    /// ```
    /// ferrio::run(async {
    ///     let (handle, event) = (ferrio::handle(), std::sync::Arc::new(ferrio::Event::new()));
    ///     let there = event.clone();
    ///     std::thread::spawn(move || handle.call_soon_threadsafe(move || there.set()));
    ///     event.wait().await;
    /// });
    /// ```
    pub fn call_soon_threadsafe(&self, function: impl FnOnce() + Send + 'static) {
        self.shared.schedule(Remote::Call(Box::new(function)));
        self.shared.drop_what_came_late();
    }

    /// Has the loop make a future and run it as a task. Only the function and the output go from thread to thread; the future
    /// never leaves the loop's. Follows `asyncio.run_coroutine_threadsafe`.
    pub fn spawn_threadsafe<F>(&self, make: impl FnOnce() -> F + Send + 'static) -> RemoteTask<F::Output>
    where
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let (outcome, outcomes) = async_channel::bounded(1);
        let (cancel, cancelled) = async_channel::bounded::<()>(1);
        self.call_soon_threadsafe(move || {
            spawn(async move {
                let future = pin!(AssertUnwindSafe(async move { make().await }).catch_unwind());
                let until_cancelled = pin!(async move {
                    if cancelled.recv().await.is_err() {
                        // Nobody can cancel it any more.
                        pending::<()>().await;
                    }
                });
                if let Either::Left((done, _)) = select(future, until_cancelled).await {
                    // It fits: there is one outcome. Without a receiver nobody wants it.
                    let _ = outcome.try_send(done);
                }
            });
        });
        RemoteTask { outcome: Box::pin(outcomes), cancel }
    }
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// A task of a loop, seen from any thread: to await, or to wait for. Dropping it lets the task go on.
///
/// See [`Handle`] for an example.
pub struct RemoteTask<T> {
    outcome: Pin<Box<async_channel::Receiver<std::thread::Result<T>>>>,
    cancel: async_channel::Sender<()>,
}

impl<T> RemoteTask<T> {
    /// Blocks this thread until the task is done. On the loop's own thread that is for ever: await it there.
    ///
    /// # Errors
    /// [`Cancelled`] when the task has been cancelled, or its loop has closed.
    ///
    /// # Panics
    /// With what the task has panicked with.
    pub fn wait(self) -> Result<T, Cancelled> {
        outcome_of(self.outcome.recv_blocking().ok())
    }

    /// Drops the task's future, on its own thread, in the loop's next turn.
    ///
    /// # Examples
    /// ```
    /// ferrio::run(async {
    ///     let task = ferrio::handle().spawn_threadsafe(std::future::pending::<()>);
    ///     task.cancel();
    ///     assert_eq!(task.await, Err(ferrio::Cancelled));
    /// });
    /// ```
    pub fn cancel(&self) {
        let _ = self.cancel.try_send(());
    }
}

fn outcome_of<T>(outcome: Option<std::thread::Result<T>>) -> Result<T, Cancelled> {
    match outcome {
        None => Err(Cancelled),
        Some(Ok(output)) => Ok(output),
        Some(Err(panic)) => resume_unwind(panic),
    }
}

impl<T> Future for RemoteTask<T> {
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll_next(context).map(outcome_of)
    }
}

impl<T> core::fmt::Debug for RemoteTask<T> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("RemoteTask").finish_non_exhaustive()
    }
}

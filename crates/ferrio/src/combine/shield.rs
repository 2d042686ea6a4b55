//! A future that goes on when whoever awaits it is cancelled.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::task::{Cancelled, Task, spawn};

/// Runs `future` as a task, so that it goes on when whoever awaits it is cancelled. Follows `asyncio.shield`.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use std::{cell::Cell, rc::Rc};
///
/// ferrio::run(async {
///     let saved = Rc::new(Cell::new(false));
///     let there = saved.clone();
///     let saving = async move {
///         ferrio::yield_now().await;
///         there.set(true);
///     };
///     // The awaiting is given up at once, the saving is not.
///     assert!(ferrio::timeout(Duration::ZERO, ferrio::shield(saving)).await.is_err());
///     while !saved.get() {
///         ferrio::yield_now().await;
///     }
/// });
/// ```
///
/// # Panics
/// Outside of [`ferrio::run`](crate::run).
pub fn shield<F>(future: F) -> Shield<F::Output>
where
    F: Future + 'static,
{
    Shield { task: spawn(future) }
}

/// The future of [`shield`].
#[derive(Debug)]
#[must_use = "the task goes on by itself when this is dropped"]
pub struct Shield<T> {
    task: Task<T>,
}

impl<T> Future for Shield<T> {
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(context)
    }
}

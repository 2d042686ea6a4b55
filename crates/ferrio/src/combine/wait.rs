//! Waiting for some of several tasks.

use core::time::Duration;

use crate::combine::as_completed;
use crate::task::Task;
use crate::time::timeout;

/// When [`wait`] returns, at the latest.
#[derive(Debug, Clone, Copy)]
pub enum ReturnWhen<T> {
    /// One task has ended.
    FirstCompleted,
    /// One task has failed: it was cancelled, it panicked, or its output is a failure by this function, `Result::is_err` say.
    FirstFailed(fn(&T) -> bool),
    /// All tasks have ended.
    AllCompleted,
}

/// Waits for tasks, for at most `limit`; gives those that have ended and those that have not, each in the order in which they
/// were. Nothing is cancelled when the time is up, and a task whose handle is dropped with the wait goes on by itself.
///
/// Follows `asyncio.wait`.
///
/// # Examples
/// ```
/// use core::future::pending;
/// use ferrio::{ReturnWhen, spawn, wait};
///
/// ferrio::run(async {
///     let tasks = vec![spawn(pending()), spawn(async { 7 })];
///     let (done, waiting) = wait(tasks, None, ReturnWhen::FirstCompleted).await;
///     assert_eq!(waiting.len(), 1);
///     for task in done {
///         assert_eq!(task.await, Ok(7));
///     }
/// });
/// ```
pub async fn wait<T: 'static>(
    mut tasks: Vec<Task<T>>,
    limit: Option<Duration>,
    until: ReturnWhen<T>,
) -> (Vec<Task<T>>, Vec<Task<T>>) {
    let mut ended = as_completed(tasks.iter_mut().map(|task| async {
        task.ended().await;
        match until {
            ReturnWhen::FirstCompleted => true,
            ReturnWhen::FirstFailed(is_failure) => task.has_failed(is_failure),
            ReturnWhen::AllCompleted => false,
        }
    }));
    let enough = async {
        while let Some(is_enough) = ended.next().await {
            if is_enough {
                return;
            }
        }
    };
    match limit {
        // That the time was up shows in the tasks.
        Some(limit) => {
            let _ = timeout(limit, enough).await;
        }
        None => enough.await,
    }
    drop(ended);
    tasks.into_iter().partition(Task::is_finished)
}

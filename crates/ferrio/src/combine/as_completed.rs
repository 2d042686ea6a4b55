//! Outputs in the order in which they come.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;

/// Awaits all futures at a time and gives their outputs as they come. Follows `asyncio.as_completed`.
///
/// Only what has been woken is polled, so that any number of futures may wait.
///
/// # Examples
/// ```
/// use core::time::Duration;
///
/// ferrio::run(async {
///     let after = |millis| async move {
///         ferrio::sleep(Duration::from_millis(millis)).await;
///         millis
///     };
///     let mut outputs = ferrio::as_completed([after(20), after(0)]);
///     assert_eq!(outputs.next().await, Some(0));
///     assert_eq!(outputs.next().await, Some(20));
///     assert_eq!(outputs.next().await, None);
/// });
/// ```
pub fn as_completed<I>(futures: I) -> AsCompleted<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    AsCompleted { futures: futures.into_iter().map(IntoFuture::into_future).collect() }
}

/// The outputs of several futures, as they come: [`as_completed`]. Dropping it drops the futures that are not done.
#[must_use = "futures do nothing unless they are awaited"]
pub struct AsCompleted<F> {
    futures: FuturesUnordered<F>,
}

impl<F: Future> AsCompleted<F> {
    /// The next output; `None` when all have been given.
    pub async fn next(&mut self) -> Option<F::Output> {
        core::future::poll_fn(|context| Pin::new(&mut self.futures).poll_next(context)).await
    }

    /// Adds a future to those that are awaited.
    pub fn push(&mut self, future: F) {
        self.futures.push(future);
    }

    /// How many futures are not done.
    #[must_use]
    pub fn len(&self) -> usize {
        self.futures.len()
    }

    /// Whether all are done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        Pin::new(&mut self.futures).poll_next(context)
    }
}

impl<F> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AsCompleted").field("len", &self.futures.len()).finish()
    }
}

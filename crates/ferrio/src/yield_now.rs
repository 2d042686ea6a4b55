//! Letting others run.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Lets everything else that is ready run before this task goes on. Follows `asyncio.sleep(0)`.
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let task = ferrio::spawn(async {});
///     ferrio::yield_now().await;
///     assert!(task.is_finished());
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct YieldNow {
    has_yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

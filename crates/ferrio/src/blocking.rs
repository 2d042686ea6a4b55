//! Functions that block, on threads of their own.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Calls a function that blocks on a thread of a pool that the process shares. Follows `asyncio.to_thread`.
///
/// The function is queued at once, not when the future is first polled. Dropping the future forgets a function that no
/// thread has begun, and lets one that runs go on. A panic of the function comes to whoever awaits.
///
/// # Examples
/// ```
/// let text = ferrio::run(ferrio::spawn_blocking(|| std::fs::read_to_string("Cargo.toml")))?;
/// assert!(text.contains("[package]"));
/// # std::io::Result::Ok(())
/// ```
pub fn spawn_blocking<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    Blocking { task: blocking::unblock(function) }
}

/// The future of [`spawn_blocking`].
#[must_use = "dropping it forgets the function unless a thread has begun it"]
pub struct Blocking<T> {
    task: blocking::Task<T>,
}

impl<T> Future for Blocking<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.task).poll(context)
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Blocking").finish_non_exhaustive()
    }
}

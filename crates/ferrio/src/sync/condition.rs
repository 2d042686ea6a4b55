//! A condition: waiting, with a lock, for what others change under it.

use async_lock::MutexGuard;

/// Waits for changes of what a [`Lock`](crate::Lock) guards. Follows `asyncio.Condition`.
///
/// # Examples
/// ```
/// use std::rc::Rc;
/// use ferrio::{Condition, Lock};
///
/// ferrio::run(async {
///     let shared = Rc::new((Lock::new(Vec::new()), Condition::new()));
///     let there = shared.clone();
///     let taking = ferrio::spawn(async move {
///         let (items, grown) = &*there;
///         let mut items = grown.wait_for(items.lock().await, |items| !items.is_empty()).await;
///         items.pop()
///     });
///     ferrio::yield_now().await;
///     shared.0.lock().await.push("item");
///     shared.1.notify(1);
///     assert_eq!(taking.await, Ok(Some("item")));
/// });
/// ```
#[derive(Debug, Default)]
pub struct Condition {
    changed: event_listener::Event,
}

impl Condition {
    /// A condition that nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        Self { changed: event_listener::Event::new() }
    }

    /// Releases the lock, waits to be notified, and takes the lock again. A wait that is dropped does not hold the lock.
    ///
    /// # Examples
    /// ```
    /// # ferrio::run(async {
    /// let (lock, condition) = (ferrio::Lock::new(0), ferrio::Condition::new());
    /// let waiting = async {
    ///     let number = condition.wait(lock.lock().await).await;
    ///     assert_eq!(*number, 1);
    /// };
    /// let notifying = async {
    ///     *lock.lock().await = 1;
    ///     condition.notify_all();
    /// };
    /// ferrio::gather!(waiting, notifying);
    /// # });
    /// ```
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let lock = MutexGuard::source(&guard);
        // Listening before the release: no notification is missed in between.
        let changed = self.changed.listen();
        drop(guard);
        changed.await;
        lock.lock().await
    }

    /// Waits until `holds` is true of what the lock guards; it is asked at once and after each notification.
    pub async fn wait_for<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut holds: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while !holds(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Wakes `count` of those who wait, in the order in which they came.
    pub fn notify(&self, count: usize) {
        use event_listener::IntoNotification;
        self.changed.notify(count.additional());
    }

    /// Wakes everybody who waits.
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }
}

//! An event: many wait until it is set.

use core::sync::atomic::{AtomicBool, Ordering};

/// A flag that many can wait for. Follows `asyncio.Event`; it may be set from any thread.
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// ferrio::run(async {
///     let event = Rc::new(ferrio::Event::new());
///     let there = event.clone();
///     let waiting = ferrio::spawn(async move { there.wait().await });
///     event.set();
///     assert_eq!(waiting.await, Ok(()));
/// });
/// ```
#[derive(Debug, Default)]
pub struct Event {
    is_set: AtomicBool,
    changed: event_listener::Event,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub const fn new() -> Self {
        Self { is_set: AtomicBool::new(false), changed: event_listener::Event::new() }
    }

    /// Sets the event: whoever waits goes on, and whoever comes finds it set.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.changed.notify(usize::MAX);
    }

    /// Clears the event: whoever comes waits. Those who were woken by [`Self::set`] go on all the same.
    pub fn clear(&self) {
        self.is_set.store(false, Ordering::SeqCst);
    }

    /// Whether the event is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Waits until the event is set.
    pub async fn wait(&self) {
        if self.is_set() {
            return;
        }
        let set = self.changed.listen();
        // It may have been set before there was somebody to tell.
        if !self.is_set() {
            set.await;
        }
    }
}

//! Which loop runs on this thread.

use core::cell::RefCell;
use std::rc::Rc;

use super::Core;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// A loop is the thread's current one until this is dropped.
pub(super) struct Entered {
    around: Option<Rc<Core>>,
}

/// Makes `core` the current loop, within another one as well.
pub(super) fn enter(core: &Rc<Core>) -> Entered {
    Entered { around: CURRENT.replace(Some(Rc::clone(core))) }
}

/// Makes `core` the current loop.
///
/// # Panics
/// Within another one.
pub(super) fn enter_to_run(core: &Rc<Core>) -> Entered {
    let is_running = CURRENT.with_borrow(Option::is_some);
    assert!(!is_running, "an event loop runs on this thread already: await the future instead of running it");
    enter(core)
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = CURRENT.replace(self.around.take());
        drop(left);
    }
}

/// The loop that runs on this thread.
///
/// # Panics
/// When there is none.
#[track_caller]
pub(crate) fn current() -> Rc<Core> {
    match CURRENT.with_borrow(Clone::clone) {
        Some(core) => core,
        None => panic!("no event loop runs on this thread: call this within `ferrio::run`"),
    }
}

/// Shows the current loop to `see`, which may not come back to the loop.
#[inline]
pub(super) fn with_current(see: impl FnOnce(&Core)) {
    // A thread that ends has no current loop.
    let _ = CURRENT.try_with(|current| current.borrow().as_deref().map(see));
}

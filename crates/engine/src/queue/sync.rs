//! The atomics of this folder: the standard library's, or loom's when its model checker drives the test.

#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicUsize, Ordering};

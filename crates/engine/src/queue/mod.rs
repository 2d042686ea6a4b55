//! Entries that wait to run: the loop's own queue, and the door through which other threads hand entries in.

pub mod inbox;
pub mod ready;
mod sync;

pub use inbox::{Inbox, Wake};
pub use ready::Ready;

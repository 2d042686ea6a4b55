//! Time as the loop sees it: a monotonic instant, the pending timers, and how long a turn may sleep.
//!
//! Nothing here reads a clock; the caller passes `now`.

pub mod budget;
pub mod histogram;
pub mod lookout;
pub mod nanos;
pub mod timers;

pub use budget::{SleepBudget, sleep_budget};
pub use lookout::{Lookout, Sight};
pub use nanos::Nanos;
pub use timers::{Expirable, Timers};

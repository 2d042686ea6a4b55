//! Several futures at a time.

mod as_completed;
mod gather;
mod shield;
mod task_group;
mod wait;

pub use as_completed::{AsCompleted, as_completed};
pub use futures_util::future::{JoinAll, TryJoinAll, join_all, try_join_all};
pub use shield::{Shield, shield};
pub use task_group::{Failures, Member, TaskGroup, task_group};
pub use wait::{ReturnWhen, wait};

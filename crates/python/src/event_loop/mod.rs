//! The native core of `ferrio.Loop`: what runs per callback, per timer and per readiness.
//!
//! `ferrio.Loop` is a Python class over this core and asyncio's own Unix loop. The core overrides scheduling, the turn and
//! the watching of descriptors; what runs once per loop or per connection stays asyncio's, version by version.

mod fork;
mod making;
mod methods;
mod scheduling;
mod timer;
mod wakeup_descriptor;
mod watch;

pub(crate) use making::{new_future, spawning_core};
pub(crate) use scheduling::{call_later, schedule, schedule_behind_poll, wake_later};
pub(crate) use watch::{Watches, forget_waiter, is_number_watched, wait_behind_handle};

pub(crate) use methods::register;

//! The native core of `ferrio.Loop`: what runs per callback, per timer and per readiness.
//!
//! `ferrio.Loop` is a Python class over this core and asyncio's own Unix loop. The core overrides scheduling, the turn and
//! the watching of descriptors; what runs once per loop or per connection stays asyncio's, version by version.

#![forbid(unsafe_code)]

mod fork;
mod measuring;
mod methods;
mod scheduling;
mod wakeup_descriptor;
mod watch;

pub(crate) use methods::register;

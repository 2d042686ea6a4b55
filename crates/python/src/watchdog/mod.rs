//! Watching a loop from a thread of its own: which entry lasts too long, and where it is.
//!
//! The thread is never attached to the interpreter, so nothing that the loop's thread does keeps it from looking: not Python
//! code, not a C function that keeps the interpreter, not one that sleeps. It reads the loop's [`Pulse`](crate::core::Pulse)
//! and, when an entry lasts, the stack of its thread from outside ([`outside_stack`](crate::ffi::outside_stack)). What it has
//! found is taken by a Python thread, which has the rest: the task, its context, the words
//! (`python/ferrio/_watching.py`).

#![forbid(unsafe_code)]

mod class;
mod inspector;
mod observer;

pub(crate) use class::{add_methods, register};

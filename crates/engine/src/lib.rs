//! The reactor behind Ferrio: descriptors, timers, queues, buffers and flow control of one event loop. No Python.
//!
//! An event loop lives in turns, and what happens in one turn, in which order, is a promise (see [`reactor`]). This crate
//! keeps the promise and leaves the entries to its user: the ready queue, the timers and the inbox are generic over what
//! they hold, and nothing here runs, or even drops, an entry.
//!
//! | module | answers |
//! | --- | --- |
//! | [`reactor`] | what happens in one turn |
//! | [`backend`] | which descriptor can make progress (epoll; a script in tests) |
//! | [`time`] | which deadlines are due, how long to sleep |
//! | [`queue`] | what runs now, what came from other threads |
//! | [`buf`], [`flow`] | what is to be sent, who must pause |
//! | [`sys`] | the system calls |
//!
//! Modules depend on those below them in this order only: `sys` and the pure ones (`time`, `queue`, `buf`, `flow`), then
//! `backend`, then `reactor`.

#[cfg(not(target_os = "linux"))]
compile_error!("Ferrio runs on Linux for now: its only backend is epoll.");

pub mod backend;
pub mod buf;
pub mod flow;
pub mod queue;
pub mod reactor;
pub mod sys;
pub mod time;

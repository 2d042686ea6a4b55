//! The contract of `backend`, held against every backend: the same tests over each *rig*, a backend with descriptors whose
//! far ends the test holds.
//!
//! `arrivals` is about what the epoll backend makes of edges.
//! `watching` needs descriptors that become readable, of whatever kind; `connections` needs connected sockets.
#![cfg(not(loom))]

mod arrivals;
mod connections;
#[path = "../counted_chunk/mod.rs"]
mod counted_chunk;
mod epoll_rig;
mod event_loop;
mod rig;
mod sim_rig;
mod watching;

use epoll_rig::{EventfdRig, PipeRig, SocketRig, TcpRig};
use sim_rig::SimRig;

watching::rules!(epoll_over_eventfds, super::EventfdRig);
watching::rules!(epoll_over_pipes, super::PipeRig);
watching::rules!(epoll_over_sockets, super::SocketRig);
watching::rules!(sim, super::SimRig);
connections::rules!(epoll_connections, super::SocketRig);
connections::rules!(epoll_tcp_connections, super::TcpRig);
connections::rules!(sim_connections, super::SimRig);

//! Descriptors that carry bytes: streams, datagrams, pipes, raw sockets; accepting and connecting.

pub(crate) mod accept;
pub(crate) mod connect;
pub(crate) mod datagram;
pub(crate) mod pipe;
pub(crate) mod raw;
pub(crate) mod socket_name;
pub(crate) mod stream;
pub(crate) mod transport;

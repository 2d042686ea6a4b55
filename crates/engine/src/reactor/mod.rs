//! One turn of the loop, and what takes part in it.

mod datagram;
mod stream;
mod turn;

pub use datagram::{Datagram, Datagrams, Destination, Progress};
pub use stream::{Flushed, Stream};
pub use turn::{Reactor, Work};

//! One turn of the loop, and what takes part in it.

mod stream;
mod turn;

pub use stream::{Flushed, Stream};
pub use turn::{Reactor, Work};

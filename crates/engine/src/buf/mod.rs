//! Bytes on their way out, and memory for bytes on their way in.

pub mod chain;
pub mod chunk;
pub mod pool;

pub use chain::Chain;
pub use chunk::Chunk;
pub use pool::Pool;

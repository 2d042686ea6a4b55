//! The only system calls of the engine.
//!
//! Every function here retries `EINTR` where repeating the call is harmless, and reports a failure as an
//! [`Error`]: the errno and the name of the call, so that the layer above can build the exact `OSError`.

pub mod address;
pub mod clock;
pub mod epoll;
pub mod error;
pub mod message;
pub(crate) mod number;
pub mod pipe;
pub mod socket;
pub mod socket_name;
pub mod stream_socket;
pub mod wake;

pub use error::Error;

//! Between Rust's values and Python's.

pub(crate) mod arguments;
pub(crate) mod errors;
pub(crate) mod filled;
pub(crate) mod names;
pub(crate) mod socket_name;

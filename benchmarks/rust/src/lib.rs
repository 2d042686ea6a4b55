//! What the programs share.

use std::io;
use std::net::SocketAddr;

/// Bytes that an echo server receives at most at a time, in a buffer of each connection.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Tells whoever started the program where it listens, as the echo server in C does.
///
/// # Errors
/// That of the listener.
pub fn announce(address: io::Result<SocketAddr>) -> io::Result<()> {
    println!("port {}", address?.port());
    Ok(())
}

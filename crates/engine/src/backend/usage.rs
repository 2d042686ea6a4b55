//! Who takes what arrives at a descriptor.

/// Who takes what arrives at a descriptor, and so who knows when nothing is left. Said once, when it is attached.
///
/// A backend that is told of *arrivals* only saves the kernel a second look at every descriptor it has reported. It may
/// do so where it is told what was taken, and makes up for the rest (rule 4 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// Only [`Backend::receive`](super::Backend::receive) takes bytes.
    Stream,
    /// As [`Usage::Stream`], and the caller knows that it is a TCP socket: that need not be asked.
    TcpStream,
    /// The caller, by system calls of its own; each time one of them finds nothing there, it says so by
    /// [`Backend::refused`](super::Backend::refused), before it watches; of a receive that brought less than there was room
    /// for it may say so by [`Backend::received_short`](super::Backend::received_short). Watching and no longer watching
    /// [`Interest::READ`](super::Interest::READ) are then cheap enough to be done around every wait.
    Attempts,
    /// Anybody, without a word.
    Watched,
}

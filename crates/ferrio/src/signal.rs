//! Signals of the process, awaited.
//!
//! A handler writes a byte into a socket pair, which the loop watches. Other handlers of the signal, of other loops say, are
//! called as well.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::RecvFlags;
use signal_hook::SigId;
use signal_hook::low_level;

use crate::event_loop::Direction;
use crate::net::Io;

/// Takes a signal over: instead of what it does by default, whoever awaits it goes on. Follows `loop.add_signal_handler`.
///
/// Once a program has taken a signal, it is ignored when nobody awaits it any more. Signals that come together are one.
///
/// # Errors
/// `EINVAL` for a number that is no signal's; `EMFILE`.
///
/// # Panics
/// For signals that cannot be taken (`SIGKILL`, `SIGSTOP`, `SIGILL`, `SIGFPE`, `SIGSEGV`), and outside of
/// [`ferrio::run`](crate::run).
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let mut interrupts = ferrio::signal(2)?;
///     let pressed = ferrio::timeout(core::time::Duration::from_millis(1), interrupts.recv()).await;
///     assert!(pressed.is_err(), "nobody has pressed Control-C");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn signal(number: i32) -> io::Result<Signals> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let io = Io::new(OwnedFd::from(near))?;
    let handler = low_level::pipe::register(number, far)?;
    Ok(Signals { io, handler })
}

/// A signal of the process: [`signal`].
#[derive(Debug)]
pub struct Signals {
    io: Io,
    handler: SigId,
}

impl Signals {
    /// Waits for the signal: one that has come since the last call, or the next.
    ///
    /// # Errors
    /// The loop has closed.
    pub async fn recv(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64];
        let receive =
            |fd: std::os::fd::BorrowedFd<'_>| Ok(rustix::net::recv(fd, &mut bytes, RecvFlags::DONTWAIT).map(|_| ())?);
        self.io.call(Direction::Read, receive).await
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        low_level::unregister(self.handler);
    }
}

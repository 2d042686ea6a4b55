//! What a backend brings to be tested.

use std::os::fd::AsFd;

use ferrio_engine::backend::{Backend, Usage};
use ferrio_engine::sys::error::Result;
use ferrio_engine::time::Nanos;

/// A backend and the world around it. `Near` is a descriptor for the loop, `Far` its other end.
pub(crate) trait Rig {
    type Backend: Backend;
    type Near: AsFd;
    type Far;

    /// How the tests take what arrives at the near ends.
    const USAGE: Usage;

    fn new() -> Self;
    fn backend(&mut self) -> &mut Self::Backend;
    fn now(&self) -> Nanos;

    /// A pair of ends; nothing can be read yet.
    fn open(&mut self) -> (Self::Near, Self::Far);
    /// A descriptor that cannot be watched.
    fn open_regular_file(&mut self) -> Self::Near;
    /// Another number for the same open file.
    fn duplicate(&mut self, near: &Self::Near) -> Self::Near;
    /// Closes what `near` names and puts a new file under its number; that one's far end comes back.
    fn replace(&mut self, near: &mut Self::Near) -> Self::Far;
    /// Gives `near` the number of `onto`, which is closed before.
    fn put_under(&mut self, near: &Self::Near, onto: &mut Self::Near);

    /// Makes the near end readable.
    fn make_readable(&mut self, far: &Self::Far);
    /// Takes everything that can be read, past the backend.
    fn drain(&mut self, near: &Self::Near, far: &Self::Far);
    /// Waits without a limit, with nothing to be found, until a signal comes.
    fn wait_for_signal(&mut self, poller: &mut <Self::Backend as Backend>::Poller) -> Result<()>;
}

/// A rig whose descriptors are connected sockets.
pub(crate) trait Connected: Rig {
    fn far_sends(&mut self, far: &Self::Far, bytes: &[u8]);
    /// Ends the far end's sending direction.
    fn far_ends(&mut self, far: &Self::Far);
    /// Breaks the connection, on which the near end has sent something that the far end has not taken.
    fn far_breaks(&mut self, far: Self::Far);
    /// Makes the near end's open file a blocking one, as others who share it may.
    fn let_block(&mut self, near: &Self::Near);
    /// From now on the kernel takes less at once than [`MANY_BYTES`].
    fn narrow(&mut self, near: &Self::Near, far: &Self::Far);
    /// All that has arrived and was not returned before; makes room.
    fn far_takes(&mut self, far: &Self::Far) -> Vec<u8>;
}

/// More than a narrow connection takes at once.
pub(crate) const MANY_BYTES: usize = 300_000;

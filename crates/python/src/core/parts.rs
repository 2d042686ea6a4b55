//! What the rooms above keep for each loop, and when a turn calls them.
//!
//! The rooms are named once, when the module is imported ([`set_up`]); the loops know them by place.

use core::any::Any;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::os::fd::RawFd;
use std::sync::OnceLock;

use pyo3::prelude::*;

use super::entry::RunDetached;
use super::exit::Exit;
use super::loop_core::LoopCore;
use crate::ffi::fields::{Collector, Visited};

/// One room's state of a loop.
pub(crate) trait Part: Any + Send + Sync {
    /// Shows the Python objects in it to the collector.
    fn visit(&self, py: Python<'_>, collector: &Collector) -> Visited;

    /// Gives everything up: the loop ends.
    fn clear(&self, py: Python<'_>);
}

/// A part that is found by its type.
pub(crate) trait Placed: Part + Default {
    /// Where in a loop the part is: a `static`.
    fn place() -> &'static Place;
}

/// The place of a part in every loop.
pub(crate) struct Place(AtomicUsize);

impl Place {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
}

/// A maker of one kind of part.
pub(crate) struct Maker {
    make: fn() -> Box<dyn Part>,
    place: fn() -> &'static Place,
}

impl Maker {
    pub(crate) const fn of<T: Placed>() -> Self {
        Self { make: || Box::new(T::default()), place: T::place }
    }
}

/// What the core calls. The first two run when somebody has asked for it since they last ran.
pub(crate) struct Hooks {
    /// The loop has nothing to run and is about to sleep, or has turned many times without a sleep;
    /// see [`LoopCore::ask_before_sleep`].
    pub(crate) before_sleep: fn(Python<'_>, &LoopCore) -> Result<(), Exit>,
    /// An entry has run; see [`LoopCore::ask_after_entry`].
    pub(crate) after_entry: fn(Python<'_>, &LoopCore) -> Result<(), Exit>,
    /// A transport takes over a descriptor: what others have registered for its number ends.
    pub(crate) forget_number: fn(Python<'_>, &LoopCore, RawFd) -> PyResult<()>,
    /// A callback that waits without a handle is to be run.
    pub(crate) run_detached: RunDetached,
}

struct Rooms {
    makers: &'static [Maker],
    hooks: Hooks,
}

static ROOMS: OnceLock<Rooms> = OnceLock::new();

/// Names the rooms above, before the first loop is made.
pub(crate) fn set_up(makers: &'static [Maker], hooks: Hooks) {
    for (index, maker) in makers.iter().enumerate() {
        (maker.place)().0.store(index, Ordering::Relaxed);
    }
    // A second import of the module names the same.
    let _ = ROOMS.set(Rooms { makers, hooks });
}

/// The hooks.
pub(super) fn hooks() -> &'static Hooks {
    &ROOMS.get().expect("the rooms are named when the module is imported").hooks
}

/// The parts of one loop.
pub(super) struct Parts(Box<[Box<dyn Part>]>);

impl Parts {
    pub(super) fn new() -> Self {
        let makers = ROOMS.get().map_or(&[][..], |rooms| rooms.makers);
        Self(makers.iter().map(|maker| (maker.make)()).collect())
    }

    #[inline]
    pub(super) fn get<T: Placed>(&self) -> &T {
        let part = &*self.0[T::place().0.load(Ordering::Relaxed)] as &dyn Any;
        part.downcast_ref().expect("a part is at its place")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn Part> {
        self.0.iter().map(|part| &**part)
    }
}

/// `part!(Sockets)`: makes a type a part that every loop has.
macro_rules! part {
    ($part:ty) => {
        impl $crate::core::parts::Placed for $part {
            #[inline]
            fn place() -> &'static $crate::core::parts::Place {
                static PLACE: $crate::core::parts::Place = $crate::core::parts::Place::new();
                &PLACE
            }
        }
    };
}

pub(crate) use part;

//! What programs wait for and with: `sleep`, locks, events, semaphores, queues.
//!
//! The classes of the Python package join a core from here with asyncio's class (`class Lock(LockCore, asyncio.Lock)`): the
//! state is native and shows under asyncio's private names, so that inherited code and whoever reads those names see the
//! truth. The hot functions are [`function`]s: native for exactly that class, asyncio's own for its subclasses, which may
//! have overridden what the native code would not ask.
//!
//! What asyncio writes as a coroutine function returns a [`coroutine`] here: an object with a coroutine's protocol and no
//! frame. As there, nothing happens before the first step.

pub(crate) mod cell;
pub(crate) mod coroutine;
mod event;
mod function;
mod lock;
mod queue;
mod semaphore;
mod sleep;
pub(crate) mod waiting;

use pyo3::prelude::*;

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    coroutine::register(module)?;
    function::register(module)?;
    module.add_class::<lock::LockCore>()?;
    module.add_class::<event::EventCore>()?;
    module.add_class::<semaphore::SemaphoreCore>()?;
    module.add_class::<queue::QueueCore>()
}

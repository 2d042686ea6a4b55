//! What programs wait for and with: `sleep`, locks, events, conditions, barriers, semaphores, queues, timeouts, task
//! groups.
//!
//! The classes of the Python package join a core from here with asyncio's class (`class Lock(LockCore, asyncio.Lock)`): the
//! state is native and shows under asyncio's private names, so that inherited code and whoever reads those names see the
//! truth. The hot functions are [`function`]s: native for exactly that class, asyncio's own for its subclasses, which may
//! have overridden what the native code would not ask.
//!
//! What asyncio writes as a coroutine function returns a [`coroutine`] here: an object with a coroutine's protocol and no
//! frame. As there, nothing happens before the first step.

mod barrier;
pub(crate) mod cell;
mod condition;
pub(crate) mod coroutine;
mod deque;
mod event;
mod function;
mod lock;
mod order;
pub(crate) mod queue;
mod receiver;
mod running;
mod semaphore;
mod sleep;
mod task_group;
mod timeout;
mod wait_for;
pub(crate) mod waiting;

use pyo3::prelude::*;

pub(crate) use sleep::callback as sleep_callback;

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    waiting::load(module.py())?;
    coroutine::register(module)?;
    function::register(module)?;
    wait_for::load(module.py())?;
    timeout::register(module)?;
    task_group::load(module.py())?;
    module.add_class::<task_group::TaskGroupCore>()?;
    module.add_class::<lock::LockCore>()?;
    module.add_class::<event::EventCore>()?;
    module.add_class::<condition::ConditionCore>()?;
    module.add_class::<barrier::BarrierCore>()?;
    module.add_class::<semaphore::SemaphoreCore>()?;
    module.add_class::<queue::QueueCore>()
}

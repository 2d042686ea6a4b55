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

#![forbid(unsafe_code)]

mod barrier;
mod block;
mod condition;
mod event;
mod lock;
mod order;
pub(crate) mod queue;
mod running;
mod semaphore;
mod sleep;
mod sleep_timer;
mod task_group;
mod timeout;
mod wait_for;
pub(crate) mod waiting;

use pyo3::prelude::*;

use crate::coroutine::function::Named;
use crate::coroutine::function::Native::{Call, Method};
use crate::ffi::objects::{OBJECTS, load};
use order::{FirstIn, LastIn, Smallest};

/// The native functions of this room, by asyncio's qualified names.
pub(crate) const FUNCTIONS: &[Named] = &[
    ("sleep", Call(sleep::sleep)),
    ("Lock.acquire", Method(lock::ACQUIRE)),
    ("Lock.release", Call(lock::release)),
    ("Lock.__aenter__", Method(lock::ENTER)),
    ("Lock.__aexit__", Method(lock::EXIT)),
    ("Lock.locked", Call(lock::locked)),
    ("Event.wait", Method(event::WAIT)),
    ("Event.is_set", Call(event::is_set)),
    ("Event.set", Call(event::set)),
    ("Event.clear", Call(event::clear)),
    ("Condition.__aenter__", Call(condition::enter)),
    ("Condition.__aexit__", Call(condition::exit)),
    ("Condition.wait", Call(condition::wait)),
    ("Condition.wait_for", Call(condition::wait_for)),
    ("Condition.notify", Call(condition::notify)),
    ("Condition.notify_all", Call(condition::notify_all)),
    ("Barrier.wait", Call(barrier::wait)),
    ("Barrier.__aenter__", Call(barrier::enter)),
    ("Semaphore.acquire", Method(semaphore::ACQUIRE)),
    ("Semaphore.release", Call(semaphore::release)),
    ("Semaphore.locked", Call(semaphore::locked)),
    ("Semaphore.__aenter__", Method(semaphore::ENTER)),
    ("Semaphore.__aexit__", Method(semaphore::EXIT)),
    ("Queue.put", Method(queue::put::<FirstIn>())),
    ("Queue.get", Method(queue::get::<FirstIn>())),
    ("Queue.put_nowait", Call(queue::put_nowait::<FirstIn>)),
    ("Queue.get_nowait", Call(queue::get_nowait::<FirstIn>)),
    ("LifoQueue.put", Method(queue::put::<LastIn>())),
    ("LifoQueue.get", Method(queue::get::<LastIn>())),
    ("LifoQueue.put_nowait", Call(queue::put_nowait::<LastIn>)),
    ("LifoQueue.get_nowait", Call(queue::get_nowait::<LastIn>)),
    ("PriorityQueue.put", Method(queue::put::<Smallest>())),
    ("PriorityQueue.get", Method(queue::get::<Smallest>())),
    ("PriorityQueue.put_nowait", Call(queue::put_nowait::<Smallest>)),
    ("PriorityQueue.get_nowait", Call(queue::get_nowait::<Smallest>)),
    ("Queue.task_done", Call(queue::task_done)),
    ("Queue.join", Method(queue::JOIN)),
    ("timeout", Call(timeout::timeout)),
    ("timeout_at", Call(timeout::timeout_at)),
    ("Timeout.reschedule", Call(timeout::reschedule)),
    ("Timeout.__aenter__", Call(timeout::enter)),
    ("Timeout.__aexit__", Call(timeout::exit)),
    ("Timeout._on_timeout", Call(timeout::on_timeout)),
    ("wait_for", Call(wait_for::wait_for)),
    ("TaskGroup.create_task", Call(task_group::create_task)),
    ("TaskGroup.__aenter__", Call(task_group::enter)),
    ("TaskGroup.__aexit__", Call(task_group::exit)),
    ("TaskGroup._on_task_done", Call(task_group::on_task_done)),
];

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    load(
        module.py(),
        [
            &OBJECTS.asyncio_cancelled_error,
            &OBJECTS.asyncio_raw_running_loop,
            &OBJECTS.barrier_broken,
            &OBJECTS.barrier_draining,
            &OBJECTS.barrier_filling,
            &OBJECTS.barrier_resetting,
            &OBJECTS.task_group,
            &OBJECTS.task_group_enter,
            &OBJECTS.task_group_exit,
            &OBJECTS.task_group_init,
            &OBJECTS.timeout_created,
            &OBJECTS.timeout_enter,
            &OBJECTS.timeout_entered,
            &OBJECTS.timeout_exit,
            &OBJECTS.timeout_exited,
            &OBJECTS.timeout_expiring,
            &OBJECTS.timeout_init,
            &OBJECTS.wait_for,
        ],
    )?;
    timeout::register(module)?;
    let py = module.py();
    module.add("TaskGroupCore", task_group::make_class(py)?)?;
    module.add("LockCore", lock::make_class(py)?)?;
    module.add("EventCore", event::make_class(py)?)?;
    module.add("ConditionCore", condition::make_class(py)?)?;
    module.add("BarrierCore", barrier::make_class(py)?)?;
    module.add("SemaphoreCore", semaphore::make_class(py)?)?;
    module.add("QueueCore", queue::make_class(py)?)
}

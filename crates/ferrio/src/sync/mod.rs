//! What tasks agree by: locks, events, conditions, semaphores, barriers, queues.
//!
//! `Lock`, `RwLock`, `Semaphore` and `Barrier` are those of the crate `async-lock`, which belong to no runtime.

mod condition;
mod event;
mod queue;

pub use async_lock::{
    Barrier, BarrierWaitResult, Mutex as Lock, MutexGuard as LockGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    Semaphore, SemaphoreGuard,
};

pub use condition::Condition;
pub use event::Event;
pub use queue::{Fifo, GetError, Lifo, LifoQueue, Order, Priority, PriorityQueue, PutError, Queue, ShutDown};

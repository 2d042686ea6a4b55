//! asyncio's model for Rust programs: one thread, an event loop, tasks, groups of tasks, streams.
//!
//! Futures run on the thread that calls [`run`], so none of them has to be `Send`: state is shared by `Rc` and `Cell`, and
//! changes at an `.await` only. Work that blocks goes to a thread by [`spawn_blocking`], and other threads come in by a
//! [`Handle`].
//!
//! ```
//! use core::time::Duration;
//!
//! async fn say_hello() {
//!     println!("Hello");
//!     ferrio::sleep(Duration::from_millis(10)).await;
//!     println!("World");
//! }
//!
//! ferrio::run(async {
//!     ferrio::gather!(say_hello(), say_hello());
//! });
//! ```
//!
//! | asyncio | here |
//! | --- | --- |
//! | `asyncio.run` | [`run`]; [`EventLoop`] for more than one |
//! | `create_task`, `Task` | [`spawn`], [`Task`] |
//! | `gather`, `wait`, `as_completed`, `shield` | [`gather!`] and [`join_all`], [`wait()`], [`as_completed`], [`shield`] |
//! | `TaskGroup` | [`task_group`] |
//! | `sleep`, `wait_for`, `timeout` | [`sleep`] and [`yield_now`], [`timeout`] |
//! | `Lock`, `Event`, `Condition`, `Semaphore`, `Barrier` | [`Lock`], [`Event`], [`Condition`], [`Semaphore`], [`Barrier`] |
//! | `Queue`, `PriorityQueue`, `LifoQueue` | [`Queue`], [`PriorityQueue`], [`LifoQueue`] |
//! | `call_soon`, `call_later` | [`call_soon`], [`call_later`] |
//! | `to_thread`, `run_coroutine_threadsafe` | [`spawn_blocking`], [`Handle::spawn_threadsafe`] |
//! | `open_connection`, `start_server`, streams | [`open_connection`], [`start_server`], [`net`] |
//! | `add_signal_handler` | [`signal`](signal()) |
//!
//! # Cancelling
//! A future is cancelled by dropping it, at whatever `.await` it stands: descriptors are closed, timers and waits leave the
//! loop. There is no exception to catch on the way; what has to happen at the end goes into a `Drop`, and what must not be
//! interrupted into [`shield`].

#![forbid(unsafe_code)]

mod blocking;
mod callback;
mod combine;
mod event_loop;
pub mod net;
mod remote;
mod run;
mod signal;
mod sync;
mod task;
mod time;
mod yield_now;

pub use self::blocking::{Blocking, spawn_blocking};
pub use self::callback::{CallHandle, call_later, call_soon};
pub use self::combine::{
    AsCompleted, Failures, JoinAll, Member, ReturnWhen, Shield, TaskGroup, TryJoinAll, as_completed, join_all, shield,
    task_group, try_join_all, wait,
};
pub use self::event_loop::Statistics;
pub use self::net::{open_connection, start_server};
pub use self::remote::{Handle, RemoteTask};
pub use self::run::{EventLoop, handle, run, statistics};
pub use self::signal::{Signals, signal};
pub use self::sync::{
    Barrier, BarrierWaitResult, Condition, Event, Fifo, GetError, Lifo, LifoQueue, Lock, LockGuard, Order, Priority,
    PriorityQueue, PutError, Queue, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphoreGuard, ShutDown,
};
pub use self::task::{Cancelled, Canceller, Task, spawn};
pub use self::time::{Sleep, TimedOut, Timeout, sleep, sleep_until, timeout};
pub use self::yield_now::{YieldNow, yield_now};

/// What the macros use.
#[doc(hidden)]
pub mod __private {
    pub use futures_util::future::maybe_done;
}

//! `ferrio.Future` and `ferrio.Task`: the futures and tasks of the loop.
//!
//! They are subclasses of the interpreter's `_asyncio.Future` and `_asyncio.Task`, and have no state of their own: they
//! fill the fields of asyncio's C structs ([`ffi::future`](crate::ffi::future)). Whatever is inherited (`result`, `repr`, `get_stack`, `cancel` of
//! a task, `__del__`, the collector's view, the attributes that libraries read, the call graph) is asyncio's own code over
//! true state. Native are making one, completing one, waiting for one, and the task's step.
//!
//! # A task that waits
//! What follows an `await` depends on what is awaited:
//!
//! | awaited | link | wake-up |
//! | --- | --- | --- |
//! | a `ferrio.Future` or `Task` nobody else waits for | the task itself is the first callback | an entry that wakes the task |
//! | any other future | `add_done_callback` of a bound method `task_wakeup` | a handle |
//! | nothing (a bare `yield`, `sleep(0)`) | none | an entry that steps the task |
//!
//! Entries stand in the loop's ready queue beside handles and in the same order. In debug mode, on a loop of another
//! kind, and on one whose `call_soon` a program has replaced, everything goes through `loop.call_soon`, as asyncio's.
//!
//! # From Rust
//! A native awaitable that wants a task to wait for it:
//! - [`future::create`]: a pending `ferrio.Future` of a loop (no Python is run unless in debug mode);
//! - give it to the task: return it from `am_send`/`tp_iternext` as `PYGEN_NEXT` after [`future::set_blocking`], or
//!   return its own iterator (`tp_as_async.am_await`);
//! - [`future::set_result`], [`future::cancel`]: complete it; the waiting task becomes one ready entry, without a handle,
//!   in the context of the task. Both may run Python (other callbacks are scheduled): never inside a `Guarded` section;
//! - [`future::is_pending`]: whether it can still be completed. A task that was cancelled has cancelled it.
//!
//! A future is freed like any object; whoever stores one in native state shows it to the collector.
#![forbid(unsafe_code)]

mod asyncio;
mod callback;
pub(crate) mod future;
mod future_iterator;
mod group;
pub(crate) mod making;
pub(crate) mod native_callback;
mod scheduling;
mod step;
mod task_type;
mod tracking;

use pyo3::prelude::*;

use crate::ffi::future::check::check;
use crate::ffi::thread_state;

pub(crate) use crate::ffi::thread_state::{running_loop, running_task};
pub(crate) use callback::callable_in_place_of;
pub(crate) use future::{is_ours, unlink_all};
pub(crate) use group::{add_awaiting, add_first_callback, cancelling, has_ended_well, remove_awaiting};
pub(crate) use making::{new_future, spawning_core};
pub(crate) use step::{awaited_by, no_longer_awaited_by};
pub(crate) use task_type::{create_task, current_task, is_exact, is_of_loop, is_task, spawn, suppress_destroy_warning};

/// Makes the types and adds them to the module: asyncio's own where the interpreter's layout is unknown.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    future_iterator::register(module)?;
    let approved = check(py);
    module.add("HAS_NATIVE_TASKS", approved.is_ok())?;
    let Ok(approved) = approved else {
        let native = py.import("_asyncio")?;
        module.add("Future", native.getattr("Future")?)?;
        return module.add("Task", native.getattr("Task")?);
    };
    asyncio::load(py);
    thread_state::find(py);
    let future = future::make_type(py, &approved)?;
    module.add("Task", task_type::make_type(py, &approved, &future)?)?;
    module.add("Future", future)
}

//! `ferrio.Future` and `ferrio.Task`: the futures and tasks of the loop.
//!
//! They are subclasses of the interpreter's `_asyncio.Future` and `_asyncio.Task`, and have no state of their own: they
//! fill the fields of asyncio's C structs ([`layout`]). Whatever is inherited (`result`, `repr`, `get_stack`, `cancel` of
//! a task, `__del__`, the collector's view, the attributes that libraries read, the call graph) is asyncio's own code over
//! true state. Native are making one, completing one, waiting for one, and the task's step.
//!
//! # A task that waits
//! What follows an `await` depends on what is awaited:
//!
//! | awaited | link | wake-up |
//! | --- | --- | --- |
//! | a `ferrio.Future` or `Task` nobody else waits for | the task itself is the first callback | `Entry::Wakeup` |
//! | any other future | `add_done_callback` of a bound method `task_wakeup` | a handle |
//! | nothing (a bare `yield`, `sleep(0)`) | none | `Entry::Step` |
//!
//! Entries stand in the loop's ready queue beside handles and in the same order. In debug mode, on a loop of another
//! kind, and on one whose `call_soon` a program has replaced, everything goes through `loop.call_soon`, as asyncio's.
//!
//! # From Rust
//! A native awaitable that wants a task to wait for it:
//! - [`future::create`]: a pending `ferrio.Future` of a loop (no Python is run unless in debug mode);
//! - give it to the task: return it from `am_send`/`tp_iternext` as `PYGEN_NEXT` after [`future::set_blocking`], or
//!   return its own iterator (`tp_as_async.am_await`, inherited);
//! - [`future::set_result`], [`future::cancel`]: complete it; the waiting task becomes one ready entry, without a handle,
//!   in the context of the task. Both may run Python (other callbacks are scheduled): never inside a `Guarded` section;
//! - [`future::is_pending`]: whether it can still be completed. A task that was cancelled has cancelled it.
//!
//! A future is freed like any object; whoever stores one in native state shows it to the collector.

pub(crate) mod asyncio;
pub(crate) mod callback;
pub(crate) mod collected;
pub(crate) mod future;
pub(crate) mod group;
#[cfg(Py_3_14)]
pub(crate) mod memory;
pub(crate) mod scheduling;
pub(crate) mod step;
pub(crate) mod task_type;

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::object::Object;
#[cfg(Py_3_14)]
use crate::ffi::thread_state;

#[cfg(Py_3_14)]
pub(crate) use crate::ffi::thread_state::running_task;
pub(crate) use callback::callable_in_place_of;
pub(crate) use future::is_ours;
pub(crate) use future::unlink_all;
#[cfg(Py_3_14)]
pub(crate) use group::{add_awaiting, remove_awaiting};
pub(crate) use group::{add_first_callback, cancelling, has_ended_well};
pub(crate) use step::{awaited_by, no_longer_awaited_by};
pub(crate) use task_type::{create_task, current_task, forget_when_pending, is_exact, is_of_loop, is_task, spawn};

/// The loop that runs in this thread. `None`: there is none, or `_asyncio` is to be asked.
#[inline]
pub(crate) fn running_loop() -> Option<Object> {
    #[cfg(Py_3_14)]
    return thread_state::running_loop();
    #[cfg(not(Py_3_14))]
    None
}

/// Makes the types and adds them to the module: asyncio's own where the interpreter's layout is unknown.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let native = py.import("_asyncio")?;
    let future_base = native.getattr("Future")?.cast_into::<PyType>()?;
    let task_base = native.getattr("Task")?.cast_into::<PyType>()?;
    let known = crate::ffi::future::check(py, &future_base, &task_base);
    module.add("HAS_NATIVE_TASKS", known.is_ok())?;
    let Ok(habits) = known else {
        module.add("Future", future_base)?;
        return module.add("Task", task_base);
    };
    task_type::adopt(&habits);
    asyncio::load(py)?;
    #[cfg(Py_3_14)]
    thread_state::find(py);
    let future = future::make_type(py, &future_base)?;
    module.add("Task", task_type::make_type(py, &task_base, &future)?)?;
    module.add("Future", future)
}

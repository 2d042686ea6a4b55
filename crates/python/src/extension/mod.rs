//! What extensions that were built apart from this module use of a loop: `ferrio._ferrio._C_API`.
//!
//! The capsule holds the address of an [`Api`]: its version, its size and functions, which a header in C would declare as
//! `docs/extensions.md` does. `ferrio-pyo3` (`crates/bridge`) is the user that there is.
//!
//! # Versions
//! `version` grows with a change that a user of the last one would not survive; functions that are added come behind the others,
//! and `size` grows. A user asks for the version that it knows, and for at least the size that it knows.
//!
//! # Functions of the extension
//! Each is given data of the extension's, and news: a number that is not 0, any number of times, and 0 once, when the data is not
//! used again. News come on the loop's thread, attached. 0 comes there as well, but that of [`Api::post`] comes on the thread
//! that posts, attached or not, where the loop has closed. No function of the extension is called from within a function of this
//! table but with 0.

#![forbid(unsafe_code)]

mod call;
mod remote;

use core::ffi::{c_int, c_void};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::core::LoopCore;
use crate::ffi::capsule::{self, Callback, Function, Given};
use crate::ffi::class::Instance;
use crate::ffi::object::Object;
use crate::sync::waiting;
use call::ExtensionCall;
use remote::Handle;
pub(crate) use remote::RemotePart;

/// The version of [`Api`].
const VERSION: u32 = 1;

/// What a function of the table says that has failed: an exception is set, unless the thread is not attached.
const FAILED: c_int = -1;

/// The functions; see the module. Those that take an object are called by attached threads, those of a loop by its own.
#[repr(C)]
struct Api {
    version: u32,
    /// Bytes of this table.
    size: u32,
    /// A handle of a loop of Ferrio's, to be freed; null with an exception for any other object.
    handle_new: extern "C" fn(Given<'_>) -> Option<Box<Handle>>,
    /// Another one. Any thread.
    handle_clone: extern "C" fn(Option<&Handle>) -> Option<Box<Handle>>,
    /// Frees a handle. Any thread.
    handle_free: extern "C" fn(Option<Box<Handle>>),
    /// Has the loop call the function with 1 in its next turn, and wakes it if it sleeps. Any thread, attached or not. 1 if the
    /// loop has taken it; 0 if it has closed, or if this is a forked child of its process.
    post: extern "C" fn(Option<&Handle>, Option<Function>, *mut c_void) -> c_int,
    /// A pending future of the loop, which a coroutine may yield to its task.
    waiter_new: extern "C" fn(Given<'_>) -> Option<Object>,
    /// Gives such a future the result `None`, unless it is done.
    waiter_wake: extern "C" fn(Given<'_>) -> c_int,
    /// Has the loop call the function with 1 once, so many seconds from now. An object that [`Api::stop`] takes.
    timer_start: extern "C" fn(Given<'_>, f64, Option<Function>, *mut c_void) -> Option<Object>,
    /// Takes a descriptor that the caller keeps open until [`Api::stop`]. An object for that, and for [`Api::watch_for`].
    watch_start: extern "C" fn(Given<'_>, c_int, Option<Function>, *mut c_void) -> Option<Object>,
    /// Has the loop call the watch's function once with the directions that are ready, of those that are asked for: 1 to read,
    /// 2 to write. Called after a system call of these directions has found nothing to do (`EAGAIN`), with no other in between.
    watch_for: extern "C" fn(Given<'_>, c_int) -> c_int,
    /// Ends a timer or a watch. Nothing happens if it has ended, or if its loop has closed.
    stop: extern "C" fn(Given<'_>) -> c_int,
}

#[expect(clippy::cast_possible_truncation, reason = "a dozen addresses")]
static API: Api = Api {
    version: VERSION,
    size: size_of::<Api>() as u32,
    handle_new,
    handle_clone,
    handle_free,
    post,
    waiter_new,
    waiter_wake,
    timer_start,
    watch_start,
    watch_for,
    stop,
};

extern "C" fn handle_new(event_loop: Given<'_>) -> Option<Box<Handle>> {
    capsule::called_with(event_loop, None, |py, event_loop| {
        Handle::new(py, expect(event_loop)?).map(Box::new).map(Some)
    })
}

extern "C" fn handle_clone(handle: Option<&Handle>) -> Option<Box<Handle>> {
    handle.map(|handle| Box::new(handle.clone()))
}

extern "C" fn handle_free(handle: Option<Box<Handle>>) {
    drop(handle);
}

extern "C" fn post(handle: Option<&Handle>, function: Option<Function>, data: *mut c_void) -> c_int {
    let Some(callback) = function.map(|function| Callback::new(function, data)) else { return 0 };
    handle.is_some_and(|handle| handle.post(callback)).into()
}

extern "C" fn waiter_new(event_loop: Given<'_>) -> Option<Object> {
    capsule::called_with(event_loop, None, |py, event_loop| {
        expect(event_loop)?;
        waiting::create_blocking(py, event_loop).map(Some)
    })
}

extern "C" fn waiter_wake(waiter: Given<'_>) -> c_int {
    capsule::called_with(waiter, FAILED, |py, waiter| {
        if !waiting::is_done(py, waiter)? {
            waiting::set_result(py, waiter, Object::none(py))?;
        }
        Ok(0)
    })
}

extern "C" fn timer_start(
    event_loop: Given<'_>,
    delay_s: f64,
    function: Option<Function>,
    data: *mut c_void,
) -> Option<Object> {
    let callback = function.map(|function| Callback::new(function, data))?;
    capsule::called_with(event_loop, None, |py, event_loop| {
        let event_loop = usable(event_loop)?;
        call::start_timer(py, event_loop, delay_s, callback).map(Some)
    })
}

extern "C" fn watch_start(
    event_loop: Given<'_>,
    fd: c_int,
    function: Option<Function>,
    data: *mut c_void,
) -> Option<Object> {
    let callback = function.map(|function| Callback::new(function, data))?;
    capsule::called_with(event_loop, None, |py, event_loop| {
        let event_loop = usable(event_loop)?;
        call::start_watch(py, event_loop, fd, callback).map(Some)
    })
}

extern "C" fn watch_for(watch: Given<'_>, directions: c_int) -> c_int {
    capsule::called_with(watch, FAILED, |py, watch| {
        let call = Instance::<ExtensionCall>::expect(py, watch)?;
        usable(call.event_loop.object())?;
        call.watch_for(py, directions).map(|()| 0)
    })
}

extern "C" fn stop(call: Given<'_>) -> c_int {
    capsule::called_with(call, FAILED, |py, call| {
        let call = Instance::<ExtensionCall>::expect(py, call)?;
        check_thread(&call.event_loop)?;
        call.stop(py);
        Ok(0)
    })
}

/// The loop, or `TypeError`.
fn expect(event_loop: &Object) -> PyResult<&Instance<LoopCore>> {
    Instance::of(event_loop).ok_or_else(|| PyTypeError::new_err("a loop of Ferrio's is required here"))
}

/// The loop, if it is one that can be used here and now.
fn usable(event_loop: &Object) -> PyResult<&Instance<LoopCore>> {
    let event_loop = expect(event_loop)?;
    event_loop.check_closed()?;
    check_thread(event_loop)?;
    Ok(event_loop)
}

/// `RuntimeError` on a thread other than that of a loop which runs.
fn check_thread(event_loop: &LoopCore) -> PyResult<()> {
    if event_loop.is_running() && !event_loop.is_own_thread() {
        let text = "Non-thread-safe operation invoked on an event loop other than the current one";
        return Err(PyRuntimeError::new_err(text));
    }
    Ok(())
}

/// Adds the capsule and the class of timers and watches to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    call::register(module)?;
    capsule::add(module, c"_C_API", c"ferrio._ferrio._C_API", &API)
}

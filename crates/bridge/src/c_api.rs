//! `ferrio._ferrio._C_API`: the functions by which a loop of Ferrio's serves an extension that was built apart from it.
//!
//! The table is declared as `crates/python/src/extension/mod.rs` has it. One of another version, or one that is smaller, is not
//! used: the loop is then served as any other loop of asyncio's.
//!
//! # Invariants
//! 1. The table's functions are those of its version: they say for each argument what it must be, and the methods here ask for
//!    that by their types.
//! 2. What is told is kept alive by the table until its function has heard the end.

use core::ffi::{CStr, c_int, c_void};
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::awaitable::panicked;

const NAME: &CStr = c"ferrio._ferrio._C_API";
const VERSION: u32 = 1;
/// What a function is told when its data is not used again.
const END: c_int = 0;

type Function = unsafe extern "C" fn(*mut c_void, c_int);

#[repr(C)]
struct Table {
    version: u32,
    size: u32,
    handle_new: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut c_void,
    handle_clone: unsafe extern "C" fn(*const c_void) -> *mut c_void,
    handle_free: unsafe extern "C" fn(*mut c_void),
    post: unsafe extern "C" fn(*const c_void, Function, *mut c_void) -> c_int,
    waiter_new: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
    waiter_wake: unsafe extern "C" fn(*mut ffi::PyObject) -> c_int,
    timer_start: unsafe extern "C" fn(*mut ffi::PyObject, f64, Function, *mut c_void) -> *mut ffi::PyObject,
    watch_start: unsafe extern "C" fn(*mut ffi::PyObject, c_int, Function, *mut c_void) -> *mut ffi::PyObject,
    watch_for: unsafe extern "C" fn(*mut ffi::PyObject, c_int) -> c_int,
    stop: unsafe extern "C" fn(*mut ffi::PyObject) -> c_int,
}

/// What a loop tells: on its own thread, attached. It ends on whatever thread lets go of it.
pub(crate) trait Told: Send + Sync + 'static {
    /// The news are those of the function that `self` was given to.
    fn told(self: &Arc<Self>, py: Python<'_>, news: c_int);
}

/// Tells the `T` at `data`.
///
/// # Safety
/// `data` came from `Arc::into_raw`, and was not told its end.
unsafe extern "C" fn tell<T: Told>(data: *mut c_void, news: c_int) {
    // SAFETY: this call has the reference that the table keeps, or at the end takes it over.
    let told = unsafe { Arc::from_raw(data.cast_const().cast::<T>()) };
    if news == END {
        // A panic in a destructor of the extension's.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(told)));
        return;
    }
    Python::attach(|py| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| told.told(py, news))) {
            panicked(panic.as_ref()).write_unraisable(py, None);
        }
    });
    // The table keeps it.
    let _ = Arc::into_raw(told);
}

/// The functions of the Ferrio that is loaded.
#[derive(Clone, Copy)]
pub(crate) struct Api(&'static Table);

/// The table, if this process has loaded a Ferrio that has it.
fn loaded(py: Python<'_>) -> Option<Api> {
    // Looked for where it is if a loop of Ferrio's runs; importing it for others would be for nothing.
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules")).ok()?;
    let module = modules.get_item("ferrio._ferrio").ok()?;
    let capsule = module.getattr("_C_API").ok()?.cast_into::<PyCapsule>().ok()?;
    let table = capsule.pointer_checked(Some(NAME)).ok()?;
    // SAFETY: the capsule of this name holds a table, of which every version begins with its version and its size.
    let [version, size] = unsafe { table.cast::<[u32; 2]>().read() };
    if version != VERSION || (size as usize) < size_of::<Table>() {
        return None;
    }
    // SAFETY: a whole table, which the module keeps for ever.
    Some(Api(unsafe { table.cast::<Table>().as_ref() }))
}

/// The object that a call gave, or its exception.
fn object(py: Python<'_>, given: *mut ffi::PyObject) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: every function of the table that gives an object gives a new reference, or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(py, given) }
}

fn status(py: Python<'_>, status: c_int) -> PyResult<()> {
    if status < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// A loop of Ferrio's, for any thread.
pub(crate) struct Handle {
    api: Api,
    address: NonNull<c_void>,
}

// SAFETY: the table's functions for handles may be called by any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The handle of `event_loop`, if that is a loop of a Ferrio with these functions.
    pub(crate) fn of(event_loop: &Bound<'_, PyAny>) -> Option<Self> {
        let py = event_loop.py();
        let api = loaded(py)?;
        // SAFETY: a live object (invariant 1).
        let address = NonNull::new(unsafe { (api.0.handle_new)(event_loop.as_ptr()) });
        if address.is_none() {
            drop(PyErr::take(py));
        }
        address.map(|address| Self { api, address })
    }

    pub(crate) const fn api(&self) -> Api {
        self.api
    }

    /// Has the loop tell `told` on its thread, in its next turn. Nothing happens once it has closed.
    pub(crate) fn post<T: Told>(&self, told: Arc<T>) {
        let data = Arc::into_raw(told).cast_mut().cast();
        // SAFETY: a handle that lives, a function and its data (invariants 1 and 2).
        unsafe { (self.api.0.post)(self.address.as_ptr(), tell::<T>, data) };
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this handle, which is not used again.
        unsafe { (self.api.0.handle_free)(self.address.as_ptr()) }
    }
}

impl Api {
    /// A pending future of `event_loop` to be yielded.
    pub(crate) fn waiter<'py>(self, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a live object (invariant 1).
        object(event_loop.py(), unsafe { (self.0.waiter_new)(event_loop.as_ptr()) })
    }

    /// Gives such a future its result, unless it is done.
    pub(crate) fn wake(self, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: a live object (invariant 1).
        status(waiter.py(), unsafe { (self.0.waiter_wake)(waiter.as_ptr()) })
    }

    /// Has `event_loop` tell `told` once, `delay_s` seconds from now.
    pub(crate) fn timer<'py, T: Told>(
        self,
        event_loop: &Bound<'py, PyAny>,
        delay_s: f64,
        told: Arc<T>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let data = Arc::into_raw(told).cast_mut().cast();
        // SAFETY: a live object, a function and its data (invariants 1 and 2).
        object(event_loop.py(), unsafe { (self.0.timer_start)(event_loop.as_ptr(), delay_s, tell::<T>, data) })
    }

    /// Has `event_loop` tell `told` of a descriptor, as [`Self::watch_for`] asks for it. It is open until [`Self::stop`].
    pub(crate) fn watch<'py, T: Told>(
        self,
        event_loop: &Bound<'py, PyAny>,
        fd: c_int,
        told: Arc<T>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let data = Arc::into_raw(told).cast_mut().cast();
        // SAFETY: as in `timer`.
        object(event_loop.py(), unsafe { (self.0.watch_start)(event_loop.as_ptr(), fd, tell::<T>, data) })
    }

    /// Has a watch tell once of a direction in which an attempt has just found nothing to do.
    pub(crate) fn watch_for(self, watch: &Bound<'_, PyAny>, direction: c_int) -> PyResult<()> {
        // SAFETY: a live object (invariant 1).
        status(watch.py(), unsafe { (self.0.watch_for)(watch.as_ptr(), direction) })
    }

    /// Ends a timer or a watch.
    pub(crate) fn stop(self, call: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: a live object (invariant 1).
        status(call.py(), unsafe { (self.0.stop)(call.as_ptr()) })
    }
}

//! How deep calls and deallocations go into one another: on the C stack, which overflows without an exception.
//!
//! # Calls
//! A native coroutine resumes another without a Python frame in between, and a native function calls whatever it finds in an
//! object's attributes, which may be another native function. [`enter`] asks CPython's own guard at each such level, and counts
//! the levels of a thread against `sys.getrecursionlimit()`, as the frames of Python's code are counted: what ends with
//! `RecursionError` in asyncio ends so here.
//!
//! # Deallocations
//! An object that is freed gives its references back, which may free the next one, and so on along a chain of any length.
//! From 3.14 on the interpreter bounds that for every type that the collector knows. Before, each type has to see to it
//! by itself: references that are the last ones are given back with [`release`], which postpones them from a certain
//! depth on until the outermost deallocation ends. A reference that is postponed is an ordinary one in the meantime.

use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ops::Deref;

use pyo3::exceptions::PyRecursionError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ffi::object::Object;

thread_local! {
    /// The levels of this thread's calls.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Levels for which there is room on any usual stack, however high a program sets the limit: before 3.14 CPython's guard
/// counts calls, whatever they take of the stack. A level of a build without optimisation takes up to 9 KiB.
const MOST_CALLS: Option<usize> = match (cfg!(Py_3_14), cfg!(debug_assertions)) {
    (true, _) => None,
    (false, true) => Some(600),
    (false, false) => Some(1000),
};

/// One level of a native call that may come to itself again; it ends when this is dropped.
pub(crate) struct Call(());

/// Enters a level.
///
/// # Errors
/// `RecursionError`: there are too many.
#[inline]
pub(crate) fn enter(py: Python<'_>) -> PyResult<Call> {
    let calls = CALLS.get();
    // SAFETY: the thread is attached.
    let limit = usize::try_from(unsafe { ffi::Py_GetRecursionLimit() }).unwrap_or(0);
    let is_too_deep = calls >= limit || MOST_CALLS.is_some_and(|most| calls >= most);
    if is_too_deep {
        return Err(PyRecursionError::new_err("maximum recursion depth exceeded"));
    }
    // SAFETY: the thread is attached; a failure has set the exception.
    if unsafe { ffi::Py_EnterRecursiveCall(c"".as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    CALLS.set(calls + 1);
    Ok(Call(()))
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.set(CALLS.get() - 1);
        // SAFETY: the level was entered by this thread, which is attached.
        unsafe { ffi::Py_LeaveRecursiveCall() };
    }
}

/// Gives a reference back in the course of a deallocation.
#[cfg(Py_3_14)]
#[inline]
pub(crate) fn release(object: Object) {
    drop(object);
}

#[cfg(not(Py_3_14))]
pub(crate) use chain::release;

#[cfg(not(Py_3_14))]
mod chain {
    use core::cell::Cell;
    use core::mem::ManuallyDrop;

    use pyo3::ffi;

    use crate::ffi::object::Object;

    /// As in CPython's own types.
    const DEEPEST: usize = 50;

    thread_local! {
        /// How many deallocations of this thread are within one another.
        static DEPTH: Cell<usize> = const { Cell::new(0) };
        /// What they have postponed; empty while there are none, so that nothing is left of it when the thread ends.
        static POSTPONED: Cell<ManuallyDrop<Vec<Object>>> = const { Cell::new(ManuallyDrop::new(Vec::new())) };
    }

    /// Gives a reference back in the course of a deallocation.
    #[inline]
    pub(crate) fn release(object: Object) {
        if is_link(&object) { release_link(object) } else { drop(object) }
    }

    /// Whether the object ends with this reference and may end others.
    #[inline]
    fn is_link(object: &Object) -> bool {
        // SAFETY: a live object.
        if unsafe { ffi::Py_REFCNT(object.as_ptr()) } != 1 {
            return false;
        }
        // SAFETY: a live object.
        let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
        // These two, which nearly every handle has, bound it by themselves: a context by its map.
        let is_bounded = class == &raw mut ffi::PyTuple_Type || class == &raw mut ffi::PyContext_Type;
        // By so many levels that the frames of a build without optimisation do not fit onto a stack.
        let is_bounded = is_bounded && !cfg!(debug_assertions);
        // SAFETY: a live type.
        !is_bounded && unsafe { ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HAVE_GC) } != 0
    }

    #[inline(never)]
    fn release_link(object: Object) {
        let depth = DEPTH.get();
        if depth >= DEEPEST {
            let mut postponed = take_postponed();
            postponed.push(object);
            POSTPONED.set(ManuallyDrop::new(postponed));
            return;
        }
        DEPTH.set(depth + 1);
        drop(object);
        if depth == 0 {
            release_postponed();
        }
        DEPTH.set(depth);
    }

    fn release_postponed() {
        loop {
            let mut postponed = take_postponed();
            let next = postponed.pop();
            if !postponed.is_empty() {
                POSTPONED.set(ManuallyDrop::new(postponed));
            }
            match next {
                Some(next) => drop(next),
                None => return,
            }
        }
    }

    fn take_postponed() -> Vec<Object> {
        ManuallyDrop::into_inner(POSTPONED.replace(ManuallyDrop::new(Vec::new())))
    }
}

/// A reference that is given back with [`release`].
pub(crate) struct Held(ManuallyDrop<Object>);

impl Held {
    pub(crate) fn new(object: Object) -> Self {
        Self(ManuallyDrop::new(object))
    }
}

impl Deref for Held {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: it is taken out here alone, and nobody looks at it any more.
        release(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}

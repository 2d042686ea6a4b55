//! Where the interpreter keeps the current context of a thread, and the variables of a context: an immutable mapping that
//! contexts share until one of them sets a variable.
//!
//! Neither is published. [`find`] looks for the two places when Ferrio is imported, in contexts of its own; where it does not
//! find exactly one of each, no two contexts are ever said to hold the same.
//!
//! # Invariant
//! What is read at these places is compared as a number. Only the current context is used as an address: to read the number of
//! its variables, and as the object that it is.

use core::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::c_api;
use super::object::Object;

/// Words that the state of a thread has in every supported version: 288 bytes.
const WORDS_OF_THREAD: usize = 36;

/// Words of an object's head: the count and the type.
const WORDS_OF_HEAD: usize = 2;

/// Offsets in words, 0 until they are known.
static CURRENT: AtomicUsize = AtomicUsize::new(0);
static VARIABLES: AtomicUsize = AtomicUsize::new(0);

/// One word of the calling thread's state.
///
/// # Safety
/// The thread is attached, and `index` is less than [`WORDS_OF_THREAD`].
#[inline]
unsafe fn word_of_thread(index: usize) -> usize {
    // SAFETY: the thread is attached, as the caller says.
    let state = unsafe { ffi::PyThreadState_Get() };
    // SAFETY: within the state, as the caller says.
    unsafe { state.cast::<usize>().wrapping_add(index).read() }
}

/// One word of a context.
///
/// # Safety
/// `context` is a live context, and `index` is less than the words that it has.
#[inline]
unsafe fn word_of_context(context: *mut ffi::PyObject, index: usize) -> usize {
    // SAFETY: within the object, as the caller says.
    unsafe { context.cast::<usize>().wrapping_add(index).read() }
}

/// The address of the variables of `context`; `None` where they are not known.
///
/// # Safety
/// `context` is a live context.
#[inline]
pub(super) unsafe fn variables_of(context: *mut ffi::PyObject) -> Option<usize> {
    let index = VARIABLES.load(Ordering::Relaxed);
    // SAFETY: an offset that was found within a context, as the caller says that this is one.
    (index != 0).then(|| unsafe { word_of_context(context, index) })
}

/// The address of the variables of the current context; `None` where they are not known, or the thread has none yet.
#[inline]
pub(super) fn current_variables(_py: Python<'_>) -> Option<usize> {
    let index = CURRENT.load(Ordering::Relaxed);
    if index == 0 {
        return None;
    }
    // SAFETY: the thread is attached; an offset that was found within its state.
    let current = unsafe { word_of_thread(index) } as *mut ffi::PyObject;
    // SAFETY: the thread's state owns the context at this place, or has null there (see `find`).
    if current.is_null() { None } else { unsafe { variables_of(current) } }
}

/// The current context of the thread whose state is at `thread_state`. `None`: it has none, there is no such thread in this
/// interpreter, or the place is not known.
pub(crate) fn context_of(py: Python<'_>, thread_state: usize) -> Option<Object> {
    let index = CURRENT.load(Ordering::Relaxed);
    if index == 0 || !is_live(py, thread_state) {
        return None;
    }
    // SAFETY: within a live state; whoever would change or free it has to be attached.
    let context = unsafe { (thread_state as *const usize).wrapping_add(index).read() } as *mut ffi::PyObject;
    // SAFETY: the state owns the context at this place, or has null there (see `find`).
    (!context.is_null()).then(|| unsafe { Object::from_borrowed(context) })
}

/// Whether a state of one of this interpreter's threads is at the address.
fn is_live(_py: Python<'_>, thread_state: usize) -> bool {
    // SAFETY: the thread is attached, so there is an interpreter.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: a live interpreter.
    let mut state = unsafe { ffi::PyInterpreterState_ThreadHead(interpreter) };
    while !state.is_null() && state as usize != thread_state {
        // SAFETY: a live state: with the GIL none of them is freed meanwhile.
        state = unsafe { ffi::PyThreadState_Next(state) };
    }
    !state.is_null()
}

/// The only index of those for which `fits` is true.
fn only(indices: core::ops::Range<usize>, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let mut found = indices.filter(|&index| fits(index));
    found.next().filter(|_| found.next().is_none())
}

/// A context that is entered, until this is dropped.
struct Entered<'a>(Python<'a>, &'a Object);

impl<'a> Entered<'a> {
    fn enter(py: Python<'a>, context: &'a Object) -> PyResult<Self> {
        c_api::status(py, c_api::PyContext_Enter(context.lend(py)))?;
        Ok(Self(py, context))
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // It was entered, and nothing since; an error, fetched, is cleared.
        let _ = c_api::status(self.0, c_api::PyContext_Exit(self.1.lend(self.0)));
    }
}

/// Looks the places up.
///
/// # Errors
/// Those of making contexts and a variable; the places are not known then.
pub(crate) fn find(py: Python<'_>) -> PyResult<()> {
    // SAFETY: the thread is attached.
    let new_context = || c_api::object(py, unsafe { c_api::PyContext_New() });
    let (empty, changed) = (new_context()?, new_context()?);
    // SAFETY: a name, and no default.
    let variable = c_api::object(py, unsafe { c_api::PyContextVar_New(c"ferrio".as_ptr(), None) })?;
    // Which words of the state show a context while it is entered.
    let shows = |context: &Object| -> PyResult<Vec<usize>> {
        let _entered = Entered::enter(py, context)?;
        // SAFETY: the thread is attached; an index within the state.
        let is_shown = |index: &usize| unsafe { word_of_thread(*index) } == context.address();
        Ok((0..WORDS_OF_THREAD).filter(is_shown).collect())
    };
    let (first, second) = (shows(&empty)?, shows(&changed)?);
    // SAFETY: the type of a live object.
    let class = unsafe { ffi::Py_TYPE(empty.as_ptr()) };
    // SAFETY: a live type.
    let bytes = unsafe { (*class).tp_basicsize }.unsigned_abs();
    let words_of = |context: &Object| -> Vec<usize> {
        // SAFETY: a live context, indices within it.
        (0..bytes / size_of::<usize>()).map(|index| unsafe { word_of_context(context.as_ptr(), index) }).collect()
    };
    let before = words_of(&changed);
    let copy = {
        let _entered = Entered::enter(py, &changed)?;
        let _token = c_api::object(py, c_api::PyContextVar_Set(variable.lend(py), variable.lend(py)))?;
        // SAFETY: the thread is attached.
        c_api::object(py, unsafe { c_api::PyContext_CopyCurrent() })?
    };
    let (empty, changed, copy) = (words_of(&empty), words_of(&changed), words_of(&copy));
    // What lies between fields may be anything, but setting a variable does not change it.
    let variables = only(WORDS_OF_HEAD..empty.len(), |index| {
        let now = changed[index];
        empty[index] != 0 && before[index] == empty[index] && now != before[index] && now == copy[index]
    });
    if let ([current], Some(variables)) = (&first[..], variables)
        && first == second
    {
        VARIABLES.store(variables, Ordering::Relaxed);
        CURRENT.store(*current, Ordering::Relaxed);
    }
    Ok(())
}

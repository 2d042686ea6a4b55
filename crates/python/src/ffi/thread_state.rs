//! The running task and the tasks of a thread, where the interpreter keeps them (3.14 on).
//!
//! `_asyncio` publishes, for debuggers and profilers, at which offsets of a thread's state and of a task they are: in the
//! section `.AsyncioDebug` of the file that holds the module. [`find`] reads that section when Ferrio is imported and
//! compares what it says with what `_asyncio` does; if either fails, tasks call `_asyncio`'s functions, which do the same.
//!
//! # Invariants
//! 1. The running task of a thread state is a strong reference or null.
//! 2. A task's node is in one circular list, or both of its links are null. Lists hold no references: a task leaves its
//!    list when it is done and at the latest when it is freed.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::future::check::SAMPLES;
use super::future::{NODE_OFFSET, TASK_BYTES, Task};
use super::object::Object;

/// A link of a list of tasks.
#[repr(C)]
struct Node {
    next: *mut Node,
    prev: *mut Node,
}

/// Offsets in a thread's state; meaningful when `KNOWN`.
static KNOWN: AtomicBool = AtomicBool::new(false);
static RUNNING_LOOP: AtomicUsize = AtomicUsize::new(0);
static RUNNING_TASK: AtomicUsize = AtomicUsize::new(0);
static TASKS_HEAD: AtomicUsize = AtomicUsize::new(0);

/// This thread's state.
#[derive(Clone, Copy)]
struct ThreadState(*mut ffi::PyThreadState);

impl ThreadState {
    #[inline]
    fn current() -> Self {
        // SAFETY: the thread is attached.
        Self(unsafe { ffi::PyThreadState_Get() })
    }

    /// The place at `offset`.
    #[inline]
    fn place<T>(self, offset: &AtomicUsize) -> *mut T {
        // SAFETY: the offset is that of a field of the struct, or 0 until the offsets are known.
        unsafe { self.0.byte_add(offset.load(Ordering::Relaxed)) }.cast()
    }

    /// The address at `offset`.
    #[inline]
    fn address(self, offset: &AtomicUsize) -> *mut ffi::PyObject {
        // SAFETY: a field of the state.
        unsafe { self.place::<*mut ffi::PyObject>(offset).read() }
    }

    /// The object at `offset`: the loop or the task.
    #[inline]
    fn object(self, offset: &AtomicUsize) -> Option<Object> {
        let address = self.address(offset);
        // SAFETY: the state keeps its loop and its task (invariant 1) alive; null for none.
        (!address.is_null()).then(|| unsafe { Object::from_borrowed(address) })
    }

    /// Whether `task` of `event_loop` is the running one.
    #[inline]
    fn runs(self, event_loop: *mut ffi::PyObject, task: *mut ffi::PyObject) -> bool {
        self.address(&RUNNING_LOOP) == event_loop && self.address(&RUNNING_TASK) == task
    }

    #[inline]
    fn set_running_task(self, task: *mut ffi::PyObject) {
        // SAFETY: a field of the state.
        unsafe { self.place::<*mut ffi::PyObject>(&RUNNING_TASK).write(task) };
    }
}

/// The address of this thread's state.
pub(crate) fn current_address(_py: Python<'_>) -> usize {
    ThreadState::current().0 as usize
}

/// Whether the offsets are known: what is said below to happen where they are then always happens.
#[inline]
pub(crate) fn is_known() -> bool {
    NODE_OFFSET.is_some() && KNOWN.load(Ordering::Relaxed)
}

/// The loop that runs in this thread. `None`: none does, or `_asyncio` is to be asked.
#[inline]
pub(crate) fn running_loop() -> Option<Object> {
    if is_known() { ThreadState::current().object(&RUNNING_LOOP) } else { None }
}

/// The task that runs in this thread. `None`: none does, or `_asyncio` is to be asked.
#[inline]
pub(crate) fn running_task() -> Option<Object> {
    if is_known() { ThreadState::current().object(&RUNNING_TASK) } else { None }
}

/// The running task of `event_loop`, if this thread runs that. `None`: `_asyncio` is to be asked.
#[inline]
pub(crate) fn running_task_of(event_loop: &Object) -> Option<Object> {
    if !is_known() {
        return None;
    }
    let state = ThreadState::current();
    if state.address(&RUNNING_LOOP) == event_loop.as_ptr() { state.object(&RUNNING_TASK) } else { None }
}

/// Makes `task` the running one. False: `_asyncio` is to be asked, which has the words for what is wrong.
#[inline]
pub(crate) fn enter(event_loop: &Object, task: &Task) -> bool {
    if !is_known() {
        return false;
    }
    let state = ThreadState::current();
    if !state.runs(event_loop.as_ptr(), null_mut()) {
        return false;
    }
    state.set_running_task(task.object().clone().into_ptr());
    true
}

/// The running task `task` pauses or ends. False: as for [`enter`].
#[inline]
pub(crate) fn leave(event_loop: &Object, task: &Task) -> bool {
    if !is_known() {
        return false;
    }
    let (state, address) = (ThreadState::current(), task.object().as_ptr());
    if !state.runs(event_loop.as_ptr(), address) {
        return false;
    }
    state.set_running_task(null_mut());
    // SAFETY: the reference that the state owned (invariant 1); the caller has another.
    unsafe { ffi::Py_DECREF(address) };
    true
}

/// Enters a task into this thread's list. False: `_asyncio` is to be asked.
#[inline]
pub(crate) fn register(task: &Task) -> bool {
    if !is_known() {
        return false;
    }
    let node = node_of(task);
    if !next_of(node).is_null() {
        return true;
    }
    let head: *mut Node = ThreadState::current().place(&TASKS_HEAD);
    let last = prev_of(head);
    // SAFETY: the task's own node.
    unsafe { node.write(Node { next: head, prev: last }) };
    set_next(last, node);
    set_prev(head, node);
    true
}

/// Takes a task out of its list. False: `_asyncio` is to be asked.
#[inline]
pub(crate) fn unregister(task: &Task) -> bool {
    if !is_known() {
        return false;
    }
    let node = node_of(task);
    let (next, prev) = (next_of(node), prev_of(node));
    if next.is_null() {
        return true;
    }
    set_next(prev, next);
    set_prev(next, prev);
    // SAFETY: the task's own node.
    unsafe { node.write(Node { next: null_mut(), prev: null_mut() }) };
    true
}

/// A task's own node. Where tasks have none, nothing is known of lists, and nobody asks.
fn node_of(task: &Task) -> *mut Node {
    // SAFETY: the offset of a field of the task.
    unsafe { task.object().as_ptr().byte_add(NODE_OFFSET.unwrap_or(0)) }.cast()
}

fn next_of(node: *const Node) -> *mut Node {
    // SAFETY: a node of a list (invariant 2), or a task's own.
    unsafe { (*node).next }
}

fn prev_of(node: *const Node) -> *mut Node {
    // SAFETY: as above.
    unsafe { (*node).prev }
}

fn set_next(node: *mut Node, next: *mut Node) {
    // SAFETY: as above.
    unsafe { (*node).next = next };
}

fn set_prev(node: *mut Node, prev: *mut Node) {
    // SAFETY: as above.
    unsafe { (*node).prev = prev };
}

/// The published offsets: thirteen numbers of eight bytes.
struct Published([u64; 13]);

impl Published {
    fn task_size(&self) -> Option<usize> {
        usize::try_from(self.0[0]).ok()
    }

    fn task_node(&self) -> Option<usize> {
        usize::try_from(self.0[6]).ok()
    }

    fn thread_size(&self) -> Option<usize> {
        usize::try_from(self.0[9]).ok()
    }

    /// Running loop, running task, head of the list of tasks.
    fn in_thread(&self) -> Option<[usize; 3]> {
        let [found @ .., _] = [self.0[10], self.0[11], self.0[12], 0];
        let size = self.thread_size()?;
        let found = found.map(|offset| usize::try_from(offset).unwrap_or(usize::MAX));
        let fits = |&offset: &usize| offset % align_of::<*mut c_void>() == 0 && offset.saturating_add(16) <= size;
        found.iter().all(fits).then_some(found)
    }
}

/// Looks the offsets up and tries them.
pub(crate) fn find(py: Python<'_>) {
    if NODE_OFFSET.is_none() {
        return;
    }
    // Whatever goes wrong, `_asyncio`'s functions remain.
    if let Ok(Some(found)) = published(py)
        && found.task_size() == Some(TASK_BYTES)
        && found.task_node() == NODE_OFFSET
    {
        let _ = try_out(py, &found);
    }
}

/// Compares what the offsets show with what `_asyncio` does.
fn try_out(py: Python<'_>, found: &Published) -> PyResult<()> {
    let Some([running_loop, running_task, tasks_head]) = found.in_thread() else { return Ok(()) };
    RUNNING_LOOP.store(running_loop, Ordering::Relaxed);
    RUNNING_TASK.store(running_task, Ordering::Relaxed);
    TASKS_HEAD.store(tasks_head, Ordering::Relaxed);
    let asyncio = py.import("_asyncio")?;
    let around = asyncio.call_method0("_get_running_loop")?;
    if !around.is_none() {
        // Imported within a running loop: its thread's state is not to be touched.
        KNOWN.store(ThreadState::current().address(&RUNNING_LOOP) == around.as_ptr(), Ordering::Relaxed);
        return Ok(());
    }
    if !ThreadState::current().runs(null_mut(), null_mut()) {
        return Ok(());
    }
    let made = py.import(SAMPLES)?.call_method1("of_a_running_task", (asyncio.getattr("Task")?,))?;
    let names = made.cast_into::<PyDict>()?;
    let outcome = try_sample(py, &asyncio, &names);
    // The task would stay in `all_tasks()` as long as the sample.
    names.clear();
    outcome
}

fn try_sample(py: Python<'_>, asyncio: &Bound<'_, PyModule>, names: &Bound<'_, PyDict>) -> PyResult<()> {
    let (event_loop, task) = (names.as_any().get_item("loop")?, names.as_any().get_item("task")?);
    asyncio.call_method1("_set_running_loop", (&event_loop,))?;
    let entered = asyncio.call_method1("_enter_task", (&event_loop, &task));
    let shown = ThreadState::current().runs(event_loop.as_ptr(), task.as_ptr());
    let left = entered.and_then(|_| asyncio.call_method1("_leave_task", (&event_loop, &task)));
    asyncio.call_method1("_set_running_loop", (py.None(),))?;
    left?;
    // The newest task is the last of the list.
    let last = prev_of(ThreadState::current().place(&TASKS_HEAD));
    KNOWN.store(
        shown && NODE_OFFSET.is_some_and(|offset| last == task.as_ptr().wrapping_byte_add(offset).cast()),
        Ordering::Relaxed,
    );
    Ok(())
}

/// Reads the section `.AsyncioDebug`: of the module's own file, of the interpreter when the module is built in.
fn published(py: Python<'_>) -> PyResult<Option<Published>> {
    let read = |path: &Path| section(&File::open(path).ok()?);
    if let Some(file) = py.import("_asyncio")?.getattr_opt("__file__")? {
        return Ok(read(&file.extract::<PathBuf>()?));
    }
    if let Some(found) = read(Path::new("/proc/self/exe")) {
        return Ok(Some(found));
    }
    Ok(library_of_the_interpreter(py)?.and_then(|library| read(&library)))
}

/// The shared library that the executable may be a shell for. `sysconfig` takes long to import.
fn library_of_the_interpreter(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    let variable = |name: &str| -> PyResult<Option<PathBuf>> {
        Ok(py.import("sysconfig")?.call_method1("get_config_var", (name,))?.extract().unwrap_or_default())
    };
    Ok(variable("LIBDIR")?.zip(variable("INSTSONAME")?).map(|(folder, library)| folder.join(library)))
}

/// The numbers of the section `.AsyncioDebug` of a 64-bit, little-endian ELF file, of which only the tables are read: an
/// interpreter that `_asyncio` is built into has tens of megabytes.
fn section(file: &File) -> Option<Published> {
    const NAME: &[u8] = b".AsyncioDebug\0";
    let start = part(file, 0, 0x40)?;
    if start.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (size, count, names) = (number(&start, 0x3a, 2)?, number(&start, 0x3c, 2)?, number(&start, 0x3e, 2)?);
    let headers = part(file, number(&start, 0x28, 8)?, size.checked_mul(count)?)?;
    let place = |header: usize| Some((number(&headers, header + 0x18, 8)?, number(&headers, header + 0x20, 8)?));
    let (begin, bytes) = place(names * size)?;
    let names = part(file, begin, bytes)?;
    for header in (0..count).map(|index| index * size) {
        if names.get(number(&headers, header, 4)?..)?.starts_with(NAME) {
            let (begin, bytes) = place(header)?;
            let mut numbers = [0; 13];
            if bytes != size_of_val(&numbers) {
                return None;
            }
            for (place, chunk) in numbers.iter_mut().zip(part(file, begin, bytes)?.chunks_exact(8)) {
                *place = u64::from_le_bytes(chunk.try_into().ok()?);
            }
            return Some(Published(numbers));
        }
    }
    None
}

/// `bytes` bytes of a file from `begin` on; `None` too for more than tables have.
fn part(file: &File, begin: usize, bytes: usize) -> Option<Vec<u8>> {
    const MOST: usize = 1 << 20;
    let mut found = vec![0; (bytes <= MOST).then_some(bytes)?];
    file.read_exact_at(&mut found, u64::try_from(begin).ok()?).ok()?;
    Some(found)
}

/// The little-endian number of `bytes` bytes at `offset`.
fn number(file: &[u8], offset: usize, bytes: usize) -> Option<usize> {
    let found = file.get(offset..offset.checked_add(bytes)?)?;
    let mut whole = [0; 8];
    whole[..bytes].copy_from_slice(found);
    usize::try_from(u64::from_le_bytes(whole)).ok()
}

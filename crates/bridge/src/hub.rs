//! Wakers, and the way from any thread into one event loop.
//!
//! A waker on the loop's own thread sets the result of the future that the task waits for; called within a poll, it waits
//! until the poll has returned, because Python code must not run under whatever locks its caller holds. On another thread a
//! waker appends to the hub's inbox and writes to an eventfd that the loop reads from, without the interpreter's lock.
//!
//! # Invariants
//! 1. A waiter is stored, taken and resolved on the loop's thread only.
//! 2. After `Inbox::close` nothing is appended, so an inbox and its wakers do not keep each other alive.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use rustix::event::{EventfdFlags, eventfd};

use crate::thread_bound::thread_number;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What other threads woke for one loop.
pub(crate) struct Inbox {
    thread: u64,
    process: u32,
    /// Nothing once the loop reads no more.
    woken: Mutex<Option<Vec<Arc<Waking>>>>,
    bell: OwnedFd,
}

impl Inbox {
    fn post(&self, waking: &Arc<Waking>) {
        // A forked child shares the eventfd with its parent.
        if std::process::id() != self.process {
            return;
        }
        let was_empty = match &mut *locked(&self.woken) {
            None => return,
            Some(list) => {
                list.push(Arc::clone(waking));
                list.len() == 1
            }
        };
        if was_empty {
            // It can only fail when the counter is full, and then the loop is about to read it.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    fn close(&self) {
        let list = locked(&self.woken).take();
        drop(list);
    }
}

/// What the loop calls when the eventfd is readable. The loop owns it; with it ends the inbox.
#[pyclass(frozen, module = "ferrio_pyo3")]
struct InboxReader(Arc<Inbox>);

#[pymethods]
impl InboxReader {
    fn __call__(&self, py: Python<'_>) {
        let _ = rustix::io::read(&self.0.bell, &mut [0_u8; 8]);
        let list = locked(&self.0.woken).as_mut().map(core::mem::take);
        for waking in list.into_iter().flatten() {
            waking.resolve(py);
        }
    }
}

impl Drop for InboxReader {
    fn drop(&mut self) {
        self.0.close();
    }
}

thread_local! {
    static INBOXES: RefCell<Vec<(Py<PyWeakrefReference>, Arc<Inbox>)>> = const { RefCell::new(Vec::new()) };
    static POLLS: Cell<usize> = const { Cell::new(0) };
    static WOKEN_IN_POLL: RefCell<Vec<Arc<Waking>>> = const { RefCell::new(Vec::new()) };
}

/// The inbox of a loop that runs on this thread, made and registered when it is first asked for.
fn inbox_of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Inbox>> {
    let py = event_loop.py();
    let process = std::process::id();
    // References are compared with the list not borrowed, because to drop one can run Python code.
    let known = INBOXES.with_borrow(|list| {
        list.iter().map(|(reference, inbox)| (reference.clone_ref(py), Arc::clone(inbox))).collect::<Vec<_>>()
    });
    for (reference, inbox) in &known {
        if inbox.process == process && reference.bind(py).upgrade().is_some_and(|known| known.is(event_loop)) {
            return Ok(Arc::clone(inbox));
        }
    }
    let reference = PyWeakrefReference::new(event_loop)?.unbind();
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| pyo3::exceptions::PyOSError::new_err((errno.raw_os_error(), "eventfd")))?;
    let inbox = Arc::new(Inbox { thread: thread_number(), process, woken: Mutex::new(Some(Vec::new())), bell });
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&inbox.bell);
    event_loop.call_method1("add_reader", (descriptor, Bound::new(py, InboxReader(Arc::clone(&inbox)))?))?;
    let gone = INBOXES.with_borrow_mut(|list| {
        let (kept, gone) = core::mem::take(list)
            .into_iter()
            .partition::<Vec<_>, _>(|(reference, _)| reference.bind(py).upgrade().is_some());
        *list = kept;
        list.push((reference, Arc::clone(&inbox)));
        gone
    });
    drop(gone);
    Ok(inbox)
}

/// One awaited Rust future: what its wakers share.
pub(crate) struct Waking {
    inbox: Arc<Inbox>,
    /// Set by the first wake since the last poll began.
    woken: AtomicBool,
    waiter: Mutex<Option<Py<PyAny>>>,
}

impl Waking {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let inbox = inbox_of(event_loop)?;
        Ok(Arc::new(Self { inbox, woken: AtomicBool::new(false), waiter: Mutex::new(None) }))
    }

    pub(crate) fn begin_poll(&self) {
        self.woken.store(false, Ordering::Release);
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Keeps what the task waits for; a waiter from before is dropped.
    pub(crate) fn wait_by(&self, waiter: Option<Py<PyAny>>) {
        let before = core::mem::replace(&mut *locked(&self.waiter), waiter);
        drop(before);
    }

    fn resolve(&self, py: Python<'_>) {
        let Some(waiter) = locked(&self.waiter).take() else { return };
        let waiter = waiter.into_bound(py);
        let resolved = (|| -> PyResult<()> {
            if !waiter.call_method0("done")?.is_truthy()? {
                waiter.call_method1("set_result", (py.None(),))?;
            }
            Ok(())
        })();
        if let Err(error) = resolved {
            let closed = waiter.call_method0("get_loop").and_then(|l| l.call_method0("is_closed")?.is_truthy());
            if !closed.unwrap_or(false) {
                error.write_unraisable(py, Some(&waiter));
            }
        }
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.inbox.thread != thread_number() {
            self.inbox.post(self);
        } else if POLLS.get() > 0 {
            WOKEN_IN_POLL.with_borrow_mut(|list| list.push(Arc::clone(self)));
        } else if is_attached() {
            Python::attach(|py| self.resolve(py));
        } else {
            self.inbox.post(self);
        }
    }
}

/// Whether this thread holds the interpreter's lock of an interpreter that lives.
fn is_attached() -> bool {
    // SAFETY: it may be called at any time, on any thread.
    let lives = unsafe { pyo3::ffi::Py_IsInitialized() } != 0;
    // SAFETY: the interpreter is initialised, so the state that is asked for exists.
    lives && unsafe { pyo3::ffi::PyGILState_Check() } != 0
}

/// Runs `poll`; the futures that it wakes on this thread are scheduled after it.
pub(crate) fn polling<R>(py: Python<'_>, poll: impl FnOnce() -> R) -> R {
    // Also when `poll` panics.
    struct Polling<'py>(Python<'py>);
    impl Drop for Polling<'_> {
        fn drop(&mut self) {
            POLLS.set(POLLS.get() - 1);
            if POLLS.get() == 0 {
                for waking in WOKEN_IN_POLL.take() {
                    waking.resolve(self.0);
                }
            }
        }
    }
    POLLS.set(POLLS.get() + 1);
    let _polling = Polling(py);
    poll()
}

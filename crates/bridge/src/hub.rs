//! Wakers, and the way from any thread into one event loop.
//!
//! A waker on the loop's own thread sets the result of the future that the task waits for; called within a poll, it waits
//! until the poll has returned, because Python code must not run under whatever locks its caller holds. On another thread a
//! waker goes through the loop's [`Door`], without the interpreter's lock.
//!
//! # Invariants
//! 1. A waiter is stored, taken and resolved on the loop's thread only.

use core::cell::{Cell, RefCell};
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Wake;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::bell::Inbox;
use crate::c_api::{Api, Handle, Told};
use crate::thread_bound::thread_number;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a loop is entered from other threads.
enum Door {
    /// Ferrio's own queue.
    Ferrio(Handle),
    Bell(Arc<Inbox>),
}

/// What the wakers of one loop share.
pub(crate) struct Hub {
    process: u32,
    door: Door,
}

impl Hub {
    fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let door = match Handle::of(event_loop) {
            Some(handle) => Door::Ferrio(handle),
            None => Door::Bell(Inbox::new(event_loop)?),
        };
        Ok(Self { process: std::process::id(), door })
    }

    /// Ferrio's functions, if the loop is Ferrio's.
    pub(crate) fn api(&self) -> Option<Api> {
        match &self.door {
            Door::Ferrio(handle) => Some(handle.api()),
            Door::Bell(_) => None,
        }
    }
}

/// A loop that runs on this thread, by its address; the reference tells whether it is still that one.
struct Known {
    address: usize,
    reference: Py<PyWeakrefReference>,
    hub: Arc<Hub>,
}

/// The polls that this thread is in.
struct Polls {
    depth: Cell<usize>,
    /// `WOKEN_IN_POLL` is not empty.
    has_woken: Cell<bool>,
}

thread_local! {
    static HUBS: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
    static POLLS: Polls = const { Polls { depth: Cell::new(0), has_woken: Cell::new(false) } };
    static WOKEN_IN_POLL: RefCell<Vec<Arc<Waking>>> = const { RefCell::new(Vec::new()) };
}

/// The hub of a loop that runs on this thread, made when it is first asked for.
pub(crate) fn hub_of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Hub>> {
    let py = event_loop.py();
    let address = event_loop.as_ptr() as usize;
    // Looked at with the list not borrowed, because to drop a reference can run Python code.
    let known = HUBS.with_borrow(|list| {
        let known = list.iter().find(|known| known.address == address);
        known.map(|known| (known.reference.clone_ref(py), Arc::clone(&known.hub)))
    });
    if let Some((reference, hub)) = known
        && hub.process == std::process::id()
        && reference.bind(py).upgrade().is_some()
    {
        return Ok(hub);
    }
    let reference = PyWeakrefReference::new(event_loop)?.unbind();
    let hub = Arc::new(Hub::new(event_loop)?);
    let gone = HUBS.with_borrow_mut(|list| {
        let (kept, gone) = core::mem::take(list)
            .into_iter()
            .partition::<Vec<_>, _>(|known| known.address != address && known.reference.bind(py).upgrade().is_some());
        *list = kept;
        list.push(Known { address, reference, hub: Arc::clone(&hub) });
        gone
    });
    drop(gone);
    Ok(hub)
}

/// One awaited Rust future: what its wakers share.
pub(crate) struct Waking {
    thread: u64,
    /// That of the loop; nothing before the future has been pending once, for until then a wake is seen by who polls.
    hub: OnceLock<Arc<Hub>>,
    /// Set by the first wake since the last poll began.
    woken: AtomicBool,
    waiter: Mutex<Option<Py<PyAny>>>,
}

impl Waking {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: thread_number(),
            hub: OnceLock::new(),
            woken: AtomicBool::new(false),
            waiter: Mutex::new(None),
        })
    }

    pub(crate) fn begin_poll(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// What the task is given to wait for: `None` if the future was woken within the poll, for then its turn comes again.
    pub(crate) fn new_waiter<'py>(&self, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = event_loop.py();
        let hub = if let Some(hub) = self.hub.get() {
            hub
        } else {
            let hub = hub_of(event_loop)?;
            let hub = self.hub.get_or_init(|| hub);
            // With that of `wake_by_ref`: a wake that finds no hub is seen here.
            fence(Ordering::SeqCst);
            hub
        };
        if self.woken.load(Ordering::Acquire) {
            return Ok(py.None().into_bound(py));
        }
        let waiter = if let Some(api) = hub.api() {
            api.waiter(event_loop)?
        } else {
            let waiter = event_loop.call_method0(intern!(py, "create_future"))?;
            waiter.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
            waiter
        };
        self.wait_by(Some(waiter.clone().unbind()));
        Ok(waiter)
    }

    /// Keeps what the task waits for; a waiter from before is dropped.
    pub(crate) fn wait_by(&self, waiter: Option<Py<PyAny>>) {
        let before = core::mem::replace(&mut *locked(&self.waiter), waiter);
        drop(before);
    }

    pub(crate) fn resolve(&self, py: Python<'_>) {
        let Some(waiter) = locked(&self.waiter).take() else { return };
        let waiter = waiter.into_bound(py);
        let resolved = match self.hub.get().and_then(|hub| hub.api()) {
            Some(api) => api.wake(&waiter),
            None => set_result(&waiter),
        };
        if let Err(error) = resolved {
            let closed = waiter.call_method0("get_loop").and_then(|l| l.call_method0("is_closed")?.is_truthy());
            if !closed.unwrap_or(false) {
                error.write_unraisable(py, Some(&waiter));
            }
        }
    }

    fn post(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        match self.hub.get().map(|hub| &hub.door) {
            Some(Door::Ferrio(handle)) => handle.post(Arc::clone(self)),
            Some(Door::Bell(inbox)) => inbox.post(self),
            None => {}
        }
    }
}

fn set_result(waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = waiter.py();
    if !waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
        waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

impl Told for Waking {
    fn told(self: &Arc<Self>, py: Python<'_>, _news: c_int) {
        self.resolve(py);
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
        if self.thread != thread_number() {
            self.post();
        } else if POLLS.with(|polls| polls.depth.get()) > 0 {
            POLLS.with(|polls| polls.has_woken.set(true));
            WOKEN_IN_POLL.with_borrow_mut(|list| list.push(Arc::clone(self)));
        } else if is_attached() {
            Python::attach(|py| self.resolve(py));
        } else {
            self.post();
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
            let is_last = POLLS.with(|polls| {
                polls.depth.set(polls.depth.get() - 1);
                polls.depth.get() == 0 && polls.has_woken.replace(false)
            });
            if is_last {
                for waking in WOKEN_IN_POLL.take() {
                    waking.resolve(self.0);
                }
            }
        }
    }
    POLLS.with(|polls| polls.depth.set(polls.depth.get() + 1));
    let _polling = Polling(py);
    poll()
}

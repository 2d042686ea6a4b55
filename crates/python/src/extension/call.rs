//! Timers and watched descriptors of extensions: an object for each, which the extension and the loop have.
//!
//! # Invariants
//! 1. While the extension's function runs it is not in its cell, so that whoever ends the timer or the watch meanwhile does not
//!    end the data under it.
//! 2. A watch hears of what was asked for once, and is told nothing before it asks again.

use core::ffi::c_int;

use ferrio_engine::backend::{Backend, Interest, Key, Usage};
use ferrio_engine::time::Nanos;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyFloat;
use rustix::io::Errno;

use crate::core::{Entry, LoopCore, Operations, RunReady, Source, Timer, TimerOperations};
use crate::ffi::capsule::Callback;
use crate::ffi::cell::{Plain, Takeable};
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::descriptor;
use crate::ffi::errors::os_error;
use crate::ffi::fields::native_state;
use crate::ffi::object::Object;

/// What a timer's function is told.
const DUE: c_int = 1;

native_state! {
    /// See the module.
    pub(crate) struct ExtensionCall {
        pub(super) event_loop: Instance<LoopCore>,
        callback: Takeable<Callback>,
        /// The watch's key; none for a timer.
        key: Plain<Option<Key>>,
        /// The timer stands among the loop's timers.
        is_pending: Plain<bool>,
        has_ended: Plain<bool>,
    }
}

class_over_object! {
    ExtensionCall, c"ferrio._ferrio.ExtensionCall",
    c"A timer or a watched descriptor of an extension that uses _C_API.";
}

static TIMER: TimerOperations = TimerOperations {
    is_cancelled: |timer| of(&timer.object).is_none_or(|call| call.has_ended.get()),
    due: |timer, _| {
        if let Some(call) = of(&timer.object) {
            call.is_pending.set(false);
        }
        Entry::call(&TIMER_DUE, timer.object)
    },
    handle: |_| None,
    on_release: None,
};

static TIMER_DUE: Operations = Operations {
    run: |py, _, object, _| {
        if let Some(call) = of(&object) {
            call.tell(py, DUE);
            call.stop(py);
        }
        Ok(())
    },
    handle: None,
    on_stop: None,
    context: None,
    coroutine: None,
};

const WATCH_READY: RunReady = |py, core, object, key, ready| {
    let call = object.as_ref().and_then(of);
    let asked = core.with_reactor(py, |reactor| {
        let asked = reactor.backend.watched(key);
        // Less is always possible for a descriptor that is open.
        let _ = reactor.backend.watch(key, asked & !ready);
        asked
    });
    let news = asked & ready;
    if let Some(call) = call
        && !news.is_none()
    {
        call.tell(py, news.bits().into());
    }
    Ok(())
};

fn of(object: &Object) -> Option<&Instance<ExtensionCall>> {
    Instance::of(object)
}

fn make(py: Python<'_>, event_loop: &Instance<LoopCore>, callback: Callback) -> PyResult<Instance<ExtensionCall>> {
    let call = ExtensionCall {
        event_loop: event_loop.clone(),
        callback: Takeable::new(callback),
        key: Plain::new(None),
        is_pending: Plain::new(false),
        has_ended: Plain::new(false),
    };
    Instance::create(py, call)
}

/// Has `callback` told once, `delay_s` seconds from now.
///
/// # Errors
/// `ValueError` for a delay that is no number; what the program's clock raises.
pub(super) fn start_timer(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    delay_s: f64,
    callback: Callback,
) -> PyResult<Object> {
    if delay_s.is_nan() {
        return Err(PyValueError::new_err("Invalid delay: NaN (not a number)"));
    }
    let call = make(py, event_loop, callback)?;
    let delay = Object::new(PyFloat::new(py, delay_s));
    let (when_s, _) = event_loop.deadline(py, Some(&delay))?;
    call.is_pending.set(true);
    let timer = Timer::new(&TIMER, call.object().clone());
    event_loop.with_reactor(py, |reactor| reactor.timers.push(Nanos::from_secs_f64_ceil(when_s), timer));
    Ok(call.into_object())
}

/// Has `callback` told of a descriptor, as [`ExtensionCall::watch_for`] asks for it.
///
/// # Errors
/// The `OSError` of a number that is not open, or of memory that has run out.
pub(super) fn start_watch(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    fd: c_int,
    callback: Callback,
) -> PyResult<Object> {
    let bad = || PyOSError::new_err((Errno::BADF.raw_os_error(), "Bad file descriptor"));
    let descriptor = descriptor::borrow(fd).ok_or_else(bad)?;
    let call = make(py, event_loop, callback)?;
    let source = Source::Object { run: WATCH_READY, object: Some(call.object().clone()) };
    call.key.set(Some(event_loop.attach(py, source, descriptor, Usage::Attempts)?));
    Ok(call.into_object())
}

impl Instance<ExtensionCall> {
    /// Tells the extension's function.
    fn tell(&self, py: Python<'_>, news: c_int) {
        let Some(callback) = self.callback.take() else { return };
        callback.call(py, news);
        if self.has_ended.get() {
            drop(callback);
        } else {
            self.callback.put(callback);
        }
    }

    /// Watches the directions as well.
    ///
    /// # Errors
    /// `ValueError`: this is no watch, or one that has ended, or there is no such direction. The `OSError` of a descriptor that
    /// has been closed or cannot be watched.
    pub(super) fn watch_for(&self, py: Python<'_>, directions: c_int) -> PyResult<()> {
        let asked = match directions {
            1 => Interest::READ,
            2 => Interest::WRITE,
            3 => Interest::BOTH,
            _ => return Err(PyValueError::new_err("the directions are 1 to read, 2 to write, or both")),
        };
        let key = self.key.get().ok_or_else(|| PyValueError::new_err("it watches nothing"))?;
        let watched = self.event_loop.with_reactor(py, |reactor| {
            if asked.reads() {
                reactor.backend.refused(key);
            }
            let watched = reactor.backend.watched(key);
            reactor.backend.watch(key, watched | asked)
        });
        watched.map_err(|error| os_error(py, error))
    }

    /// Ends it.
    pub(super) fn stop(&self, py: Python<'_>) {
        if self.has_ended.replace(true) {
            return;
        }
        let core = &self.event_loop;
        if !core.flags.closed.get() {
            if let Some(key) = self.key.get() {
                core.detach(py, key);
            }
            if self.is_pending.replace(false) {
                core.note_cancelled_timer(py);
            }
        }
        self.key.set(None);
        drop(self.callback.take());
    }
}

/// Makes the class and adds it to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = Builder::<Instance<ExtensionCall>>::new().build_over_object(module.py())?;
    module.add("ExtensionCall", class)
}

//! What a turn runs: the entries of the ready queue.
//!
//! An entry is data with static operations: [`Operations`] say how an object is run, what a program is shown for it, and what
//! is to be done when nobody runs the loop any more. Rooms above define one static for each kind of entry.

use ferrio_engine::backend::{Interest, Key};
use ferrio_engine::reactor::Work;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use super::exit::Exit;
use super::loop_core::LoopCore;
use super::source::Source;
use super::timer::Timer;
use crate::ffi::capsule::Callback;
use crate::ffi::context::Context;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::future::Task;
use crate::ffi::handle::Detached;
use crate::ffi::names::names;
use crate::ffi::object::Object;

/// How entries of one kind are run.
pub(crate) struct Operations {
    /// Runs an entry.
    pub(crate) run: Run,
    /// The handle that stands for the entry where a program looks at the loop's queue (the loop, the object, the argument).
    /// `None`: asyncio has no handle at this place either.
    pub(crate) handle: Option<ShownAs>,
    /// The loop stops turning, and may become garbage with the entry.
    pub(crate) on_stop: Option<fn(&Object)>,
    /// The context that running it enters. `None`: none that others could have entered.
    pub(crate) context: Option<fn(&Object) -> Option<Object>>,
    /// The coroutine that is run. `None`: it is none.
    pub(crate) coroutine: Option<fn(Python<'_>, &Object) -> Option<Object>>,
}

/// Runs an entry (the loop, the object, the argument).
pub(crate) type Run = fn(Python<'_>, &LoopCore, Object, Option<Object>) -> Result<(), Exit>;

/// Runs a callback that waits without a handle.
pub(crate) type RunDetached = fn(Python<'_>, &LoopCore, &Detached) -> Result<(), Exit>;

/// Makes the handle that a program is shown for an entry.
pub(crate) type ShownAs = fn(Python<'_>, &Object, &Object, Option<&Object>) -> PyResult<Object>;

/// An entry that is more than an object and an argument.
pub(crate) trait Deferred: Send + Sync {
    fn run(self: Box<Self>, py: Python<'_>, core: &LoopCore) -> Result<(), Exit>;

    /// Shows what the entry holds to the collector.
    fn visit(&self, collector: &Collector) -> Visited;
}

/// One entry of the ready queue.
pub(crate) enum Entry {
    /// An object that is run by the operations of its kind.
    Call {
        operations: &'static Operations,
        object: Object,
        argument: Option<Object>,
    },
    /// A callback without a handle, which holds its context itself. It is run by a hook: there is no room for operations.
    Detached(Detached),
    Event(Event),
}

/// An entry without an object.
pub(crate) enum Event {
    /// A source has news. Its key may have ended since.
    Ready { key: Key, ready: Interest },
    /// A function of an extension, posted from any thread.
    External(Callback),
    /// Something larger, which runs once. Behind two boxes, so that all entries are small.
    Deferred(Box<Box<dyn Deferred>>),
}

// A queue of a million entries is a table of their size.
const _: () = assert!(size_of::<Entry>() <= 32);

impl Entry {
    /// An entry without an argument.
    #[inline]
    pub(crate) const fn call(operations: &'static Operations, object: Object) -> Self {
        Self::with_argument(operations, object, None)
    }

    /// An entry with an argument, or none.
    #[inline]
    pub(crate) const fn with_argument(
        operations: &'static Operations,
        object: Object,
        argument: Option<Object>,
    ) -> Self {
        Self::Call { operations, object, argument }
    }

    #[inline]
    pub(crate) const fn ready(key: Key, ready: Interest) -> Self {
        Self::Event(Event::Ready { key, ready })
    }

    pub(crate) const fn external(callback: Callback) -> Self {
        Self::Event(Event::External(callback))
    }

    pub(crate) fn deferred(deferred: impl Deferred + 'static) -> Self {
        Self::Event(Event::Deferred(Box::new(Box::new(deferred))))
    }

    /// The entry is run soon.
    #[inline]
    pub(super) fn prefetch(&self) {
        if let Self::Call { object, .. } | Self::Detached(Detached { callback: object, .. }) = self {
            object.prefetch();
        }
    }

    /// Whether it would enter a context that is entered already.
    pub(super) fn is_kept_out(&self, py: Python<'_>) -> bool {
        let Self::Call { operations: Operations { context: Some(context), .. }, object, .. } = self else {
            return false;
        };
        let context = context(object);
        context.as_ref().and_then(Context::of).is_some_and(|context| context.is_entered(py))
    }

    /// The coroutine that is run, if it is one.
    pub(super) fn coroutine(&self, py: Python<'_>) -> Option<Object> {
        match self {
            Self::Call { operations: Operations { coroutine: Some(coroutine), .. }, object, .. } => {
                coroutine(py, object)
            }
            Self::Detached(Detached { callback, .. }) => coroutine_behind(py, callback),
            _ => None,
        }
    }

    /// The loop stops turning.
    pub(super) fn on_stop(&self) {
        if let Self::Call { operations: Operations { on_stop: Some(on_stop), .. }, object, .. } = self {
            on_stop(object);
        }
    }

    /// What is needed to show the entry to a program: references of their own, so that making the handle may run Python.
    pub(crate) fn shown(&self) -> Option<(ShownAs, Object, Option<Object>)> {
        match self {
            Self::Call { operations, object, argument, .. } => {
                operations.handle.map(|shown_as| (shown_as, object.clone(), argument.clone()))
            }
            Self::Detached(_) | Self::Event(_) => None,
        }
    }

    /// Shows what the entry holds to the collector.
    pub(super) fn visit(&self, collector: &Collector) -> Visited {
        match self {
            Self::Call { object, argument, .. } => {
                object.visit(collector)?;
                argument.iter().try_for_each(|argument| argument.visit(collector))
            }
            Self::Detached(Detached { callback, argument, context }) => {
                callback.visit(collector)?;
                argument.iter().chain([context]).try_for_each(|other| other.visit(collector))
            }
            Self::Event(Event::Ready { .. } | Event::External(_)) => Ok(()),
            Self::Event(Event::Deferred(deferred)) => deferred.visit(collector),
        }
    }
}

/// The coroutine of the task whose step or wake-up `callback` is: a bound built-in method of the task.
pub(crate) fn coroutine_behind(py: Python<'_>, callback: &Object) -> Option<Object> {
    let method = callback.bind(py).cast_exact::<PyCFunction>().ok()?;
    let receiver = Object::new(method.getattr(&names(py).__self__).ok()?);
    Task::of(&receiver)?.coroutine().get()
}

/// The entries of a Python loop.
pub(crate) struct PythonWork;

impl Work for PythonWork {
    type Entry = Entry;
    type Timer = Timer;
    type Source = Source;
}

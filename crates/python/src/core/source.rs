//! Who is told that a descriptor is ready: the sources behind the backend's keys.

use core::any::Any;

use ferrio_engine::backend::{Interest, Key};
use pyo3::prelude::*;

use super::entry::Entry;
use super::exit::Exit;
use super::loop_core::LoopCore;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::object::Object;

/// Runs a source that has news, with its object if it has one.
pub(crate) type RunReady = fn(Python<'_>, &LoopCore, Option<Object>, Key, Interest) -> Result<(), Exit>;

/// Who is told of a descriptor.
pub(crate) enum Source {
    /// The loop itself: another thread has put something into the inbox.
    Wake,
    /// An object; present while it watches or sends, so that an idle, forgotten one can be collected.
    Object { run: RunReady, object: Option<Object> },
    /// Something larger.
    State(Box<dyn SourceState>),
}

/// The state of a source.
pub(crate) trait SourceState: Any {
    /// Turns news of the kernel into entries. Within a section: it must not call Python, nor drop an object.
    fn announce(&self, key: Key, ready: Interest, push: &mut dyn FnMut(Entry));

    /// How an [`Entry::Ready`] of this source is run.
    fn run(&self) -> RunReady;

    /// Shows what the state holds to the collector.
    fn visit(&self, collector: &Collector) -> Visited;
}

impl Source {
    /// A source with a state.
    pub(crate) fn new<T: SourceState>(state: T) -> Self {
        Self::State(Box::new(state))
    }

    /// The state, if it is a `T`.
    #[inline]
    pub(crate) fn state<T: SourceState>(&self) -> Option<&T> {
        match self {
            Self::State(state) => (&**state as &dyn Any).downcast_ref(),
            _ => None,
        }
    }

    /// [`Self::state`], to be changed.
    #[inline]
    pub(crate) fn state_mut<T: SourceState>(&mut self) -> Option<&mut T> {
        match self {
            Self::State(state) => (&mut **state as &mut dyn Any).downcast_mut(),
            _ => None,
        }
    }

    /// The state, taken out, if it is a `T`.
    pub(crate) fn into_state<T: SourceState>(self) -> Option<T> {
        match self {
            Self::State(state) => (state as Box<dyn Any>).downcast().ok().map(|state| *state),
            _ => None,
        }
    }

    /// Shows what the source holds to the collector.
    pub(super) fn visit(&self, collector: &Collector) -> Visited {
        match self {
            Self::Wake => Ok(()),
            Self::Object { object, .. } => object.as_ref().map_or(Ok(()), |object| object.visit(collector)),
            Self::State(state) => state.visit(collector),
        }
    }
}

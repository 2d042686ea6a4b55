//! A value for each of a few classes, found by the exact class of an object.

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::object::Object;

/// Values of `N` classes.
pub(crate) struct ClassTable<V, const N: usize>(OnceLock<[(usize, V); N]>);

impl<V: Copy, const N: usize> ClassTable<V, N> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Fills the table; only the first call counts. The classes are kept for ever, so that their addresses stand for no others.
    pub(crate) fn fill(&self, entries: [(Bound<'_, PyType>, V); N]) {
        let _ = self.0.set(entries.map(|(class, value)| (class.into_ptr().addr(), value)));
    }

    /// The value of the exact class of `object`; `None` for any other class, or before [`Self::fill`].
    #[inline]
    pub(crate) fn get(&self, object: &Object) -> Option<V> {
        let entries = self.0.get()?;
        entries
            .iter()
            .find(|(class, _)| object.has_class(core::ptr::without_provenance(*class)))
            .map(|(_, value)| *value)
    }
}

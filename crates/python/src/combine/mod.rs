//! Functions over many awaitables: `gather`.
//!
//! Native for what is usual: coroutines, and futures and tasks of Ferrio's, on the Ferrio loop that runs, outside debug
//! mode. Any other call is handed to asyncio's own function before anything has happened.

pub(crate) mod gather;

use pyo3::prelude::*;

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<gather::Gathering>()
}

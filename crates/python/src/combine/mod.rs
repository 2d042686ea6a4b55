//! Functions over many awaitables: `gather`, `wait`.
//!
//! Native for what is usual: coroutines, and futures and tasks of Ferrio's, on the Ferrio loop that runs, outside debug
//! mode. Any other call is handed to asyncio's own function before anything has happened.

mod ends;
pub(crate) mod gather;
pub(crate) mod wait;

use pyo3::prelude::*;

use crate::object::Object;

/// `child` has ended, one of whose callbacks is `callback`: whether that one need not be called.
#[inline]
pub(crate) fn is_spared(py: Python<'_>, callback: &Object, child: &Object) -> PyResult<bool> {
    let callback = callback.bind(py);
    if let Ok(gathering) = callback.cast_exact::<gather::Gathering>() {
        return gather::spares(py, gathering.get(), child);
    }
    match callback.cast_exact::<wait::Waiting>() {
        Ok(waiting) => wait::spares(py, waiting.get(), child),
        Err(_) => Ok(false),
    }
}

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<gather::Gathering>()?;
    module.add_class::<wait::Waiting>()
}

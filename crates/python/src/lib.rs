//! `ferrio._ferrio`: the native half of the Python package. This file declares everything that it exports.

mod accept;
mod combine;
mod connect;
mod convert;
mod datagram;
mod event_loop;
mod free_list;
mod guarded;
mod handle;
mod heap_type;
mod inherited;
mod nesting;
mod object;
mod pipe;
mod sock;
mod source_traceback;
mod stop_iteration;
mod sync;
mod task;
mod trampoline;
mod transport;

use pyo3::prelude::*;

/// The native half of ferrio. Import `ferrio`, not this.
#[pymodule]
fn _ferrio(module: &Bound<'_, PyModule>) -> PyResult<()> {
    trampoline::quiet_without_memory();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    handle::register(module)?;
    task::register(module)?;
    event_loop::register(module)?;
    pipe::register(module)?;
    connect::register(module)?;
    sock::register(module)?;
    transport::register(module)?;
    datagram::register(module)?;
    sync::register(module)?;
    combine::register(module)
}

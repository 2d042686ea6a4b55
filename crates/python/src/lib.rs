//! `ferrio._ferrio`: the native half of the Python package. This file declares everything that it exports.

mod combine;
mod coroutine;
mod event_loop;
mod ffi;
mod handle;
mod net;
mod sync;
mod task;

use pyo3::prelude::*;

/// The native half of ferrio. Import `ferrio`, not this.
#[pymodule]
fn _ferrio(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ffi::trampoline::quiet_without_memory();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    handle::register(module)?;
    task::register(module)?;
    event_loop::register(module)?;
    net::pipe::register(module)?;
    net::connect::register(module)?;
    net::raw::register(module)?;
    net::stream::register(module)?;
    net::datagram::register(module)?;
    coroutine::register(module)?;
    coroutine::function::register(module, &[sync::FUNCTIONS, combine::FUNCTIONS])?;
    sync::register(module)?;
    combine::register(module)
}

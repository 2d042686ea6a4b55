//! `ferrio._ferrio`: the native half of the Python package. This file declares everything that it exports.

mod combine;
mod core;
mod coroutine;
mod event_loop;
mod extension;
mod ffi;
mod handle;
mod net;
mod streams;
mod sync;
mod task;
mod watchdog;

use pyo3::prelude::*;

use self::core::parts::{Hooks, Maker};

/// What the rooms keep for each loop.
const PARTS: &[Maker] = &[
    Maker::of::<handle::RunningGate>(),
    Maker::of::<net::stream::StreamPart>(),
    Maker::of::<net::raw::RawSockets>(),
    Maker::of::<net::watch::Watches>(),
    Maker::of::<extension::RemotePart>(),
];

/// What the core calls.
const HOOKS: Hooks = Hooks {
    before_sleep: net::raw::confirm_waits,
    after_entry: net::stream::flush_corked,
    forget_number: net::forget_number,
    run_detached: handle::run_detached,
};

/// What CPython calls when the module is imported.
// SAFETY: no other function of the process has the name.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__ferrio() -> *mut pyo3::ffi::PyObject {
    let doc = c"The native half of ferrio. Import `ferrio`, not this.";
    // SAFETY: CPython has called this function.
    unsafe { ffi::module::initialise(c"_ferrio", doc, fill) }
}

/// Gives the module its contents.
fn fill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ffi::trampoline::quiet_without_memory();
    core::parts::set_up(PARTS, HOOKS);
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
    coroutine::function::register(
        module,
        &[sync::FUNCTIONS, combine::FUNCTIONS, streams::FUNCTIONS, net::raw::FUNCTIONS],
    )?;
    sync::register(module)?;
    combine::register(module)?;
    streams::register(module)?;
    watchdog::register(module)?;
    extension::register(module)
}

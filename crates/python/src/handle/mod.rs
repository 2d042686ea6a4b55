//! `Handle`, `TimerHandle` and `ThreadSafeHandle`: what the scheduling methods return and what a turn runs.
//!
//! They are subclasses of asyncio's own, and keep their state in asyncio's own slots. Whatever is inherited (`repr`,
//! comparison, `when()`, `_run()`) and whoever reads `_callback` or `_args` therefore sees what asyncio would show; native
//! is what each callback pays for: making one, running it, cancelling it, freeing it.

pub(crate) mod context;
pub(crate) mod ctype;
pub(crate) mod run;
pub(crate) mod threadsafe;
pub(crate) mod timer;

pub(crate) use crate::ffi::handle::{is_called_with, offset_of, slot_at, slot_offset};
pub(crate) use ctype::{Kind, Recipe, is_handle, register};
pub(crate) use run::{entry, report, run};
pub(crate) use threadsafe::RunningGate;
pub(crate) use timer::TimerRef;

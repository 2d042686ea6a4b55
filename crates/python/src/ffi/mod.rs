//! The safe floor: the only place that talks to CPython's C API in raw form.

// While the rooms above move onto the floor, not all of it is used.
#![allow(dead_code, unused_macros, unused_imports)]

pub(crate) mod arguments;
pub(crate) mod attributes;
pub(crate) mod audit;
pub(crate) mod awaitable;
pub(crate) mod bound_method;
pub(crate) mod buffer;
pub(crate) mod bytes;
pub(crate) mod call;
pub(crate) mod cell;
pub(crate) mod class;
pub(crate) mod class_table;
pub(crate) mod context;
pub(crate) mod deque;
pub(crate) mod descriptor;
pub(crate) mod dictionary;
pub(crate) mod errors;
pub(crate) mod fields;
pub(crate) mod free_list;
pub(crate) mod future;
pub(crate) mod guarded;
pub(crate) mod handle;
pub(crate) mod heap_type;
pub(crate) mod idle_list;
pub(crate) mod inherited;
pub(crate) mod init;
pub(crate) mod iteration;
pub(crate) mod method;
pub(crate) mod names;
pub(crate) mod nesting;
pub(crate) mod number;
pub(crate) mod object;
pub(crate) mod objects;
pub(crate) mod set;
#[cfg(Py_3_13)]
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod source_traceback;
pub(crate) mod stop_iteration;
pub(crate) mod subclass;
pub(crate) mod text;
pub(crate) mod thread;
pub(crate) mod thread_state;
pub(crate) mod trampoline;
pub(crate) mod uncounted;
pub(crate) mod vectorcall;

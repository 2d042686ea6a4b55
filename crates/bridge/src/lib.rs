//! Rust futures awaited from Python on the event loop's own thread, and Python's awaitables awaited from Rust.
//!
//! [`into_awaitable`] gives a Rust future the methods of a coroutine: the task that awaits it polls it, on its own thread
//! and in its own context, so the future need not be `Send` and no second runtime is needed. [`into_future`] is the other
//! direction. Both work on any asyncio loop that has `add_reader`. [`sleep`] and [`TcpStream`], awaited within, are served by the
//! loop that runs: on Ferrio by its own engine, on another loop by `call_later`, `add_reader` and `add_writer`.
//!
//! ```ignore
//! #[pyfunction]
//! fn fetch(py: Python<'_>, key: String) -> PyResult<Bound<'_, PyAny>> {
//!     ferrio_pyo3::into_awaitable(py, async move { Ok::<_, PyErr>(look_up(&key).await?) })
//! }
//! ```
//!
//! # Cancelling
//! An exception thrown into the awaitable, such as `CancelledError`, drops the Rust future at the `.await` where it stands.
//! Dropping a [`PyFuture`] cancels the task of the Python awaitable.
//!
//! # Wakers
//! A waker may be called from any thread at any time. On another thread it takes no lock of the interpreter, so it may be
//! called with locks held that a future takes in its poll. After the loop was closed, the interpreter has ended, or in a
//! forked child, it does nothing.

mod awaitable;
mod bell;
mod c_api;
mod errors;
mod future;
mod hub;
mod io;
mod tcp;
mod thread_bound;
mod timer;

pub use awaitable::into_awaitable;
pub use future::{PyFuture, into_future};
pub use tcp::{ReadHalf, TcpStream, WriteHalf};
pub use timer::{Sleep, sleep, sleep_until};

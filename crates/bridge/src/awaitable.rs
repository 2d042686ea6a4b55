//! A Rust future with the methods of a coroutine.
//!
//! A step of the task that awaits it is a poll. A future that is pending and was woken already yields `None`, after which a
//! task runs again in the next turn; one that is pending otherwise yields a future of the loop, which its waker resolves.
//!
//! # Invariants
//! 1. While the Rust future is polled or dropped it is not in its cell: what it runs may call any method of this object.
//! 2. A future that was polled to its end, that panicked, or that an exception was thrown into, is dropped before the
//!    caller hears of it.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyStopIteration, PyTypeError, PyValueError};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyTupleMethods};
use pyo3::{IntoPyObjectExt, intern};

use crate::hub::{Waking, polling};
use crate::thread_bound::{Orphanage, ThreadBound};

type Inner = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>>>>;

enum State {
    Waiting(Inner, Option<(Arc<Waking>, Waker)>),
    Running,
    Finished,
}

thread_local! {
    static ORPHANS: Orphanage<State> = Orphanage::new();
}

/// `future` as a Python awaitable, which the task that awaits it polls on this thread.
///
/// It has a coroutine's methods, so `create_task`, `gather` and `wait_for` take it. It is awaited once, on the thread that
/// called this function; elsewhere awaiting it raises `RuntimeError`. A value of `()` is `None`. Nothing runs before it is awaited. A panic is raised
/// as PyO3's `PanicException`.
///
/// # Errors
/// Where there is no memory for the object.
pub fn into_awaitable<F, T, E>(py: Python<'_>, future: F) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: for<'py> IntoPyObject<'py>,
    PyErr: From<E>,
{
    drop_orphans(py);
    let inner: Inner = Box::pin(async move {
        let value = future.await?;
        Python::attach(|py| {
            let value = value.into_py_any(py)?;
            // What `()` becomes as an argument.
            let is_nothing =
                size_of::<T>() == 0 && value.bind(py).cast_exact::<PyTuple>().is_ok_and(PyTupleMethods::is_empty);
            Ok(if is_nothing { py.None() } else { value })
        })
    });
    let state = ORPHANS.with(|orphans| ThreadBound::new(State::Waiting(inner, None), orphans));
    let awaitable = RustFuture { state, name: core::any::type_name::<F>(), awaited: AtomicBool::new(false) };
    Ok(Bound::new(py, awaitable)?.into_any())
}

/// A Rust future that Python awaits.
#[pyclass(frozen, module = "ferrio_pyo3")]
struct RustFuture {
    state: ThreadBound<State>,
    name: &'static str,
    awaited: AtomicBool,
}

#[pymethods]
impl RustFuture {
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        if slf.get().awaited.swap(true, Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("cannot reuse already awaited Rust future"));
        }
        Ok(slf.clone())
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        drop_orphans(py);
        let (mut inner, waking) = match self.begin()? {
            State::Waiting(inner, waking) => (inner, waking),
            State::Running => return Err(PyValueError::new_err("Rust future already executing")),
            State::Finished => return Err(PyRuntimeError::new_err("cannot reuse already awaited Rust future")),
        };
        let (waking, waker) = waking.unwrap_or_else(|| {
            let waking = Waking::new();
            (Arc::clone(&waking), Waker::from(waking))
        });
        waking.begin_poll();
        waking.wait_by(None);
        let polled =
            polling(py, || catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(&mut Context::from_waker(&waker)))));
        let outcome = match polled {
            Ok(Poll::Pending) => match running_loop(py).and_then(|event_loop| waking.new_waiter(&event_loop)) {
                Ok(yielded) => {
                    self.end(py, State::Waiting(inner, Some((waking, waker))));
                    return Ok(Some(yielded));
                }
                Err(error) => Err(error),
            },
            Ok(Poll::Ready(result)) => result,
            Err(panic) => Err(panicked(panic.as_ref())),
        };
        self.end(py, State::Finished);
        drop_caught(py, inner);
        outcome.and_then(|value| stop_iteration(py, value))
    }

    fn send<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if !value.is_none() {
            return Err(PyTypeError::new_err("a Rust future takes no value but None"));
        }
        // Here the result `None` needs its exception.
        self.__next__(py)?.ok_or_else(|| PyErr::take(py).unwrap_or_else(|| PyStopIteration::new_err(())))
    }

    #[pyo3(signature = (typ, value=None, traceback=None))]
    fn throw(
        &self,
        typ: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = typ.py();
        self.close(py)?;
        let is_exception = |object: &Bound<'_, PyAny>| object.is_instance_of::<pyo3::exceptions::PyBaseException>();
        let exception = match value {
            Some(value) if is_exception(value) => value.clone(),
            _ if is_exception(typ) => typ.clone(),
            Some(value) if !value.is_none() => typ.call1((value,))?,
            _ => typ.call0()?,
        };
        if let Some(traceback) = traceback.filter(|traceback| !traceback.is_none()) {
            exception.setattr(intern!(py, "__traceback__"), traceback)?;
        }
        Err(PyErr::from_value(exception))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.begin()? {
            State::Waiting(inner, waking) => {
                self.end(py, State::Finished);
                if let Some((waking, _)) = waking {
                    waking.wait_by(None);
                }
                drop_caught(py, inner);
                Ok(())
            }
            State::Running => Err(PyValueError::new_err("Rust future already executing")),
            State::Finished => {
                self.end(py, State::Finished);
                Ok(())
            }
        }
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        self.__qualname__().rsplit("::").next().unwrap_or(self.name)
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        self.name.strip_suffix("::{{closure}}").unwrap_or(self.name)
    }

    fn __repr__(&self) -> String {
        format!("<Rust future {}>", self.__qualname__())
    }
}

impl RustFuture {
    /// Takes the state out; `Running` stands in its place unless it had finished or runs.
    fn begin(&self) -> PyResult<State> {
        let Some(cell) = self.state.cell() else {
            return Err(PyRuntimeError::new_err("a Rust future is awaited on the thread that made it"));
        };
        let mut state = cell.borrow_mut();
        Ok(match &*state {
            Some(State::Waiting(..)) => state.replace(State::Running).unwrap_or(State::Finished),
            Some(State::Running) => State::Running,
            Some(State::Finished) | None => State::Finished,
        })
    }

    fn end(&self, py: Python<'_>, next: State) {
        let before = self.state.cell().and_then(|cell| cell.borrow_mut().replace(next));
        if let Some(State::Waiting(..)) = before {
            drop_caught(py, before);
        }
    }
}

impl Drop for RustFuture {
    fn drop(&mut self) {
        let state = self.state.cell().and_then(|cell| cell.borrow_mut().take());
        if let Some(State::Waiting(inner, waking)) = state {
            if let Some((waking, _)) = waking {
                waking.wait_by(None);
            }
            Python::attach(|py| drop_caught(py, inner));
        }
    }
}

/// The end of an iteration with `value`, as a generator ends: nothing at all for `None`, else the exception is set.
fn stop_iteration(py: Python<'_>, value: Py<PyAny>) -> PyResult<Option<Bound<'_, PyAny>>> {
    if value.is_none(py) {
        return Ok(None);
    }
    let value = value.into_bound(py);
    if value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyBaseException>() {
        // In a tuple, since a tuple as the argument would become several, and an exception be raised itself.
        return Err(PyStopIteration::new_err((value.unbind(),)));
    }
    let class = py.get_type::<PyStopIteration>();
    // SAFETY: the thread is attached; a class of exceptions and an object.
    unsafe { pyo3::ffi::PyErr_SetObject(class.as_ptr(), value.as_ptr()) };
    Ok(None)
}

pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    GET.import(py, "asyncio", "get_running_loop")?.call0()
}

pub(crate) fn panicked(panic: &(dyn core::any::Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    PanicException::new_err((text.unwrap_or_else(|| "panic in a Rust future".to_owned()),))
}

/// Drops a value of the extension; a panic in that is reported as an exception in a destructor is.
fn drop_caught<T>(py: Python<'_>, value: T) {
    let dropped = catch_unwind(AssertUnwindSafe(|| polling(py, || drop(value))));
    if let Err(panic) = dropped {
        panicked(panic.as_ref()).write_unraisable(py, None);
    }
}

fn drop_orphans(py: Python<'_>) {
    for orphan in ORPHANS.with(Orphanage::take) {
        drop_caught(py, orphan);
    }
}

//! Futures of `ferrio-pyo3`: ready, woken by the loop's own thread, woken by another thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Poll, Waker};

use ferrio_pyo3::into_awaitable;
use futures_channel::oneshot;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// `value`, at once.
#[pyfunction]
fn ready(py: Python<'_>, value: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move { Ok::<_, PyErr>(value) })
}

#[derive(Default)]
struct Signal {
    is_set: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// `wait` until `set`, on one thread.
#[pyclass(unsendable)]
struct Pulse(Rc<Signal>);

#[pymethods]
impl Pulse {
    #[new]
    fn new() -> Self {
        Self(Rc::default())
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let signal = Rc::clone(&self.0);
        into_awaitable(py, async move {
            poll_fn(|context| {
                if signal.is_set.take() {
                    return Poll::Ready(());
                }
                signal.waker.set(Some(context.waker().clone()));
                Poll::Pending
            })
            .await;
            Ok::<_, PyErr>(())
        })
    }

    fn set(&self) {
        self.0.is_set.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

type Requests = Vec<oneshot::Sender<()>>;

/// A thread that wakes so many who wait, once there are so many.
#[pyclass(frozen)]
struct Worker {
    size: usize,
    requests: Mutex<Requests>,
    thread: Mutex<mpsc::Sender<Requests>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Worker {
    #[new]
    fn new(size: usize) -> Self {
        let (sender, receiver) = mpsc::channel::<Requests>();
        std::thread::spawn(move || {
            for request in receiver.into_iter().flatten() {
                // Nobody waits if the await was cancelled.
                let _ = request.send(());
            }
        });
        Self { size, requests: Mutex::default(), thread: sender.into() }
    }

    fn hop<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, worker) = (slf.py(), slf.unbind());
        into_awaitable(py, async move {
            let (sender, receiver) = oneshot::channel();
            let worker = worker.get();
            let mut requests = locked(&worker.requests);
            requests.push(sender);
            if requests.len() == worker.size {
                let sent = locked(&worker.thread).send(std::mem::take(&mut requests));
                sent.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            }
            drop(requests);
            receiver.await.map_err(|error| PyRuntimeError::new_err(error.to_string()))
        })
    }
}

#[pymodule]
fn futures_on_ferrio(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Pulse>()?;
    module.add_class::<Worker>()?;
    module.add_function(wrap_pyfunction!(ready, module)?)
}

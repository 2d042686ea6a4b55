//! A client of a key-value server (a part of the redis protocol), whose methods Python awaits.
//!
//! The socket is served by the loop that runs, whichever it is. The protocol, and the state between two awaits, are Rust's;
//! nothing here is `Send`, and no other thread runs but in [`digest`].

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ferrio_pyo3::{TcpStream, into_awaitable, into_future};
use futures_channel::oneshot;
use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A connection, with what was received and not read yet.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    async fn receive(&mut self) -> PyResult<()> {
        let mut block = [0; 4096];
        match self.stream.read(&mut block).await? {
            0 => Err(PyConnectionError::new_err("the server has closed the connection")),
            count => {
                self.received.extend_from_slice(&block[..count]);
                Ok(())
            }
        }
    }

    async fn line(&mut self) -> PyResult<Vec<u8>> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received[..end].to_vec();
                self.received.drain(..end + 2);
                return Ok(line);
            }
            self.receive().await?;
        }
    }

    async fn exchange(&mut self, words: &[&[u8]]) -> PyResult<Option<Vec<u8>>> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).await?;
        let head = self.line().await?;
        match head.split_first() {
            Some((b'+' | b':', rest)) => Ok(Some(rest.to_vec())),
            Some((b'-', rest)) => Err(PyRuntimeError::new_err(String::from_utf8_lossy(rest).into_owned())),
            Some((b'$', b"-1")) => Ok(None),
            Some((b'$', rest)) => {
                let length: Option<usize> = std::str::from_utf8(rest).ok().and_then(|digits| digits.parse().ok());
                let length = length.filter(|length| *length <= 512 << 20);
                let length = length.ok_or_else(|| PyValueError::new_err("the server sent no length"))?;
                while self.received.len() < length + 2 {
                    self.receive().await?;
                }
                let value = self.received[..length].to_vec();
                self.received.drain(..length + 2);
                Ok(Some(value))
            }
            _ => Err(PyValueError::new_err("the server sent an unknown reply")),
        }
    }
}

/// A client. One request at a time; one that is cancelled closes the connection, since its reply may still come.
#[pyclass(unsendable)]
struct Client {
    connection: Rc<RefCell<Option<Connection>>>,
}

impl Client {
    fn request<'py>(&self, py: Python<'py>, words: Vec<Vec<u8>>) -> PyResult<Bound<'py, PyAny>> {
        let place = Rc::clone(&self.connection);
        into_awaitable(py, async move {
            let taken = place.borrow_mut().take();
            let mut connection = taken.ok_or_else(|| PyConnectionError::new_err("the connection is busy or closed"))?;
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let reply = connection.exchange(&words).await?;
            *place.borrow_mut() = Some(connection);
            Ok::<_, PyErr>(reply.map(|reply| Python::attach(|py| PyBytes::new(py, &reply).unbind())))
        })
    }
}

#[pymethods]
impl Client {
    fn get<'py>(&self, py: Python<'py>, key: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        self.request(py, vec![b"GET".to_vec(), key])
    }

    fn set<'py>(&self, py: Python<'py>, key: Vec<u8>, value: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        self.request(py, vec![b"SET".to_vec(), key, value])
    }

    /// Closes the connection, unless a request has it.
    fn close(&self) {
        let connection = self.connection.borrow_mut().take();
        drop(connection);
    }
}

/// A client of the server at `host`, a name or an address, and `port`.
#[pyfunction]
fn connect(py: Python<'_>, host: String, port: u16) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move {
        let connection = Connection { stream: TcpStream::connect(&host, port).await?, received: Vec::new() };
        Ok::<_, PyErr>(Client { connection: Rc::new(RefCell::new(Some(connection))) })
    })
}

/// A checksum of `data`, computed `rounds` times over by a thread.
#[pyfunction]
fn digest(py: Python<'_>, data: Vec<u8>, rounds: u32) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move {
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let mut sum = 0_u64;
            for _ in 0..rounds {
                for byte in &data {
                    sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
                }
            }
            // Nobody waits if the request was cancelled.
            let _ = sender.send(sum);
        });
        receiver.await.map_err(|_| PyRuntimeError::new_err("the thread has ended without a result"))
    })
}

/// Waits for so many seconds, twice: once for a time, once until one.
#[pyfunction]
fn pause(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move {
        let seconds = Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        ferrio_pyo3::sleep(seconds).await?;
        ferrio_pyo3::sleep_until(Instant::now() + seconds).await
    })
}

/// Sends `data` and the end of the stream; gives what comes back up to the end.
#[pyfunction]
fn round_trip(py: Python<'_>, host: String, port: u16, data: Vec<u8>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move {
        let (mut reader, mut writer) = TcpStream::connect(&host, port).await?.into_split();
        let sending = into_awaitable_alone(async move { writer.write_all(&data).await });
        let sending = Python::attach(|py| into_future(sending?.bind(py)))?;
        let mut received = Vec::new();
        let mut block = vec![0; 65_536];
        loop {
            match reader.read(&mut block).await? {
                0 => break,
                count => received.extend_from_slice(&block[..count]),
            }
        }
        sending.await?;
        Ok::<_, PyErr>(Python::attach(|py| PyBytes::new(py, &received).unbind()))
    })
}

/// `future` as an awaitable, for a task of its own.
fn into_awaitable_alone(future: impl Future<Output = PyResult<()>> + 'static) -> PyResult<Py<PyAny>> {
    Python::attach(|py| into_awaitable(py, future).map(Bound::unbind))
}

/// The result of a Python awaitable, by way of Rust.
#[pyfunction]
fn relay<'py>(py: Python<'py>, awaitable: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
    into_awaitable(py, async move { Python::attach(|py| into_future(awaitable.bind(py)))?.await })
}

/// `value`, at once.
#[pyfunction]
fn ready(py: Python<'_>, value: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move { Ok::<_, PyErr>(value) })
}

/// Panics when it is awaited.
#[pyfunction]
fn fault(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move {
        if true {
            panic!("a fault in the extension");
        }
        Ok::<_, PyErr>(())
    })
}

/// Waits for ever; when it is dropped, it panics.
#[pyfunction]
fn fault_when_dropped(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    struct Fault;
    impl Drop for Fault {
        fn drop(&mut self) {
            panic!("a fault in a destructor");
        }
    }
    into_awaitable(py, async move {
        let _fault = Fault;
        std::future::pending::<()>().await;
        Ok::<_, PyErr>(())
    })
}

/// A gate: `wait` until `open`, which may be called on any thread.
#[pyclass(frozen)]
struct Gate {
    sender: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    receiver: std::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

#[pymethods]
impl Gate {
    #[new]
    fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self { sender: Some(sender).into(), receiver: Some(receiver).into() }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let receiver = self.receiver.lock().ok().and_then(|mut receiver| receiver.take());
        into_awaitable(py, async move {
            let receiver = receiver.ok_or_else(|| PyRuntimeError::new_err("somebody waits already"))?;
            receiver.await.map_err(|_| PyRuntimeError::new_err("the gate has gone"))
        })
    }

    /// Whether somebody waited and had not been cancelled.
    fn open(&self) -> bool {
        let sender = self.sender.lock().ok().and_then(|mut sender| sender.take());
        sender.is_some_and(|sender| sender.send(()).is_ok())
    }
}

#[pymodule]
fn kv_client(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Client>()?;
    module.add_class::<Gate>()?;
    for function in [
        wrap_pyfunction!(connect, module)?,
        wrap_pyfunction!(digest, module)?,
        wrap_pyfunction!(pause, module)?,
        wrap_pyfunction!(round_trip, module)?,
        wrap_pyfunction!(relay, module)?,
        wrap_pyfunction!(ready, module)?,
        wrap_pyfunction!(fault, module)?,
        wrap_pyfunction!(fault_when_dropped, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

//! TLS: what runs for each record, and for each write of a program.
//!
//! `ferrio._tls.SSLProtocol` is asyncio's class, and decides everything that happens once for each connection: handshake,
//! shutdown, timeouts, errors. Once the handshake is over it has a [`TlsRecords`], and from then on the steps between the
//! socket and the application's protocol are native, in asyncio's order and over the same attributes: [`read`] stands for
//! `buffer_updated` and what that calls, [`write`] for `_SSLProtocolTransport.write` and `writelines`. Wherever a step finds
//! anything but bytes (the end of the peer's data, an error, another state) it calls asyncio's method for it.

mod read;
mod records;
mod write;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::call::{call_method, call_named};
use crate::ffi::class::Instance;
use crate::ffi::dictionary::InstanceAttributes;
use crate::ffi::errors::while_handling;
use crate::ffi::names::names;
use crate::ffi::number::exact_integer;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

pub(super) use read::deliver;
use records::TlsRecords;

/// Adds the class and the functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    records::register(module)?;
    write::register(module)
}

/// Whether `protocol` is of Ferrio's class, and nothing derived.
pub(super) fn is_tls_protocol(py: Python<'_>, protocol: &Object) -> PyResult<bool> {
    Ok(protocol.has_class(OBJECTS.ferrio_tls_protocol.get(py)?.as_ptr().cast()))
}

/// A TLS protocol whose connection is open, and its records.
pub(super) struct Connection {
    protocol: Object,
    attributes: InstanceAttributes,
    records: Instance<TlsRecords>,
}

impl Connection {
    /// `None` where asyncio's methods are to be called: before the handshake has ended, when the connection ends, and where a
    /// program has put another TLS object into the protocol.
    #[inline]
    pub(super) fn of(py: Python<'_>, protocol: &Object) -> Option<Self> {
        let names = names(py);
        let attributes = InstanceAttributes::of(py, protocol)?;
        let records = attributes.get(py, &names._records).ok()??;
        let records = Instance::<TlsRecords>::of(&records)?.clone();
        let is_open = attributes.get(py, &names._state).ok()??.is(OBJECTS.tls_wrapped.get(py).ok()?);
        let is_own = attributes.get(py, &names._sslobj).ok()??.is(records.session.ssl_object());
        (is_open && is_own).then(|| Self { protocol: protocol.clone(), attributes, records })
    }

    /// Adds received bytes to the records; false if there was no memory for them.
    pub(super) fn put(&self, py: Python<'_>, data: &[u8]) -> bool {
        self.records.session.put_incoming(py, data)
    }

    /// An attribute of the protocol's, nearly always one that `__init__` has set.
    #[inline]
    fn attribute(&self, py: Python<'_>, name: &Py<PyString>) -> PyResult<Object> {
        match self.attributes.get(py, name)? {
            Some(value) => Ok(value),
            None => attribute(py, &self.protocol, name),
        }
    }

    fn is_true(&self, py: Python<'_>, name: &Py<PyString>) -> PyResult<bool> {
        is_true(py, &self.attribute(py, name)?)
    }

    fn call(&self, py: Python<'_>, name: &Py<PyString>) -> PyResult<Object> {
        call_method(py, name, [&self.protocol])
    }

    /// `_process_outgoing()`: hands what is to be sent to the transport, and tells the application whether it may write.
    fn process_outgoing(&self, py: Python<'_>) -> PyResult<()> {
        let session = &self.records.session;
        let mut waiting = session.outgoing_bytes(py);
        if waiting != 0
            && !self.is_true(py, &names(py)._ssl_writing_paused)?
            && let Some(data) = session.take_outgoing(py, waiting)?
        {
            let transport = self.attribute(py, &names(py)._transport)?;
            call_method(py, &names(py).write, [&transport, &data])?;
            waiting = session.outgoing_bytes(py);
        }
        self.control_app_writing(py, waiting)
    }

    /// `_control_app_writing()`, which is called if there is something for it to do. So many bytes wait to be sent.
    fn control_app_writing(&self, py: Python<'_>, waiting: usize) -> PyResult<()> {
        let names = names(py);
        let queued = exact_integer(&self.attribute(py, &names._write_buffer_size)?);
        let size = queued.map(|queued| queued.saturating_add_unsigned(waiting));
        let [paused, high, low] = [&names._app_writing_paused, &names._outgoing_high_water, &names._outgoing_low_water];
        self.control(py, size, (paused, high, low), &names._control_app_writing)
    }

    /// `_control_ssl_reading()`, which is called if there is something for it to do.
    fn control_ssl_reading(&self, py: Python<'_>) -> PyResult<()> {
        let names = names(py);
        let size = isize::try_from(self.records.session.incoming_bytes(py)).ok();
        let [paused, high, low] = [&names._ssl_reading_paused, &names._incoming_high_water, &names._incoming_low_water];
        self.control(py, size, (paused, high, low), &names._control_ssl_reading)
    }

    /// Calls `method` if `size` has reached the mark at which it changes something.
    fn control(
        &self,
        py: Python<'_>,
        size: Option<isize>,
        (paused, high, low): (&Py<PyString>, &Py<PyString>, &Py<PyString>),
        method: &Py<PyString>,
    ) -> PyResult<()> {
        let is_paused = self.is_true(py, paused)?;
        let mark = exact_integer(&self.attribute(py, if is_paused { low } else { high })?);
        let changes_nothing =
            size.zip(mark).is_some_and(|(size, mark)| if is_paused { size > mark } else { size < mark });
        if changes_nothing { Ok(()) } else { self.call(py, method).map(drop) }
    }

    /// What `_do_read` and `_write_appdata` do with an exception.
    fn report(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        match outcome {
            Err(error) => self.fail(py, error),
            Ok(()) => Ok(()),
        }
    }

    #[cold]
    fn fail(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let exception = error.into_value(py).into_bound(py).into_any();
        if !exception.is_instance_of::<pyo3::exceptions::PyException>() {
            return Err(PyErr::from_value(exception));
        }
        while_handling(py, &exception, || {
            let arguments = (&exception, "Fatal error on SSL protocol");
            call_named(self.protocol.bind(py), &names(py)._fatal_error, arguments).map(drop)
        })
    }
}

#[inline]
fn attribute(py: Python<'_>, object: &Object, name: &Py<PyString>) -> PyResult<Object> {
    object.bind(py).getattr(name.bind(py)).map(Object::new)
}

#[inline]
fn is_true(py: Python<'_>, object: &Object) -> PyResult<bool> {
    if object.is_false() {
        return Ok(false);
    }
    object.bind(py).is_truthy()
}

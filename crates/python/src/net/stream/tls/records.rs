//! The class `TlsRecords`: the records of one connection, which its protocol keeps.

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::ffi::class::pyo3_class;
use crate::ffi::fields::Fields;
use crate::ffi::object::Object;
use crate::ffi::openssl::Session;

/// The records of a TLS connection, moved by OpenSSL's own functions. It holds the `SSLObject` and its two `MemoryBIO`s.
#[pyclass(frozen, module = "ferrio._ferrio")]
pub(crate) struct TlsRecords {
    pub(super) session: Session,
}

impl Fields for TlsRecords {
    const IS_EMPTY_WHEN_CLEARED: bool = <Session as Fields>::IS_EMPTY_WHEN_CLEARED;

    fn visit<V: crate::ffi::fields::Visitor>(&self, visitor: &V) -> Result<(), V::Stop> {
        self.session.visit(visitor)
    }

    fn clear(&self) {
        Fields::clear(&self.session);
    }
}

pyo3_class!(TlsRecords);

#[pymethods]
impl TlsRecords {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.session.visit(&visit)
    }
}

/// The records of an `ssl.SSLObject` over these two `ssl.MemoryBIO`s; `None` where they can only be reached through Python.
///
/// That is so where OpenSSL is linked into the interpreter, and where its objects are not laid out as in CPython 3.11 - 3.15.
/// The objects are compared each time; nothing of them changes.
#[pyfunction]
#[pyo3(signature = (ssl_object, incoming, outgoing, /))]
fn tls_records(
    ssl_object: &Bound<'_, PyAny>,
    incoming: &Bound<'_, PyAny>,
    outgoing: &Bound<'_, PyAny>,
) -> PyResult<Option<TlsRecords>> {
    let [object, incoming, outgoing] = [ssl_object, incoming, outgoing].map(Object::of);
    Ok(Session::of(ssl_object.py(), object, incoming, outgoing)?.map(|session| TlsRecords { session }))
}

/// Adds the class and the function to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TlsRecords>()?;
    module.add_function(wrap_pyfunction!(tls_records, module)?)
}

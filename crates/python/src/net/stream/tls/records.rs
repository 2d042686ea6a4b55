//! The class `TlsRecords`: the records of one connection, which its protocol keeps.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::ffi::arguments::Arguments;
use crate::ffi::builder::add_function;
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::fields::{Collector, Fields, Visited};
use crate::ffi::method::Method;
use crate::ffi::object::Object;
use crate::ffi::openssl::Session;

/// The records of a TLS connection, moved by OpenSSL's own functions. It holds the `SSLObject` and its two `MemoryBIO`s.
pub(crate) struct TlsRecords {
    pub(super) session: Session,
}

impl Fields for TlsRecords {
    const IS_EMPTY_WHEN_CLEARED: bool = <Session as Fields>::IS_EMPTY_WHEN_CLEARED;

    fn visit(&self, collector: &Collector) -> Visited {
        self.session.visit(collector)
    }

    fn clear(&self) {
        Fields::clear(&self.session);
    }
}

class_over_object! {
    TlsRecords, c"ferrio._ferrio.TlsRecords",
    c"The records of a TLS connection, moved by OpenSSL's own functions. It holds the SSLObject and its two MemoryBIOs.";
}

/// `tls_records(ssl_object, incoming, outgoing)`.
fn tls_records(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let Some([ssl_object, incoming, outgoing]) = arguments.only() else {
        return Err(PyTypeError::new_err("tls_records() takes three arguments"));
    };
    let session = Session::of(py, ssl_object, incoming, outgoing)?;
    let records = session.map(|session| Instance::<TlsRecords>::create(py, TlsRecords { session })).transpose()?;
    Ok(records.map(Instance::into_object))
}

/// Adds the class and the function to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = Builder::<Instance<TlsRecords>>::new().build_over_object(module.py())?;
    module.add("TlsRecords", class)?;
    let function = Method::any_arguments(
        c"tls_records",
        |py, _, arguments| tls_records(py, arguments),
        c"tls_records(ssl_object, incoming, outgoing, /)\n--\n\nThe records of an ssl.SSLObject over these two \
          ssl.MemoryBIOs; None where they can only be reached through Python.\n\nThat is so where OpenSSL is linked into \
          the interpreter, and where its objects are not laid out as in CPython 3.11 - 3.15. The objects are compared each \
          time; nothing of them changes.",
    );
    add_function(module, function)
}

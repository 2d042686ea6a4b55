//! From the application to the transport: `write()` and `writelines()` of the transport that it sees.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyTuple, PyType};

use super::{Connection, attribute, is_tls_protocol};
use crate::ffi::arguments::Arguments;
use crate::ffi::builder::add_function;
use crate::ffi::call::call_method;
use crate::ffi::class::add_method_to;
use crate::ffi::method::{AnyObject, Method};
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::openssl::Outcome;

/// The connection of a transport that may write now: nothing waits that was written before.
fn writable(py: Python<'_>, transport: &Object) -> PyResult<Option<Connection>> {
    let protocol = attribute(py, transport, &names(py)._ssl_protocol)?;
    if !is_tls_protocol(py, &protocol)? {
        return Ok(None);
    }
    let Some(connection) = Connection::of(py, &protocol) else { return Ok(None) };
    let has_backlog = connection.is_true(py, &names(py)._write_backlog)?;
    Ok((!has_backlog).then_some(connection))
}

/// Whether asyncio's `write` takes it.
fn is_bytes_like(data: &Object, py: Python<'_>) -> bool {
    let data = data.bind(py);
    data.is_instance_of::<PyBytes>() || data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>()
}

/// Makes records of `data`; false if `SSLObject.write` has to say what is in the way.
fn encrypt(py: Python<'_>, connection: &Connection, data: &Object) -> bool {
    matches!(connection.records.session.write(py, data), Ok(Outcome::Bytes(_)))
}

/// `write(data)`.
fn write(py: Python<'_>, transport: &Object, arguments: Arguments<'_>) -> PyResult<Object> {
    if let Some([data]) = arguments.only::<1>()
        && is_bytes_like(data, py)
        && let Some(connection) = writable(py, transport)?
        && encrypt(py, &connection, data)
    {
        connection.report(py, connection.process_outgoing(py))?;
        return Ok(Object::none(py));
    }
    let method = attribute(py, transport, &names(py)._write_as_asyncio)?;
    arguments.pass_to(py, &method)
}

/// The items of a list or a tuple of bytes.
fn lines_of(py: Python<'_>, lines: &Object) -> Option<Vec<Object>> {
    let bound = lines.bind(py);
    if !bound.is_exact_instance_of::<PyList>() && !bound.is_exact_instance_of::<PyTuple>() {
        return None;
    }
    let lines: Vec<Object> = bound.try_iter().ok()?.map(|line| line.map(Object::new)).collect::<PyResult<_>>().ok()?;
    lines.iter().all(|line| is_bytes_like(line, py)).then_some(lines)
}

/// `writelines(list_of_data)`.
fn write_lines(py: Python<'_>, transport: &Object, arguments: Arguments<'_>) -> PyResult<Object> {
    if let Some([lines]) = arguments.only::<1>()
        && let Some(lines) = lines_of(py, lines)
        && let Some(connection) = writable(py, transport)?
    {
        let written = lines.iter().take_while(|line| encrypt(py, &connection, line)).count();
        if written == lines.len() {
            connection.report(py, connection.process_outgoing(py))?;
        } else {
            let rest = PyList::new(py, lines[written..].iter().map(|line| line.bind(py)))?;
            let protocol = attribute(py, transport, &names(py)._ssl_protocol)?;
            call_method(py, &names(py)._write_appdata, [&protocol, Object::of(&rest)])?;
        }
        return Ok(Object::none(py));
    }
    let method = attribute(py, transport, &names(py)._writelines_as_asyncio)?;
    arguments.pass_to(py, &method)
}

/// `add_tls_methods(transport)`.
fn add_tls_methods(py: Python<'_>, transport: &Object) -> PyResult<()> {
    let transport = transport.bind(py).cast::<PyType>()?;
    let write = Method::<AnyObject>::any_arguments(
        c"write",
        write,
        c"write($self, data)\n--\n\nSend bytes; never blocks. They are encrypted before it returns.\n\nRaises:\n    \
          TypeError: data is not bytes, bytearray or memoryview.\n\nLoop thread only. Follows asyncio.WriteTransport.write.",
    );
    let write_lines = Method::<AnyObject>::any_arguments(
        c"writelines",
        write_lines,
        c"writelines($self, list_of_data)\n--\n\nSend several pieces, a record or more for each. As write().",
    );
    add_method_to(transport, write)?;
    add_method_to(transport, write_lines)
}

/// Adds the function to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let function = Method::one_argument(
        c"add_tls_methods",
        |py, _, transport| add_tls_methods(py, transport),
        c"add_tls_methods(transport, /)\n--\n\nGive the class of the transports that applications see its native methods.",
    );
    add_function(module, function)
}

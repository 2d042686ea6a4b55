//! Between Python's addresses and the kernel's, as the `socket` module has them.
//!
//! To Python every address of the three families can be translated. From Python only what the `socket` module would take
//! without a look-up and without an error: exact tuples of exact strings and numbers in their ranges, exact strings and
//! `bytes` for Unix. Everything else (host names, an IPv6 zone, a list, a number out of range) is left to the `socket`
//! module itself, with its answers and its errors.

#![forbid(unsafe_code)]

use core::net::{Ipv4Addr, Ipv6Addr};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ferrio_engine::sys::address::{Family, INET, INET6, Parts, SocketAddress, UNIX, v6_text};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

use crate::ffi::object::Object;

/// The object that `socket.recvfrom` would give.
pub(super) fn to_python(py: Python<'_>, address: &SocketAddress) -> PyResult<Object> {
    let object = match address.parts() {
        Parts::Unnamed => return Ok(Object::none(py)),
        Parts::V4(host, port) => (host.to_string(), port).into_pyobject(py)?.into_any(),
        Parts::V6(host, port, flow, scope) => (v6_text(host), port, flow, scope).into_pyobject(py)?.into_any(),
        // Decoded as paths are: with the file system's encoding, undecodable bytes escaped.
        Parts::UnixPath(path) => OsStr::from_bytes(path).into_pyobject(py)?.into_any(),
        Parts::UnixAbstract(name) => PyBytes::new(py, name).into_any(),
        Parts::Other(family, bytes) => (family, PyBytes::new(py, &bytes)).into_pyobject(py)?.into_any(),
    };
    Ok(Object::new(object))
}

/// The kernel's form of an address for a socket of `family`; `None` when it is the `socket` module's to understand.
///
/// Runs no Python. What it translates is immutable, so the translation of an object stays true.
pub(super) fn from_python(address: &Bound<'_, PyAny>, family: Family) -> Option<SocketAddress> {
    if family == UNIX {
        if let Ok(name) = address.cast_exact::<PyString>() {
            return SocketAddress::unix(ascii(name)?.as_bytes());
        }
        return SocketAddress::unix(address.cast_exact::<PyBytes>().ok()?.as_bytes());
    }
    let address = address.cast_exact::<PyTuple>().ok()?;
    let host = address.get_item(0).ok()?;
    let host: &Bound<'_, PyString> = host.cast_exact().ok()?;
    let host = ascii(host)?;
    let port = u16::try_from(number(address, 1)?).ok()?;
    match (family, address.len()) {
        (INET, 2) => Some(SocketAddress::v4(host.parse::<Ipv4Addr>().ok()?, port)),
        (INET6, length @ 2..=4) => {
            let host = host.parse::<Ipv6Addr>().ok()?;
            let flow = if length > 2 { number(address, 2)? } else { 0 };
            let scope = if length > 3 { number(address, 3)? } else { 0 };
            // A flow label has 20 bits.
            (flow <= 0xf_ffff).then(|| SocketAddress::v6(host, port, flow, scope))
        }
        _ => None,
    }
}

/// The text of a string without other characters than ASCII, which every encoding has in common.
fn ascii<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a str> {
    text.to_str().ok().filter(|text| text.is_ascii())
}

/// An exact `int` of a tuple that fits into 32 bits.
fn number(address: &Bound<'_, PyTuple>, index: usize) -> Option<u32> {
    let item = address.get_borrowed_item(index).ok()?;
    item.cast_exact::<PyInt>().ok()?.extract().ok()
}

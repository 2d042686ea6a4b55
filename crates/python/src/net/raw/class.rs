//! The class `socket.socket`, as the standard library has made it, and the objects whose methods are all its own.
//!
//! Libraries put other classes in its place (mocks, monkey-patches), before this package is imported or after, and replace
//! its methods. What is native here makes the system calls of `_socket.socket` by itself, for objects of exactly the genuine
//! class with its genuine methods; everything else is asked by its methods, in asyncio's own code.

#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::ffi::builder::add_function;
use crate::ffi::method::Method;
use crate::ffi::object::Object;
use crate::ffi::socket::version_of_class;

/// Methods that the class inherits from `_socket.socket`, which cannot be changed, and that native code stands for.
const INHERITED: [&str; 13] = [
    "connect",
    "fileno",
    "getsockopt",
    "gettimeout",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "send",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
];

struct Genuine {
    class: Object,
    /// `_socket.socket`, from which it is derived.
    base: Object,
    /// The class has this one itself.
    accept: Object,
}

static GENUINE: PyOnceLock<Genuine> = PyOnceLock::new();

/// The version of the class whose methods were last found to be its own; 0 for none.
static VERSION: AtomicU32 = AtomicU32::new(0);

/// Finds the genuine class among those that are derived from `_socket.socket`, whatever is in its place now.
fn find(py: Python<'_>) -> PyResult<Genuine> {
    let base = py.import("_socket")?.getattr("socket")?;
    let is_genuine = |class: &Bound<'_, PyAny>| -> PyResult<bool> {
        let is_named = class.getattr("__module__")?.eq("socket")? && class.getattr("__qualname__")?.eq("socket")?;
        Ok(is_named && class.getattr("__bases__")?.eq((base.clone(),))?)
    };
    let shown = py.import("socket")?.getattr("socket")?;
    let derived = base.call_method0("__subclasses__")?;
    let candidates = [Ok(shown)].into_iter().chain(derived.try_iter()?).collect::<PyResult<Vec<_>>>()?;
    for class in candidates {
        if class.is_instance_of::<PyType>() && is_genuine(&class)? {
            let accept = class.getattr("__dict__")?.get_item("accept")?;
            return Ok(Genuine { class: Object::new(class), base: Object::new(base), accept: Object::new(accept) });
        }
    }
    Err(PyImportError::new_err("the class socket.socket has gone"))
}

fn genuine(py: Python<'_>) -> PyResult<&'static Genuine> {
    GENUINE.get_or_try_init(py, || find(py))
}

/// The genuine class.
pub(crate) fn socket_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    Ok(genuine(py)?.class.bind(py))
}

/// Whether an object is exactly of the genuine class, and that has its genuine methods.
#[inline]
pub(crate) fn is_plain_socket(py: Python<'_>, object: &Object) -> PyResult<bool> {
    if !object.has_class(genuine(py)?.class.as_ptr().cast()) {
        return Ok(false);
    }
    // A change of the class takes its version away.
    let version = version_of_class(object);
    if version != 0 && version == VERSION.load(Ordering::Relaxed) {
        return Ok(true);
    }
    has_own_methods(py, version)
}

#[cold]
fn has_own_methods(py: Python<'_>, version: u32) -> PyResult<bool> {
    let Genuine { class, base, accept } = genuine(py)?;
    let (class, base) = (class.bind(py), base.bind(py));
    if !class.getattr("accept")?.is(accept.bind(py)) {
        return Ok(false);
    }
    for name in INHERITED {
        // Somebody may have put the genuine method back, which is then the class's own.
        if !class.getattr(name)?.is(base.getattr(name)?) {
            return Ok(false);
        }
    }
    VERSION.store(version, Ordering::Relaxed);
    Ok(true)
}

/// Whether `sock` is a `socket.socket` and nothing derived, with the methods that the standard library gave it.
fn is_plain_socket_function(py: Python<'_>, _module: &Object, sock: &Object) -> PyResult<bool> {
    is_plain_socket(py, sock)
}

/// Adds the class and the function to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("SOCKET", socket_class(module.py())?)?;
    let is_plain_socket = Method::one_argument(
        c"is_plain_socket",
        is_plain_socket_function,
        c"is_plain_socket(sock, /)\n--\n\nWhether sock is a socket.socket and nothing derived, with the methods that the \
          standard library gave it.",
    );
    add_function(module, is_plain_socket)
}

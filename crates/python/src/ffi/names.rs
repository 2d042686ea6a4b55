//! Attribute names that the hot paths look up, interned once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

macro_rules! names {
    ($($name:ident)*) => {
        /// The interned names.
        pub(crate) struct Names {
            $(pub(crate) $name: Py<PyString>,)*
        }

        impl Names {
            fn new(py: Python<'_>) -> Self {
                Self { $($name: PyString::intern(py, stringify!($name)).unbind(),)* }
            }
        }
    };
}

names! {
    _buffer
    _closing
    _conn_lost
    _fileno
    _loop
    _pipe
    _protocol
    _reads_large
    _accept_connection
    _clients
    _pending_removals
    _remove
    _sockets
    _task_factory
    buffer_updated
    cancelled
    connection_lost
    connection_made
    data
    data_received
    done
    eof_received
    fileno
    datagram_received
    get_buffer
    proto
    set_exception
    set_result
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// The interned names.
pub(crate) fn names(py: Python<'_>) -> &'static Names {
    NAMES.get_or_init(py, || Names::new(py))
}

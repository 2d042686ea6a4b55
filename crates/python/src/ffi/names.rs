//! Names of attributes and methods, interned once.

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

// One a line, in alphabetical order.
names! {
    __await__
    __func__
    __new__
    __self__
    __traceback__
    _accept_connection
    _asyncio_future_blocking
    _buffer
    _clients
    _closing
    _conn_lost
    _end_wait
    _ensure_fd_no_transport
    _entered
    _fileno
    _forget_socket
    _get_loop
    _keep_rest
    _loop
    _lose_closed_file
    _pending_removals
    _pipe
    _protocol
    _read_as_asyncio
    _reads_large
    _remove
    _run
    _sockets
    _task_factory
    _transports
    _write_as_asyncio
    acquire
    add_done_callback
    append
    buffer_updated
    call_at
    call_exception_handler
    call_later
    call_soon
    cancel
    cancelled
    clear
    close
    connection_lost
    connection_made
    context
    create_future
    create_task
    data
    data_received
    datagram_received
    done
    eof_received
    fileno
    get_buffer
    get_loop
    gettimeout
    locked
    pop
    popleft
    proto
    recv
    recv_into
    recvfrom
    recvfrom_into
    release
    remove
    remove_done_callback
    result
    send
    sendto
    set
    set_exception
    set_result
    settimeout
    throw
    value
    wait
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// The interned names.
pub(crate) fn names(py: Python<'_>) -> &'static Names {
    NAMES.get_or_init(py, || Names::new(py))
}

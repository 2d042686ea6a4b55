//! Names of attributes and methods, interned once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// What a name is in Python: as it is written here, or a word that Rust keeps for itself.
macro_rules! text {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident = $text:literal) => {
        $text
    };
}

macro_rules! names {
    ($($name:ident $(= $text:literal)?)*) => {
        /// The interned names.
        #[cfg_attr(Py_3_14, allow(dead_code, reason = "some names are for older versions"))]
        pub(crate) struct Names {
            $(pub(crate) $name: Py<PyString>,)*
        }

        impl Names {
            fn new(py: Python<'_>) -> Self {
                Self { $($name: PyString::intern(py, text!($name $(= $text)?)).unbind(),)* }
            }
        }
    };
}

// One a line, in alphabetical order.
names! {
    __await__
    __func__
    __new__
    __qualname__
    __self__
    __traceback__
    _accept_connection
    _accept_later
    _app_protocol
    _app_protocol_buffer_updated
    _app_protocol_get_buffer
    _app_protocol_is_buffer
    _app_reading_paused
    _app_writing_paused
    _asyncio_future_blocking
    _attach
    _buffer
    _call_connection_lost
    _call_eof_received
    _cancel_message
    _cancel_requested
    _cancelled
    _clients
    _clock_resolution
    _closing
    _conn_lost
    _control_app_writing
    _control_ssl_reading
    _detach
    _do_read
    _do_write
    _drain_helper
    _end_wait
    _ensure_fd_no_transport
    _entered
    _fatal_error
    _fileno
    _forget_socket
    _get_loop
    _incoming_high_water
    _incoming_low_water
    _keep_rest
    _log_debug
    _limit
    _look_for_clock
    _loop
    _lose_closed_file
    _make_cancelled_error
    _on_task_done
    _on_timeout
    _outgoing_high_water
    _outgoing_low_water
    _pause_writing
    _paused
    _pending_removals
    _pipe
    _protocol
    _raise_type_error
    _read_as_asyncio
    _reads_large
    _records
    _remove
    _report_if_slow
    _resume_writing
    _run
    _selector
    _sockets
    _ssl_protocol
    _ssl_reading_paused
    _ssl_writing_paused
    _sslobj
    _start_shutdown
    _state
    _task_factory
    _transport
    _transports
    _waiter
    _wakeup
    _warn_unclosed
    _when
    _write_appdata
    _write_as_asyncio
    _write_backlog
    _write_buffer_size
    _writelines_as_asyncio
    acquire
    add_done_callback
    all_completed = "ALL_COMPLETED"
    append
    buffer_updated
    call_at
    call_later
    call_soon
    cancel
    cancelled
    cancelling
    clear
    close
    co_flags
    connection_lost
    connection_made
    context
    copy
    cr_await
    create_future
    create_task
    data
    data_received
    datagram_received
    detach
    done
    eof_received
    error_received
    exception
    feed_data
    fileno
    get
    get_buffer
    get_loop
    gettimeout
    gi_code
    is_closing
    join
    locked
    name
    pause_reading
    pop
    popleft
    proto
    r#loop = "loop"
    read
    recv
    recv_into
    recvfrom
    recvfrom_into
    release
    remove
    remove_done_callback
    result
    resume_reading
    return_when
    select
    send
    sendto
    set
    set_exception
    set_result
    setblocking
    throw
    time
    timeout
    value
    wait
    warn_on_full_buffer
    write
    writelines
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// The interned names.
pub(crate) fn names(py: Python<'_>) -> &'static Names {
    NAMES.get_or_init(py, || Names::new(py))
}

//! The modules and objects of Python that native code uses, each looked up once, when it is first needed.
//!
//! Only what a program cannot sensibly replace is kept here. What asyncio itself looks up at each use, and a program may
//! patch, is looked up at each use: through the module, which is kept.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

use super::object::Object;

/// A module, or an object in one.
pub(crate) struct Lazy {
    module: &'static str,
    /// The way from the module to the object; empty for the module itself.
    path: &'static [&'static str],
    found: PyOnceLock<Object>,
}

impl Lazy {
    const fn new(module: &'static str, path: &'static [&'static str]) -> Self {
        Self { module, path, found: PyOnceLock::new() }
    }

    /// The object.
    ///
    /// # Errors
    /// Those of importing the module and of looking the object up in it, the first time.
    #[inline]
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<&Object> {
        match self.found.get(py) {
            Some(object) => Ok(object),
            None => self.find(py),
        }
    }

    /// [`Self::get`], bound.
    #[inline]
    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        self.get(py).map(|object| object.bind(py))
    }

    #[cold]
    fn find(&self, py: Python<'_>) -> PyResult<&Object> {
        let mut object = PyModule::import(py, self.module)?.into_any();
        for name in self.path {
            object = object.getattr(*name)?;
        }
        Ok(self.found.get_or_init(py, || Object::new(object)))
    }
}

/// Looks objects up when Ferrio is imported: later, a program may have put others there, and at shutdown nothing can be
/// imported any more.
///
/// # Errors
/// As for [`Lazy::get`].
pub(crate) fn load<const N: usize>(py: Python<'_>, objects: [&Lazy; N]) -> PyResult<()> {
    objects.into_iter().try_for_each(|object| object.get(py).map(drop))
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident: $module:literal $(. $part:literal)*;)*) => {
        /// Every object of the table.
        pub(crate) struct Objects {
            $($(#[$doc])* pub(crate) $name: Lazy,)*
        }

        /// The table.
        pub(crate) static OBJECTS: Objects = Objects {
            $($name: Lazy::new($module, &[$($part),*]),)*
        };
    };
}

// One a line, in alphabetical order.
objects! {
    abstract_coroutine: "collections.abc"."Coroutine";
    allocate_lock: "_thread"."allocate_lock";
    as_completed_gives_back: "ferrio._combining"."GIVES_BACK";
    asyncio_as_completed: "ferrio._combining"."asyncios_as_completed";
    asyncio_c_current_task: "_asyncio"."current_task";
    asyncio_c_enter_task: "_asyncio"."_enter_task";
    asyncio_c_future: "_asyncio"."Future";
    asyncio_c_future_init: "_asyncio"."Future"."__init__";
    asyncio_c_leave_task: "_asyncio"."_leave_task";
    asyncio_c_register_eager_task: "_asyncio"."_register_eager_task";
    asyncio_c_register_task: "_asyncio"."_register_task";
    asyncio_c_swap_current_task: "_asyncio"."_swap_current_task";
    asyncio_c_unregister_eager_task: "_asyncio"."_unregister_eager_task";
    asyncio_c_unregister_task: "_asyncio"."_unregister_task";
    asyncio_cancelled_error: "asyncio.exceptions"."CancelledError";
    asyncio_coroutine_mark: "asyncio.coroutines"."_is_coroutine";
    asyncio_current_task: "asyncio.tasks"."current_task";
    asyncio_events: "asyncio.events";
    asyncio_format_helpers: "asyncio.format_helpers";
    asyncio_futures: "asyncio.futures";
    asyncio_get_running_loop: "asyncio.events"."get_running_loop";
    asyncio_handle: "asyncio.events"."Handle";
    asyncio_incomplete_read_error: "asyncio.exceptions"."IncompleteReadError";
    asyncio_invalid_state_error: "asyncio.exceptions"."InvalidStateError";
    asyncio_iscoroutine: "asyncio.coroutines"."iscoroutine";
    asyncio_limit_overrun_error: "asyncio.exceptions"."LimitOverrunError";
    asyncio_log: "asyncio.log";
    asyncio_queue_empty: "asyncio.queues"."QueueEmpty";
    asyncio_queue_full: "asyncio.queues"."QueueFull";
    asyncio_queue_shut_down: "asyncio.queues"."QueueShutDown";
    asyncio_raw_running_loop: "_asyncio"."_get_running_loop";
    asyncio_read: "asyncio.streams"."StreamReader"."read";
    asyncio_readexactly: "asyncio.streams"."StreamReader"."readexactly";
    asyncio_readline: "asyncio.streams"."StreamReader"."readline";
    asyncio_readuntil: "asyncio.streams"."StreamReader"."readuntil";
    asyncio_stream_reader: "asyncio.streams"."StreamReader";
    asyncio_stream_reader_protocol: "asyncio.streams"."StreamReaderProtocol";
    asyncio_tasks: "asyncio.tasks";
    asyncio_wait: "ferrio._combining"."asyncios_wait";
    barrier_broken: "asyncio.locks"."_BarrierState"."BROKEN";
    barrier_draining: "asyncio.locks"."_BarrierState"."DRAINING";
    barrier_filling: "asyncio.locks"."_BarrierState"."FILLING";
    barrier_resetting: "asyncio.locks"."_BarrierState"."RESETTING";
    broken_barrier_error: "asyncio.exceptions"."BrokenBarrierError";
    base_transport: "asyncio.transports"."BaseTransport";
    buffered_protocol: "asyncio.protocols"."BufferedProtocol";
    collections_deque: "collections"."deque";
    ferrio_event_loop: "ferrio._event_loop";
    ferrio_queue: "ferrio._queues"."Queue";
    ferrio_stream_protocol: "ferrio._streams"."StreamReaderProtocol";
    ferrio_rest_of_read: "ferrio._stream_reads"."rest_of_read";
    ferrio_rest_of_readexactly: "ferrio._stream_reads"."rest_of_readexactly";
    ferrio_rest_of_readline: "ferrio._stream_reads"."rest_of_readline";
    ferrio_rest_of_readuntil: "ferrio._stream_reads"."rest_of_readuntil";
    ferrio_stream_reader: "ferrio._streams"."StreamReader";
    ferrio_tls_protocol: "ferrio._tls"."SSLProtocol";
    flow_control_mixin: "asyncio.transports"."_FlowControlMixin";
    gathering_future: "asyncio.tasks"."_GatheringFuture";
    heapq_heappop: "heapq"."heappop";
    heapq_heappush: "heapq"."heappush";
    os_strerror: "os"."strerror";
    inspect_coroutine_mark: "inspect"."_is_coroutine_mark";
    reduced_function: "ferrio._copying"."reduced_function";
    release_waiter: "asyncio.tasks"."_release_waiter";
    server: "asyncio.base_events"."Server";
    shield_rules: "ferrio._combining"."SHIELD_RULES";
    signal_set_wakeup_fd: "_signal"."set_wakeup_fd";
    socket: "socket";
    socket_class: "socket"."socket";
    task_group: "asyncio.taskgroups"."TaskGroup";
    task_group_enter: "asyncio.taskgroups"."TaskGroup"."__aenter__";
    task_group_exit: "asyncio.taskgroups"."TaskGroup"."__aexit__";
    task_group_init: "asyncio.taskgroups"."TaskGroup"."__init__";
    time: "time";
    timeout_created: "asyncio.timeouts"."_State"."CREATED";
    timeout_enter: "asyncio.timeouts"."Timeout"."__aenter__";
    timeout_entered: "asyncio.timeouts"."_State"."ENTERED";
    timeout_exit: "asyncio.timeouts"."Timeout"."__aexit__";
    timeout_exited: "asyncio.timeouts"."_State"."EXITED";
    timeout_expiring: "asyncio.timeouts"."_State"."EXPIRING";
    timeout_init: "asyncio.timeouts"."Timeout"."__init__";
    tls_again_errors: "asyncio.sslproto"."SSLAgainErrors";
    tls_wrapped: "asyncio.sslproto"."SSLProtocolState"."WRAPPED";
    traceback: "traceback";
    transport_socket: "ferrio._transport"."TransportSocket";
    types_method_type: "types"."MethodType";
    wait_for: "asyncio.tasks"."wait_for";
    weak_set: "weakref"."WeakSet";
}

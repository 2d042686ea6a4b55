//! What tasks call of the interpreter's `_asyncio`: which task runs, which tasks there are, its exceptions.
//!
//! `asyncio.current_task()` and `all_tasks()`, and tools that look at the process from outside, read what these
//! functions write: thread states, linked lists or sets, depending on the version.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

use crate::ffi::object::Object;
#[cfg(Py_3_14)]
use crate::ffi::thread_state;

/// Looked up once.
pub(super) struct Asyncio {
    enter_task: Object,
    leave_task: Object,
    register_task: Object,
    #[cfg(Py_3_14)]
    unregister_task: Object,
    #[cfg(Py_3_12)]
    swap_current_task: Object,
    #[cfg(all(Py_3_12, not(Py_3_14)))]
    register_eager_task: Object,
    #[cfg(all(Py_3_12, not(Py_3_14)))]
    unregister_eager_task: Object,
    #[cfg(Py_3_14)]
    current_task: Object,
    is_coroutine: Object,
    cancelled_error: Object,
    invalid_state_error: Object,
    pub(super) future_init: Object,
    pub(super) context_keyword: Object,
    pub(super) names: Names,
}

/// Interned names of methods and attributes.
pub(super) struct Names {
    pub(super) add_done_callback: Object,
    pub(super) blocking: Object,
    pub(super) call_soon: Object,
    pub(super) cancel: Object,
    pub(super) get_loop: Object,
    pub(super) event_loop: Object,
    pub(super) result: Object,
    pub(super) throw: Object,
}

static ASYNCIO: PyOnceLock<Asyncio> = PyOnceLock::new();

/// The functions; [`load`] has found them when the types were made.
#[inline]
pub(super) fn get(py: Python<'_>) -> &'static Asyncio {
    ASYNCIO.get(py).expect("tasks are made after the module was imported")
}

/// Looks everything up.
pub(super) fn load(py: Python<'_>) -> PyResult<()> {
    let native = py.import("_asyncio")?;
    let exceptions = py.import("asyncio.exceptions")?;
    let function = |name: &str| native.getattr(name).map(Object::new);
    let name = |text: &str| Object::new(PyString::intern(py, text));
    let keyword = pyo3::types::PyTuple::new(py, [PyString::intern(py, "context")])?;
    let found = Asyncio {
        enter_task: function("_enter_task")?,
        leave_task: function("_leave_task")?,
        register_task: function("_register_task")?,
        #[cfg(Py_3_14)]
        unregister_task: function("_unregister_task")?,
        #[cfg(Py_3_12)]
        swap_current_task: function("_swap_current_task")?,
        #[cfg(all(Py_3_12, not(Py_3_14)))]
        register_eager_task: function("_register_eager_task")?,
        #[cfg(all(Py_3_12, not(Py_3_14)))]
        unregister_eager_task: function("_unregister_eager_task")?,
        #[cfg(Py_3_14)]
        current_task: function("current_task")?,
        is_coroutine: Object::new(py.import("asyncio.coroutines")?.getattr("iscoroutine")?),
        cancelled_error: Object::new(exceptions.getattr("CancelledError")?),
        invalid_state_error: Object::new(exceptions.getattr("InvalidStateError")?),
        future_init: Object::new(native.getattr("Future")?.getattr("__init__")?),
        context_keyword: Object::new(keyword),
        names: Names {
            add_done_callback: name("add_done_callback"),
            blocking: name("_asyncio_future_blocking"),
            call_soon: name("call_soon"),
            cancel: name("cancel"),
            get_loop: name("get_loop"),
            event_loop: name("_loop"),
            result: name("result"),
            throw: name("throw"),
        },
    };
    let _ = ASYNCIO.set(py, found);
    Ok(())
}

/// Calls `function` with positional arguments.
#[inline]
pub(super) fn call<const N: usize>(
    py: Python<'_>,
    function: &Object,
    args: [*mut ffi::PyObject; N],
) -> PyResult<Object> {
    // SAFETY: live objects, which the caller keeps for the call.
    let result = unsafe { ffi::PyObject_Vectorcall(function.as_ptr(), args.as_ptr(), N, core::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(result) }.ok_or_else(|| PyErr::fetch(py))
}

/// Calls the method `name` of the first argument with the others; `keywords` names the last of them.
pub(super) fn call_method(
    py: Python<'_>,
    name: &Object,
    args: &[*mut ffi::PyObject],
    keywords: Option<&Object>,
) -> PyResult<Object> {
    let positional = args.len() - usize::from(keywords.is_some());
    let keywords = keywords.map_or(core::ptr::null_mut(), Object::as_ptr);
    // SAFETY: live objects, which the caller keeps for the call; `keywords` is null or a tuple of one name.
    let result = unsafe { ffi::PyObject_VectorcallMethod(name.as_ptr(), args.as_ptr(), positional, keywords) };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(result) }.ok_or_else(|| PyErr::fetch(py))
}

impl Asyncio {
    /// `task` is the one that runs now.
    #[inline]
    pub(super) fn enter(&self, py: Python<'_>, event_loop: &Object, task: *mut ffi::PyObject) -> PyResult<()> {
        #[cfg(Py_3_14)]
        if thread_state::enter(event_loop.as_ptr(), task) {
            return Ok(());
        }
        call(py, &self.enter_task, [event_loop.as_ptr(), task]).map(drop)
    }

    /// `task` no longer runs.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one caller for every step; the other one is for panics")]
    pub(super) fn leave(&self, py: Python<'_>, event_loop: &Object, task: *mut ffi::PyObject) -> PyResult<()> {
        #[cfg(Py_3_14)]
        if thread_state::leave(event_loop.as_ptr(), task) {
            return Ok(());
        }
        call(py, &self.leave_task, [event_loop.as_ptr(), task]).map(drop)
    }

    /// The task of `event_loop` that runs now.
    #[cfg(Py_3_14)]
    pub(super) fn running(&self, py: Python<'_>, event_loop: &Object) -> PyResult<Option<Object>> {
        if let Some(task) = thread_state::running(event_loop.as_ptr()) {
            return Ok(Some(task));
        }
        let task = call(py, &self.current_task, [event_loop.as_ptr()])?;
        Ok((!task.bind(py).is_none()).then_some(task))
    }

    /// Puts `task` into the place of the task that runs now, which comes back (or `None`).
    #[cfg(Py_3_12)]
    pub(super) fn swap(&self, py: Python<'_>, event_loop: &Object, task: *mut ffi::PyObject) -> PyResult<Object> {
        call(py, &self.swap_current_task, [event_loop.as_ptr(), task])
    }

    /// Enters `task` into `all_tasks()`.
    #[inline]
    pub(super) fn register(&self, py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<()> {
        #[cfg(Py_3_14)]
        if thread_state::register(task) {
            return Ok(());
        }
        call(py, &self.register_task, [task]).map(drop)
    }

    /// Takes a task that is done out of `all_tasks()`. Before 3.14 they stay in a weak set until they are freed.
    #[cfg(Py_3_14)]
    #[inline]
    pub(super) fn unregister(&self, py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<()> {
        if thread_state::unregister(task) {
            return Ok(());
        }
        call(py, &self.unregister_task, [task]).map(drop)
    }

    /// Enters a task for its first, eager step.
    #[cfg(all(Py_3_12, not(Py_3_14)))]
    pub(super) fn register_eager(&self, py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<()> {
        call(py, &self.register_eager_task, [task]).map(drop)
    }

    #[cfg(Py_3_14)]
    pub(super) fn register_eager(&self, py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<()> {
        self.register(py, task)
    }

    /// The eager step is over.
    #[cfg(all(Py_3_12, not(Py_3_14)))]
    pub(super) fn unregister_eager(&self, py: Python<'_>, task: *mut ffi::PyObject) -> PyResult<()> {
        call(py, &self.unregister_eager_task, [task]).map(drop)
    }

    /// `asyncio.iscoroutine`.
    #[inline]
    pub(super) fn is_coroutine(&self, py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<bool> {
        // SAFETY: a live object.
        if unsafe { ffi::PyCoro_CheckExact(object) } != 0 {
            return Ok(true);
        }
        call(py, &self.is_coroutine, [object])?.bind(py).is_truthy()
    }

    /// Whether the exception is an `asyncio.CancelledError`.
    pub(super) fn is_cancelled_error(&self, exception: *mut ffi::PyObject) -> bool {
        // SAFETY: a live exception and a class.
        unsafe { ffi::PyErr_GivenExceptionMatches(exception, self.cancelled_error.as_ptr()) != 0 }
    }

    /// `CancelledError()` or `CancelledError(message)`.
    pub(super) fn cancelled_error(&self, py: Python<'_>, message: Option<&Object>) -> PyResult<Object> {
        match message.filter(|message| !message.bind(py).is_none()) {
            Some(message) => call(py, &self.cancelled_error, [message.as_ptr()]),
            None => call(py, &self.cancelled_error, []),
        }
    }

    /// The error `InvalidStateError(text)`.
    #[cold]
    pub(super) fn invalid_state(&self, py: Python<'_>, text: &str) -> PyErr {
        match self.invalid_state_error.bind(py).cast::<PyType>() {
            Ok(class) => PyErr::from_type(class.clone(), text.to_owned()),
            Err(error) => error.into(),
        }
    }
}

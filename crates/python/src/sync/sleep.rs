//! `sleep`.
//!
//! `sleep(0)` lets the loop turn once: a bare `yield`, without a future. Any other delay is a timer and a future, as in
//! asyncio.

#![forbid(unsafe_code)]

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyInt};

use super::{sleep_timer, waiting};
use crate::core::LoopCore;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::Arguments;
use crate::ffi::builder::bare_function;
use crate::ffi::call::call_method;
use crate::ffi::class::Instance;
use crate::ffi::method::Method;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::task::future;

/// What the timer of a `sleep` calls; asyncio's function of that name.
fn set_result_unless_cancelled(py: Python<'_>, _: &Object, arguments: Arguments<'_>) -> PyResult<()> {
    let Some([future, result]) = arguments.only() else {
        return Err(PyTypeError::new_err("_set_result_unless_cancelled() takes a future and a result"));
    };
    if future::is_exact(future) && future::is_pending(future) {
        return future::set_result(py, future, result.clone());
    }
    if waiting::is_cancelled(py, future)? {
        return Ok(());
    }
    waiting::set_result(py, future, result.clone())
}

/// That function as an object.
pub(crate) fn callback(py: Python<'_>) -> PyResult<&Object> {
    static FUNCTION: PyOnceLock<Object> = PyOnceLock::new();
    FUNCTION.get_or_try_init(py, || {
        let function = Method::any_arguments(
            c"_set_result_unless_cancelled",
            set_result_unless_cancelled,
            c"_set_result_unless_cancelled(future, result, /)\n--\n\nWhat the timer of a sleep calls.",
        );
        bare_function(py, function)
    })
}

/// The stage of a `sleep` whose timer holds its future and no handle; `owner` is the loop then.
const WITHOUT_HANDLE: u8 = 1;

static SLEEP: Plan = Plan { qualified_name: "sleep", start, resume };

/// `sleep(delay, result=None)`.
pub(super) fn sleep(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (delay, mut result) = match arguments.positional() {
        [delay] => (delay, None),
        [delay, value] => (delay, Some(value)),
        _ => return Ok(None),
    };
    for (name, value) in arguments.named(py) {
        if result.is_some() || name.to_string() != "result" {
            return Ok(None);
        }
        result = Some(value);
    }
    coroutine::make(py, &SLEEP, delay.clone(), result.cloned()).map(Some)
}

/// `delay <= 0`.
pub(super) fn is_over(delay: &Bound<'_, PyAny>) -> PyResult<bool> {
    if delay.is_exact_instance_of::<PyInt>()
        && let Ok(value) = delay.extract::<i64>()
    {
        return Ok(value <= 0);
    }
    if delay.is_exact_instance_of::<PyFloat>() {
        return Ok(delay.extract::<f64>()? <= 0.0);
    }
    delay.le(0)
}

/// Refuses NaN where the interpreter's asyncio does (3.13 and newer).
fn check_number(py: Python<'_>, delay: &Bound<'_, PyAny>) -> PyResult<()> {
    static CHECKS: PyOnceLock<Option<Py<PyAny>>> = PyOnceLock::new();
    let checks = CHECKS.get_or_try_init(py, || {
        let module = py.import("asyncio.tasks")?.getattr_opt("math")?;
        module.map(|math| math.getattr("isnan").map(Bound::unbind)).transpose()
    })?;
    let Some(is_nan) = checks else { return Ok(()) };
    if delay.is_exact_instance_of::<PyInt>() {
        return Ok(());
    }
    if delay.is_exact_instance_of::<PyFloat>() && !delay.extract::<f64>()?.is_nan() {
        return Ok(());
    }
    if is_nan.bind(py).call1((delay,))?.is_truthy()? {
        return Err(PyValueError::new_err("Invalid delay: NaN (not a number)"));
    }
    Ok(())
}

/// `asyncio.get_running_loop()`.
fn running_loop(py: Python<'_>) -> PyResult<Object> {
    let event_loop = waiting::running_loop(py)?;
    if event_loop.is_none() {
        return Err(PyRuntimeError::new_err("no running event loop"));
    }
    Ok(event_loop)
}

fn start(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let delay = coroutine.owner.take().unwrap_or_else(|| Object::none(py));
    if is_over(delay.bind(py))? {
        return Ok(Step::Yield(Object::none(py)));
    }
    check_number(py, delay.bind(py))?;
    let event_loop = running_loop(py)?;
    let future = waiting::create_future(py, &event_loop)?;
    let result = coroutine.item.get_or_none(py);
    let core = Instance::<LoopCore>::of(&event_loop).filter(|core| core.waits_natively());
    if let Some(core) = core.filter(|core| !core.is_debug() && future::is_exact(&future))
        && result.is_none()
        && !core.follows_program()
    {
        sleep_timer::wake_later(py, core, &delay, future.clone())?;
        coroutine.stage.set(WITHOUT_HANDLE);
        coroutine.owner.set(event_loop);
        return coroutine.wait_for(py, future);
    }
    let wake = callback(py)?;
    let timer = if let Some(core) = core {
        core.call_later(py, &delay, wake, &[future.clone(), result])?
    } else {
        let arguments = (delay.bind(py), wake.bind(py), future.bind(py), result.bind(py));
        Object::new(event_loop.bind(py).call_method1(&names(py).call_later, arguments)?)
    };
    coroutine.owner.set(timer);
    coroutine.wait_for(py, future)
}

fn resume(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    if coroutine.stage.get() == WITHOUT_HANDLE {
        let event_loop = coroutine.owner.take();
        let (Err(_), Some(event_loop), Some(future)) = (&outcome, &event_loop, coroutine.future.take()) else {
            return outcome.map(Step::Return);
        };
        if let Some(core) = Instance::<LoopCore>::of(event_loop) {
            if future::is_pending(&future) && future.reference_count() > 2 {
                core.cancel_sleep(py, &future)?;
            } else {
                // The timers see from the future that nobody waits any more.
                drop(future);
                core.note_cancelled_timer(py);
            }
        }
        return outcome.map(Step::Return);
    }
    match coroutine.owner.take() {
        Some(timer) => {
            // Nobody sees what becomes of a timer that has fired and that nobody else has.
            if outcome.is_err() || timer.reference_count() != 1 {
                call_method(py, &names(py).cancel, [&timer])?;
            }
            outcome.map(Step::Return)
        }
        None => outcome.map(|_| Step::Return(coroutine.item.take().unwrap_or_else(|| Object::none(py)))),
    }
}

//! `sleep`.
//!
//! `sleep(0)` lets the loop turn once: a bare `yield`, without a future. Any other delay is a timer and a future, as in
//! asyncio.

use core::ptr::addr_of_mut;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyInt};
use pyo3::{ffi, intern};

use super::waiting;
use crate::core::LoopCore;
use crate::coroutine::{self, Plan, State, Step};
use crate::event_loop;
use crate::ffi::arguments::Arguments;
use crate::ffi::object::Object;
use crate::ffi::trampoline::none;
use crate::task::future;

/// What the timer of a `sleep` calls; asyncio's function of that name.
#[pyfunction]
#[pyo3(signature = (future, result, /))]
fn _set_result_unless_cancelled(future: Bound<'_, PyAny>, result: Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let future = Object::new(future);
    if future::is_exact(future.as_ptr()) && future::is_pending(&future) {
        return future::set_result(py, &future, Object::new(result));
    }
    if waiting::is_cancelled(py, future.bind(py))? {
        return Ok(());
    }
    waiting::set_result(py, &future, Object::new(result))
}

/// That function as an object.
pub(crate) fn callback(py: Python<'_>) -> PyResult<&Object> {
    static FUNCTION: PyOnceLock<Object> = PyOnceLock::new();
    FUNCTION.get_or_try_init(py, || Ok(Object::new(wrap_pyfunction!(_set_result_unless_cancelled, py)?)))
}

/// The stage of a `sleep` whose timer holds its future and no handle; `owner` is the loop then.
const WITHOUT_HANDLE: u8 = 1;

static SLEEP: Plan = Plan { qualified_name: "sleep", start, resume };

/// `sleep(delay, result=None)`.
pub(super) fn sleep(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let mut result = None;
    let delay = match *arguments.positional_addresses() {
        [delay] => delay,
        [delay, value] => {
            result = Some(value);
            delay
        }
        _ => return Ok(None),
    };
    for (name, value) in arguments.keywords(py) {
        if result.is_some() || name.to_string() != "result" {
            return Ok(None);
        }
        result = Some(value);
    }
    // SAFETY: an argument of the call under way.
    let delay = unsafe { Object::from_borrowed(delay) };
    // SAFETY: as above.
    let result = result.map(|value| unsafe { Object::from_borrowed(value) });
    coroutine::make(py, &SLEEP, delay, result).map(Some)
}

/// `delay <= 0`.
pub(super) fn is_over(delay: &Bound<'_, PyAny>) -> PyResult<bool> {
    if delay.is_exact_instance_of::<PyInt>() {
        let mut overflow = 0;
        // SAFETY: an int, and a place for the sign of one that is too large.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(delay.as_ptr(), addr_of_mut!(overflow)) };
        return Ok(if overflow == 0 { value <= 0 } else { overflow < 0 });
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
    if event_loop.bind(py).is_none() {
        return Err(PyRuntimeError::new_err("no running event loop"));
    }
    Ok(event_loop)
}

fn start(py: Python<'_>, state: &State) -> PyResult<Step> {
    let delay = state.owner.take().unwrap_or_else(|| none(py));
    if is_over(delay.bind(py))? {
        return Ok(Step::Yield(none(py)));
    }
    check_number(py, delay.bind(py))?;
    let event_loop = running_loop(py)?;
    let future = waiting::create_future(py, &event_loop)?;
    let result = state.item.get().unwrap_or_else(|| none(py));
    let core = LoopCore::find(py, event_loop.as_ptr()).filter(|core| core.waits_natively());
    if let Some(core) = core.filter(|core| !core.is_debug() && future::is_exact(future.as_ptr()))
        && result.bind(py).is_none()
    {
        event_loop::wake_later(py, core, delay.as_ptr(), future.clone())?;
        state.stage.set(WITHOUT_HANDLE);
        state.owner.set(event_loop);
        return state.wait_for(py, future);
    }
    let wake = callback(py)?;
    let timer = if let Some(core) = core {
        let arguments = [future.as_ptr(), result.as_ptr()];
        event_loop::call_later(py, core, event_loop.as_ptr(), delay.as_ptr(), wake.as_ptr(), &arguments)?
    } else {
        let arguments = (delay.bind(py), wake.bind(py), future.bind(py), result.bind(py));
        Object::new(event_loop.bind(py).call_method1(intern!(py, "call_later"), arguments)?)
    };
    state.owner.set(timer);
    state.wait_for(py, future)
}

fn resume(py: Python<'_>, state: &State, outcome: PyResult<Object>) -> PyResult<Step> {
    if state.stage.get() == WITHOUT_HANDLE {
        let event_loop = state.owner.take();
        let (Err(_), Some(event_loop), Some(future)) = (&outcome, &event_loop, state.future.take()) else {
            return outcome.map(Step::Return);
        };
        if let Some(core) = LoopCore::find(py, event_loop.as_ptr()) {
            // SAFETY: a live object.
            if future::is_pending(&future) && unsafe { ffi::Py_REFCNT(future.as_ptr()) } > 2 {
                core.cancel_sleep(py, event_loop.as_ptr(), &future)?;
            } else {
                // The timers see from the future that nobody waits any more.
                drop(future);
                drop(core.note_cancelled_timer(py));
            }
        }
        return outcome.map(Step::Return);
    }
    match state.owner.take() {
        Some(timer) => {
            // Nobody sees what becomes of a timer that has fired and that nobody else has.
            // SAFETY: a live object.
            if outcome.is_err() || unsafe { ffi::Py_REFCNT(timer.as_ptr()) } != 1 {
                timer.bind(py).call_method0(intern!(py, "cancel"))?;
            }
            outcome.map(Step::Return)
        }
        None => outcome.map(|_| Step::Return(state.item.take().unwrap_or_else(|| none(py)))),
    }
}

//! Functions over awaitables: `gather`, `wait`, `as_completed`, `shield`.
//!
//! Native for what is usual: coroutines, and futures and tasks of Ferrio's, on the Ferrio loop that runs, outside debug
//! mode. Any other call is handed to asyncio's own function before anything has happened.
#![forbid(unsafe_code)]

pub(crate) mod as_completed;
mod callback_class;
mod caller;
mod counter;
pub(crate) mod gather;
pub(crate) mod shield;
pub(crate) mod wait;

use pyo3::prelude::*;
use pyo3::types::{PyFrozenSet, PyList, PySet, PyTuple};

use crate::coroutine::function::Named;
use crate::coroutine::function::Native::Call;
use crate::task::native_callback::{self, CallbackClass};

/// The native functions of this room, by asyncio's qualified names.
pub(crate) const FUNCTIONS: &[Named] = &[
    ("gather", Call(gather::gather)),
    ("wait", Call(wait::wait)),
    ("as_completed", Call(as_completed::as_completed)),
    ("shield", Call(shield::shield)),
];

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("GatherCallback", gather::make_class(py)?)?;
    module.add("WaitCallback", wait::make_class(py)?)?;
    let [inner, outer, awaiter] = shield::make_classes(py)?;
    module.add("InnerCallback", inner)?;
    module.add("OuterCallback", outer)?;
    module.add("AwaiterCallback", awaiter)?;
    let [completion, timeout] = as_completed::make_classes(py)?;
    module.add("CompletionCallback", completion)?;
    module.add("TimeoutCallback", timeout)?;
    native_callback::register([
        CallbackClass::of::<gather::GatherCallback>(py),
        CallbackClass::of::<wait::WaitCallback>(py),
        CallbackClass::of::<shield::OuterCallback>(py),
        CallbackClass::of::<shield::AwaiterCallback>(py),
    ]);
    Ok(())
}

/// Whether `object` is a list, a set, a tuple or a frozen set, and nothing derived: going through it runs no Python code.
fn is_plain_collection(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyList>()
        || object.is_exact_instance_of::<PySet>()
        || object.is_exact_instance_of::<PyTuple>()
        || object.is_exact_instance_of::<PyFrozenSet>()
}

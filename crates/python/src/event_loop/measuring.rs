//! What a loop measures, and what it has measured so far.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::core::{LoopBuilder, LoopCore, Measuring};
use crate::ffi::class::Instance;
use crate::ffi::method::Method;
use crate::ffi::object::Object;

/// Adds the methods to the core's class.
pub(super) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(Method::no_arguments(
            c"_histograms",
            |py, core: &Instance<LoopCore>| PyList::new(py, core.histograms()).map(Object::new),
            c"The counts of every bucket and the sum in nanoseconds, of each of ferrio.Histograms, in their order.",
        ))
        .method(Method::no_arguments(
            c"_coroutines",
            |py, core: &Instance<LoopCore>| {
                let costs = core.coroutines(py).into_iter();
                let costs: Vec<_> = costs.map(|(name, cost)| (name, cost.steps, cost.cpu, cost.longest)).collect();
                PyList::new(py, costs).map(Object::new)
            },
            c"What the steps of coroutines have taken while that was measured: their name, how many, the processor's time of \
              all and the length of the longest in nanoseconds.",
        ))
        .method(Method::one_argument(
            c"_measure",
            |py, core: &Instance<LoopCore>, level| {
                let level: u8 = level.bind(py).extract()?;
                core.measure(match level {
                    0 => Measuring::Nothing,
                    1 => Measuring::Turns,
                    _ => Measuring::WithCoroutines,
                });
                Ok(())
            },
            c"Measure nothing (0), turns (1), or coroutines as well (2), from the next turn on.",
        ))
}

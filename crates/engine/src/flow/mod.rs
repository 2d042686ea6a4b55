//! Flow control and the life of a transport: state machines that decide, for a caller that acts.

pub mod lifecycle;
pub mod read_gate;
pub mod write_gate;

pub use lifecycle::{CloseStep, DrainedStep, Lifecycle, Phase, WriteVerdict};
pub use read_gate::{Interest, ReadGate};
pub use write_gate::{GateSignal, LimitError, WriteGate};

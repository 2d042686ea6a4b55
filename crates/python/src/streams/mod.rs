//! `StreamReader`, `StreamWriter`, `StreamReaderProtocol`: asyncio's streams with native state and native hot methods.
//!
//! As with the primitives of [`sync`](crate::sync), the classes of the Python package join a core from here with asyncio's
//! class. What happens for each message is native: feeding, reading, writing, draining. What happens once for each
//! connection is asyncio's code. A transport is called by name, so these are streams over any transport of any loop.

#![forbid(unsafe_code)]

mod buffer;
mod protocol;
mod reader;
mod reading;
mod writer;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::coroutine::function::Named;
use crate::coroutine::function::Native::{Call, Method};
use crate::ffi::builder::add_function;
use crate::ffi::objects::{OBJECTS, load};

/// The native functions of this room, by asyncio's qualified names.
pub(crate) const FUNCTIONS: &[Named] = &[
    ("StreamReader.feed_data", Call(reader::feed_data)),
    ("StreamReader.at_eof", Call(reader::at_eof)),
    ("StreamReader._maybe_resume_transport", Call(reader::maybe_resume_transport)),
    ("StreamReader.read", Call(reading::read)),
    ("StreamReader.readexactly", Call(reading::read_exactly)),
    ("StreamReader.readuntil", Call(reading::read_until)),
    ("StreamReader.readline", Method(reading::READ_LINE)),
    ("StreamReader.__anext__", Method(reading::NEXT)),
    ("StreamReaderProtocol.data_received", Call(protocol::data_received)),
    ("FlowControlMixin._drain_helper", Method(protocol::DRAIN_HELPER)),
    ("StreamWriter.write", Call(writer::write)),
    ("StreamWriter.writelines", Call(writer::writelines)),
    ("StreamWriter.is_closing", Call(writer::is_closing)),
    ("StreamWriter.drain", Method(writer::DRAIN)),
    // Nothing of these is native; they are pickled and shown as the other functions.
    ("open_connection", Call(|_, _| Ok(None))),
    ("start_server", Call(|_, _| Ok(None))),
    ("open_unix_connection", Call(|_, _| Ok(None))),
    ("start_unix_server", Call(|_, _| Ok(None))),
];

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // asyncio's own, which `install` has not replaced yet: transports look for these classes too.
    let reads =
        [&OBJECTS.asyncio_read, &OBJECTS.asyncio_readexactly, &OBJECTS.asyncio_readline, &OBJECTS.asyncio_readuntil];
    load(py, reads)?;
    load(py, [&OBJECTS.asyncio_stream_reader, &OBJECTS.asyncio_stream_reader_protocol])?;
    module.add("STREAM_READER_METHODS", PyTuple::new(py, reader::METHODS)?)?;
    add_function(module, reader::note_class_function())?;
    module.add("StreamReaderCore", reader::make_class(py)?)?;
    module.add("StreamWriterCore", writer::make_class(py)?)?;
    module.add("StreamReaderProtocolCore", protocol::make_class(py)?)
}

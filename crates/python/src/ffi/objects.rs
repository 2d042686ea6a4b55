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
    asyncio_events: "asyncio.events";
    asyncio_log: "asyncio.log";
    asyncio_tasks: "asyncio.tasks";
    buffered_protocol: "asyncio.protocols"."BufferedProtocol";
    ferrio_event_loop: "ferrio._event_loop";
    server: "asyncio.base_events"."Server";
    socket: "socket";
    transport_socket: "ferrio._transport"."TransportSocket";
    warnings: "warnings";
    weak_set: "weakref"."WeakSet";
}

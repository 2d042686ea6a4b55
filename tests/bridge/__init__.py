"""The crate ``ferrio-pyo3``, through the extension of ``examples/kv_client``."""

//! Lets the sources ask which interpreter they are built for (`Py_3_12`), and refuses one that Ferrio does not support.

use pyo3_build_config::{InterpreterConfig, PythonImplementation, PythonVersion};

const OLDEST: PythonVersion = PythonVersion { major: 3, minor: 11 };
const NEWEST: PythonVersion = PythonVersion { major: 3, minor: 15 };

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if let Some(reason) = refusal(pyo3_build_config::get(), &target) {
        println!("cargo::error={reason}");
    }
}

/// Why Ferrio cannot be built for `interpreter` on the operating system `target`, as one sentence.
fn refusal(interpreter: &InterpreterConfig, target: &str) -> Option<String> {
    let version = interpreter.version();
    if interpreter.implementation() != PythonImplementation::CPython || version < OLDEST || version > NEWEST {
        let name = interpreter.implementation();
        return Some(format!("Ferrio supports CPython {OLDEST} - {NEWEST}; this is {name} {version}."));
    }
    if interpreter.is_free_threaded() {
        return Some(format!("Ferrio does not support free-threaded builds of CPython yet; this is one of {version}."));
    }
    if target != "linux" {
        return Some(format!("Ferrio runs on Linux for now; this is {target}."));
    }
    None
}

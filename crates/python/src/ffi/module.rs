//! The native module itself: made once in a process, for the interpreter that asks first.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI64, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::object::Object;
use super::{c_api, trampoline};

/// CPython writes to the first fields.
struct Definition(UnsafeCell<ffi::PyModuleDef>);

// SAFETY: CPython alone reads and writes it, on attached threads.
unsafe impl Sync for Definition {}

/// No state of the module's own; such a module may be asked for again (`m_size` is not negative).
static DEFINITION: Definition = Definition(UnsafeCell::new(ffi::PyModuleDef {
    m_base: ffi::PyModuleDef_HEAD_INIT,
    m_name: null_mut(),
    m_doc: null_mut(),
    m_size: 0,
    m_methods: null_mut(),
    m_slots: null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// The module, once it is filled.
static MODULE: PyOnceLock<Object> = PyOnceLock::new();

/// The interpreter that has it; -1 for none.
static INTERPRETER: AtomicI64 = AtomicI64::new(-1);

/// What `PyInit_...` of a module returns, which `fill` gives its contents: a second call returns the same module.
///
/// # Safety
/// CPython calls `PyInit_...`, which calls this, with the same arguments each time.
pub(crate) unsafe fn initialise(
    name: &'static CStr,
    doc: &'static CStr,
    fill: impl FnOnce(&Bound<'_, PyModule>) -> PyResult<()>,
) -> *mut ffi::PyObject {
    // SAFETY: CPython imports modules on attached threads.
    let py = unsafe { Python::assume_attached() };
    trampoline::object(py, || {
        check_interpreter()?;
        let module = MODULE.get_or_try_init(py, || {
            let module = make(py, name, doc)?;
            fill(&module)?;
            Ok::<_, PyErr>(Object::new(module))
        });
        module.cloned()
    })
}

/// # Errors
/// `ImportError`: another interpreter has the module, whose objects cannot be shared.
fn check_interpreter() -> PyResult<()> {
    // SAFETY: the thread is attached.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the interpreter of this thread.
    let id = unsafe { ffi::PyInterpreterState_GetID(interpreter) };
    match INTERPRETER.compare_exchange(-1, id, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != id => Err(PyImportError::new_err("ferrio does not support subinterpreters")),
        _ => Ok(()),
    }
}

/// A new, empty module.
fn make<'py>(py: Python<'py>, name: &'static CStr, doc: &'static CStr) -> PyResult<Bound<'py, PyModule>> {
    let definition = DEFINITION.0.get();
    // SAFETY: a static that CPython does not use before the call below.
    let fields = unsafe { &mut *definition };
    fields.m_name = name.as_ptr();
    fields.m_doc = doc.as_ptr();
    // SAFETY: a whole definition that lives for ever.
    let module = unsafe { c_api::PyModule_Create2(definition, ffi::PYTHON_API_VERSION) };
    Ok(c_api::object(py, module)?.into_bound(py).cast_into::<PyModule>()?)
}

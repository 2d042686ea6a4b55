//! The native module itself: made once in a process, for its main interpreter.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr::null_mut;

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
    if !is_main_interpreter(py) {
        // Not within the trampoline: PyO3, which it asks, knows the main interpreter only.
        // SAFETY: CPython has set it before it imports anything.
        let class = unsafe { ffi::PyExc_ImportError };
        // SAFETY: the thread is attached; a class of exceptions, and a text that ends with a zero.
        unsafe { ffi::PyErr_SetString(class, c"ferrio does not support subinterpreters".as_ptr()) };
        return null_mut();
    }
    trampoline::object(py, || {
        let module = MODULE.get_or_try_init(py, || {
            let module = make(py, name, doc)?;
            fill(&module)?;
            Ok::<_, PyErr>(Object::new(module))
        });
        module.cloned()
    })
}

/// Whether this is the interpreter that the process began with. Objects are not shared with another.
fn is_main_interpreter(_py: Python<'_>) -> bool {
    // SAFETY: the thread is attached.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the interpreter of this thread.
    unsafe { ffi::PyInterpreterState_GetID(interpreter) == 0 }
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

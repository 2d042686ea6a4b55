//! Native functions that stand for functions of asyncio's: the types `Function` and `CoroutineFunction`.
//!
//! One is made from a name of the tables that [`register`] is given, and asyncio's own function, which is its `__wrapped__`: signature, documentation
//! and every other attribute are that function's. In a class it binds as a function does. A call runs natively when the
//! first argument is exactly of the class that holds it, and is handed to asyncio's function otherwise: for instances of
//! subclasses, and for arguments that do not fit, about which asyncio's function complains in its own words.
//!
//! As asyncio's functions it takes weak references and attributes of a program's, and is pickled by its name.
//!
//! A `CoroutineFunction` is one to `inspect.iscoroutinefunction` and `asyncio.iscoroutinefunction`.

use core::ffi::{CStr, c_int, c_void};
use core::mem::{offset_of, size_of};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::OnceLock;

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{ffi, intern};

use crate::coroutine::{self, Plan};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::Slot;
use crate::ffi::heap_type::{self, Builder, getter};
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::ffi::trampoline::{self, none};

/// What stands for a function of asyncio's.
#[derive(Clone, Copy)]
pub(crate) enum Native {
    /// Runs a call; `None` hands it to asyncio's function.
    Call(for<'py> fn(Python<'py>, Arguments<'_>) -> PyResult<Option<Object>>),
    /// Makes a coroutine of a call that fits.
    Method(CoroutineMethod),
}

/// A coroutine method that does nothing before its coroutine begins.
#[derive(Clone, Copy)]
pub(crate) struct CoroutineMethod {
    pub(crate) plan: &'static Plan,
    /// How many arguments it takes besides the object, by position.
    pub(crate) takes: usize,
    /// Whether the coroutine keeps the first of them.
    pub(crate) keeps: bool,
    /// Whether the native code is for this object.
    pub(crate) fits: fn(Python<'_>, &Object) -> bool,
}

impl CoroutineMethod {
    /// A method for every object of its class, that needs none of its arguments.
    pub(crate) const fn of(plan: &'static Plan, takes: usize) -> Self {
        Self { plan, takes, keeps: false, fits: |_, _| true }
    }

    /// The coroutine of a call, null with an exception; `None` when the call does not fit.
    ///
    /// Nothing in it panics but what [`make_in_slot`](coroutine::make_in_slot) catches, so it needs no [`trampoline`].
    ///
    /// # Safety
    /// Called by CPython, so by an attached thread.
    #[inline]
    unsafe fn call(&self, arguments: Arguments<'_>) -> Option<*mut ffi::PyObject> {
        let (&[object, ref rest @ ..], true) = (arguments.positional_addresses(), arguments.has_no_keywords()) else {
            return None;
        };
        // SAFETY: passed on to the caller.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: an argument of the call under way.
        let object = unsafe { Object::from_borrowed(object) };
        if rest.len() != self.takes || !(self.fits)(py, &object) {
            return None;
        }
        let kept = rest.first().filter(|_| self.keeps);
        // SAFETY: an argument of the call under way.
        let item = kept.map(|&item| unsafe { Object::from_borrowed(item) });
        // SAFETY: passed on to the caller.
        Some(unsafe { coroutine::make_in_slot(py, self.plan, object, item) })
    }
}

impl Native {
    /// The result of a call, null with an exception; `None` hands it to asyncio's function.
    ///
    /// # Safety
    /// Called by CPython, so by an attached thread.
    #[inline]
    unsafe fn call(self, arguments: Arguments<'_>) -> Option<*mut ffi::PyObject> {
        match self {
            Self::Method(method) => {
                // SAFETY: passed on to the caller.
                unsafe { method.call(arguments) }
            }
            Self::Call(function) => {
                let body = |py: Python<'_>| function(py, arguments).map(|result| result.map(Object::into_ptr));
                // SAFETY: passed on to the caller.
                unsafe { trampoline::run(Some(null_mut()), body) }
            }
        }
    }
}

/// A native function, by asyncio's qualified name.
pub(crate) type Named = (&'static str, Native);

/// The tables of native functions that [`register`] was given.
static TABLES: OnceLock<&'static [&'static [Named]]> = OnceLock::new();

unsafe extern "C" {
    fn PyMethod_New(function: *mut ffi::PyObject, object: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// The state behind an object's head.
#[repr(C)]
struct State {
    vectorcall: ffi::vectorcallfunc,
    native: Native,
    /// Its name in the tables given to [`register`].
    name: &'static str,
    wrapped: Slot,
    /// The class in whose body it is; empty for a function of a module.
    owner: Slot,
    /// What a program has set on it, and who refers to it weakly: CPython's own, through the offsets of the type.
    attributes: Slot,
    weak_references: *mut ffi::PyObject,
}

const _: () = assert!(size_of::<Slot>() == size_of::<*mut ffi::PyObject>());

/// Where a function's state begins.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

impl State {
    fn place(object: *mut ffi::PyObject) -> *mut Self {
        // SAFETY: an instance has its state at this offset.
        unsafe { object.byte_add(OFFSET.load(Ordering::Relaxed)) }.cast()
    }

    /// # Safety
    /// `object` is an instance of one of the two types, and outlives the result.
    unsafe fn of<'a>(object: *mut ffi::PyObject) -> &'a Self {
        // SAFETY: passed on to the caller; `new` has filled it.
        unsafe { &*Self::place(object) }
    }

    fn wrapped(&self, py: Python<'_>) -> Object {
        self.wrapped.get().unwrap_or_else(|| none(py))
    }
}

/// The two types; set when they are made.
static CLASSES: [AtomicPtr<ffi::PyTypeObject>; 2] = [const { AtomicPtr::new(null_mut()) }; 2];

/// Whether a call of `function` on an object of exactly `class` runs the native function `name`.
pub(crate) fn is_native_of(function: &Bound<'_, PyAny>, class: &Bound<'_, PyType>, name: &str) -> bool {
    if !CLASSES.iter().any(|known| function.get_type_ptr() == known.load(Ordering::Relaxed)) {
        return false;
    }
    // SAFETY: an instance of one of the two types.
    let state = unsafe { State::of(function.as_ptr()) };
    state.name == name && state.owner.as_ptr() == class.as_ptr()
}

/// Whether `method` is the native method `name` of `object`, bound to it, and that of its own class.
pub(crate) fn is_method_of(py: Python<'_>, object: &Object, method: &Object, name: &str) -> PyResult<bool> {
    let (object, method) = (object.bind(py), method.bind(py));
    if !method.get_type().is(py.import("types")?.getattr("MethodType")?) {
        return Ok(false);
    }
    let function = method.getattr(intern!(py, "__func__"))?;
    Ok(is_native_of(&function, &object.get_type(), name) && method.getattr(intern!(py, "__self__"))?.is(object))
}

/// What is wrapped may be another of these: `None` with an exception when there are too many within one another.
fn level(py: Python<'_>) -> Option<nesting::Call> {
    nesting::enter(py).map_err(|error| error.restore(py)).ok()
}

unsafe extern "C" fn call(
    function: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    count: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls this on an instance of one of the two types.
    let state = unsafe { State::of(function) };
    // SAFETY: as CPython passed it.
    let positional = unsafe { ffi::PyVectorcall_NARGS(count) };
    let owner = state.owner.as_ptr();
    let fits = if owner.is_null() {
        true
    } else if positional == 0 {
        false
    } else {
        // SAFETY: there is a first argument.
        let first = unsafe { *values };
        // SAFETY: a live object.
        let class = unsafe { ffi::Py_TYPE(first) };
        core::ptr::eq(class.cast(), owner)
    };
    if fits {
        // SAFETY: the three are as CPython passed them, and are used during this call only.
        let arguments = unsafe { Arguments::new(values, positional, keywords) };
        // SAFETY: CPython calls this on an attached thread.
        if let Some(result) = unsafe { state.native.call(arguments) } {
            return result;
        }
    }
    // SAFETY: CPython calls this on an attached thread.
    let py = unsafe { Python::assume_attached() };
    let Some(_level) = level(py) else { return null_mut() };
    let wrapped = state.wrapped(py);
    let target = wrapped.as_ptr();
    // SAFETY: a live callable (the collector alone empties it, when nobody can call any more); the rest is the caller's.
    unsafe { ffi::PyObject_Vectorcall(target, values, count, keywords) }
}

unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| -> PyResult<Object> {
        // SAFETY: CPython passes a tuple.
        let args = unsafe { Bound::from_borrowed_ptr(py, args) };
        if !kwargs.is_null() {
            return Err(PyTypeError::new_err("takes no keyword arguments"));
        }
        let (name, wrapped): (String, Bound<'_, PyAny>) = args.extract()?;
        let Some((name, native)) =
            TABLES.get().into_iter().copied().flatten().copied().flatten().find(|(known, _)| *known == name)
        else {
            return Err(PyKeyError::new_err(name));
        };
        // SAFETY: a ready type without variable-sized part.
        let object = unsafe { ffi::PyType_GenericAlloc(class, 0) };
        // SAFETY: a new reference, or null with an exception.
        let Some(object) = (unsafe { Object::from_owned(object) }) else { return Err(PyErr::fetch(py)) };
        let state = State {
            vectorcall: call,
            native: *native,
            name,
            wrapped: Slot::default(),
            owner: Slot::default(),
            attributes: Slot::default(),
            weak_references: null_mut(),
        };
        state.wrapped.set(Object::new(wrapped));
        // SAFETY: zeroed memory of the state's size and alignment, not yet a state.
        unsafe { State::place(object.as_ptr()).write(state) };
        Ok(object)
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

unsafe fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: an object that nobody refers to any more.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: its state is whole until the next line but one.
    unsafe { ffi::PyObject_ClearWeakRefs(object) };
    // SAFETY: the state that `new` put there, ended once.
    unsafe { State::place(object).drop_in_place() };
    // SAFETY: the type outlives its instances.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: memory from the type's allocator, untracked.
    unsafe { ffi::PyObject_GC_Del(object.cast()) };
    // SAFETY: an instance of a heap type owns a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector visits live instances.
    let state = unsafe { State::of(object) };
    // SAFETY: the type of a live object.
    let class: *mut ffi::PyObject = unsafe { ffi::Py_TYPE(object) }.cast();
    for value in [state.wrapped.as_ptr(), state.owner.as_ptr(), state.attributes.as_ptr(), class] {
        if !value.is_null() {
            // SAFETY: `visit` takes live objects that this one owns.
            let stop = unsafe { visit(value, arg) };
            if stop != 0 {
                return stop;
            }
        }
    }
    0
}

// The wrapped function stays: a call can still come from another object of the same garbage.
unsafe fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: an instance.
    let state = unsafe { State::of(object) };
    drop((state.owner.take(), state.attributes.take()));
    0
}

unsafe extern "C" fn bind(
    function: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
    _class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a singleton of the interpreter.
    if object.is_null() || object == unsafe { ffi::Py_None() } {
        // SAFETY: a live object; the caller gets a reference.
        unsafe { ffi::Py_INCREF(function) };
        return function;
    }
    // SAFETY: two live objects.
    unsafe { PyMethod_New(function, object) }
}

/// What the object itself does not have is the wrapped function's.
///
/// The type has a `__doc__` and a `__module__` too, which are about itself.
unsafe extern "C" fn attribute(object: *mut ffi::PyObject, name: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object.
    if unsafe { ffi::PyUnicode_Check(name) } == 0 {
        // It has the words for a name that is none.
        // SAFETY: two live objects.
        return unsafe { ffi::PyObject_GenericGetAttr(object, name) };
    }
    // SAFETY: an instance of one of the two types.
    let has_attributes = !unsafe { State::of(object) }.attributes.is_empty();
    let is_of_type = [c"__doc__", c"__module__"].into_iter().any(|known| {
        // SAFETY: a string and a text in ASCII.
        unsafe { ffi::PyUnicode_CompareWithASCIIString(name, known.as_ptr()) == 0 }
    });
    if is_of_type && has_attributes {
        // SAFETY: an instance of one of the two types.
        let attributes = unsafe { State::of(object) }.attributes.get();
        let attributes = attributes.as_ref().map_or(null_mut(), Object::as_ptr);
        // SAFETY: a dictionary and a name.
        let own = unsafe { ffi::PyDict_GetItemWithError(attributes, name) };
        if !own.is_null() {
            // SAFETY: a live object of the dictionary; the caller gets a reference.
            unsafe { ffi::Py_INCREF(own) };
            return own;
        }
        // SAFETY: the thread is attached.
        if !unsafe { ffi::PyErr_Occurred() }.is_null() {
            return null_mut();
        }
    }
    if !is_of_type {
        // SAFETY: a live object and a name.
        let own = unsafe { ffi::PyObject_GenericGetAttr(object, name) };
        // SAFETY: a class that lives for ever.
        let unknown = unsafe { ffi::PyExc_AttributeError };
        // SAFETY: the thread is attached; without a result an exception is set.
        if !own.is_null() || unsafe { ffi::PyErr_ExceptionMatches(unknown) } == 0 {
            return own;
        }
    }
    // SAFETY: CPython calls this on an attached thread.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an instance of one of the two types.
    let wrapped = unsafe { State::of(object) }.wrapped(py);
    // SAFETY: the thread is attached.
    unsafe { ffi::PyErr_Clear() };
    let Some(_level) = level(py) else { return null_mut() };
    // SAFETY: a live object and a name.
    unsafe { ffi::PyObject_GetAttr(wrapped.as_ptr(), name) }
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let body = |py: Python<'_>| -> PyResult<Object> {
        // SAFETY: an instance of one of the two types.
        let wrapped = unsafe { State::of(object) }.wrapped(py);
        let name = wrapped.bind(py).getattr("__qualname__")?;
        let text = format!("<native function {name} at {object:p}>");
        Ok(Object::new(text.into_pyobject(py)?))
    };
    // SAFETY: CPython calls this on an attached thread.
    unsafe { trampoline::object(body) }
}

getter!(get_wrapped, |py, object| {
    // SAFETY: the getter belongs to the two types.
    let state = unsafe { State::of(object) };
    Ok(state.wrapped(py))
});

heap_type::fast!(set_name, |py, object, arguments| {
    let &[owner, _name] = arguments.positional_addresses() else {
        return Err(PyTypeError::new_err("__set_name__() takes a class and a name"));
    };
    // SAFETY: the method belongs to the two types.
    let state = unsafe { State::of(object) };
    // A second class that has it is not the one whose state the native code knows; a function of a module has no class.
    if state.owner.is_empty() && state.name.contains('.') {
        // SAFETY: an argument of the call under way.
        state.owner.set(unsafe { Object::from_borrowed(owner) });
    }
    Ok(none(py))
});

heap_type::no_arguments!(reduce, |py, object| {
    // SAFETY: the method belongs to the two types.
    let state = unsafe { State::of(object) };
    let owner = state.owner.get().unwrap_or_else(|| none(py));
    // SAFETY: the object of the call.
    let function = unsafe { Bound::from_borrowed_ptr(py, object) };
    let reduced =
        py.import("ferrio._copying")?.call_method1("reduced_function", (function, owner.bind(py), state.name))?;
    Ok(Object::new(reduced))
});

fn build<'py>(py: Python<'py>, name: &'static CStr, doc: &'static CStr) -> PyResult<Bound<'py, PyType>> {
    let base = py.get_type::<PyAny>();
    let offset = heap_type::state_offset(&base);
    OFFSET.store(offset, Ordering::Relaxed);
    let members = Box::leak(Box::new([
        heap_type::offset_member(c"__vectorcalloffset__", offset + offset_of!(State, vectorcall))?,
        heap_type::offset_member(c"__dictoffset__", offset + offset_of!(State, attributes))?,
        heap_type::offset_member(c"__weaklistoffset__", offset + offset_of!(State, weak_references))?,
        ffi::PyMemberDef::default(),
    ]));
    Builder::new(name, doc)
        .vectorcalled_method()
        .method(heap_type::fast_def(c"__set_name__", set_name, c"Called when a class body has it."))
        .method(heap_type::no_arguments_def(c"__reduce__", reduce, c"How it is pickled: by its name."))
        .attribute(c"__wrapped__", get_wrapped, None)
        .attribute(c"__dict__", ffi::PyObject_GenericGetDict, Some(ffi::PyObject_GenericSetDict))
        .slots([
            (ffi::Py_tp_new, new as *mut c_void),
            trampoline::slot!(tp_dealloc, deallocate),
            trampoline::slot!(tp_traverse, traverse),
            trampoline::slot!(tp_clear, clear),
            (ffi::Py_tp_descr_get, bind as *mut c_void),
            (ffi::Py_tp_getattro, attribute as *mut c_void),
            (ffi::Py_tp_repr, repr as *mut c_void),
            (ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
            (ffi::Py_tp_members, members.as_mut_ptr().cast()),
        ])
        .build(py, &base, size_of::<State>())
}

/// Makes the types and adds them to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>, tables: &'static [&'static [Named]]) -> PyResult<()> {
    let _ = TABLES.set(tables);
    let py = module.py();
    let plain = build(py, c"ferrio._ferrio.Function", c"A native function in place of one of asyncio's.")?;
    let doc = c"A native function in place of a coroutine function of asyncio's.";
    let coroutine = build(py, c"ferrio._ferrio.CoroutineFunction", doc)?;
    // Since 3.12 `inspect` has a mark; asyncio's own is older.
    if let Some(mark) = py.import("inspect")?.getattr_opt("_is_coroutine_mark")? {
        coroutine.setattr("_is_coroutine_marker", mark)?;
    }
    if let Some(mark) = py.import("asyncio.coroutines")?.getattr_opt("_is_coroutine")? {
        coroutine.setattr("_is_coroutine", mark)?;
    }
    for (known, class) in CLASSES.iter().zip([&plain, &coroutine]) {
        // The types live as long as the process.
        known.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    }
    module.add("Function", plain)?;
    module.add("CoroutineFunction", coroutine)
}

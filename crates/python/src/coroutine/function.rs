//! Native functions that stand for functions of asyncio's: the classes `Function` and `CoroutineFunction`.
//!
//! One is made from a name of the tables that [`register`] is given, and asyncio's own function, which is its `__wrapped__`:
//! signature, documentation and every other attribute are that function's. In a class it binds as a function does. A call
//! runs natively when the first argument is exactly of the class that holds it, and is handed to asyncio's function otherwise:
//! for instances of subclasses, and for arguments that do not fit, about which asyncio's function complains in its own words.
//!
//! As asyncio's functions it takes weak references and attributes of a program's, and is pickled by its name.
//!
//! A `CoroutineFunction` is one to `inspect.iscoroutinefunction` and `asyncio.iscoroutinefunction`.

#![forbid(unsafe_code)]

use core::ffi::CStr;
use core::ptr::null_mut;
use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::class::Coroutine;
use super::plan::CoroutineState;
use crate::coroutine::{self, Plan};
use crate::ffi::arguments::Arguments;
use crate::ffi::cell::Slot;
use crate::ffi::class::{Builder, Class, Description, Heap, Instance, NativeClass, WeakReferences};
use crate::ffi::fields::{holds_no_object, native_state};
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::nesting::{self, Held};
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::place::{Place, place};
use crate::ffi::trampoline::caught;
use crate::ffi::vectorcall::{Vectorcall, plain_attribute};

/// What stands for a function of asyncio's.
#[derive(Clone, Copy)]
pub(crate) enum Native {
    /// Runs a call; `None` hands it to asyncio's function.
    Call(for<'py> fn(Python<'py>, Arguments<'_>) -> PyResult<Option<Object>>),
    /// Makes a coroutine of a call that fits.
    Method(CoroutineMethod),
}

holds_no_object!(Native);

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

    /// The coroutine of a call; `None` when the call does not fit.
    ///
    /// The usual way, by an idle coroutine, does not panic and is not caught.
    #[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
    #[inline(always)]
    fn call(&self, py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
        let ([object, rest @ ..], true) = (arguments.positional(), arguments.has_no_keywords()) else {
            return Ok(None);
        };
        if rest.len() != self.takes || !(self.fits)(py, object) {
            return Ok(None);
        }
        let item = rest.first().filter(|_| self.keeps).cloned();
        let coroutine = match Instance::<Coroutine<CoroutineState>>::reuse() {
            Some(idle) => coroutine::begin_again(idle, self.plan, object.clone(), item),
            None => caught(|| coroutine::make_new(py, self.plan, object.clone(), item))?,
        };
        Ok(Some(coroutine))
    }
}

impl Native {
    /// The result of a call; `None` hands it to asyncio's function.
    #[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
    #[inline(always)]
    fn call(&self, py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
        match self {
            Self::Method(method) => method.call(py, arguments),
            Self::Call(function) => caught(|| function(py, arguments)),
        }
    }
}

/// A native function, by asyncio's qualified name.
pub(crate) type Named = (&'static str, Native);

/// The tables of native functions that [`register`] was given.
static TABLES: OnceLock<&'static [&'static [Named]]> = OnceLock::new();

native_state! {
    /// The state of a function of either class.
    pub(crate) struct FunctionState {
        vectorcall: Vectorcall,
        native: Native,
        /// Its name in the tables given to [`register`].
        name: &'static str,
        /// asyncio's function. It stays when the collector clears this one: a call can still come from another object of the
        /// same garbage.
        wrapped: Held,
        /// The class in whose body it is; empty for a function that has none in its name.
        owner: Slot,
        /// What a program has set on it.
        attributes: Slot,
        weak_references: WeakReferences,
    }
}

/// One of the two classes.
trait FunctionClass: NativeClass<State = FunctionState> {}

/// `function_class!(Function, c"ferrio._ferrio.Function", c"its documentation")`
macro_rules! function_class {
    ($class:ident, $name:literal, $doc:literal) => {
        struct $class;

        impl Class for $class {
            type State = FunctionState;
            type Layout = Heap;

            #[inline]
            fn description() -> &'static Description<Self> {
                static DESCRIPTION: Description<$class> = Description::new(0);
                &DESCRIPTION
            }
        }

        impl NativeClass for $class {
            const NAME: &'static CStr = $name;
            const DOC: &'static CStr = $doc;
            const WEAK_REFERENCES: Option<Place<FunctionState, WeakReferences>> =
                Some(place!(FunctionState, weak_references));
            const DICTIONARY: Option<Place<FunctionState, Slot>> = Some(place!(FunctionState, attributes));
            const VECTORCALL: Option<Place<FunctionState, Vectorcall>> = Some(place!(FunctionState, vectorcall));
        }

        impl FunctionClass for $class {}
    };
}

function_class!(Function, c"ferrio._ferrio.Function", c"A native function in place of one of asyncio's.");
function_class!(
    CoroutineFunction,
    c"ferrio._ferrio.CoroutineFunction",
    c"A native function in place of a coroutine function of asyncio's."
);

/// The state of a function of either class.
fn state_of(object: &Object) -> Option<&FunctionState> {
    match Instance::<Function>::of(object) {
        Some(function) => Some(function),
        None => Instance::<CoroutineFunction>::of(object).map(|function| &**function),
    }
}

/// Whether a call of `function` on an object of exactly `class` runs the native function `name`.
pub(crate) fn is_native_of(function: &Bound<'_, PyAny>, class: &Bound<'_, PyType>, name: &str) -> bool {
    state_of(Object::of(function)).is_some_and(|state| state.name == name && state.owner.is(Object::of(class)))
}

/// Whether `method` is the native method `name` of `object`, bound to it, and that of its own class.
pub(crate) fn is_method_of(py: Python<'_>, object: &Object, method: &Object, name: &str) -> PyResult<bool> {
    let (object, method) = (object.bind(py), method.bind(py));
    if !method.get_type().is(OBJECTS.types_method_type.bind(py)?) {
        return Ok(false);
    }
    let function = method.getattr(&names(py).__func__)?;
    Ok(is_native_of(&function, &object.get_type(), name) && method.getattr(&names(py).__self__)?.is(object))
}

#[expect(clippy::inline_always, reason = "the outcome would travel through memory otherwise")]
#[inline(always)]
fn call<C: FunctionClass>(py: Python<'_>, function: &Instance<C>, arguments: Arguments<'_>) -> PyResult<Object> {
    let function: &FunctionState = function;
    let is_for_first = || arguments.positional().first().is_some_and(|first| function.owner.is_class_of(first));
    if (function.owner.is_empty() || is_for_first())
        && let Some(result) = function.native.call(py, arguments)?
    {
        return Ok(result);
    }
    // What is wrapped may be another of these.
    let _level = nesting::enter(py)?;
    arguments.pass_to(py, &function.wrapped)
}

/// `Function(name, wrapped)`.
fn new<C: FunctionClass>(
    arguments: &Bound<'_, PyTuple>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<FunctionState> {
    if keywords.is_some() {
        return Err(PyTypeError::new_err("takes no keyword arguments"));
    }
    let (name, wrapped): (String, Bound<'_, PyAny>) = arguments.extract()?;
    let mut known = TABLES.get().into_iter().copied().flatten().copied().flatten();
    let Some(&(name, native)) = known.find(|(known, _)| *known == name) else {
        return Err(PyKeyError::new_err(name));
    };
    Ok(FunctionState {
        vectorcall: Vectorcall::of::<C, _>(call::<C>),
        native,
        name,
        wrapped: Held::new(Object::new(wrapped)),
        owner: Slot::default(),
        attributes: Slot::default(),
        weak_references: WeakReferences::new(null_mut()),
    })
}

/// What the object itself does not have is the wrapped function's.
///
/// The class has a `__doc__` and a `__module__` too, which are about itself.
fn attribute<C: FunctionClass>(py: Python<'_>, function: &Instance<C>, name: &Object) -> PyResult<Object> {
    let Ok(text) = name.bind(py).cast::<PyString>() else {
        // It has the words for a name that is none.
        return plain_attribute(py, function.object(), name);
    };
    if text == "__doc__" || text == "__module__" {
        if let Some(attributes) = function.attributes.get()
            && let Some(own) = attributes.bind(py).cast::<PyDict>()?.get_item(text)?
        {
            return Ok(Object::new(own));
        }
    } else {
        match plain_attribute(py, function.object(), name) {
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {}
            outcome => return outcome,
        }
    }
    let _level = nesting::enter(py)?;
    function.wrapped.bind(py).getattr(text).map(Object::new)
}

fn repr<C: FunctionClass>(py: Python<'_>, function: &Instance<C>) -> PyResult<String> {
    let name = function.wrapped.bind(py).getattr("__qualname__")?;
    Ok(format!("<native function {name} at {:p}>", function.object().as_ptr()))
}

fn set_name<C: FunctionClass>(_: Python<'_>, function: &Instance<C>, arguments: Arguments<'_>) -> PyResult<()> {
    let [owner, _name] = arguments.positional() else {
        return Err(PyTypeError::new_err("__set_name__() takes a class and a name"));
    };
    // A second class that has it is not the one whose state the native code knows; one without a class in its name looks at
    // its arguments itself.
    if function.owner.is_empty() && function.name.contains('.') {
        function.owner.set(owner.clone());
    }
    Ok(())
}

fn reduce<C: FunctionClass>(py: Python<'_>, function: &Instance<C>) -> PyResult<Object> {
    let owner = function.owner.get_or_none(py);
    let reduced = OBJECTS.reduced_function.bind(py)?.call1((function.bind(py), owner.bind(py), function.name))?;
    Ok(Object::new(reduced))
}

fn builder<C: FunctionClass>() -> Builder<Instance<C>> {
    Builder::<Instance<C>>::new()
        .constructed_by(new::<C>)
        .called_as_functions_are()
        .finds_attributes_by(attribute::<C>)
        .repr(repr::<C>)
        .method(Method::any_arguments(c"__set_name__", set_name::<C>, c"Called when a class body has it."))
        .method(Method::no_arguments(c"__reduce__", reduce::<C>, c"How it is pickled: by its name."))
        .attribute(Attribute::read_only(c"__wrapped__", |_, function: &Instance<C>| Ok(function.wrapped.clone())))
        .shows_dictionary()
}

/// Makes the classes and adds them to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>, tables: &'static [&'static [Named]]) -> PyResult<()> {
    let _ = TABLES.set(tables);
    let py = module.py();
    let base = py.get_type::<PyAny>();
    // What `inspect` looks for since 3.12, and asyncio's own, which is older. A release that has no such mark has no such
    // attribute.
    let coroutine = builder::<CoroutineFunction>()
        .attribute(Attribute::read_only(c"_is_coroutine_marker", |py, _: &Instance<CoroutineFunction>| {
            OBJECTS.inspect_coroutine_mark.get(py).cloned()
        }))
        .attribute(Attribute::read_only(c"_is_coroutine", |py, _: &Instance<CoroutineFunction>| {
            OBJECTS.asyncio_coroutine_mark.get(py).cloned()
        }))
        .build(py, &base)?;
    module.add("Function", builder::<Function>().build(py, &base)?)?;
    module.add("CoroutineFunction", coroutine)
}

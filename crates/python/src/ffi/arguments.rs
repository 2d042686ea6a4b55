//! Arguments of a vectorcall: positional ones in a slice, keywords behind them.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use crate::ffi::object::Object;

/// The arguments of one call, borrowed from the caller for as long as it lasts.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    keywords: *mut ffi::PyObject,
}

impl<'a> Arguments<'a> {
    /// What CPython passed to a `METH_FASTCALL | METH_KEYWORDS` function.
    ///
    /// # Safety
    /// The three are as CPython passed them, and the call has not ended.
    pub(crate) unsafe fn new(
        values: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        keywords: *mut ffi::PyObject,
    ) -> Self {
        let positional = count.unsigned_abs();
        let named = if keywords.is_null() {
            0
        } else {
            // SAFETY: not null, so a tuple of names.
            unsafe { ffi::PyTuple_GET_SIZE(keywords) }.unsigned_abs()
        };
        let values = if positional + named == 0 {
            &[]
        } else {
            // SAFETY: `values` holds the positional values and behind them one for each name.
            unsafe { core::slice::from_raw_parts(values, positional + named) }
        };
        Self { values, positional, keywords }
    }

    /// The positional values.
    #[inline]
    pub(crate) fn positional(&self) -> &'a [Object] {
        // SAFETY: the caller of the function keeps its arguments alive during the call.
        unsafe { Object::view_all(&self.values[..self.positional]) }
    }

    /// The positional values, and behind them those of the keywords.
    #[inline]
    pub(crate) fn values(&self) -> &'a [Object] {
        // SAFETY: the caller of the function keeps its arguments alive during the call.
        unsafe { Object::view_all(self.values) }
    }

    /// The positional values if there are `N` of them and no keywords.
    #[inline]
    pub(crate) fn only<const N: usize>(&self) -> Option<&'a [Object; N]> {
        if self.has_no_keywords() { self.positional().try_into().ok() } else { None }
    }

    /// The values of the parameters `names`, by position or by name, of the function `function`.
    ///
    /// # Errors
    /// `TypeError`: there are too many, one has no parameter, or a parameter gets two.
    pub(crate) fn parameters<const N: usize>(
        &self,
        py: Python<'_>,
        function: &str,
        names: [&str; N],
    ) -> PyResult<[Option<&'a Object>; N]> {
        let positional = self.positional();
        if positional.len() > N {
            let text = format!("{function}() takes at most {N} positional arguments ({} given)", positional.len());
            return Err(PyTypeError::new_err(text));
        }
        let mut given = core::array::from_fn(|index| positional.get(index));
        for (name, value) in self.named(py) {
            let text = name.to_string();
            let index = names.iter().position(|&known| known == text);
            let index = index.ok_or_else(|| unexpected_keyword(function, &name))?;
            if given[index].replace(value).is_some() {
                return Err(PyTypeError::new_err(format!("{function}() got multiple values for argument '{text}'")));
            }
        }
        Ok(given)
    }

    /// The values if there are `N` of them, of which the last alone may be given by its name.
    #[inline]
    pub(crate) fn ending_with<const N: usize>(&self, py: Python<'_>, last: &str) -> Option<&'a [Object; N]> {
        let values: &[Object; N] = self.values().try_into().ok()?;
        match self.named(py).next() {
            None => Some(values),
            Some((name, _)) => (self.positional + 1 == N && is_named(&name, last)).then_some(values),
        }
    }

    /// The names of the keywords with their values.
    #[inline]
    pub(crate) fn named<'py>(
        &self,
        py: Python<'py>,
    ) -> impl Iterator<Item = (Bound<'py, PyAny>, &'a Object)> + use<'a, 'py> {
        let values = &self.values()[self.positional..];
        self.keywords(py).map(|(name, _)| name).zip(values)
    }

    /// The addresses of the positional values.
    pub(crate) fn positional_addresses(&self) -> &'a [*mut ffi::PyObject] {
        &self.values[..self.positional]
    }

    /// The addresses of the positional values, and behind them those of the keywords.
    pub(crate) fn addresses(&self) -> &'a [*mut ffi::PyObject] {
        self.values
    }

    /// The names of the keywords: a tuple, or null.
    pub(crate) fn names(&self) -> *mut ffi::PyObject {
        self.keywords
    }

    /// Whether there are no keywords.
    pub(crate) fn has_no_keywords(&self) -> bool {
        self.values.len() == self.positional
    }

    /// Calls `function` with these arguments.
    pub(crate) fn pass_to(&self, py: Python<'_>, function: &Object) -> PyResult<Object> {
        let values = self.values.as_ptr();
        // SAFETY: a live object; the rest is as CPython passed it to the call under way.
        let result = unsafe { ffi::PyObject_Vectorcall(function.as_ptr(), values, self.positional, self.keywords) };
        // SAFETY: a new reference, or null with an exception.
        unsafe { Object::from_result(py, result) }
    }

    /// `function(receiver, *args, **kwargs)` with these arguments.
    pub(crate) fn pass_on(&self, py: Python<'_>, function: &Object, receiver: &Object) -> PyResult<Object> {
        let values: Vec<_> = core::iter::once(receiver.as_ptr()).chain(self.values.iter().copied()).collect();
        let count = 1 + self.positional;
        // SAFETY: the receiver and the arguments of the call under way, `count` of them without a name.
        let result = unsafe { ffi::PyObject_Vectorcall(function.as_ptr(), values.as_ptr(), count, self.keywords) };
        // SAFETY: a new reference, or null with an exception.
        unsafe { Object::from_result(py, result) }
    }

    /// The keywords with the addresses of their values.
    pub(crate) fn keywords<'py>(
        &self,
        py: Python<'py>,
    ) -> impl Iterator<Item = (Bound<'py, PyAny>, *mut ffi::PyObject)> + use<'a, 'py> {
        let (values, names) = (&self.values[self.positional..], self.keywords);
        values.iter().enumerate().map(move |(index, &value)| {
            #[expect(clippy::cast_possible_wrap, reason = "the size of a tuple")]
            // SAFETY: `names` is a tuple with one name for each of these values.
            let name = unsafe { ffi::PyTuple_GET_ITEM(names, index as ffi::Py_ssize_t) };
            // SAFETY: the tuple keeps its items alive during the call.
            (unsafe { Bound::from_borrowed_ptr(py, name) }, value)
        })
    }
}

/// Python's one empty tuple.
static EMPTY: PyOnceLock<Object> = PyOnceLock::new();

/// A tuple of the objects at these addresses.
#[inline]
pub(crate) fn tuple(py: Python<'_>, values: &[*mut ffi::PyObject]) -> PyResult<Object> {
    // SAFETY: the caller of the function whose arguments these are keeps them alive.
    tuple_of(py, unsafe { Object::view_all(values) })
}

/// A tuple of these objects.
#[inline]
pub(crate) fn tuple_of(py: Python<'_>, values: &[Object]) -> PyResult<Object> {
    if values.is_empty() {
        return Ok(EMPTY.get_or_init(py, || Object::new(PyTuple::empty(py))).clone());
    }
    #[expect(clippy::cast_possible_wrap, reason = "the length of a slice")]
    // SAFETY: the thread is attached.
    let tuple = unsafe { ffi::PyTuple_New(values.len() as ffi::Py_ssize_t) };
    // SAFETY: a new reference, or null with an exception.
    let tuple = unsafe { Object::from_result(py, tuple) }?;
    for (index, value) in (0..).zip(values) {
        // SAFETY: a new tuple that nobody has seen, an index below its length, a reference to give away.
        unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index, value.clone().into_ptr()) };
    }
    Ok(tuple)
}

/// Whether a keyword's name is `known`.
fn is_named(name: &Bound<'_, PyAny>, known: &str) -> bool {
    name.cast::<PyString>().is_ok_and(|name| name.to_str().is_ok_and(|name| name == known))
}

/// `TypeError` for a keyword that `function` does not have.
pub(crate) fn unexpected_keyword(function: &str, name: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{function}() got an unexpected keyword argument '{name}'"))
}

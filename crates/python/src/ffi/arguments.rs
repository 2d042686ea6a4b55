//! Arguments of a vectorcall: positional ones in a slice, keywords behind them.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use pyo3::{Borrowed, ffi};

use super::call::vectorcall;
use super::object::Object;
use super::{c_api, passed};

/// The arguments of one call, borrowed from the caller for as long as it lasts.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    values: &'a [Object],
    positional: usize,
    keywords: Option<Borrowed<'a, 'a, PyTuple>>,
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
        // SAFETY: null, or a tuple of names.
        let keywords = unsafe { passed::any_or_null(keywords) };
        // SAFETY: as above.
        let keywords = keywords.map(|names| unsafe { names.cast_unchecked::<PyTuple>() });
        let count = positional + keywords.map_or(0, |names| names.len());
        // SAFETY: `values` holds the positional values and behind them one for each name; the caller keeps them alive.
        let values = if count == 0 { &[] } else { unsafe { core::slice::from_raw_parts(values.cast(), count) } };
        Self { values, positional, keywords }
    }

    /// The positional values.
    #[inline]
    pub(crate) fn positional(&self) -> &'a [Object] {
        &self.values[..self.positional]
    }

    /// The positional values, and behind them those of the keywords.
    #[inline]
    pub(crate) fn values(&self) -> &'a [Object] {
        self.values
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
    pub(crate) fn named(&self, _py: Python<'_>) -> impl Iterator<Item = (Bound<'a, PyAny>, &'a Object)> + use<'a> {
        let (values, names) = (&self.values[self.positional..], self.keywords);
        values.iter().enumerate().filter_map(move |(index, value)| Some((names?.get_item(index).ok()?, value)))
    }

    /// The names of the keywords.
    #[cfg(Py_3_14)]
    pub(in crate::ffi) const fn names(&self) -> Option<Borrowed<'a, 'a, PyTuple>> {
        self.keywords
    }

    /// Whether there are no keywords.
    pub(crate) fn has_no_keywords(&self) -> bool {
        self.values.len() == self.positional
    }

    /// Calls `function` with these arguments.
    pub(crate) fn pass_to(&self, py: Python<'_>, function: &Object) -> PyResult<Object> {
        vectorcall(function.lend(py), Object::lend_all(self.values, py), self.keywords)
    }

    /// `function(receiver, *args, **kwargs)` with these arguments.
    pub(crate) fn pass_on(&self, py: Python<'_>, function: &Object, receiver: &Object) -> PyResult<Object> {
        let values: Vec<_> = core::iter::once(receiver).chain(self.values).map(|value| value.lend(py)).collect();
        vectorcall(function.lend(py), &values, self.keywords)
    }
}

/// Python's one empty tuple.
static EMPTY: PyOnceLock<Object> = PyOnceLock::new();

/// A tuple of these objects.
#[inline]
pub(crate) fn tuple_of(py: Python<'_>, values: &[Object]) -> PyResult<Object> {
    if values.is_empty() {
        return Ok(EMPTY.get_or_init(py, || Object::new(PyTuple::empty(py))).clone());
    }
    #[expect(clippy::cast_possible_wrap, reason = "the length of a slice")]
    // SAFETY: the thread is attached.
    let tuple = unsafe { c_api::PyTuple_New(values.len() as ffi::Py_ssize_t) };
    let tuple = c_api::object(py, tuple)?;
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

//! Contexts (`contextvars.Context`): a checked reference, copying the current one, running in one.

use core::mem::ManuallyDrop;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::c_api;
use super::context_fields::{current_variables, variables_of};
use super::object::Object;
use super::trampoline::fetched;

/// A reference to a context.
#[repr(transparent)]
pub(crate) struct Context(Object);

impl Context {
    /// The object as a context; `None` if it is none. Nothing can be derived from `contextvars.Context`.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<&Self> {
        let is_context = object.has_class(&raw const ffi::PyContext_Type);
        // SAFETY: laid out as the reference itself.
        is_context.then(|| unsafe { &*(&raw const *object).cast() })
    }

    /// A copy of the current context, O(1).
    #[inline]
    pub(crate) fn copy_current(py: Python<'_>) -> PyResult<Self> {
        // SAFETY: the thread is attached.
        let copy = unsafe { c_api::PyContext_CopyCurrent() };
        c_api::object(py, copy).map(Self)
    }

    /// A copy of this context, O(1).
    #[inline]
    pub(crate) fn copy(&self, py: Python<'_>) -> PyResult<Self> {
        c_api::object(py, c_api::PyContext_Copy(self.0.lend(py))).map(Self)
    }

    /// Whether it holds what a copy of the current context would hold. `false`: perhaps not.
    #[inline]
    pub(crate) fn is_like_current(&self, py: Python<'_>) -> bool {
        // SAFETY: a live context.
        let variables = unsafe { variables_of(self.0.as_ptr()) };
        variables.is_some() && variables == current_variables(py)
    }

    /// Whether it holds what `other` holds. `false`: perhaps not.
    #[inline]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // SAFETY: two live contexts.
        let variables = [self, other].map(|each| unsafe { variables_of(each.0.as_ptr()) });
        variables[0].is_some() && variables[0] == variables[1]
    }

    #[inline]
    pub(crate) const fn object(&self) -> &Object {
        &self.0
    }

    #[inline]
    pub(crate) fn into_object(self) -> Object {
        self.0
    }

    /// Runs `body` in this context.
    ///
    /// # Errors
    /// The context is entered already (`RuntimeError`), or what `body` reports.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "around every step; the outcome would travel through memory")]
    pub(crate) fn run<R>(&self, py: Python<'_>, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
        run_in(py, &self.0, body)
    }

    /// Whether it is entered, by whatever thread.
    pub(crate) fn is_entered(&self, py: Python<'_>) -> bool {
        self.enter(py)
            .and_then(|entered| entered.exit(py))
            .is_err_and(|error| error.is_instance_of::<PyRuntimeError>(py))
    }

    /// Enters the context, for a body that is not to become a function of its own.
    ///
    /// # Errors
    /// It is entered already (`RuntimeError`).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call and a comparison, around every callback")]
    pub(crate) fn enter(&self, py: Python<'_>) -> PyResult<Entered<'_>> {
        Entered::enter(py, &self.0)
    }
}

/// Runs `body` in `context`; CPython checks that it is one.
///
/// # Errors
/// The object is no context (`TypeError`), it is entered already (`RuntimeError`), or what `body` reports.
#[inline(always)]
#[expect(clippy::inline_always, reason = "around every step; the outcome would travel through memory")]
pub(crate) fn run_in<R>(py: Python<'_>, context: &Object, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let entered = Entered::enter(py, context)?;
    match body() {
        Ok(result) => entered.exit(py).map(|()| result),
        Err(error) => Err(entered.exit_with(py, error)),
    }
}

/// A context that is entered. It is left in any case: when a panic passes, by the drop.
pub(crate) struct Entered<'a>(&'a Object);

impl<'a> Entered<'a> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call and a comparison, around every callback and step")]
    fn enter(py: Python<'_>, context: &'a Object) -> PyResult<Self> {
        c_api::status(py, c_api::PyContext_Enter(context.lend(py))).map(|()| Self(context))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call and a comparison, around every callback and step")]
    pub(crate) fn exit(self, py: Python<'_>) -> PyResult<()> {
        let context = ManuallyDrop::new(self).0;
        // What was entered since has been left. No exception is set now.
        c_api::status(py, c_api::PyContext_Exit(context.lend(py)))
    }

    /// Leaves the context after `error`, which comes back unless leaving fails.
    #[cold]
    #[inline(never)]
    pub(crate) fn exit_with(self, py: Python<'_>, error: PyErr) -> PyErr {
        self.exit(py).err().unwrap_or(error)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        exit_in_panic(self.0);
    }
}

/// Not a part of the drop, for which the guard would have to lie in memory.
#[cold]
#[inline(never)]
fn exit_in_panic(context: &Object) {
    let py = context.py();
    if c_api::PyContext_Exit(context.lend(py)) != 0 {
        drop(fetched(py));
    }
}

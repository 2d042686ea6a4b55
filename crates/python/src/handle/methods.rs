//! The methods of Ferrio's three classes of handles, and making the classes.

#![forbid(unsafe_code)]

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::threadsafe::RunningGate;
use super::{context, timer};
use crate::core::LoopCore;
use crate::ffi::arguments;
use crate::ffi::call::call_named;
use crate::ffi::cell::Slot;
use crate::ffi::class::{Builder, Instance};
use crate::ffi::context_fields;
use crate::ffi::handle::{
    self as layout, AnyHandle, Call, Handle, HandleClass, InlineArguments, ThreadSafeHandle, TimerHandle, TimerSlots,
};
use crate::ffi::method::{Attribute, Method};
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

/// The loop in a handle's slot, which Python may have filled with anything.
#[inline]
fn loop_of(handle: &Instance<AnyHandle>) -> Option<Instance<LoopCore>> {
    handle.event_loop.get().and_then(|event_loop| Instance::from_object(event_loop).ok())
}

/// Waits until no other thread runs this handle.
fn wait_until_ended(py: Python<'_>, handle: &Instance<AnyHandle>) -> PyResult<()> {
    loop_of(handle).map_or(Ok(()), |event_loop| event_loop.part::<RunningGate>().wait_until_ended(py, handle.object()))
}

fn cancel<T: HandleClass>(py: Python<'_>, handle: &Instance<T>) -> PyResult<()> {
    if T::IS_THREAD_SAFE {
        wait_until_ended(py, handle.any())?;
    }
    cancel_as(py, handle.any(), None)
}

fn cancel_timer(py: Python<'_>, handle: &Instance<TimerHandle>) -> PyResult<()> {
    cancel_as(py, handle.any(), Some(handle))
}

/// Cancels a handle, which is a timer if `timer` says so.
fn cancel_as(py: Python<'_>, handle: &Instance<AnyHandle>, timer: Option<&TimerSlots>) -> PyResult<()> {
    if handle.is_cancelled() {
        return Ok(());
    }
    let event_loop = loop_of(handle);
    handle.cancelled.set(Object::bool(py, true));
    if let Some(event_loop) = &event_loop {
        if timer.is_some_and(|timer| timer.scheduled.is_true()) {
            event_loop.note_cancelled_timer(py);
        }
        if event_loop.is_debug() {
            handle.repr.set(Object::new(handle.bind(py).repr()?));
        }
    }
    let callback = handle.callback.replace(Some(Object::none(py)));
    let inline = handle.call().map(Call::take_arguments);
    let args = handle.args.replace(Some(Object::none(py)));
    drop((callback, inline, args));
    Ok(())
}

/// `_args`: the tuple is made when somebody asks.
fn args<T: HandleClass>(py: Python<'_>, handle: &Instance<T>) -> PyResult<Object> {
    let call = T::call(handle);
    let Some(arguments) = call.arguments() else { return slot(&handle.any().args, "_args") };
    let tuple = match arguments {
        InlineArguments::None => arguments::tuple_of(py, &[]),
        InlineArguments::One(first) => arguments::tuple_of(py, &[first]),
        InlineArguments::Two(first, second) => arguments::tuple_of(py, &[first, second]),
    }?;
    set_args(py, handle, Some(&tuple))?;
    Ok(tuple)
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of an attribute")]
fn set_args<T: HandleClass>(_py: Python<'_>, handle: &Instance<T>, value: Option<&Object>) -> PyResult<()> {
    let inline = T::call(handle).take_arguments();
    let before = handle.any().args.replace(value.cloned());
    drop((inline, before));
    Ok(())
}

/// `_context`: the handle's own is made when somebody asks.
fn context<T: HandleClass>(py: Python<'_>, handle: &Instance<T>) -> PyResult<Object> {
    context::own(py, handle.any())?;
    slot(&handle.any().context, "_context")
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of an attribute")]
fn set_context<T: HandleClass>(_py: Python<'_>, handle: &Instance<T>, value: Option<&Object>) -> PyResult<()> {
    T::call(handle).own_context();
    drop(handle.any().context.replace(value.cloned()));
    Ok(())
}

/// What a slot holds; `AttributeError` for nothing, as of asyncio's slot.
fn slot(slot: &Slot, name: &'static str) -> PyResult<Object> {
    slot.get().ok_or_else(|| PyAttributeError::new_err(name))
}

fn cancelled<T: HandleClass>(py: Python<'_>, handle: &Instance<T>) -> PyResult<bool> {
    if T::IS_THREAD_SAFE {
        wait_until_ended(py, handle.any())?;
    }
    Ok(handle.any().is_cancelled())
}

fn get_context<T: HandleClass>(py: Python<'_>, handle: &Instance<T>) -> PyResult<Option<Object>> {
    context::own(py, handle.any())
}

/// `_run` of a thread-safe handle: asyncio's takes the handle's lock, here the loop's gate stands for it.
fn run_behind_gate(py: Python<'_>, handle: &Instance<ThreadSafeHandle>) -> PyResult<()> {
    let event_loop = loop_of(handle.any());
    let _running = event_loop
        .as_ref()
        .map(|event_loop| event_loop.part::<RunningGate>().enter(py, handle.object()))
        .transpose()?;
    if !handle.any().is_cancelled() {
        call_named(&OBJECTS.asyncio_events.bind(py)?.getattr("Handle")?, "_run", (handle.bind(py),))?;
    }
    Ok(())
}

const CANCEL: &core::ffi::CStr = c"Cancel the callback; nothing happens when it has run or was cancelled.";

fn builder<T: HandleClass>(cancel: Method<Instance<T>>) -> Builder<Instance<T>> {
    Builder::<Instance<T>>::new()
        .method(cancel)
        .method(Method::no_arguments(c"cancelled", cancelled::<T>, c"Whether `cancel()` was called."))
        .attribute(Attribute::read_only(c"_args", args::<T>).writable(set_args::<T>))
        .attribute(Attribute::read_only(c"_context", context::<T>).writable(set_context::<T>))
        .method(Method::no_arguments(c"get_context", get_context::<T>, c"The context in which the callback runs."))
}

/// Makes the classes and adds them to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let events = OBJECTS.asyncio_events.bind(py)?;
    let handle_base = events.getattr("Handle")?.cast_into::<PyType>()?;
    let timer_base = events.getattr("TimerHandle")?.cast_into::<PyType>()?;
    // Since 3.14.
    let thread_safe_base = events.getattr_opt("_ThreadSafeHandle")?.map(Bound::cast_into::<PyType>).transpose()?;
    layout::check(&handle_base, &timer_base, thread_safe_base.as_ref())?;
    let thread_safe_base = thread_safe_base.unwrap_or_else(|| handle_base.clone());
    // Without the places, contexts are copied as asyncio copies them.
    let _ = context_fields::find(py);
    let plain = builder(Method::no_arguments(c"cancel", cancel::<Handle>, CANCEL)).build(py, &handle_base)?;
    let thread_safe = builder(Method::no_arguments(c"cancel", cancel::<ThreadSafeHandle>, CANCEL))
        .method(Method::no_arguments(c"_run", run_behind_gate, c"Run the callback."))
        .build(py, &thread_safe_base)?;
    let timer = builder(Method::no_arguments(c"cancel", cancel_timer, CANCEL))
        .attribute(Attribute::read_only(c"_when", timer::when).writable(timer::set_when))
        .build(py, &timer_base)?;
    module.add("Handle", plain)?;
    module.add("ThreadSafeHandle", thread_safe)?;
    module.add("TimerHandle", timer)
}

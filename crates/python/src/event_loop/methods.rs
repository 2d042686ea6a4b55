//! The core's attributes and once-per-loop methods, under the names that asyncio's base class uses.
//!
//! `BaseEventLoop` keeps its state in attributes (`_closed`, `_stopping`, `_debug`, ...) and reads them in dozens of
//! methods that Ferrio inherits. Here these attributes are windows on the native state.

#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use ferrio_engine::time::Expirable;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::{fork, measuring, scheduling, wakeup_descriptor, watch};
use crate::core::{Entry, LoopBuilder, LoopCore, Timer};
use crate::ffi::arguments::Arguments;
use crate::ffi::attributes;
use crate::ffi::class::Instance;
use crate::ffi::deferred::at_once;
use crate::ffi::deque;
use crate::ffi::method::{Attribute, Method};
use crate::ffi::names::names;
use crate::ffi::nesting;
use crate::ffi::object::Object;
use crate::ffi::thread_state;
use crate::handle::{self, is_handle};
use crate::net;
use crate::task::{self, unlink_all};
use crate::watchdog;

type Loop = Instance<LoopCore>;
type LoopMethod = Method<Loop>;

/// `_run_until_stopped(wakeup_descriptor)`.
fn run_until_stopped(py: Python<'_>, core: &Loop, wakeup_descriptor: &Object) -> PyResult<()> {
    let wakeup_descriptor = wakeup_descriptor.bind(py).extract()?;
    let _level = nesting::enter(py)?;
    at_once(py, || {
        let _lent = core.lend_wakeup_descriptor(py, wakeup_descriptor);
        core.run_as(py, core.object(), || core.run_until_stopped(py, core))
    })
}

fn run_once(py: Python<'_>, core: &Loop) -> PyResult<()> {
    let _level = nesting::enter(py)?;
    core.pulse.set_thread_state(thread_state::current_address(py));
    at_once(py, || core.run_as(py, core.object(), || core.run_once(py, core)))
}

/// `_set_signal_pair_state(is_watched, has_handlers)`.
fn set_signal_pair_state(py: Python<'_>, core: &Loop, arguments: Arguments<'_>) -> PyResult<()> {
    let Some([is_watched, has_handlers]) = arguments.only() else {
        return Err(PyTypeError::new_err("_set_signal_pair_state() takes two arguments"));
    };
    let (is_watched, has_handlers) = (is_watched.bind(py).is_truthy()?, has_handlers.bind(py).is_truthy()?);
    core.flags.has_signal_pair.set(is_watched);
    core.flags.is_signal_pair_idle.set(is_watched && !has_handlers);
    Ok(())
}

/// `_add_callback(handle)`.
fn add_callback(py: Python<'_>, core: &Loop, handle: &Object) -> PyResult<()> {
    if is_handle(handle) {
        core.push_ready(py, handle::entry(handle.clone()));
        return Ok(());
    }
    // asyncio asks no more of it than these two.
    let handle = handle.bind(py);
    if handle.getattr(&names(py)._cancelled)?.is_truthy()? {
        return Ok(());
    }
    let run = handle.getattr(&names(py)._run)?;
    core.schedule(py, Object::of(&run), &[], None)
}

/// `_add_callback_signalsafe(handle)`.
fn add_callback_signalsafe(py: Python<'_>, core: &Loop, handle: &Object) -> PyResult<()> {
    add_callback(py, core, handle)?;
    core.interrupt(py);
    Ok(())
}

/// `_ready`: a snapshot of handles. A task's entries are shown as the handles that they stand for.
fn ready(py: Python<'_>, core: &Loop) -> PyResult<Object> {
    core.take_inbox(py);
    handle::attach_all(py, core)?;
    let calls: Vec<_> = core.with_reactor(py, |reactor| reactor.ready.iter().filter_map(Entry::shown).collect());
    let handles = deque::new(py)?;
    for (shown_as, object, argument) in calls {
        deque::append(py, &handles, &shown_as(py, core.object(), &object, argument.as_ref())?)?;
    }
    Ok(handles)
}

/// `_scheduled`: a snapshot of handles.
fn scheduled(py: Python<'_>, core: &Loop) -> PyResult<Object> {
    core.show_sleeps(py)?;
    let handles: Vec<Object> = core
        .with_reactor(py, |reactor| reactor.timers.iter().filter_map(|(_, timer)| timer.handle().cloned()).collect());
    PyList::new(py, handles.iter().map(|handle| handle.bind(py))).map(Object::new)
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a setter")]
fn set_task_factory(py: Python<'_>, core: &Loop, factory: &Object) -> PyResult<()> {
    let factory = factory.unless_none();
    core.flags.has_task_factory.set(factory.is_some());
    let before = core.task_factory.with(py, |place| core::mem::replace(place, factory));
    drop(before);
    Ok(())
}

/// `__setattr__` and `__delattr__`, which notice methods that a program replaces.
fn set_attribute(py: Python<'_>, core: &Loop, name: &Object, value: Option<&Object>) -> PyResult<()> {
    if let (Ok(name), true) = (name.bind(py).cast::<PyString>(), value.is_some()) {
        if name == "call_soon" {
            core.flags.has_other_call_soon.set(true);
            unlink_all(py, core.object())?;
        } else if name == "create_future" || name == "call_later" || name == "call_at" {
            core.flags.has_other_waits.set(true);
        }
    }
    attributes::set(py, core.object(), name, value)?;
    look_for_clock(py, core, name)
}

/// An attribute of the loop has changed: if it is one of those that a clock consists of, the loop looks whose it has.
fn look_for_clock(py: Python<'_>, core: &Loop, name: &Object) -> PyResult<()> {
    let Ok(name) = name.bind(py).cast::<PyString>() else { return Ok(()) };
    let is_of_clock = name == "time" || name == "_selector" || name == "__class__";
    // One that has become asyncio's by a new class follows its clock in any case.
    if is_of_clock
        && Loop::of(core.object()).is_some()
        && let Some(look) = core.object().bind(py).getattr_opt(&names(py)._look_for_clock)?
    {
        look.call0()?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a setter")]
fn ignore(_py: Python<'_>, _core: &Loop, _value: &Object) -> PyResult<()> {
    Ok(())
}

/// The public methods that asyncio's loops have.
fn add_public_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(LoopMethod::no_arguments(
            c"stop",
            |_, core| {
                core.flags.stopping.set(true);
                Ok(())
            },
            c"stop($self)\n--\n\nStop after the turn under way, or after the next one when none is.",
        ))
        .method(LoopMethod::no_arguments(
            c"is_running",
            |_, core| Ok(core.is_running()),
            c"is_running($self)\n--\n\nWhether the loop is running.",
        ))
        .method(LoopMethod::no_arguments(
            c"is_closed",
            |_, core| Ok(core.flags.closed.get()),
            c"is_closed($self)\n--\n\nWhether the loop is closed.",
        ))
        .method(LoopMethod::no_arguments(
            c"get_debug",
            |_, core| Ok(core.is_debug()),
            c"get_debug($self)\n--\n\nWhether debug mode is on.",
        ))
}

/// What asyncio's own code and the Python half call.
fn add_private_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(LoopMethod::one_argument(
            c"_run_until_stopped",
            run_until_stopped,
            c"Run until stop(); the caller has set the loop up (_run_forever_setup). Signals write to the descriptor that is \
              given meanwhile; -1 for none.",
        ))
        .method(LoopMethod::no_arguments(
            c"_run_once",
            run_once,
            c"Run one turn; callbacks may ask for one within it.",
        ))
        .method(LoopMethod::no_arguments(
            c"_release",
            |py, core| {
                core.release_everything(py);
                Ok(())
            },
            c"Let go of every callback and descriptor: the end of the loop.",
        ))
        .method(LoopMethod::no_arguments(
            c"_check_closed",
            |_, core| core.check_closed(),
            c"Raise RuntimeError if the loop is closed.",
        ))
        .method(LoopMethod::any_arguments(
            c"_set_signal_pair_state",
            set_signal_pair_state,
            c"Whether the signals' socket pair is watched, and whether the loop has signal handlers, which are called \
              through it.",
        ))
        .method(LoopMethod::no_arguments(
            c"_write_to_self",
            |py, core| {
                core.interrupt(py);
                Ok(())
            },
            c"End a wait under way, from any thread.",
        ))
        .method(LoopMethod::one_argument(
            c"_watched_events",
            |py, core, fd| Ok(core.watched(py, fd.bind(py).extract()?).bits()),
            c"What `selectors` calls the events of a descriptor: 1 read, 2 write, 0 not registered.",
        ))
        .method(LoopMethod::no_arguments(
            c"_watched_descriptors",
            |py, core| PyList::new(py, core.watched_numbers(py)).map(Object::new),
            c"The numbers of the descriptors that add_reader, add_writer and sock_* watch.",
        ))
        .method(LoopMethod::one_argument(
            c"_add_callback",
            add_callback,
            c"Make a handle ready, one of asyncio's own or ours, or what behaves like one.",
        ))
        .method(LoopMethod::one_argument(
            c"_add_callback_signalsafe",
            add_callback_signalsafe,
            c"As _add_callback, from a signal handler: the loop may be about to sleep.",
        ))
        .method(LoopMethod::one_argument(
            c"_timer_handle_cancelled",
            |py, core, _| {
                core.note_cancelled_timer(py);
                Ok(())
            },
            c"A timer's handle has been cancelled.",
        ))
        .method(LoopMethod::one_argument(
            c"_wait",
            |py, core, timeout| {
                let timeout_s = timeout.bind(py).extract()?;
                core.wait_for_selector(py, timeout_s)
            },
            c"Wait in the kernel, in the `select` of a turn that follows the program's clock: how many entries are ready by \
              it. None when called elsewhere.",
        ))
        .method(LoopMethod::no_arguments(
            c"_next_when",
            |py, core| core.next_when(py),
            c"The time at which the next timer is due.",
        ))
        .method(LoopMethod::one_argument(
            c"_be_chaotic",
            |py, core, seed| {
                let seed = seed.bind(py).extract()?;
                core.with_reactor(py, |reactor| reactor.backend.be_chaotic(seed));
                Ok(())
            },
            c"Have a number of 64 bits choose what the kernel leaves open: the order of what it reports at once, how much a \
              receive and a send of a transport move.",
        ))
        .method(LoopMethod::no_arguments(
            c"_counters",
            |py, core| PyList::new(py, core.figures(py)).map(Object::new),
            c"Every figure of ferrio.Statistics, in its order; lags in nanoseconds.",
        ))
}

/// asyncio's private names, and what the Python half sets.
fn add_attributes(builder: LoopBuilder) -> LoopBuilder {
    /// An attribute that shows a flag of the loop.
    macro_rules! flag {
        ($name:literal, $flag:ident) => {
            Attribute::read_only($name, |_, core: &Loop| Ok(core.flags.$flag.get())).assignable(
                |py, core: &Loop, value| {
                    let value = value.bind(py).is_truthy()?;
                    core.flags.$flag.set(value);
                    Ok(())
                },
            )
        };
    }
    builder
        .attribute(flag!(c"_closed", closed))
        .attribute(flag!(c"_stopping", stopping))
        .attribute(Attribute::read_only(c"_debug", |_, core: &Loop| Ok(core.is_debug())).assignable(
            |py, core: &Loop, value| {
                let value = value.bind(py).is_truthy()?;
                core.set_debug(value);
                Ok(())
            },
        ))
        // Whether `create_task` and `create_future` make Ferrio's own tasks and futures.
        .attribute(flag!(c"_native_tasks", native_tasks))
        // Whether `create_task` hands `eager_start` on to the task.
        .attribute(flag!(c"_starts_eagerly", starts_eagerly))
        // Whether a program has replaced `call_soon`, which tasks then go through.
        .attribute(flag!(c"_has_other_call_soon", has_other_call_soon))
        // Whether timers and the wait follow a clock of the program's.
        .attribute(Attribute::read_only(c"_follows_program", |_, core: &Loop| Ok(core.follows_program())).assignable(
            |py, core: &Loop, value| {
                let value = value.bind(py).is_truthy()?;
                core.set_follows_program(value);
                Ok(())
            },
        ))
        // Whether a program has replaced one of the methods with which waiting begins.
        .attribute(flag!(c"_has_other_waits", has_other_waits))
        .attribute(
            Attribute::read_only(c"_thread_id", |_, core: &Loop| {
                Ok(Some(core.flags.thread.load(Ordering::Relaxed)).filter(|&thread| thread != 0))
            })
            .assignable(|py, core: &Loop, value| {
                let thread: Option<u64> = value.bind(py).extract()?;
                core.flags.thread.store(thread.unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }),
        )
        .attribute(
            Attribute::read_only(c"_task_factory", |py, core: &Loop| {
                Ok(core.task_factory.with(py, |factory| factory.clone()))
            })
            .assignable(set_task_factory),
        )
        // `BaseEventLoop` assigns its own queue and its own heap; the loop keeps its.
        .attribute(Attribute::read_only(c"_ready", ready).assignable(ignore))
        .attribute(Attribute::read_only(c"_scheduled", scheduled).assignable(ignore))
        .attribute(
            Attribute::read_only(c"_timer_cancelled_count", |py, core: &Loop| {
                let is_cancelled = |timer: &Timer| timer.is_cancelled();
                Ok(core
                    .with_reactor(py, |reactor| reactor.timers.iter().filter(|(_, timer)| is_cancelled(timer)).count()))
            })
            .assignable(ignore),
        )
}

/// Makes the core's class, with the methods of all rooms, and adds it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Looked up now: `close()` reads `_ready`, also while the interpreter ends, when nothing can be imported.
    deque::new(module.py())?;
    let py = module.py();
    let mut builder = LoopBuilder::new().constructed_by(|arguments, _| LoopCore::new(arguments.py()));
    for add in [
        scheduling::add_methods,
        watch::add_methods,
        fork::add_methods,
        measuring::add_methods,
        wakeup_descriptor::add_methods,
        task::making::add_methods,
        net::accept::add_methods,
        net::connect::add_methods,
        net::raw::add_methods,
        watchdog::add_methods,
        add_public_methods,
        add_private_methods,
        add_attributes,
    ] {
        builder = add(builder);
    }
    task::making::know_methods(py);
    wakeup_descriptor::register(module)?;
    module.add("LoopCore", builder.sets_attributes_by(set_attribute).build_over_object(py)?)
}

//! The reads of a `StreamReader`: `read`, `readexactly`, `readuntil`, `readline` and the step of `async for`.
//!
//! A read takes what is there, or waits for more and looks again. How far a separator has been searched for is a number of
//! the read, as in asyncio. A reader that is not native, or is not any more after a wait, is read by asyncio's function: the
//! coroutine goes on as that function's.

#![forbid(unsafe_code)]

use pyo3::exceptions::{PyStopAsyncIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyTuple};

use super::buffer::nothing;
use super::reader::StreamReaderCore;
use crate::coroutine::function::CoroutineMethod;
use crate::coroutine::{self, CoroutineState, Plan, Step};
use crate::ffi::arguments::{self, Arguments};
use crate::ffi::bytes::Bytes;
use crate::ffi::call::{call, call_method};
use crate::ffi::class::Instance;
use crate::ffi::errors::made;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::{Lazy, OBJECTS};

type Reader = Instance<StreamReaderCore>;

/// The stage of a read that has gone on as asyncio's.
const HANDED_OVER: u8 = 1;

/// What a read that has looked at the bytes comes to.
enum Look {
    Bytes(Object),
    Wait,
}

/// What differs between the reads.
struct Read {
    /// As `asyncio` names it where two wait at once.
    name: &'static str,
    /// asyncio's function.
    function: &'static Lazy,
    /// Before the first look. `Some` is the result already.
    begin: fn(Python<'_>, &Reader, &CoroutineState) -> PyResult<Option<Object>>,
    look: fn(Python<'_>, &Reader, &CoroutineState) -> PyResult<Look>,
    /// After a wait, in place of `look`.
    look_again: fn(Python<'_>, &Reader, &CoroutineState) -> PyResult<Look>,
}

static READ: Read = Read {
    name: "read",
    function: &OBJECTS.asyncio_read,
    begin: begin_read,
    look: look_for_some,
    look_again: look_for_some_again,
};
static READ_EXACTLY: Read = Read {
    name: "readexactly",
    function: &OBJECTS.asyncio_readexactly,
    begin: begin_read_exactly,
    look: look_for_count,
    look_again: look_for_count,
};
static READ_UNTIL: Read = Read {
    name: "readuntil",
    function: &OBJECTS.asyncio_readuntil,
    begin: begin_read_until,
    look: look_for_separator,
    look_again: look_for_separator,
};
static READ_LINE: Read = Read {
    name: "readuntil",
    function: &OBJECTS.asyncio_readline,
    begin: begin_read_until,
    look: look_for_line,
    look_again: look_for_line,
};

static READ_PLAN: Plan = Plan {
    qualified_name: "StreamReader.read",
    start: |py, coroutine| start(py, coroutine, &READ),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, &READ),
};
static READ_EXACTLY_PLAN: Plan = Plan {
    qualified_name: "StreamReader.readexactly",
    start: |py, coroutine| start(py, coroutine, &READ_EXACTLY),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, &READ_EXACTLY),
};
static READ_UNTIL_PLAN: Plan = Plan {
    qualified_name: "StreamReader.readuntil",
    start: |py, coroutine| start(py, coroutine, &READ_UNTIL),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, &READ_UNTIL),
};
static READ_LINE_PLAN: Plan = Plan {
    qualified_name: "StreamReader.readline",
    start: |py, coroutine| start(py, coroutine, &READ_LINE),
    resume: |py, coroutine, outcome| resume(py, coroutine, outcome, &READ_LINE),
};
static NEXT_PLAN: Plan = Plan {
    qualified_name: "StreamReader.__anext__",
    start: |py, coroutine| unless_empty(start(py, coroutine, &READ_LINE)?),
    resume: |py, coroutine, outcome| unless_empty(resume(py, coroutine, outcome, &READ_LINE)?),
};

pub(super) const READ_LINE_METHOD: CoroutineMethod = CoroutineMethod::of(&READ_LINE_PLAN, 0);
pub(super) const NEXT_METHOD: CoroutineMethod = CoroutineMethod::of(&NEXT_PLAN, 0);

/// `read(n=-1)`.
pub(super) fn read(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (reader, count) = match arguments.positional() {
        [reader] if arguments.has_no_keywords() => (reader, None),
        _ => match arguments.ending_with::<2>(py, "n") {
            Some([reader, count]) if is_count(py, count) => (reader, Some(count.clone())),
            _ => return Ok(None),
        },
    };
    coroutine::make(py, &READ_PLAN, reader.clone(), count).map(Some)
}

/// `readexactly(n)`.
pub(super) fn read_exactly(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    match arguments.ending_with::<2>(py, "n") {
        Some([reader, count]) if is_count(py, count) => {
            coroutine::make(py, &READ_EXACTLY_PLAN, reader.clone(), Some(count.clone())).map(Some)
        }
        _ => Ok(None),
    }
}

/// `readuntil(separator=b"\n")`.
pub(super) fn read_until(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (reader, separator) = match arguments.positional() {
        [reader] if arguments.has_no_keywords() => (reader, None),
        _ => match arguments.ending_with::<2>(py, "separator") {
            Some([reader, separator]) => match separators(py, separator)? {
                Some(separators) => (reader, Some(separators)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        },
    };
    coroutine::make(py, &READ_UNTIL_PLAN, reader.clone(), separator).map(Some)
}

/// Whether the native code takes it for a number of bytes.
fn is_count(py: Python<'_>, count: &Object) -> bool {
    let count = count.bind(py);
    count.is_exact_instance_of::<PyInt>() && count.extract::<i64>().is_ok()
}

/// The separators that the native code searches for, the shortest first: one `bytes`, or a tuple of such. `None` for what
/// asyncio's code is to judge.
fn separators(py: Python<'_>, given: &Object) -> PyResult<Option<Object>> {
    let is_plain = |object: &Object| Bytes::of(object).is_some_and(|bytes| bytes.len() > 0);
    if is_plain(given) {
        return Ok(Some(given.clone()));
    }
    match given.bind(py).cast_exact::<PyTuple>() {
        // Older releases take one separator only.
        Ok(several) if cfg!(Py_3_13) && !several.is_empty() => {
            let mut several: Vec<Object> = several.iter().map(Object::new).collect();
            if !several.iter().all(is_plain) {
                return Ok(None);
            }
            several.sort_by_key(|separator| Bytes::of(separator).map_or(0, Bytes::len));
            arguments::tuple_of(py, &several).map(Some)
        }
        _ => Ok(None),
    }
}

fn start(py: Python<'_>, coroutine: &CoroutineState, read: &'static Read) -> PyResult<Step> {
    let reader = coroutine.take_receiver::<StreamReaderCore>(py)?;
    if !reader.is_native(py) {
        return hand_over(py, &reader, coroutine, read);
    }
    if let Some(result) = (read.begin)(py, &reader, coroutine)? {
        return Ok(Step::Return(result));
    }
    let look = (read.look)(py, &reader, coroutine)?;
    go_on(py, &reader, coroutine, read, look)
}

fn resume(
    py: Python<'_>,
    coroutine: &CoroutineState,
    outcome: PyResult<Object>,
    read: &'static Read,
) -> PyResult<Step> {
    if coroutine.stage.get() == HANDED_OVER {
        return end_of_other(py, coroutine, outcome?).map(Step::Return);
    }
    let reader = coroutine.receiver::<StreamReaderCore>(py)?;
    reader.stop_waiting();
    outcome?;
    if !reader.is_native(py) {
        return hand_over(py, &reader, coroutine, read);
    }
    let look = (read.look_again)(py, &reader, coroutine)?;
    go_on(py, &reader, coroutine, read, look)
}

fn go_on(
    py: Python<'_>,
    reader: &Reader,
    coroutine: &CoroutineState,
    read: &'static Read,
    look: Look,
) -> PyResult<Step> {
    match look {
        Look::Bytes(bytes) => Ok(Step::Return(bytes)),
        Look::Wait => reader.wait(py, coroutine, read.name),
    }
}

/// Goes on as asyncio's coroutine.
#[cold]
fn hand_over(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState, read: &'static Read) -> PyResult<Step> {
    let function = read.function.get(py)?;
    let argument = coroutine.item.get().filter(|item| blocks(py, item).is_none());
    let other = match &argument {
        Some(argument) => call(py, function, [reader.object(), argument])?,
        None => call(py, function, [reader.object()])?,
    };
    coroutine.stage.set(HANDED_OVER);
    drop(coroutine.future.take());
    coroutine.go_on_in(py, other, None)
}

/// The result of asyncio's coroutine, behind what had been read before it.
#[cold]
fn end_of_other(py: Python<'_>, coroutine: &CoroutineState, result: Object) -> PyResult<Object> {
    let item = coroutine.item.get();
    match item.as_ref().and_then(|item| blocks(py, item)) {
        Some(blocks) => {
            blocks.append(result.bind(py))?;
            joined(py, blocks)
        }
        None => Ok(result),
    }
}

/// `__anext__`: an empty line is the end.
fn unless_empty(step: Step) -> PyResult<Step> {
    match step {
        Step::Return(line) if Bytes::of(&line).is_some_and(|line| line.len() == 0) => {
            Err(PyStopAsyncIteration::new_err(()))
        }
        step => Ok(step),
    }
}

/// What a read to the end has read so far.
fn blocks<'a, 'py>(py: Python<'py>, item: &'a Object) -> Option<&'a Bound<'py, PyList>> {
    item.bind(py).cast_exact().ok()
}

fn joined(py: Python<'_>, blocks: &Bound<'_, PyList>) -> PyResult<Object> {
    if blocks.len() == 1 {
        return Ok(Object::new(blocks.get_item(0)?));
    }
    call_method(py, &names(py).join, [&nothing(py), Object::of(blocks)])
}

/// The number of bytes that was asked for.
fn count_of(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<i64> {
    coroutine.item.get().map_or(Ok(-1), |count| count.bind(py).extract())
}

fn begin_read(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Option<Object>> {
    reader.check(py)?;
    let count = count_of(py, coroutine)?;
    if count == 0 {
        return Ok(Some(nothing(py)));
    }
    if count < 0 {
        coroutine.item.set(Object::new(PyList::empty(py)));
    }
    Ok(None)
}

fn look_for_some(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
    if reader.buffer.len() == 0 && !reader.is_at_end() {
        return Ok(Look::Wait);
    }
    look_for_some_again(py, reader, coroutine)
}

/// After a wait there may be nothing, when somebody else has read it: that is the result, as in asyncio.
fn look_for_some_again(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
    let item = coroutine.item.get();
    if let Some(blocks) = item.as_ref().and_then(|item| blocks(py, item)) {
        return look_for_all(py, reader, blocks);
    }
    let count = usize::try_from(count_of(py, coroutine)?).unwrap_or(usize::MAX);
    let bytes = reader.buffer.take(py, count)?;
    reader.maybe_resume(py)?;
    Ok(Look::Bytes(bytes))
}

fn look_for_all(py: Python<'_>, reader: &Reader, blocks: &Bound<'_, PyList>) -> PyResult<Look> {
    loop {
        let is_last = reader.buffer.len() == 0;
        let block = reader.buffer.take(py, usize::MAX)?;
        reader.maybe_resume(py)?;
        if is_last {
            return joined(py, blocks).map(Look::Bytes);
        }
        blocks.append(block.bind(py))?;
        reader.check(py)?;
        if reader.buffer.len() == 0 && !reader.is_at_end() {
            return Ok(Look::Wait);
        }
    }
}

fn begin_read_exactly(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Option<Object>> {
    let count = count_of(py, coroutine)?;
    if count < 0 {
        return Err(PyValueError::new_err("readexactly size can not be less than zero"));
    }
    reader.check(py)?;
    Ok((count == 0).then(|| nothing(py)))
}

fn look_for_count(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
    let count = usize::try_from(count_of(py, coroutine)?)?;
    if reader.buffer.len() >= count {
        let bytes = reader.buffer.take(py, count)?;
        reader.maybe_resume(py)?;
        return Ok(Look::Bytes(bytes));
    }
    if reader.is_at_end() {
        return Err(incomplete(py, &reader.buffer.take(py, usize::MAX)?, &coroutine.item.get_or_none(py)));
    }
    Ok(Look::Wait)
}

fn begin_read_until(py: Python<'_>, reader: &Reader, _: &CoroutineState) -> PyResult<Option<Object>> {
    reader.check(py).map(|()| None)
}

/// What a search comes to.
enum Search {
    Found(Object),
    Wait,
    /// The limit does not let it go on; how many bytes asyncio tells as consumed.
    Overrun(&'static str, usize),
    /// The stream has ended before.
    Ended,
}

/// Searches for `separators`, the shortest first, and takes the bytes to the end of the one that ends first.
fn search(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState, separators: &[&[u8]]) -> PyResult<Search> {
    let (Some(shortest), Some(longest)) = (separators.first(), separators.last()) else { return Ok(Search::Wait) };
    let (length, offset) = (reader.buffer.len(), coroutine.number.get());
    if length.checked_sub(offset).is_some_and(|left| left >= shortest.len()) {
        let mut found: Option<(usize, usize)> = None;
        for separator in separators {
            // One that does not end before what was found does not count.
            let to = found.map_or(length, |(_, end)| end - 1);
            if let Some(start) = reader.buffer.find(separator, offset, to) {
                found = Some((start, start + separator.len()));
            }
        }
        if let Some((start, end)) = found {
            if start > reader.limit() {
                return Ok(Search::Overrun("Separator is found, but chunk is longer than limit", start));
            }
            let bytes = reader.buffer.take(py, end)?;
            reader.maybe_resume(py)?;
            return Ok(Search::Found(bytes));
        }
        // The last bytes may be the beginning of a separator.
        let searched = (length + 1).saturating_sub(longest.len());
        coroutine.number.set(searched);
        if searched > reader.limit() {
            return Ok(Search::Overrun("Separator is not found, and chunk exceed the limit", searched));
        }
    }
    Ok(if reader.is_at_end() { Search::Ended } else { Search::Wait })
}

fn look_for_separator(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
    let item = coroutine.item.get();
    let found = match &item {
        None => search(py, reader, coroutine, &[b"\n"])?,
        Some(item) => match Bytes::of(item) {
            Some(separator) => search(py, reader, coroutine, &[separator.as_slice()])?,
            None => {
                let several: Vec<Object> = item.bind(py).cast::<PyTuple>()?.iter().map(Object::new).collect();
                let several: Vec<&[u8]> = several.iter().filter_map(Bytes::of).map(Bytes::as_slice).collect();
                search(py, reader, coroutine, &several)?
            }
        },
    };
    match found {
        Search::Found(bytes) => Ok(Look::Bytes(bytes)),
        Search::Wait => Ok(Look::Wait),
        Search::Overrun(text, consumed) => Err(overrun(py, text, consumed)),
        Search::Ended => Err(incomplete(py, &reader.buffer.take(py, usize::MAX)?, &Object::none(py))),
    }
}

fn look_for_line(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
    match search(py, reader, coroutine, &[b"\n"])? {
        Search::Found(bytes) => Ok(Look::Bytes(bytes)),
        Search::Wait => Ok(Look::Wait),
        Search::Ended => reader.buffer.take(py, usize::MAX).map(Look::Bytes),
        Search::Overrun(text, consumed) => {
            let cause = overrun(py, text, consumed);
            if reader.buffer.find(b"\n", consumed, consumed + 1).is_some() {
                reader.buffer.skip(py, consumed + 1)?;
            } else {
                reader.buffer.forget();
            }
            reader.maybe_resume(py)?;
            let error = made(py, PyValueError::new_err(text));
            error.set_context(py, Some(cause));
            Err(error)
        }
    }
}

#[cold]
fn overrun(py: Python<'_>, text: &str, consumed: usize) -> PyErr {
    let error = OBJECTS.asyncio_limit_overrun_error.bind(py).and_then(|class| class.call1((text, consumed)));
    error.map_or_else(|failure| failure, PyErr::from_value)
}

#[cold]
fn incomplete(py: Python<'_>, partial: &Object, expected: &Object) -> PyErr {
    let error = OBJECTS.asyncio_incomplete_read_error.get(py).and_then(|class| call(py, class, [partial, expected]));
    error.map_or_else(|failure| failure, |error| PyErr::from_value(error.into_bound(py)))
}

//! The reads of a `StreamReader`: `read`, `readexactly`, `readuntil`, `readline` and the step of `async for`.
//!
//! A read takes what is there, or waits for more and looks again. How far a separator has been searched for is a number of
//! the read, as in asyncio. When the reader is not native, the read calls asyncio's function; when it is native no more after a
//! wait, a function of the package that goes on from there. It then passes its steps on to the coroutine of that function.

#![forbid(unsafe_code)]

use pyo3::exceptions::{PyStopAsyncIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple};

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

/// The stage of a read that has gone on as another coroutine.
const HANDED_OVER: u8 = 1;

/// What a read that has looked at the bytes comes to.
enum Look {
    Bytes(Object),
    Wait,
}

/// What differs between the reads.
trait Read: Sized + 'static {
    const QUALIFIED_NAME: &'static str;
    /// As asyncio names it where two wait at once.
    const NAME: &'static str;
    /// asyncio's function.
    const FUNCTION: &'static Lazy;
    const PLAN: &'static Plan =
        &Plan { qualified_name: Self::QUALIFIED_NAME, start: start::<Self>, resume: resume::<Self> };

    /// Before the first look. `Some` is the result already.
    fn begin(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Option<Object>>;

    fn look(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look>;

    /// After a wait, in place of [`Self::look`].
    fn look_again(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        Self::look(py, reader, coroutine)
    }

    /// What it does with its result.
    fn end(bytes: Object) -> PyResult<Object> {
        Ok(bytes)
    }

    /// What asyncio's function is given besides the reader.
    fn argument(py: Python<'_>, coroutine: &CoroutineState) -> Option<Object>;

    /// The coroutine that goes on after a wait.
    fn rest(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Object>;

    /// The result of the other coroutine, with what had been read before it.
    fn end_of_other(_py: Python<'_>, _coroutine: &CoroutineState, result: Object) -> PyResult<Object> {
        Ok(result)
    }
}

fn start<R: Read>(py: Python<'_>, coroutine: &CoroutineState) -> PyResult<Step> {
    let reader = coroutine.take_receiver::<StreamReaderCore>(py)?;
    if !reader.is_native(py) {
        return hand_over::<R>(py, &reader, coroutine);
    }
    if let Some(result) = R::begin(py, &reader, coroutine)? {
        return Ok(Step::Return(result));
    }
    match R::look(py, &reader, coroutine)? {
        Look::Bytes(bytes) => R::end(bytes).map(Step::Return),
        Look::Wait => reader.wait(py, coroutine, R::NAME),
    }
}

fn resume<R: Read>(py: Python<'_>, coroutine: &CoroutineState, outcome: PyResult<Object>) -> PyResult<Step> {
    if coroutine.stage.get() == HANDED_OVER {
        return R::end(R::end_of_other(py, coroutine, outcome?)?).map(Step::Return);
    }
    let reader = coroutine.receiver::<StreamReaderCore>(py)?;
    reader.stop_waiting();
    outcome?;
    if !reader.is_native(py) {
        let rest = R::rest(py, &reader, coroutine)?;
        return go_on_as(py, coroutine, rest);
    }
    match R::look_again(py, &reader, coroutine)? {
        Look::Bytes(bytes) => R::end(bytes).map(Step::Return),
        Look::Wait => reader.wait(py, coroutine, R::NAME),
    }
}

/// Goes on as asyncio's coroutine.
#[cold]
fn hand_over<R: Read>(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Step> {
    let function = R::FUNCTION.get(py)?;
    let other = match R::argument(py, coroutine) {
        Some(argument) => call(py, function, [reader.object(), &argument])?,
        None => call(py, function, [reader.object()])?,
    };
    go_on_as(py, coroutine, other)
}

fn go_on_as(py: Python<'_>, coroutine: &CoroutineState, other: Object) -> PyResult<Step> {
    coroutine.stage.set(HANDED_OVER);
    drop(coroutine.future.take());
    coroutine.go_on_in(py, other, None)
}

/// The number of a coroutine, as it was given.
fn number(py: Python<'_>, coroutine: &CoroutineState) -> Object {
    Object::new(PyInt::new(py, coroutine.number.get().cast_signed()))
}

/// `read(n)`. The number of the coroutine is `n`; one that reads to the end has a list of what it has read so far.
struct AtMost;

/// `read(n=-1)`.
pub(super) fn read(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (reader, count) = match arguments.positional() {
        [reader] if arguments.has_no_keywords() => (reader, -1),
        [reader, count] if arguments.has_no_keywords() => match count_of(py, count) {
            Some(count) => (reader, count),
            None => return Ok(None),
        },
        _ => match arguments.ending_with::<2>(py, "n") {
            Some([reader, count]) => match count_of(py, count) {
                Some(count) => (reader, count),
                None => return Ok(None),
            },
            None => return Ok(None),
        },
    };
    coroutine::make_numbered(py, AtMost::PLAN, reader.clone(), count.cast_unsigned()).map(Some)
}

/// The number of bytes that is asked for, if the native code is to judge it.
#[inline]
fn count_of(py: Python<'_>, count: &Object) -> Option<isize> {
    let count = count.bind(py);
    if count.is_exact_instance_of::<PyInt>() { count.extract().ok() } else { None }
}

impl Read for AtMost {
    const QUALIFIED_NAME: &'static str = "StreamReader.read";
    const NAME: &'static str = "read";
    const FUNCTION: &'static Lazy = &OBJECTS.asyncio_read;

    #[inline]
    fn begin(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Option<Object>> {
        reader.check(py)?;
        let count = coroutine.number.get().cast_signed();
        if count < 0 {
            coroutine.item.set(Object::new(PyList::empty(py)));
        }
        Ok((count == 0).then(|| nothing(py)))
    }

    #[inline]
    fn look(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        if reader.buffer.len() == 0 && !reader.is_at_end() {
            return Ok(Look::Wait);
        }
        Self::look_again(py, reader, coroutine)
    }

    /// There may be nothing, when somebody else has read it: that is the result, as in asyncio.
    #[inline]
    fn look_again(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        let count = coroutine.number.get();
        if count.cast_signed() < 0 {
            return look_for_all(py, reader, coroutine);
        }
        let bytes = reader.buffer.take(py, count)?;
        reader.maybe_resume(py)?;
        Ok(Look::Bytes(bytes))
    }

    fn argument(py: Python<'_>, coroutine: &CoroutineState) -> Option<Object> {
        Some(number(py, coroutine))
    }

    fn rest(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Object> {
        call(py, OBJECTS.ferrio_rest_of_read.get(py)?, [reader.object(), &number(py, coroutine)])
    }

    fn end_of_other(py: Python<'_>, coroutine: &CoroutineState, result: Object) -> PyResult<Object> {
        let Some(blocks) = coroutine.item.get() else { return Ok(result) };
        let blocks = blocks.bind(py).cast::<PyList>()?;
        blocks.append(result.bind(py))?;
        joined(py, blocks)
    }
}

/// A read to the end.
fn look_for_all(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
    let blocks = coroutine.item.get_or_none(py);
    let blocks = blocks.bind(py).cast::<PyList>()?;
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

fn joined(py: Python<'_>, blocks: &Bound<'_, PyList>) -> PyResult<Object> {
    if blocks.len() == 1 {
        return Ok(Object::new(blocks.get_item(0)?));
    }
    call_method(py, &names(py).join, [&nothing(py), Object::of(blocks)])
}

/// `readexactly(n)`. The number of the coroutine is `n`.
struct Exactly;

/// `readexactly(n)`.
pub(super) fn read_exactly(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let given = arguments.only().or_else(|| arguments.ending_with::<2>(py, "n"));
    let Some([reader, count]) = given else { return Ok(None) };
    let Some(count) = count_of(py, count) else { return Ok(None) };
    coroutine::make_numbered(py, Exactly::PLAN, reader.clone(), count.cast_unsigned()).map(Some)
}

impl Read for Exactly {
    const QUALIFIED_NAME: &'static str = "StreamReader.readexactly";
    const NAME: &'static str = "readexactly";
    const FUNCTION: &'static Lazy = &OBJECTS.asyncio_readexactly;

    #[inline]
    fn begin(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Option<Object>> {
        let count = coroutine.number.get().cast_signed();
        if count < 0 {
            return Err(PyValueError::new_err("readexactly size can not be less than zero"));
        }
        reader.check(py)?;
        Ok((count == 0).then(|| nothing(py)))
    }

    #[inline]
    fn look(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        let count = coroutine.number.get();
        if reader.buffer.len() >= count {
            let bytes = reader.buffer.take(py, count)?;
            reader.maybe_resume(py)?;
            return Ok(Look::Bytes(bytes));
        }
        if reader.is_at_end() {
            let partial = reader.buffer.take(py, usize::MAX)?;
            return Err(incomplete(py, &partial, Object::of(&PyInt::new(py, count))));
        }
        Ok(Look::Wait)
    }

    fn argument(py: Python<'_>, coroutine: &CoroutineState) -> Option<Object> {
        Some(number(py, coroutine))
    }

    fn rest(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Object> {
        call(py, OBJECTS.ferrio_rest_of_readexactly.get(py)?, [reader.object(), &number(py, coroutine)])
    }
}

/// `readuntil(separator)`. Its item is what [`separators`] gives, or nothing for a newline; its number is how many bytes have
/// been searched.
struct Until;

/// `readuntil(separator=b"\n")`.
pub(super) fn read_until(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<Option<Object>> {
    let (reader, separator) = match arguments.positional() {
        [reader] if arguments.has_no_keywords() => (reader, None),
        _ => match arguments.ending_with::<2>(py, "separator") {
            Some([reader, separator]) => match separators(py, separator)? {
                Some(separators) => (reader, Some(separators)),
                None => return Ok(None),
            },
            None => return Ok(None),
        },
    };
    coroutine::make(py, Until::PLAN, reader.clone(), separator).map(Some)
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

impl Read for Until {
    const QUALIFIED_NAME: &'static str = "StreamReader.readuntil";
    const NAME: &'static str = "readuntil";
    const FUNCTION: &'static Lazy = &OBJECTS.asyncio_readuntil;

    fn begin(py: Python<'_>, reader: &Reader, _: &CoroutineState) -> PyResult<Option<Object>> {
        reader.check(py).map(|()| None)
    }

    fn look(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        let item = coroutine.item.get();
        let one = item.as_ref().map_or(Some(&b"\n"[..]), |item| Bytes::of(item).map(Bytes::as_slice));
        let found = match (one, &item) {
            (None, Some(item)) => {
                let several: Vec<Object> = item.bind(py).cast::<PyTuple>()?.iter().map(Object::new).collect();
                let several: Vec<&[u8]> = several.iter().filter_map(Bytes::of).map(Bytes::as_slice).collect();
                search(py, reader, coroutine, &several)?
            }
            (one, _) => search(py, reader, coroutine, &[one.unwrap_or_default()])?,
        };
        match found {
            Search::Found(bytes) => Ok(Look::Bytes(bytes)),
            Search::Wait => Ok(Look::Wait),
            Search::Overrun(text, consumed) => Err(overrun(py, text, consumed)),
            Search::Ended => Err(incomplete(py, &reader.buffer.take(py, usize::MAX)?, &Object::none(py))),
        }
    }

    fn argument(_: Python<'_>, coroutine: &CoroutineState) -> Option<Object> {
        coroutine.item.get()
    }

    fn rest(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Object> {
        let separators = coroutine.item.get().unwrap_or_else(|| Object::new(PyBytes::new(py, b"\n")));
        let function = OBJECTS.ferrio_rest_of_readuntil.get(py)?;
        call(py, function, [reader.object(), &separators, &number(py, coroutine)])
    }
}

/// What a search comes to.
enum Search {
    Found(Object),
    Wait,
    /// The limit does not let it go on: asyncio's words, and how many bytes it tells as consumed.
    Overrun(&'static str, usize),
    /// The stream has ended before.
    Ended,
}

/// Searches for `separators`, the shortest first, and takes the bytes to the end of the one that ends first.
#[inline]
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

/// `readline()`. Its number is how many bytes have been searched.
struct Line;

pub(super) const READ_LINE: CoroutineMethod = CoroutineMethod::of(Line::PLAN, 0);

impl Read for Line {
    const QUALIFIED_NAME: &'static str = "StreamReader.readline";
    const NAME: &'static str = "readuntil";
    const FUNCTION: &'static Lazy = &OBJECTS.asyncio_readline;

    #[inline]
    fn begin(py: Python<'_>, reader: &Reader, _: &CoroutineState) -> PyResult<Option<Object>> {
        reader.check(py).map(|()| None)
    }

    #[inline]
    fn look(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        match search(py, reader, coroutine, &[b"\n"])? {
            Search::Found(bytes) => Ok(Look::Bytes(bytes)),
            Search::Wait => Ok(Look::Wait),
            Search::Ended => reader.buffer.take(py, usize::MAX).map(Look::Bytes),
            Search::Overrun(text, consumed) => Err(line_too_long(py, reader, text, consumed)),
        }
    }

    fn argument(_: Python<'_>, _: &CoroutineState) -> Option<Object> {
        None
    }

    fn rest(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Object> {
        call(py, OBJECTS.ferrio_rest_of_readline.get(py)?, [reader.object(), &number(py, coroutine)])
    }
}

/// Drops the line, or what there is of it; the error.
#[cold]
fn line_too_long(py: Python<'_>, reader: &Reader, text: &'static str, consumed: usize) -> PyErr {
    let drop_line = || {
        if reader.buffer.find(b"\n", consumed, consumed + 1).is_some() {
            reader.buffer.skip(py, consumed + 1)?;
        } else {
            reader.buffer.forget();
        }
        reader.maybe_resume(py)
    };
    let error = match drop_line() {
        Ok(()) => made(py, PyValueError::new_err(text)),
        Err(error) => made(py, error),
    };
    error.set_context(py, Some(overrun(py, text, consumed)));
    error
}

/// `__anext__()`: an empty line is the end.
struct Next;

pub(super) const NEXT: CoroutineMethod = CoroutineMethod::of(Next::PLAN, 0);

impl Read for Next {
    const QUALIFIED_NAME: &'static str = "StreamReader.__anext__";
    const NAME: &'static str = Line::NAME;
    const FUNCTION: &'static Lazy = Line::FUNCTION;

    #[inline]
    fn begin(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Option<Object>> {
        Line::begin(py, reader, coroutine)
    }

    #[inline]
    fn look(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Look> {
        Line::look(py, reader, coroutine)
    }

    #[inline]
    fn end(line: Object) -> PyResult<Object> {
        if Bytes::of(&line).is_some_and(|line| line.len() == 0) {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        Ok(line)
    }

    fn argument(_: Python<'_>, _: &CoroutineState) -> Option<Object> {
        None
    }

    fn rest(py: Python<'_>, reader: &Reader, coroutine: &CoroutineState) -> PyResult<Object> {
        Line::rest(py, reader, coroutine)
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

//! The unread bytes of a `StreamReader`.
//!
//! They are kept in the `bytes` objects that they came in, so a read that takes the whole of one hands on that object. Small
//! pieces that pile up are joined. When somebody asks for asyncio's attribute `_buffer`, the bytes move into a `bytearray`,
//! which is *shown*: it holds the bytes from then on, and asyncio's own code works on it, until it is empty and nobody else
//! refers to it.
//!
//! # Invariants
//! 1. `length` is the number of bytes in `first` from `start` on, and in `rest`; it is 0 while a buffer is shown.
//! 2. The first piece has at most 4 KiB, or `UNREAD_PART` times what is unread of it, unless there was no memory for a copy.
//! 3. `first` holds exact `bytes` with at least one unread, or nothing; `rest` is empty while `first` is.
//!
//! # Cost
//! Taking and adding cost the bytes that they copy. Searching costs the bytes that are searched.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use memchr::memmem;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::ffi::bytes::{Blank, Bytes, copy_into};
use crate::ffi::cell::{Plain, Slot, Takeable};
use crate::ffi::fields::{Collector, Field, Fields, Visited, native_state};
use crate::ffi::object::Object;

/// A piece that is no larger than this is joined with the next.
const SMALL_PIECE_BYTES: usize = 4 * 1024;
/// Pieces are joined up to this size.
const JOINED_BYTES: usize = 64 * 1024;
/// A larger piece of which no more than this part is unread gives way to a copy of that, so that the memory behind a few
/// unread bytes is bounded. A byte is copied for every three that are read.
const UNREAD_PART: usize = 4;

/// Bytes behind the first piece.
enum Piece {
    /// An exact `bytes`.
    Whole(Object),
    Joined(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(object) => bytes_of(object),
            Self::Joined(bytes) => bytes,
        }
    }

    fn into_object(self, py: Python<'_>) -> PyResult<Object> {
        match self {
            Self::Whole(object) => Ok(object),
            Self::Joined(bytes) => copied(py, &bytes),
        }
    }
}

/// The pieces behind the first.
#[derive(Default)]
pub(super) struct Rest(VecDeque<Piece>);

impl Fields for Rest {
    const IS_EMPTY_WHEN_CLEARED: bool = false;

    fn visit(&self, collector: &Collector) -> Visited {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Whole(object) => collector.object(object),
            Piece::Joined(_) => Ok(()),
        })
    }

    fn clear(&self) {}
}

native_state! {
    /// See the module.
    #[derive(Default)]
    pub(super) struct Buffer {
        first: Slot,
        start: Plain<usize>,
        rest: Takeable<Rest>,
        length: Plain<usize>,
        shown: Slot,
    }
}

impl Field for Buffer {
    fn visit_field(&self, collector: &Collector) -> Visited {
        Fields::visit(self, collector)
    }

    fn clear_field(&self) {
        self.forget();
        Fields::clear(self);
    }
}

/// The bytes of an exact `bytes`.
fn bytes_of(object: &Object) -> &[u8] {
    Bytes::of(object).map_or(&[], Bytes::as_slice)
}

/// A new `bytes`.
///
/// # Errors
/// `MemoryError`.
fn copied(py: Python<'_>, bytes: &[u8]) -> PyResult<Object> {
    if bytes.len() < 2 {
        // Python has these already.
        return Ok(Object::new(PyBytes::new(py, bytes)));
    }
    let copy = Blank::new(py, bytes.len())?.fill(py, |room| copy_into(room, bytes))?;
    Ok(copy.unwrap_or_else(|| Object::new(PyBytes::new(py, &[]))))
}

/// An empty `bytes`.
pub(super) fn nothing(py: Python<'_>) -> Object {
    Object::new(PyBytes::new(py, &[]))
}

impl Buffer {
    /// Whether the bytes are kept here, and not in a buffer that is shown.
    #[inline]
    pub(super) fn is_hidden(&self, py: Python<'_>) -> bool {
        self.shown.is_empty() || self.hide(py)
    }

    /// Gives up a shown buffer that is empty and that nobody else can see; whether it has.
    #[cold]
    fn hide(&self, py: Python<'_>) -> bool {
        let Some(shown) = self.shown.take() else { return true };
        let is_empty = shown.bind(py).cast_exact::<PyByteArray>().is_ok_and(|buffer| buffer.len() == 0);
        if is_empty && shown.reference_count() == 1 {
            return true;
        }
        self.shown.set(shown);
        false
    }

    /// The buffer as asyncio shows it.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(super) fn show(&self, py: Python<'_>) -> PyResult<Object> {
        if let Some(shown) = self.shown.get() {
            return Ok(shown);
        }
        let rest = self.rest.take().unwrap_or_default();
        let (first, start) = (self.first.get(), self.start.get());
        let head = first.as_ref().map_or(&[][..], |first| &bytes_of(first)[start..]);
        let buffer = PyByteArray::new_with(py, self.length.get(), |room| {
            let mut end = 0;
            for bytes in core::iter::once(head).chain(rest.0.iter().map(Piece::bytes)) {
                room[end..end + bytes.len()].copy_from_slice(bytes);
                end += bytes.len();
            }
            Ok(())
        });
        self.rest.put(rest);
        let shown = Object::new(buffer?);
        self.forget();
        self.shown.set(shown.clone());
        Ok(shown)
    }

    /// Puts a program's object in the place of the buffer.
    pub(super) fn replace(&self, object: Object) {
        self.forget();
        self.shown.set(object);
    }

    /// Drops the bytes that are kept here.
    pub(super) fn forget(&self) {
        self.start.set(0);
        self.length.set(0);
        drop(self.first.take());
        drop(self.rest.take());
    }

    /// How many bytes are kept here.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.length.get()
    }

    /// Adds an exact `bytes`, which is not empty.
    ///
    /// # Errors
    /// `MemoryError`; nothing was added.
    #[inline]
    pub(super) fn push(&self, data: &Object) -> PyResult<()> {
        if self.first.is_empty() {
            self.start.set(0);
            self.first.set(data.clone());
        } else {
            self.push_behind(data)?;
        }
        self.length.set(self.length.get() + bytes_of(data).len());
        Ok(())
    }

    fn push_behind(&self, data: &Object) -> PyResult<()> {
        let mut rest = self.rest.take().unwrap_or_default();
        let pushed = rest.push(data);
        self.rest.put(rest);
        pushed.map_err(|_| PyMemoryError::new_err(()))
    }

    /// Takes the first `count` bytes, or all.
    ///
    /// # Errors
    /// `MemoryError`; nothing was taken.
    #[inline]
    pub(super) fn take(&self, py: Python<'_>, count: usize) -> PyResult<Object> {
        let Some(first) = self.first.take() else { return Ok(nothing(py)) };
        let (start, length) = (self.start.get(), self.length.get());
        let bytes = bytes_of(&first);
        let (count, end) = (count.min(length), start + count.min(length));
        if end < bytes.len() {
            let taken = copied(py, &bytes[start..end]);
            self.first.set(first);
            let taken = taken?;
            self.begin_at(py, end);
            self.length.set(length - count);
            return Ok(taken);
        }
        if start == 0 && count == length && end == bytes.len() {
            self.length.set(0);
            return Ok(first);
        }
        self.first.set(first);
        self.take_pieces(py, count)
    }

    /// [`Self::take`], of what ends with the first piece or behind it.
    #[inline(never)]
    fn take_pieces(&self, py: Python<'_>, count: usize) -> PyResult<Object> {
        let Some(first) = self.first.get() else { return Ok(nothing(py)) };
        let (start, bytes) = (self.start.get(), bytes_of(&first));
        let taken = match bytes.get(start..start + count) {
            Some(_) if count == bytes.len() => first.clone(),
            Some(bytes) => copied(py, bytes)?,
            None => self.gathered(py, &bytes[start..], count)?,
        };
        self.skip(py, count)?;
        Ok(taken)
    }

    /// The first `count` bytes, of which `head` are in the first piece.
    fn gathered(&self, py: Python<'_>, head: &[u8], count: usize) -> PyResult<Object> {
        let blank = Blank::new(py, count)?;
        let rest = self.rest.take().unwrap_or_default();
        let gathered = blank.fill(py, |room| {
            let mut end = 0;
            for bytes in core::iter::once(head).chain(rest.0.iter().map(Piece::bytes)) {
                end += copy_into(&mut room[end..], bytes);
            }
            end
        });
        self.rest.put(rest);
        Ok(gathered?.unwrap_or_else(|| nothing(py)))
    }

    /// Drops the first `count` bytes.
    ///
    /// # Errors
    /// `MemoryError`: the next piece cannot be made an object; nothing was dropped.
    #[inline]
    pub(super) fn skip(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        let count = count.min(self.length.get());
        let end = self.start.get() + count;
        let Some(first) = self.first.get() else { return Ok(()) };
        let size = bytes_of(&first).len();
        if end < size {
            self.begin_at(py, end);
        } else if count == self.length.get() {
            self.forget_read();
        } else {
            return self.skip_pieces(py, count, end - size);
        }
        self.length.set(self.length.get() - count);
        Ok(())
    }

    /// The first piece is read up to `start`, which is not its end.
    #[inline]
    fn begin_at(&self, py: Python<'_>, start: usize) {
        self.start.set(start);
        let Some(first) = self.first.get() else { return };
        let size = bytes_of(&first).len();
        if size > SMALL_PIECE_BYTES && size - start <= size / UNREAD_PART {
            self.release_read(py, &first);
        }
    }

    #[inline(never)]
    fn release_read(&self, py: Python<'_>, first: &Object) {
        if let Ok(unread) = copied(py, &bytes_of(first)[self.start.get()..]) {
            self.start.set(0);
            self.first.set(unread);
        }
    }

    /// All has been read.
    #[inline]
    fn forget_read(&self) {
        self.start.set(0);
        drop(self.first.take());
        drop(self.rest.take());
    }

    /// Drops the first piece and `behind` bytes behind it, `count` in all; not all bytes.
    fn skip_pieces(&self, py: Python<'_>, count: usize, mut behind: usize) -> PyResult<()> {
        let Rest(mut rest) = self.rest.take().unwrap_or_default();
        let mut pieces = 0;
        while let Some(piece) = rest.get(pieces)
            && behind >= piece.bytes().len()
        {
            behind -= piece.bytes().len();
            pieces += 1;
        }
        // The piece that becomes the first has to be an object.
        let next = match rest.get(pieces) {
            Some(Piece::Joined(bytes)) => copied(py, bytes).map(Some),
            _ => Ok(None),
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                self.rest.put(Rest(rest));
                return Err(error);
            }
        };
        drop(rest.drain(..pieces));
        let last = rest.pop_front();
        let next = match (next, last) {
            (Some(next), _) => Some(next),
            (None, Some(piece)) => piece.into_object(py).ok(),
            (None, None) => None,
        };
        self.rest.put(Rest(rest));
        self.length.set(self.length.get() - count);
        match next {
            Some(next) => self.first.set(next),
            None => drop(self.first.take()),
        }
        self.begin_at(py, behind);
        Ok(())
    }

    /// Where `separator` begins, in the bytes from `from` to `to`.
    pub(super) fn find(&self, separator: &[u8], from: usize, to: usize) -> Option<usize> {
        let to = to.min(self.length.get());
        if from > to || to - from < separator.len() {
            return None;
        }
        let first = self.first.get()?;
        let head = &bytes_of(&first)[self.start.get()..];
        if to <= head.len() {
            return find_in(&head[from..to], separator).map(|index| from + index);
        }
        let rest = self.rest.take().unwrap_or_default();
        let pieces = core::iter::once(head).chain(rest.0.iter().map(Piece::bytes));
        let found = find_in_pieces(pieces, separator, from, to);
        self.rest.put(rest);
        found
    }
}

impl Rest {
    fn push(&mut self, data: &Object) -> Result<(), std::collections::TryReserveError> {
        let bytes = bytes_of(data);
        if bytes.len() > SMALL_PIECE_BYTES {
            self.0.try_reserve(1)?;
            self.0.push_back(Piece::Whole(data.clone()));
            return Ok(());
        }
        if let Some(Piece::Joined(joined)) = self.0.back_mut()
            && joined.len() + bytes.len() <= JOINED_BYTES
        {
            joined.try_reserve(bytes.len())?;
            joined.extend_from_slice(bytes);
            return Ok(());
        }
        self.0.try_reserve(1)?;
        let mut joined = Vec::new();
        joined.try_reserve(bytes.len())?;
        joined.extend_from_slice(bytes);
        self.0.push_back(Piece::Joined(joined));
        Ok(())
    }
}

#[inline]
fn find_in(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [byte] => memchr::memchr(*byte, bytes),
        _ => memmem::find(bytes, separator),
    }
}

/// [`Buffer::find`] over pieces. A separator that lies across their borders is found in the bytes next to the border.
fn find_in_pieces<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    separator: &[u8],
    from: usize,
    to: usize,
) -> Option<usize> {
    let across = separator.len() - 1;
    // The last bytes that have been searched, fewer than a separator has.
    let mut before: Vec<u8> = Vec::new();
    let mut begin = 0;
    for piece in pieces {
        let end = begin + piece.len();
        let (first, last) = (from.max(begin), to.min(end));
        if first < last {
            let bytes = &piece[first - begin..last - begin];
            if across > 0 && !before.is_empty() {
                let kept = before.len();
                before.extend_from_slice(&bytes[..across.min(bytes.len())]);
                if let Some(index) = find_in(&before, separator) {
                    return Some(first - kept + index);
                }
                before.truncate(kept);
            }
            if let Some(index) = find_in(bytes, separator) {
                return Some(first + index);
            }
            if across > 0 {
                before.extend_from_slice(&bytes[bytes.len().saturating_sub(across)..]);
                let surplus = before.len().saturating_sub(across);
                drop(before.drain(..surplus));
            }
        }
        begin = end;
        if begin >= to {
            return None;
        }
    }
    None
}

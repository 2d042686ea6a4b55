//! The Python stack of a thread, read by another thread that need not be attached.
//!
//! A C function that keeps the interpreter keeps every other thread out, a debugger's frame objects included. So the frames
//! are read as a profiler reads those of another process: through `/proc/self/mem`. The kernel copies the bytes; an address
//! that is not, or no longer, mapped is an error of the read, never a fault. What is read is looked at before it is believed,
//! and never used as an address by anything but such a read.
//!
//! # What can be wrong
//! While the other thread runs Python code, its frames change under the reader, who may see a mixture. [`Stack::of_thread`]
//! therefore reads twice and answers only if both agree. Frames stand still while the thread is in C, and while the caller is
//! attached.
//!
//! # Layouts
//! The offsets are those of `offsetof` with the headers of 3.11 - 3.15, which do not change within a release.
//! [`is_reliable`] compares what they show of the calling thread with the interpreter's own frames; where the two differ, or
//! `/proc` cannot be read, no stack is ever read from outside.
//!
//! # Cost
//! A microsecond or two for each frame. At most [`LARGEST_DEPTH`] frames, the innermost ones.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::thread_state;

/// Frames of one stack.
const LARGEST_DEPTH: usize = 128;

/// Steps from frame to frame, those of the interpreter's own included: what changes under the reader may lead in a circle.
const MOST_STEPS: usize = 4 * LARGEST_DEPTH;

/// Bytes at the beginning of a frame that are read together.
const FRAME_BYTES: usize = if cfg!(all(Py_3_12, not(Py_3_13))) { 72 } else { 64 };

/// Characters of a name or a path.
const LONGEST_TEXT: usize = 4096;

/// Bytes of the table of a function's lines.
const LARGEST_TABLE: usize = 1 << 20;

/// Where fields are.
mod offset {
    /// The current frame: in the thread's state, or in what the state refers to (3.11 and 3.12).
    #[cfg(not(Py_3_13))]
    pub(super) const C_FRAME: usize = 56;
    pub(super) const CURRENT_FRAME: usize = if cfg!(Py_3_13) {
        72
    } else if cfg!(Py_3_12) {
        0
    } else {
        8
    };
    pub(super) const FRAME_CODE: usize = if cfg!(Py_3_12) { 0 } else { 32 };
    pub(super) const FRAME_PREVIOUS: usize = if cfg!(Py_3_12) { 8 } else { 48 };
    pub(super) const FRAME_INSTRUCTION: usize = 56;
    #[cfg(all(Py_3_12, not(Py_3_13)))]
    pub(super) const FRAME_OWNER: usize = 70;
    pub(super) const CODE_FIRST_LINE: usize = if cfg!(Py_3_12) { 68 } else { 72 };
    pub(super) const CODE_FILE: usize = 112;
    pub(super) const CODE_QUALIFIED_NAME: usize = 128;
    pub(super) const CODE_LINES: usize = 136;
    pub(super) const CODE_INSTRUCTIONS: usize = if cfg!(Py_3_14) {
        208
    } else if cfg!(Py_3_13) {
        200
    } else if cfg!(Py_3_12) {
        192
    } else {
        184
    };
    /// Of every object.
    pub(super) const TYPE: usize = 8;
    /// Of `bytes` and `str`.
    pub(super) const LENGTH: usize = 16;
    pub(super) const BYTES: usize = 32;
    pub(super) const TEXT_STATE: usize = 32;
    pub(super) const ASCII: usize = if cfg!(Py_3_12) { 40 } else { 48 };
    pub(super) const OTHER_TEXT: usize = if cfg!(Py_3_12) { 56 } else { 72 };
}

/// The low bits of a reference in a frame say who owns it (3.14 on).
const TAGS: usize = 7;

/// One function that a thread is in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) file: String,
    /// Its qualified name.
    pub(crate) function: String,
    /// 0: none.
    pub(crate) line: usize,
}

/// The functions that a thread is in, the innermost first.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Stack(pub(crate) Vec<Frame>);

impl Stack {
    /// The stack of the thread whose state is at `thread_state`. `None`: there is none, or it did not stand still.
    pub(crate) fn of_thread(thread_state: usize) -> Option<Self> {
        let memory = Memory::open()?;
        let mut last = memory.stack(thread_state)?;
        for _ in 0..3 {
            let next = memory.stack(thread_state)?;
            if next == last {
                return Some(last);
            }
            last = next;
        }
        None
    }
}

/// This process's memory, as the kernel reads it.
struct Memory(File);

impl Memory {
    /// Opened for each use: a forked child's is another one.
    fn open() -> Option<Self> {
        File::open("/proc/self/mem").ok().map(Self)
    }

    /// Fills `bytes` with what is at `address`.
    fn read(&self, address: usize, bytes: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(bytes, address as u64).ok()
    }

    fn word(&self, address: usize) -> Option<usize> {
        let mut bytes = [0; size_of::<usize>()];
        self.read(address, &mut bytes)?;
        Some(usize::from_ne_bytes(bytes))
    }

    fn half_word(&self, address: usize) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Some(u32::from_ne_bytes(bytes))
    }

    fn stack(&self, thread_state: usize) -> Option<Stack> {
        #[cfg(Py_3_13)]
        let holder = thread_state;
        #[cfg(not(Py_3_13))]
        let holder = self.word(thread_state.checked_add(offset::C_FRAME)?)?;
        let mut frame = self.word(holder.checked_add(offset::CURRENT_FRAME)?)?;
        let mut codes = HashMap::new();
        let mut found = Vec::new();
        for _ in 0..MOST_STEPS {
            if frame == 0 || found.len() == LARGEST_DEPTH {
                return Some(Stack(found));
            }
            let mut words = [0; FRAME_BYTES];
            self.read(frame, &mut words)?;
            let word = |offset: usize| {
                let bytes = words.get(offset..offset + size_of::<usize>())?;
                Some(usize::from_ne_bytes(bytes.try_into().ok()?))
            };
            let code = word(offset::FRAME_CODE)? & !TAGS;
            // The interpreter has frames of its own where C calls Python: without code, but in 3.12.
            #[cfg(all(Py_3_12, not(Py_3_13)))]
            let is_functions = {
                const OWNED_BY_C_STACK: u8 = 3;
                words[offset::FRAME_OWNER] != OWNED_BY_C_STACK
            };
            #[cfg(not(all(Py_3_12, not(Py_3_13))))]
            let is_functions = true;
            if is_functions && self.is_code(code) {
                let code: &Code = match codes.entry(code) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(place) => place.insert(self.code(code)?),
                };
                found.push(Frame {
                    file: code.file.clone(),
                    function: code.function.clone(),
                    line: code.line_at(word(offset::FRAME_INSTRUCTION)?),
                });
            }
            frame = word(offset::FRAME_PREVIOUS)?;
        }
        None
    }

    fn is_code(&self, address: usize) -> bool {
        address != 0
            && address.checked_add(offset::TYPE).and_then(|place| self.word(place))
                == Some(&raw const ffi::PyCode_Type as usize)
    }

    fn code(&self, address: usize) -> Option<Code> {
        let table = self.word(address + offset::CODE_LINES)?;
        let length = self.word(table.checked_add(offset::LENGTH)?)?;
        if length > LARGEST_TABLE {
            return None;
        }
        let mut lines = vec![0; length];
        self.read(table.checked_add(offset::BYTES)?, &mut lines)?;
        Some(Code {
            file: self.text(self.word(address + offset::CODE_FILE)?)?,
            function: self.text(self.word(address + offset::CODE_QUALIFIED_NAME)?)?,
            first_line: usize::try_from(self.half_word(address + offset::CODE_FIRST_LINE)?).ok()?,
            instructions: address.checked_add(offset::CODE_INSTRUCTIONS)?,
            lines,
        })
    }

    /// A `str`.
    fn text(&self, address: usize) -> Option<String> {
        const KIND: u32 = 0x1c;
        const IS_COMPACT: u32 = 0x20;
        const IS_ASCII: u32 = 0x40;
        if self.word(address.checked_add(offset::TYPE)?)? != &raw const ffi::PyUnicode_Type as usize {
            return None;
        }
        let length = self.word(address + offset::LENGTH)?;
        let state = self.half_word(address + offset::TEXT_STATE)?;
        if state & IS_COMPACT == 0 || length > LONGEST_TEXT {
            return None;
        }
        let width = usize::try_from((state & KIND) >> 2).ok()?;
        let begin = if state & IS_ASCII == 0 { offset::OTHER_TEXT } else { offset::ASCII };
        let mut bytes = vec![0; length * width];
        self.read(address.checked_add(begin)?, &mut bytes)?;
        let character = |unit: &[u8]| {
            let mut whole = [0; 4];
            whole.get_mut(..unit.len())?.copy_from_slice(unit);
            Some(char::from_u32(u32::from_le_bytes(whole)).unwrap_or(char::REPLACEMENT_CHARACTER))
        };
        matches!(width, 1 | 2 | 4).then(|| bytes.chunks_exact(width).filter_map(character).collect())
    }
}

/// What is needed of a code object.
struct Code {
    file: String,
    function: String,
    first_line: usize,
    /// The address of its first instruction.
    instructions: usize,
    /// Which instructions are of which line; CPython's `Objects/locations.md`.
    lines: Vec<u8>,
}

impl Code {
    /// The line of the instruction at an address.
    fn line_at(&self, instruction: usize) -> usize {
        const UNIT_BYTES: usize = 2;
        let Some(wanted) = instruction.checked_sub(self.instructions) else {
            // Before the first instruction: the function is about to begin.
            return self.first_line;
        };
        let mut line = self.first_line;
        let mut end = 0;
        let mut rest = &self.lines[..];
        while let [head, behind @ ..] = rest {
            let length = behind.iter().position(|byte| byte & 0x80 != 0).unwrap_or(behind.len());
            let (detail, next) = behind.split_at(length);
            let form = (head >> 3) & 15;
            let change = match form {
                10..=12 => isize::from(form) - 10,
                13 | 14 => signed(detail),
                _ => 0,
            };
            line = line.wrapping_add_signed(change);
            end += (usize::from(head & 7) + 1) * UNIT_BYTES;
            if wanted < end {
                const WITHOUT_LINE: u8 = 15;
                return if form == WITHOUT_LINE { 0 } else { line };
            }
            rest = next;
        }
        0
    }
}

/// A number of six bits a byte, the lowest first; the lowest bit is the sign.
fn signed(bytes: &[u8]) -> isize {
    let mut number = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= usize::from(byte & 0x3f) << (6 * index);
        if byte & 0x40 == 0 {
            break;
        }
    }
    let size = (number >> 1).cast_signed();
    if number & 1 == 0 { size } else { -size }
}

/// Whether stacks can be read here: what is read of this thread is what the interpreter says. Asked once.
pub(crate) fn is_reliable(py: Python<'_>) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| is_like_frames(py).unwrap_or(false))
}

fn is_like_frames(py: Python<'_>) -> PyResult<bool> {
    let Some(stack) = Stack::of_thread(thread_state::current_address(py)) else { return Ok(false) };
    let mut frame = py.import("sys")?.call_method0("_getframe")?;
    for seen in &stack.0 {
        if frame.is_none() {
            return Ok(false);
        }
        let code = frame.getattr("f_code")?;
        let line: Option<usize> = frame.getattr("f_lineno")?.extract()?;
        let is_text = |name: &str, text: &str| -> PyResult<bool> {
            Ok(code.getattr(name)?.cast::<PyString>().is_ok_and(|found| found.to_string_lossy() == text))
        };
        if !is_text("co_filename", &seen.file)?
            || !is_text("co_qualname", &seen.function)?
            || line.unwrap_or_default() != seen.line
        {
            return Ok(false);
        }
        frame = frame.getattr("f_back")?;
    }
    Ok(!stack.0.is_empty() && (frame.is_none() || stack.0.len() == LARGEST_DEPTH))
}

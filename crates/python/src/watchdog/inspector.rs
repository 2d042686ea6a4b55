//! `Inspector`: answers questions about the process through a Unix socket.
//!
//! A native thread accepts connections and hands each question to a thread of Python's, which has the answer. When that cannot
//! get hold of the interpreter, the native thread answers with what can be seen from outside: the stack of each loop's thread.
//! One connection at a time; a peer that does not ask or does not read is left after [`PATIENCE`].
//!
//! # Who may ask
//! The user of the process alone: the socket has the mode 0600 in a folder of the user's, and the kernel is asked whose process
//! is at the other end (`SO_PEERCRED`) before anything is read.
//!
//! # Threads
//! As for the observer: the native thread is never attached; attached threads hold a lock for a move only.

use core::fmt::Write as _;
use core::time::Duration;
use std::fs::{Permissions, set_permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use ferrio_engine::sys::wake::Wake;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_peercred;

use crate::core::{LoopCore, Pulse};
use crate::ffi::arguments::Arguments;
use crate::ffi::class::{Builder, Instance, class_over_object};
use crate::ffi::errors::os_error;
use crate::ffi::fields::{Collector, Fields, Visited};
use crate::ffi::method::{Attribute, Method};
use crate::ffi::object::Object;
use crate::ffi::outside_stack::{self, Stack};

/// For one read or write of a peer.
const PATIENCE: Duration = Duration::from_secs(2);

/// For whoever answers to get hold of the interpreter, and to answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Bytes of a question.
const LONGEST_QUESTION: u64 = 256;

/// What is asked and answered.
#[derive(Default)]
struct Conversation {
    /// The number of the last question.
    number: u64,
    /// Nobody has taken it yet.
    question: Option<String>,
    answer: Option<Vec<u8>>,
    has_ended: bool,
}

struct Shared {
    listener: UnixListener,
    /// Readable while there is a question, or the end has come.
    bell: Wake,
    /// Makes the native thread look whether the end has come.
    end: Wake,
    uid: u32,
    reads_stacks: bool,
    conversation: Mutex<Conversation>,
    answered: Condvar,
    loops: Mutex<Vec<Weak<Pulse>>>,
}

impl Shared {
    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts until the end.
    fn serve(&self) {
        loop {
            let mut ready =
                [PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
            let outcome = poll(&mut ready, None);
            if self.conversation().has_ended || outcome.is_err_and(|error| error != rustix::io::Errno::INTR) {
                return;
            }
            match self.listener.accept() {
                // What a peer does wrong ends its own connection.
                Ok((stream, _)) => drop(self.attend(&stream)),
                // Without descriptors, say: not in a hurry, since the peer still waits.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Reads a question and answers it.
    fn attend(&self, stream: &UnixStream) -> std::io::Result<()> {
        if socket_peercred(stream)?.uid.as_raw() != self.uid {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut question = String::new();
        BufReader::new(stream).take(LONGEST_QUESTION).read_line(&mut question)?;
        if question.is_empty() {
            // It has looked whether anybody listens.
            return Ok(());
        }
        let answer = self.ask(question).unwrap_or_else(|| self.seen_from_outside());
        let mut stream = stream;
        stream.write_all(&answer)
    }

    /// The answer of whoever has the interpreter, if that comes in time.
    fn ask(&self, question: String) -> Option<Vec<u8>> {
        let mut conversation = self.conversation();
        conversation.number += 1;
        conversation.question = Some(question);
        conversation.answer = None;
        // There is no eventfd that cannot be written.
        let _ = self.bell.signal();
        let waiting = |conversation: &mut Conversation| conversation.answer.is_none() && !conversation.has_ended;
        let waited = self.answered.wait_timeout_while(conversation, ANSWER_TIME, waiting);
        let (mut conversation, _) = waited.unwrap_or_else(PoisonError::into_inner);
        conversation.question = None;
        conversation.answer.take()
    }

    /// What is known without the interpreter, in the form of the answers of `ferrio.inspect`.
    fn seen_from_outside(&self) -> Vec<u8> {
        let pulses: Vec<Arc<Pulse>> =
            self.loops.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        let mut text = format!("{{\"pid\": {}, \"keeps_interpreter\": true, \"loops\": [", std::process::id());
        let running = pulses.iter().filter(|pulse| pulse.moment().is_in_entry());
        for (index, pulse) in running.enumerate() {
            let stack = self.reads_stacks.then(|| Stack::of_thread(pulse.thread_state())).flatten().unwrap_or_default();
            let separator = if index == 0 { "" } else { ", " };
            let _ = write!(text, "{separator}{{\"is_running\": true, \"stack\": [");
            for (index, frame) in stack.0.iter().rev().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                let (file, function) = (quoted(&frame.file), quoted(&frame.function));
                let _ = write!(text, "{separator}[{file}, {function}, {}]", frame.line);
            }
            text.push_str("]}");
        }
        text.push_str("]}");
        text.into_bytes()
    }
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..=' ' => drop(write!(quoted, "\\u{:04x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// See the module. Ended by [`Inspector::close`]; otherwise it lasts as long as the process.
pub(crate) struct Inspector {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

class_over_object! {
    Inspector, c"ferrio._ferrio.Inspector",
    c"Answers questions about the process through a Unix socket, in a thread of its own.";
}

impl Fields for Inspector {
    const IS_EMPTY_WHEN_CLEARED: bool = false;

    fn visit(&self, _: &Collector) -> Visited {
        Ok(())
    }

    fn clear(&self) {}
}

impl Inspector {
    /// `Inspector(path, uid)`: makes the socket there and answers that user's processes, in a thread that gets the caller's
    /// mask of signals.
    fn new(arguments: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let py = arguments.py();
        if arguments.len() != 2 {
            return Err(PyTypeError::new_err("Inspector() takes a path and the number of a user"));
        }
        let (path, uid): (PathBuf, u32) = (arguments.get_item(0)?.extract()?, arguments.get_item(1)?.extract()?);
        let raise = |error| os_error(py, error);
        let listener = UnixListener::bind(&path)?;
        set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            listener,
            bell: Wake::new().map_err(raise)?,
            end: Wake::new().map_err(raise)?,
            uid,
            reads_stacks: outside_stack::is_reliable(py),
            conversation: Mutex::default(),
            answered: Condvar::new(),
            loops: Mutex::default(),
        });
        let thread = thread::Builder::new().name("ferrio-inspect".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve()
        });
        let thread = thread.map_err(|error| PyRuntimeError::new_err(format!("can't start new thread: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    fn add(&self, event_loop: &LoopCore) {
        let mut loops = self.shared.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|pulse| pulse.strong_count() > 0);
        let pulse = Arc::downgrade(&event_loop.pulse);
        if !loops.iter().any(|known| known.ptr_eq(&pulse)) {
            loops.push(pulse);
        }
    }

    fn fileno(&self) -> i32 {
        self.shared.bell.as_fd().as_raw_fd()
    }

    fn take(&self) -> Option<(u64, String)> {
        // There is no eventfd that cannot be read.
        let _ = self.shared.bell.clear();
        let mut conversation = self.shared.conversation();
        conversation.question.take().map(|question| (conversation.number, question))
    }

    fn answer(&self, number: u64, answer: Vec<u8>) {
        let mut conversation = self.shared.conversation();
        if conversation.number == number {
            conversation.answer = Some(answer);
            self.shared.answered.notify_all();
        }
    }

    fn close(&self, py: Python<'_>) {
        self.shared.conversation().has_ended = true;
        self.shared.answered.notify_all();
        let _ = self.shared.bell.signal();
        let _ = self.shared.end.signal();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| thread.map(JoinHandle::join));
    }
}

/// `answer(number, answer)`.
fn answer(py: Python<'_>, inspector: &Instance<Inspector>, arguments: Arguments<'_>) -> PyResult<()> {
    let Some([number, answer]) = arguments.only() else {
        return Err(PyTypeError::new_err("answer() takes two arguments"));
    };
    inspector.answer(number.bind(py).extract()?, answer.bind(py).extract()?);
    Ok(())
}

fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    type This = Instance<Inspector>;
    Builder::<This>::new()
        .constructed_by(|arguments, _| Inspector::new(arguments))
        .method(Method::one_argument(
            c"add",
            |py, inspector: &This, event_loop| {
                inspector.add(Instance::<LoopCore>::expect(py, event_loop)?);
                Ok(())
            },
            c"Show a loop in answers that have to be given without the interpreter.",
        ))
        .method(Method::no_arguments(
            c"fileno",
            |_, inspector: &This| Ok(inspector.fileno()),
            c"The number of a descriptor that is readable while there is a question, or the end has come. It is the \
              inspector's.",
        ))
        .method(Method::no_arguments(
            c"descriptors",
            |py, inspector: &This| {
                let shared = &inspector.shared;
                let numbers = [shared.listener.as_raw_fd(), inspector.fileno(), shared.end.as_fd().as_raw_fd()];
                numbers.into_pyobject(py).map(Object::new)
            },
            c"The numbers of all its descriptors.",
        ))
        .method(Method::no_arguments(
            c"take",
            |py, inspector: &This| inspector.take().into_pyobject(py).map(Object::new),
            c"The question that nobody has taken yet, and its number. None: there is none.",
        ))
        .method(Method::any_arguments(c"answer", answer, c"Answer the question of a number, if its peer still waits."))
        .method(Method::no_arguments(
            c"close",
            |py, inspector: &This| {
                inspector.close(py);
                Ok(())
            },
            c"End the thread, and wait until it has answered a peer that it is at.",
        ))
        // Whether it was closed.
        .attribute(Attribute::read_only(c"has_ended", |_, inspector: &This| {
            Ok(inspector.shared.conversation().has_ended)
        }))
        .build_over_object(py)
}

/// Adds the class to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("Inspector", make_class(module.py())?)
}

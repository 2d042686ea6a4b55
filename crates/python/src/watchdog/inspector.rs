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
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_peercred;

use crate::core::{LoopCore, Pulse};
use crate::ffi::errors::os_error;
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
#[pyclass(frozen, module = "ferrio._ferrio")]
pub(crate) struct Inspector {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[pymethods]
impl Inspector {
    /// Makes the socket at `path` and answers the processes of the user `uid` there, in a thread that gets the caller's mask of
    /// signals.
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "the signature of a constructor")]
    fn new(py: Python<'_>, path: PathBuf, uid: u32) -> PyResult<Self> {
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

    /// Shows `event_loop` in answers that have to be given without the interpreter.
    fn add(&self, event_loop: &Bound<'_, LoopCore>) {
        let mut loops = self.shared.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|pulse| pulse.strong_count() > 0);
        let pulse = Arc::downgrade(&event_loop.get().pulse);
        if !loops.iter().any(|known| known.ptr_eq(&pulse)) {
            loops.push(pulse);
        }
    }

    /// The number of a descriptor that is readable while there is a question, or the end has come. It is the inspector's.
    fn fileno(&self) -> i32 {
        self.shared.bell.as_fd().as_raw_fd()
    }

    /// The numbers of all its descriptors.
    fn descriptors(&self) -> [i32; 3] {
        [self.shared.listener.as_raw_fd(), self.fileno(), self.shared.end.as_fd().as_raw_fd()]
    }

    /// The question that nobody has taken yet, and its number. `None`: there is none.
    fn take(&self) -> Option<(u64, String)> {
        // There is no eventfd that cannot be read.
        let _ = self.shared.bell.clear();
        let mut conversation = self.shared.conversation();
        conversation.question.take().map(|question| (conversation.number, question))
    }

    /// Answers the question of that number, if its peer still waits.
    fn answer(&self, number: u64, answer: Vec<u8>) {
        let mut conversation = self.shared.conversation();
        if conversation.number == number {
            conversation.answer = Some(answer);
            self.shared.answered.notify_all();
        }
    }

    /// Whether it was closed.
    #[getter]
    fn has_ended(&self) -> bool {
        self.shared.conversation().has_ended
    }

    /// Ends the thread, and waits until it has answered a peer that it is at.
    fn close(&self, py: Python<'_>) {
        self.shared.conversation().has_ended = true;
        self.shared.answered.notify_all();
        let _ = self.shared.bell.signal();
        let _ = self.shared.end.signal();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| thread.map(JoinHandle::join));
    }
}

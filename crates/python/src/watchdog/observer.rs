//! The thread that looks, and what it shares with those who take its news.
//!
//! # Threads
//! [`observe`] is run by a thread that is never attached. Attached threads take the news; the lock is held for a move.
//!
//! # Invariants
//! 1. The thread ends when the loop is closed or collected, or when the watch is.
//! 2. News that nobody takes are kept up to a number, and counted from there on.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ferrio_engine::sys::wake::Wake;
use ferrio_engine::time::{Lookout, Sight};

use crate::core::{Moment, Pulse};
use crate::ffi::outside_stack::Stack;

/// News that nobody has taken yet.
const MOST_NEWS: usize = 256;

/// How long whoever takes the news may take to get hold of the interpreter, at least: ten switch intervals.
const SHORTEST_GRACE: Duration = Duration::from_millis(50);

/// What has become of a stall.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Begun,
    Lasting,
    Ended,
}

/// One piece of news.
pub(super) struct News {
    pub(super) change: Change,
    /// Stalls of one watch are numbered from 1.
    pub(super) stall: u64,
    pub(super) lasted: Duration,
    /// When it was seen.
    pub(super) seen: Instant,
    /// Where the loop's thread was, if it stood still.
    pub(super) stack: Option<Stack>,
}

/// What the thread shares.
pub(super) struct Watch {
    pub(super) pulse: Arc<Pulse>,
    limit: Duration,
    /// Stacks can be read from outside.
    pub(super) reads_stacks: bool,
    has_ended: AtomicBool,
    news: Mutex<Vec<News>>,
    /// The last stall whose beginning was taken.
    taken: AtomicU64,
    /// The stall under way, 0 for none, and what the loop is at in it.
    stalled: Mutex<Option<(u64, Moment)>>,
    /// Readable while there are news, or the watch has ended.
    pub(super) bell: Wake,
}

impl Watch {
    pub(super) fn new(pulse: Arc<Pulse>, limit: Duration, reads_stacks: bool, bell: Wake) -> Self {
        Self {
            pulse,
            limit,
            reads_stacks,
            has_ended: AtomicBool::new(false),
            news: Mutex::default(),
            taken: AtomicU64::new(0),
            stalled: Mutex::default(),
            bell,
        }
    }

    /// How long news may wait until whoever takes them is thought to be kept out.
    pub(super) fn grace(&self) -> Duration {
        (self.limit / 2).max(SHORTEST_GRACE)
    }

    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.ring();
    }

    /// Whether there is nothing to watch any more: nobody but the thread knows the pulse, or the loop is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed) || self.pulse.has_ended() || Arc::strong_count(&self.pulse) == 1
    }

    pub(super) fn take(&self) -> Vec<News> {
        // Nothing to be done about an eventfd that cannot be read; there is no such case.
        let _ = self.bell.clear();
        let news = core::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(last) = news.iter().map(|news| news.stall).max() {
            self.taken.store(last, Ordering::Relaxed);
        }
        news
    }

    /// Whether the loop still is at what stalled it.
    pub(super) fn is_in(&self, stall: u64) -> bool {
        let stalled = *self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        stalled.is_some_and(|(number, moment)| number == stall && moment == self.pulse.moment())
    }

    fn note(&self, news: News) {
        let mut all = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_NEWS {
            all.push(news);
        }
        drop(all);
        self.ring();
    }

    fn ring(&self) {
        // As in `take`.
        let _ = self.bell.signal();
    }

    fn stack(&self, moment: Moment) -> Option<Stack> {
        let stack = self.reads_stacks.then(|| Stack::of_thread(self.pulse.thread_state()))??;
        (self.pulse.moment() == moment).then_some(stack)
    }
}

/// A stall that has begun, for as long as nobody has heard of it.
struct Unheard {
    stall: u64,
    since: Instant,
    stack: Option<Stack>,
}

/// Looks until there is nothing to watch any more.
pub(super) fn observe(watch: &Watch) {
    let mut lookout = Lookout::new(watch.limit);
    let mut stall = 0;
    let mut unheard: Option<Unheard> = None;
    let mut looked = Instant::now();
    loop {
        std::thread::park_timeout(lookout.rest());
        if watch.has_ended() {
            return watch.end();
        }
        let now = Instant::now();
        let moment = watch.pulse.moment();
        let sight = lookout.look(moment.is_in_entry().then_some(moment), now - looked);
        looked = now;
        let (change, lasted) = match sight {
            Sight::Clear => {
                if unheard.as_ref().is_some_and(|unheard| now - unheard.since >= watch.grace())
                    && let Some(unheard) = unheard.take()
                    && watch.taken.load(Ordering::Relaxed) < unheard.stall
                {
                    shout(&unheard, watch.limit + (now - unheard.since));
                }
                continue;
            }
            Sight::Begun(lasted) => {
                stall += 1;
                *watch.stalled.lock().unwrap_or_else(PoisonError::into_inner) = Some((stall, moment));
                (Change::Begun, lasted)
            }
            Sight::Lasting(lasted) => (Change::Lasting, lasted),
            Sight::Ended(lasted) => {
                unheard = None;
                *watch.stalled.lock().unwrap_or_else(PoisonError::into_inner) = None;
                (Change::Ended, lasted)
            }
        };
        let stack = if change == Change::Ended { None } else { watch.stack(moment) };
        if change == Change::Begun {
            unheard = Some(Unheard { stall, since: now, stack: stack.clone() });
        }
        watch.note(News { change, stall, lasted, seen: now, stack });
    }
}

/// Writes what nobody can hear to the standard error, as the interpreter's fault handler does.
fn shout(unheard: &Unheard, lasted: Duration) {
    let mut text = format!(
        "ferrio: the event loop has been blocked for {:.3} s by code that keeps the interpreter (the GIL) as well\n",
        lasted.as_secs_f64()
    );
    match &unheard.stack {
        Some(stack) => {
            text.push_str("Stack of the loop's thread (most recent call last):\n");
            for frame in stack.0.iter().rev() {
                let _ = writeln!(text, "  File \"{}\", line {}, in {}", frame.file, frame.line, frame.function);
            }
        }
        None => text.push_str("Its stack cannot be read from outside.\n"),
    }
    // There is nobody to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

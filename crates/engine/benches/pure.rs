//! What the pure parts cost per operation, in nanoseconds: `cargo bench -p ferrio-engine --bench pure [name part]`.
//!
//! Each figure is the fastest of [`ROUNDS`] rounds: the work is deterministic, so whatever is slower was disturbed.
//! Entries are pointers to flags that exist already, so that the containers are measured and not the allocator.

use std::cell::Cell;
use std::hint::black_box;
use std::io::IoSlice;
use std::ptr::NonNull;
use std::time::Instant;

use ferrio_engine::buf::{Chain, Chunk};
use ferrio_engine::queue::{Inbox, Ready, Wake};
use ferrio_engine::time::{Expirable, Nanos, Timers};

const ROUNDS: u32 = 25;

/// Runs `round`, which does `operations` operations, and prints the cost of one.
fn measure(name: &str, operations: u32, mut round: impl FnMut()) {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|part| !name.contains(&part)) {
        return;
    }
    let fastest = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:<60} {:>8.2} ns", fastest.as_secs_f64() * 1e9 / f64::from(operations));
}

/// Whether a timer is cancelled, kept outside of the heap as a handle would.
type Flag = Cell<bool>;

/// As wide as a pointer, like a reference to a Python object.
#[derive(Clone, Copy)]
struct Timer<'a>(&'a Flag);

impl Expirable for Timer<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.get()
    }
}

fn flags(count: u32) -> Vec<Flag> {
    (0..count).map(|_| Cell::new(false)).collect()
}

/// A permutation of `0..count` that visits memory without an order; `count` is a power of two.
fn shuffled(count: u32) -> impl Iterator<Item = usize> {
    (0..count).scan(12_345_u32, move |state, _| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & (count - 1);
        usize::try_from(*state).ok()
    })
}

fn timers_cancelled_at_once(live: u32) {
    const COUNT: u32 = 1 << 16;
    let standing = flags(live);
    let flags = flags(COUNT);
    let mut timers = Timers::new();
    for flag in &standing {
        timers.push(Nanos::MAX, Timer(flag));
    }
    let mut deadline = 0;
    measure(&format!("timers: push and cancel at once, {live} others live"), COUNT, || {
        for flag in &flags {
            flag.set(false);
            deadline += 1_000;
            timers.push(Nanos::from_nanos(deadline), Timer(flag));
            flag.set(true);
            black_box(timers.note_cancelled());
        }
        // The flags serve again in the next round.
        drop(timers.drain());
        for flag in &standing {
            timers.push(Nanos::MAX, Timer(flag));
        }
    });
}

fn timers_cancelled_later(count: u32, in_order: bool) {
    let flags = flags(count);
    let order: Vec<usize> =
        if in_order { (0..count).map(|at| at as usize).collect() } else { shuffled(count).collect() };
    let mut timers = Timers::new();
    let name = if in_order { "oldest first" } else { "in no order" };
    measure(&format!("timers: push {count}, then cancel all {name}"), count, || {
        for (at, flag) in (0_u64..).zip(&flags) {
            flag.set(false);
            timers.push(Nanos::from_nanos(at), Timer(flag));
        }
        for &at in &order {
            flags[at].set(true);
            black_box(timers.note_cancelled());
        }
        drop(timers.drain());
    });
}

fn timers_expire(count: u32, in_order: bool) {
    let flags = flags(count);
    let deadlines: Vec<u64> =
        if in_order { (0..u64::from(count)).collect() } else { shuffled(count).map(|at| at as u64).collect() };
    let mut timers = Timers::new();
    let mut discarded = Vec::new();
    let name = if in_order { "increasing" } else { "random" };
    measure(&format!("timers: push {count} {name} deadlines, then pop all"), count, || {
        for (&deadline, flag) in deadlines.iter().zip(&flags) {
            timers.push(Nanos::from_nanos(deadline), Timer(flag));
        }
        while let Some(entry) = timers.pop_due(Nanos::MAX, &mut discarded) {
            black_box(entry);
        }
    });
}

fn ready() {
    const COUNT: u32 = 1 << 16;
    let mut ready = Ready::new();
    for length in [1_u32, 64] {
        measure(&format!("ready: push and pop, {length} per turn"), COUNT, || {
            for _ in 0..COUNT / length {
                for at in 0..length {
                    ready.push(black_box(u64::from(at)));
                }
                for _ in 0..ready.turn() {
                    black_box(ready.pop());
                }
            }
        });
    }
}

fn inbox() {
    const COUNT: u32 = 1 << 16;
    let inbox = Inbox::new();
    for length in [1_u32, 64] {
        measure(&format!("inbox: push and take, {length} per take"), COUNT, || {
            for _ in 0..COUNT / length {
                for at in 0..length {
                    black_box(inbox.push(u64::from(at)) == Wake::Needed);
                }
                inbox.take(|entry| {
                    black_box(entry);
                });
            }
        });
    }
    measure("inbox: is_empty", COUNT, || {
        for _ in 0..COUNT {
            black_box(black_box(&inbox).is_empty());
        }
    });
    measure("inbox: prepare_sleep and awake", COUNT, || {
        for _ in 0..COUNT {
            black_box(inbox.prepare_sleep());
            inbox.awake();
        }
    });
    measure("inbox: push from another thread, consumer polls", COUNT, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..COUNT {
                    if inbox.push(u64::from(at)) == Wake::Needed {
                        unreachable!("the consumer never sleeps");
                    }
                }
            });
            let mut taken = 0;
            while taken < COUNT {
                inbox.take(|_| taken += 1);
            }
        });
    });
}

/// A chunk of static bytes, whose owner needs no release.
fn static_chunk(bytes: &'static [u8]) -> Chunk {
    /// # Safety
    /// None needed.
    unsafe fn nothing(_: *mut ()) {}
    // SAFETY: static bytes are readable and unchanged for ever, and releasing them does nothing.
    unsafe { Chunk::from_foreign(NonNull::from(bytes).cast(), bytes.len(), std::ptr::null_mut(), nothing) }
}

fn chain() {
    const COUNT: u32 = 1 << 16;
    let mut chain = Chain::new();
    let mut released = Vec::new();
    for chunks in [1_u32, 2, 8] {
        measure(&format!("chain: push {chunks}, slices, advance over all, release"), COUNT / chunks, || {
            for _ in 0..COUNT / chunks {
                for _ in 0..chunks {
                    black_box(chain.push(static_chunk(black_box(b"some bytes"))));
                }
                let mut slices = [IoSlice::new(&[]); 16];
                let count = chain.slices(&mut slices);
                black_box(&slices[..count]);
                let len_bytes = chain.len_bytes();
                chain.advance(len_bytes, &mut released);
                released.clear();
            }
        });
    }
    measure("chain: push 1, front, advance in two steps, release", COUNT, || {
        for _ in 0..COUNT {
            black_box(chain.push(static_chunk(black_box(b"some bytes"))));
            black_box(chain.front());
            chain.advance(4, &mut released);
            black_box(chain.front());
            chain.advance(6, &mut released);
            released.clear();
        }
    });
}

fn nanos() {
    const COUNT: u32 = 1 << 16;
    measure("nanos: from_secs_f64_ceil", COUNT, || {
        for at in 0..COUNT {
            black_box(Nanos::from_secs_f64_ceil(black_box(f64::from(at) * 0.001)));
        }
    });
    measure("nanos: as_secs_f64", COUNT, || {
        for at in 0..COUNT {
            black_box(Nanos::from_nanos(black_box(u64::from(at) * 1_000_003)).as_secs_f64());
        }
    });
}

fn main() {
    timers_cancelled_at_once(0);
    timers_cancelled_at_once(10_000);
    for count in [1 << 10, 1 << 16] {
        timers_cancelled_later(count, true);
        timers_cancelled_later(count, false);
        timers_expire(count, true);
        timers_expire(count, false);
    }
    ready();
    inbox();
    chain();
    nanos();
}

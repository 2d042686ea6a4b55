//! Every interleaving of the inbox's hand-over, explored by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ferrio-engine --release --test loom_inbox`
//!
//! The consumer's bell is a flag under loom's mutex and condition variable: a lost wake-up is a deadlock, which loom
//! reports. Entries hold loom's `Arc` and cells, so a leaked, doubled or half-written one is reported too.
#![cfg(loom)]

use ferrio_engine::queue::{Inbox, Wake};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What an eventfd is to the reactor: rings are kept until somebody waits, and counted.
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    rings: AtomicUsize,
}

impl Bell {
    fn new() -> Self {
        Self { rung: Mutex::new(false), changed: Condvar::new(), rings: AtomicUsize::new(0) }
    }

    fn answer(&self, wake: Wake) {
        if wake == Wake::Needed {
            self.rings.fetch_add(1, Ordering::Relaxed);
            *self.rung.lock().expect("no thread panics with the lock") = true;
            self.changed.notify_one();
        }
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().expect("no thread panics with the lock");
        while !*rung {
            rung = self.changed.wait(rung).expect("no thread panics with the lock");
        }
        *rung = false;
    }
}

struct Shared<E: Send> {
    inbox: Inbox<E>,
    bell: Bell,
}

impl<E: Send + 'static> Shared<E> {
    fn new() -> Arc<Self> {
        Arc::new(Self { inbox: Inbox::new(), bell: Bell::new() })
    }

    /// Takes entries, sleeping by the rules in between, until there are `count`; returns how often it slept.
    fn consume(&self, count: usize) -> (Vec<E>, usize) {
        let mut entries = Vec::new();
        let mut sleeps = 0;
        loop {
            self.inbox.take(|entry| entries.push(entry));
            if entries.len() >= count {
                return (entries, sleeps);
            }
            if self.inbox.prepare_sleep() {
                sleeps += 1;
                self.bell.wait();
                self.inbox.awake();
            }
        }
    }
}

fn producer<E: Send + 'static>(shared: &Arc<Shared<E>>, entries: Vec<E>) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for entry in entries {
            let wake = shared.inbox.push(entry);
            shared.bell.answer(wake);
        }
    })
}

/// At most `preemptions` forced switches per run: loom's advice for models too large to exhaust.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_push_always_reaches_a_consumer_that_sleeps() {
    loom::model(|| {
        let shared = Shared::new();
        let pushing = producer(&shared, vec![1]);
        let (entries, sleeps) = shared.consume(1);
        assert_eq!(entries, [1]);
        pushing.join().expect("the producer does not panic");
        assert_eq!(shared.bell.rings.load(Ordering::Relaxed), sleeps);
    });
}

#[test]
fn two_producers_keep_their_own_order_and_ring_at_most_once_per_sleep() {
    bounded(3, || {
        let shared = Shared::new();
        let producers = [producer(&shared, vec![10, 11]), producer(&shared, vec![20, 21])];
        let (entries, sleeps) = shared.consume(4);
        for pushing in producers {
            pushing.join().expect("the producer does not panic");
        }
        for tens in [1, 2] {
            let own: Vec<i32> = entries.iter().copied().filter(|entry| entry / 10 == tens).collect();
            assert_eq!(own, [tens * 10, tens * 10 + 1]);
        }
        assert!(shared.bell.rings.load(Ordering::Relaxed) <= sleeps);
    });
}

/// A plain value whose accesses loom checks: reading it without a happens-before edge from its write is reported.
struct Plain {
    value: UnsafeCell<usize>,
    /// Counts the living.
    _alive: Arc<()>,
}

impl Plain {
    fn new(value: usize, alive: Arc<()>) -> Self {
        let plain = Self { value: UnsafeCell::new(0), _alive: alive };
        // SAFETY: nobody else has seen the cell yet.
        plain.value.with_mut(|place| unsafe { *place = value });
        plain
    }

    fn value(&self) -> usize {
        // SAFETY: the entry has one owner, and loom reports the case that its write is not ordered before this read.
        self.value.with(|place| unsafe { *place })
    }
}

#[test]
fn each_entry_arrives_complete_and_is_freed_once() {
    bounded(3, || {
        let shared = Shared::new();
        let alive = Arc::new(());
        let producers = [1, 2].map(|value| {
            let (shared, alive) = (Arc::clone(&shared), Arc::clone(&alive));
            thread::spawn(move || {
                let wake = shared.inbox.push(Plain::new(value, alive));
                shared.bell.answer(wake);
            })
        });
        let (entries, _) = shared.consume(2);
        assert_eq!(entries.iter().map(Plain::value).sum::<usize>(), 3);
        drop(entries);
        for pushing in producers {
            pushing.join().expect("the producer does not panic");
        }
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn entries_pushed_while_others_are_taken_survive_and_are_freed_with_the_inbox() {
    loom::model(|| {
        let shared = Shared::new();
        let entry = Arc::new(());
        let pushing = producer(&shared, vec![Arc::clone(&entry), Arc::clone(&entry)]);
        let mut taken = 0;
        shared.inbox.take(|_| taken += 1);
        pushing.join().expect("the producer does not panic");
        assert_eq!(Arc::strong_count(&entry), 3 - taken);
        drop(shared);
        assert_eq!(Arc::strong_count(&entry), 1);
    });
}

#[test]
fn an_interrupt_makes_the_flag_before_it_visible() {
    loom::model(|| {
        let shared = Shared::<()>::new();
        let stop = Arc::new(AtomicBool::new(false));
        let other = {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            thread::spawn(move || {
                stop.store(true, Ordering::Relaxed);
                let wake = shared.inbox.interrupt();
                shared.bell.answer(wake);
            })
        };
        while !stop.load(Ordering::Relaxed) {
            if shared.inbox.prepare_sleep() {
                shared.bell.wait();
                shared.inbox.awake();
            }
            // What a refused or ended sleep promises, rule 5: the loop ends at its next check.
            assert!(stop.load(Ordering::Relaxed));
        }
        other.join().expect("the interrupting thread does not panic");
    });
}

#[test]
fn of_two_interrupts_the_second_is_not_lost_behind_the_first() {
    bounded(3, || {
        let shared = Shared::<()>::new();
        let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let others = [0, 1].map(|own| {
            let (shared, flags) = (Arc::clone(&shared), Arc::clone(&flags));
            thread::spawn(move || {
                flags[own].store(true, Ordering::Relaxed);
                let wake = shared.inbox.interrupt();
                shared.bell.answer(wake);
            })
        });
        // A flag set without a wake-up that makes it visible leaves this loop asleep for ever.
        while !flags.iter().all(|flag| flag.load(Ordering::Relaxed)) {
            if shared.inbox.prepare_sleep() {
                shared.bell.wait();
                shared.inbox.awake();
            }
        }
        for other in others {
            other.join().expect("the interrupting thread does not panic");
        }
    });
}

#[test]
fn an_interrupt_survives_a_take_and_a_push() {
    bounded(3, || {
        let shared = Shared::new();
        let stop = Arc::new(AtomicBool::new(false));
        let pushing = producer(&shared, vec![1]);
        let other = {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            thread::spawn(move || {
                stop.store(true, Ordering::Relaxed);
                let wake = shared.inbox.interrupt();
                shared.bell.answer(wake);
            })
        };
        let mut entries = Vec::new();
        loop {
            // The flag is read first: an interrupt between here and the sleep must outlive the take.
            let stopping = stop.load(Ordering::Relaxed);
            shared.inbox.take(|entry| entries.push(entry));
            if stopping && !entries.is_empty() {
                break;
            }
            if shared.inbox.prepare_sleep() {
                shared.bell.wait();
                shared.inbox.awake();
            }
        }
        assert_eq!(entries, [1]);
        pushing.join().expect("the producer does not panic");
        other.join().expect("the interrupting thread does not panic");
    });
}

#[test]
fn a_sleep_that_ends_by_itself_leaves_at_most_a_late_ring() {
    loom::model(|| {
        let shared = Shared::new();
        let pushing = producer(&shared, vec![1]);
        let slept = shared.inbox.prepare_sleep();
        // A timer or a descriptor ends this sleep; nobody waits for the bell.
        shared.inbox.awake();
        let mut entries = Vec::new();
        shared.inbox.take(|entry| entries.push(entry));
        pushing.join().expect("the producer does not panic");
        shared.inbox.take(|entry| entries.push(entry));
        assert_eq!(entries, [1]);
        assert!(shared.bell.rings.load(Ordering::Relaxed) <= usize::from(slept));
    });
}

#[test]
fn a_look_sees_whole_entries_while_others_push() {
    bounded(3, || {
        let shared = Shared::new();
        let pushing = [1, 2].map(|entry| producer(&shared, vec![Arc::new(entry)]));
        let mut seen = Vec::new();
        // SAFETY: nobody takes before the producers have been waited for.
        let looked = unsafe {
            shared.inbox.look(|entry| {
                seen.push(**entry);
                Ok::<(), ()>(())
            })
        };
        assert_eq!(looked, Ok(()));
        for producer in pushing {
            producer.join().expect("the producer does not panic");
        }
        let mut taken = Vec::new();
        shared.inbox.take(|entry| taken.push(*entry));
        // What was there when it looked is the oldest part, and came newest first.
        assert!(taken.iter().rev().skip(taken.len() - seen.len()).eq(&seen));
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    });
}

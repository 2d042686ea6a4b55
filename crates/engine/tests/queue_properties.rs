//! The queues against naive models, one thread; `loom_inbox.rs` has the interleavings of several.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use ferrio_engine::queue::{Inbox, Ready, Wake};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum InboxStep {
    Push,
    Interrupt,
    Take,
    PrepareSleep,
    Awake,
}

fn inbox_step() -> impl Strategy<Value = InboxStep> {
    prop_oneof![
        3 => Just(InboxStep::Push),
        1 => Just(InboxStep::Interrupt),
        2 => Just(InboxStep::Take),
        2 => Just(InboxStep::PrepareSleep),
        2 => Just(InboxStep::Awake),
    ]
}

#[derive(Clone, Debug)]
enum ReadyStep {
    Push,
    Pop,
    Turn { pushed_by_each: usize },
    Drain,
}

fn ready_step() -> impl Strategy<Value = ReadyStep> {
    prop_oneof![
        8 => Just(ReadyStep::Push),
        2 => Just(ReadyStep::Pop),
        2 => (0_usize..3).prop_map(|pushed_by_each| ReadyStep::Turn { pushed_by_each }),
        1 => Just(ReadyStep::Drain),
    ]
}

proptest! {
    #[test]
    fn the_inbox_behaves_like_a_queue_and_two_flags(steps in prop::collection::vec(inbox_step(), 0..200)) {
        let inbox = Inbox::new();
        let mut entries = VecDeque::new();
        let (mut asleep, mut nudged) = (false, false);
        for (name, step) in steps.into_iter().enumerate() {
            match step {
                InboxStep::Push => {
                    entries.push_back(name);
                    let wake = inbox.push(name);
                    prop_assert_eq!(wake == Wake::Needed, std::mem::take(&mut asleep));
                }
                InboxStep::Interrupt => {
                    let wake = inbox.interrupt();
                    prop_assert_eq!(wake == Wake::Needed, asleep);
                    nudged |= !std::mem::take(&mut asleep);
                }
                InboxStep::Take => {
                    let mut taken = VecDeque::new();
                    inbox.take(|entry| taken.push_back(entry));
                    prop_assert_eq!(&taken, &std::mem::take(&mut entries));
                }
                InboxStep::PrepareSleep => {
                    asleep = !std::mem::take(&mut nudged) && entries.is_empty();
                    prop_assert_eq!(inbox.prepare_sleep(), asleep);
                }
                InboxStep::Awake => {
                    (asleep, nudged) = (false, false);
                    inbox.awake();
                }
            }
            prop_assert_eq!(inbox.is_empty(), entries.is_empty());
        }
    }

    #[test]
    fn a_turn_runs_what_was_ready_when_it_began(steps in prop::collection::vec(ready_step(), 0..100)) {
        let mut ready = Ready::new();
        let mut model = VecDeque::new();
        for (name, step) in steps.into_iter().enumerate() {
            match step {
                ReadyStep::Push => {
                    ready.push(name);
                    model.push_back(name);
                }
                ReadyStep::Pop => prop_assert_eq!(ready.pop(), model.pop_front()),
                ReadyStep::Turn { pushed_by_each } => {
                    let turn = ready.turn();
                    prop_assert_eq!(turn, model.len());
                    for _ in 0..turn.min(50) {
                        prop_assert_eq!(ready.pop(), model.pop_front());
                        for _ in 0..pushed_by_each {
                            ready.push(name);
                            model.push_back(name);
                        }
                    }
                }
                ReadyStep::Drain => prop_assert_eq!(ready.drain(), Vec::from(std::mem::take(&mut model))),
            }
            prop_assert!(ready.iter().eq(model.iter()));
            prop_assert_eq!((ready.len(), ready.is_empty()), (model.len(), model.is_empty()));
        }
    }
}

#[test]
fn many_threads_lose_nothing_and_keep_their_order() {
    const THREADS: usize = 4;
    const ENTRIES: usize = if cfg!(miri) { 50 } else { 20_000 };

    let inbox = Arc::new(Inbox::new());
    let (bell, rung) = mpsc::channel();
    let producers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (inbox, bell) = (Arc::clone(&inbox), bell.clone());
            thread::spawn(move || {
                for number in 0..ENTRIES {
                    // Boxed, so that a checker of memory sees an entry that is read too early or freed twice.
                    if inbox.push(Box::new((thread, number))) == Wake::Needed {
                        bell.send(()).expect("the consumer outlives the producers");
                    }
                }
            })
        })
        .collect();

    let mut next = [0; THREADS];
    let (mut sleeps, mut rings) = (0, 0);
    while next.iter().sum::<usize>() < THREADS * ENTRIES {
        inbox.take(|entry| {
            let (thread, number) = *entry;
            assert_eq!(number, next[thread]);
            next[thread] += 1;
        });
        if next.iter().sum::<usize>() < THREADS * ENTRIES && inbox.prepare_sleep() {
            sleeps += 1;
            rung.recv().expect("this thread holds a sender");
            rings += 1;
            inbox.awake();
        }
    }
    for producer in producers {
        producer.join().expect("a producer does not panic");
    }
    assert!(rung.try_recv().is_err());
    assert_eq!(sleeps, rings);
    assert!(inbox.is_empty());
}

//! The loop: the order of its turns, tasks and their ends, other threads, panics.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ferrio::{
    Cancelled, EventLoop, Failures, ReturnWhen, TimedOut, call_later, call_soon, handle, run, sleep, sleep_until,
    spawn, spawn_blocking, task_group, timeout, wait, yield_now,
};

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Sets its flag when it is dropped.
struct Dropped(Rc<Cell<bool>>);

impl Dropped {
    fn new() -> (Self, Rc<Cell<bool>>) {
        let flag = Rc::default();
        (Self(Rc::clone(&flag)), flag)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// What a panic says.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    panic.downcast_ref::<&str>().map(ToString::to_string).or(panic.downcast_ref::<String>().cloned()).expect("a text")
}

#[test]
fn callbacks_and_tasks_run_in_the_order_in_which_they_came() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    run(async {
        for number in 0..10 {
            let seen = Rc::clone(&seen);
            if number % 2 == 0 {
                call_soon(move || seen.borrow_mut().push(number));
            } else {
                spawn(async move { seen.borrow_mut().push(number) });
            }
        }
        assert_eq!(*seen.borrow(), []);
        yield_now().await;
        assert_eq!(*seen.borrow(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });
}

#[test]
fn what_an_entry_adds_waits_for_the_next_turn() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let (first, second) = (Rc::clone(&seen), Rc::clone(&seen));
        call_soon(move || {
            first.borrow_mut().push("first");
            call_soon(move || first.borrow_mut().push("third"));
        });
        call_soon(move || second.borrow_mut().push("second"));
        yield_now().await;
        assert_eq!(*seen.borrow(), ["first", "second"]);
        yield_now().await;
        assert_eq!(*seen.borrow(), ["first", "second", "third"]);
    });
}

#[test]
fn equal_deadlines_end_in_the_order_in_which_they_were_set() {
    run(async {
        let (seen, start) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
        let tasks: Vec<_> = [30_u64, 10, 20, 10]
            .into_iter()
            .enumerate()
            .map(|(at, millis)| {
                let seen = Rc::clone(&seen);
                spawn(async move {
                    sleep_until(start + Duration::from_millis(millis)).await;
                    assert!(start.elapsed() >= Duration::from_millis(millis));
                    seen.borrow_mut().push(at);
                })
            })
            .collect();
        ferrio::join_all(tasks).await;
        assert_eq!(*seen.borrow(), [1, 3, 2, 0]);
    });
}

#[test]
fn a_loop_that_is_never_idle_fires_its_timers() {
    run(async {
        let busy = spawn(async {
            loop {
                yield_now().await;
            }
        });
        sleep(Duration::from_millis(1)).await;
        busy.cancel();
        assert_eq!(busy.await, Err(Cancelled));
    });
}

#[test]
fn a_cancelled_callback_is_dropped_and_not_called() {
    run(async {
        for in_time in [false, true] {
            let (inside, is_dropped) = Dropped::new();
            let call = move || unreachable!("{}", inside.0.get());
            let handle = if in_time { call_later(LIMIT, call) } else { call_soon(call) };
            handle.cancel();
            handle.cancel();
            assert!(is_dropped.get() && handle.is_cancelled());
            yield_now().await;
        }
    });
}

#[test]
fn a_panic_of_a_callback_ends_the_callback_only() {
    run(async {
        call_soon(|| panic!("a callback's"));
        yield_now().await;
    });
}

#[test]
fn a_panic_comes_to_whoever_awaits() {
    assert_eq!(panic_of(|| run(async { panic!("main's") })), "main's");
    let of_a_task = panic_of(|| {
        run(async {
            let _ = spawn(async { panic!("a task's") }).await;
        });
    });
    assert_eq!(of_a_task, "a task's");
    assert_eq!(panic_of(|| run(spawn_blocking(|| panic!("a thread's")))), "a thread's");
    let of_a_member = panic_of(|| {
        run(async {
            let _ = task_group(async |group| {
                group.spawn(async { if true { panic!("a member's") } else { Ok(()) } });
                pending::<Result<(), ()>>().await
            })
            .await;
        });
    });
    assert_eq!(of_a_member, "a member's");
    let through_wait = panic_of(|| {
        run(async {
            let (done, _) = wait(vec![spawn(async { panic!("kept") })], None, ReturnWhen::AllCompleted).await;
            for task in done {
                let _ = task.await;
            }
        });
    });
    assert_eq!(through_wait, "kept");
    // A detached task's is reported by the hook.
    run(async {
        spawn(async { panic!("nobody's") }).detach();
        yield_now().await;
    });
}

#[test]
fn a_loop_that_stops_drops_its_tasks() {
    let (in_task, task_is_dropped) = Dropped::new();
    let (in_call, call_is_dropped) = Dropped::new();
    let (in_sleeping, sleeping_is_dropped) = Dropped::new();
    run(async {
        spawn(async move {
            let _in_task = in_task;
            pending::<()>().await;
        });
        spawn(async move {
            let _in_sleeping = in_sleeping;
            sleep(LIMIT).await;
        });
        call_later(LIMIT, move || drop(in_call));
        yield_now().await;
    });
    assert!(task_is_dropped.get() && sleeping_is_dropped.get() && call_is_dropped.get());
}

#[test]
fn what_is_spawned_while_the_loop_closes_is_cancelled() {
    struct Spawns(Rc<Cell<bool>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let (inside, is_dropped) = Dropped::new();
            spawn(async move {
                let _inside = inside;
                unreachable!("the loop runs nothing any more");
            });
            self.0.set(is_dropped.get());
        }
    }
    let was_dropped = Rc::default();
    let spawns = Spawns(Rc::clone(&was_dropped));
    run(async {
        spawn(async move {
            let _spawns = spawns;
            pending::<()>().await;
        });
        yield_now().await;
    });
    assert!(was_dropped.get());
}

#[test]
fn a_task_goes_on_from_one_run_to_the_next() {
    let mut event_loop = EventLoop::new().expect("descriptors");
    let mut task = None;
    event_loop.run(async {
        task = Some(spawn(async {
            yield_now().await;
            yield_now().await;
            7
        }));
    });
    let task = task.expect("it was spawned");
    assert!(!task.is_finished());
    assert_eq!(event_loop.run(task), Ok(7));
}

#[test]
fn a_task_of_a_closed_loop_is_cancelled() {
    let (inside, is_dropped) = Dropped::new();
    let mut task = None;
    run(async {
        task = Some(spawn(async move {
            let _inside = inside;
            pending::<()>().await;
        }));
    });
    let task = task.expect("it was spawned");
    assert!(is_dropped.get() && task.is_finished());
    assert_eq!(run(task), Err(Cancelled));
}

#[test]
fn a_loop_does_not_run_within_another() {
    assert!(panic_of(|| run(async { run(async {}) })).contains("runs on this thread already"));
    assert!(panic_of(|| drop(spawn(async {}))).contains("no event loop runs on this thread"));
}

#[test]
fn a_cancelled_task_drops_its_future_before_whoever_awaits_goes_on() {
    run(async {
        let (inside, is_dropped) = Dropped::new();
        let task = spawn(async move {
            let _inside = inside;
            pending::<()>().await;
        });
        yield_now().await;
        task.cancel();
        assert!(!is_dropped.get());
        assert_eq!(task.await, Err(Cancelled));
        assert!(is_dropped.get());
    });
}

#[test]
fn cancelling_what_has_ended_changes_nothing() {
    run(async {
        let task = spawn(async { 7 });
        yield_now().await;
        task.cancel();
        assert_eq!(task.await, Ok(7));
        let panicked = spawn(async { panic!("kept") });
        yield_now().await;
        panicked.cancel();
        assert!(
            catch_unwind(AssertUnwindSafe(|| pin!(panicked).poll(&mut Context::from_waker(Waker::noop())))).is_err()
        );
    });
}

#[test]
fn a_task_may_cancel_itself() {
    run(async {
        let canceller: Rc<RefCell<Option<ferrio::Canceller>>> = Rc::default();
        let own = Rc::clone(&canceller);
        let task = spawn(async move {
            own.borrow().as_ref().expect("it has been put there").cancel();
            yield_now().await;
            unreachable!("it is not polled again");
        });
        *canceller.borrow_mut() = Some(task.canceller());
        assert_eq!(task.await, Err(Cancelled));
    });
}

#[test]
fn a_dropped_handle_lets_the_task_go_on() {
    run(async {
        let (done, for_wait) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (there, there_too) = (Rc::clone(&done), Rc::clone(&for_wait));
        let task = spawn(async move { there.set(1) });
        let canceller = task.canceller();
        drop(task);
        drop(canceller);
        drop(wait(vec![spawn(async move { there_too.set(1) })], None, ReturnWhen::AllCompleted));
        yield_now().await;
        assert_eq!((done.get(), for_wait.get()), (1, 1));
    });
}

#[test]
fn other_threads_wake_tasks_of_a_sleeping_loop() {
    run(async {
        let mut tasks = Vec::new();
        for number in 0..100 {
            let (is_set, waker) = (Arc::new(AtomicBool::new(false)), ferrio::Event::new());
            let waker = Arc::new(waker);
            let there = (Arc::clone(&is_set), Arc::clone(&waker));
            let other = thread::spawn(move || {
                there.0.store(true, Ordering::SeqCst);
                there.1.set();
            });
            tasks.push(spawn(async move {
                waker.wait().await;
                assert!(is_set.load(Ordering::SeqCst));
                other.join().expect("it does not panic");
                number
            }));
        }
        let numbers = timeout(LIMIT, ferrio::join_all(tasks)).await.expect("no wake-up is lost");
        assert_eq!(numbers, (0..100).map(Ok).collect::<Vec<_>>());
    });
}

#[test]
fn the_main_future_is_woken_by_other_threads() {
    for _ in 0..100 {
        let (is_set, mut other) = (Arc::new(AtomicBool::new(false)), None);
        run(poll_fn(|context| {
            if is_set.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            let (there, waker) = (Arc::clone(&is_set), context.waker().clone());
            other.get_or_insert_with(|| {
                thread::spawn(move || {
                    there.store(true, Ordering::SeqCst);
                    waker.wake();
                })
            });
            Poll::Pending
        }));
    }
}

#[test]
fn a_future_that_is_sent_never_leaves_the_loops_thread() {
    run(async {
        let (handle, here) = (handle(), thread::current().id());
        let outcome = spawn_blocking(move || {
            let task = handle.spawn_threadsafe(move || async move {
                let local = Rc::new(thread::current().id());
                yield_now().await;
                *local == here
            });
            task.wait()
        });
        assert_eq!(outcome.await, Ok(true));
    });
}

#[test]
fn what_reaches_a_closed_loop_is_dropped() {
    let handle = run(async { handle() });
    let task = handle.spawn_threadsafe(|| async { unreachable!("there is no loop") });
    assert_eq!(task.wait(), Err(Cancelled));
    let (inside, outside) = (Arc::new(()), Arc::new(()));
    let there = (Arc::clone(&inside), Arc::clone(&outside));
    handle.call_soon_threadsafe(move || drop(there));
    assert_eq!((Arc::strong_count(&inside), Arc::strong_count(&outside)), (1, 1));
}

#[test]
fn threads_that_wake_while_the_loop_closes_do_no_harm() {
    for _ in 0..100 {
        let event = Arc::new(ferrio::Event::new());
        let there = Arc::clone(&event);
        let other = run(async move {
            for _ in 0..10 {
                let event = Arc::clone(&event);
                spawn(async move { event.wait().await });
            }
            yield_now().await;
            thread::spawn(move || there.set())
        });
        other.join().expect("it does not panic");
    }
}

#[test]
fn a_failure_in_a_group_cancels_the_rest_and_all_failures_come_up() {
    struct Fails(Rc<RefCell<Option<ferrio::TaskGroup<&'static str>>>>);
    run(async {
        let (inside, is_dropped) = Dropped::new();
        let outcome = task_group(async |group| {
            group.spawn(async move {
                let _inside = inside;
                pending::<Result<(), _>>().await
            });
            group.spawn(async { Err::<(), _>("first") });
            group.spawn(async { Err::<(), _>("second") });
            pending::<Result<(), _>>().await
        })
        .await;
        let failures = outcome.expect_err("two fail");
        assert!(is_dropped.get());
        assert_eq!(failures[0], "first");
        assert_eq!(failures.to_string().split(": ").last(), Some("first"));

        let late = Fails(Rc::default());
        let outcome: Result<(), Failures<_>> = task_group(async |group| {
            *late.0.borrow_mut() = Some(group);
            Err("the body's")
        })
        .await;
        assert_eq!(outcome.expect_err("the body fails").into_vec(), ["the body's"]);
        let group = late.0.borrow_mut().take().expect("it was put there");
        assert_eq!(group.spawn(async { Ok(()) }).await, Err(Cancelled));
    });
}

#[test]
fn a_group_waits_for_its_tasks_and_dropping_it_cancels_them() {
    run(async {
        let done = Rc::new(Cell::new(0));
        let outcome = task_group(async |group| {
            for _ in 0..3 {
                let (done, group) = (Rc::clone(&done), group.clone());
                group.clone().spawn(async move {
                    yield_now().await;
                    done.set(done.get() + 1);
                    group.spawn(async move {
                        done.set(done.get() + 10);
                        Ok(())
                    });
                    Ok(())
                });
            }
            Ok::<_, ()>(7)
        })
        .await;
        assert_eq!((outcome, done.get()), (Ok(7), 33));

        let (inside, is_dropped) = Dropped::new();
        let group = task_group(async |group| {
            group.spawn(async move {
                let _inside = inside;
                pending::<Result<(), ()>>().await
            });
            pending::<Result<(), ()>>().await
        });
        assert_eq!(timeout(Duration::from_millis(1), group).await, Err(TimedOut));
        yield_now().await;
        assert!(is_dropped.get());
    });
}

#[test]
fn a_wait_ends_with_the_first_failure() {
    run(async {
        let tasks =
            vec![spawn(async { pending::<Result<u8, u8>>().await }), spawn(async { Ok(1) }), spawn(async { Err(2) })];
        let (done, waiting) = wait(tasks, Some(LIMIT), ReturnWhen::FirstFailed(Result::is_err)).await;
        assert_eq!((done.len(), waiting.len()), (2, 1));
        assert_eq!(ferrio::join_all(done).await, [Ok(Ok(1)), Ok(Err(2))]);
        let (done, waiting) = wait(waiting, Some(Duration::from_millis(1)), ReturnWhen::AllCompleted).await;
        assert_eq!((done.len(), waiting.len()), (0, 1));
        waiting[0].cancel();
        let (done, _) = wait(waiting, Some(LIMIT), ReturnWhen::FirstFailed(Result::is_err)).await;
        assert_eq!(done.len(), 1);
    });
}

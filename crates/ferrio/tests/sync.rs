//! Queues, events and conditions, also where whoever waits is dropped.

use std::rc::Rc;
use std::time::Duration;

use ferrio::{Condition, Event, GetError, Lock, PutError, Queue, ShutDown, run, spawn, timeout, yield_now};

#[test]
fn a_full_queue_holds_back_whoever_puts() {
    run(async {
        let queue = Rc::new(Queue::bounded(1));
        let there = Rc::clone(&queue);
        let putting = spawn(async move {
            for number in 0..3 {
                there.put(number).await.expect("it is open");
            }
        });
        yield_now().await;
        assert!(queue.is_full() && !putting.is_finished());
        assert_eq!(queue.put_nowait(9), Err(PutError::Full(9)));
        for number in 0..3 {
            assert_eq!(queue.get().await, Ok(number));
        }
        assert_eq!(putting.await, Ok(()));
        assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    });
}

#[test]
fn an_item_for_somebody_who_is_dropped_goes_to_the_next() {
    run(async {
        let queue = Rc::new(Queue::unbounded());
        let get = || {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.get().await })
        };
        let (first, second) = (get(), get());
        yield_now().await;
        queue.put_nowait(7).expect("it has no bound");
        // It has been woken, and is cancelled before it runs.
        first.cancel();
        assert_eq!(second.await, Ok(Ok(7)));
    });
}

#[test]
fn a_queue_that_is_shut_down_gives_out_what_it_has() {
    run(async {
        let queue = Rc::new(Queue::unbounded());
        queue.put_nowait(1).expect("it is open");
        queue.shut_down();
        assert_eq!(queue.put(2).await, Err(ShutDown));
        assert_eq!(queue.get().await, Ok(1));
        assert_eq!(queue.get().await, Err(ShutDown));

        let queue = Rc::new(Queue::bounded(1));
        queue.put_nowait(1).expect("it has room");
        let there = Rc::clone(&queue);
        let putting = spawn(async move { there.put(2).await });
        let there = Rc::clone(&queue);
        let joining = spawn(async move { there.join().await });
        yield_now().await;
        let left = queue.shut_down_now();
        assert_eq!(ferrio::Order::len(&left), 1);
        assert_eq!((putting.await, joining.await), (Ok(Err(ShutDown)), Ok(())));
    });
}

#[test]
fn an_event_that_is_cleared_holds_back_whoever_comes() {
    run(async {
        let event = Rc::new(Event::new());
        let there = Rc::clone(&event);
        let early = spawn(async move { there.wait().await });
        yield_now().await;
        event.set();
        event.clear();
        assert_eq!(early.await, Ok(()));
        assert!(timeout(Duration::from_millis(1), event.wait()).await.is_err());
    });
}

#[test]
fn a_notification_for_somebody_who_is_dropped_goes_to_the_next() {
    run(async {
        let shared = Rc::new((Lock::new(()), Condition::new()));
        let wait = || {
            let shared = Rc::clone(&shared);
            spawn(async move { drop(shared.1.wait(shared.0.lock().await).await) })
        };
        let (first, second, third) = (wait(), wait(), wait());
        yield_now().await;
        shared.1.notify(1);
        first.cancel();
        assert_eq!(second.await, Ok(()));
        assert!(!third.is_finished());
        shared.1.notify_all();
        assert_eq!(third.await, Ok(()));
    });
}

//! Every operation, dropped at each of its awaits: no descriptor, no timer, no task and no socket stays behind.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ferrio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use ferrio::{
    Barrier, Condition, Event, Lock, Queue, ReturnWhen, Semaphore, as_completed, gather, join_all, open_connection,
    run, shield, sleep, spawn, spawn_blocking, start_server, statistics, task_group, timeout, wait, yield_now,
};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// Descriptors are counted for the whole process, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// More awaits than any operation has.
const MOST_AWAITS: usize = 200;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

fn open_descriptors() -> usize {
    // The folder itself is open meanwhile.
    std::fs::read_dir("/proc/self/fd").expect("Linux has it").count() - 1
}

/// Whether no more descriptors are open than before, once the threads that look names up have closed theirs.
fn come_down_to(before: usize) -> bool {
    (0..10_000).any(|_| {
        let is_down = open_descriptors() <= before;
        if !is_down {
            std::thread::sleep(Duration::from_millis(1));
        }
        is_down
    })
}

/// Polls `future` until it has waited so often, and drops it there; whether it was done before.
async fn cut_after(awaits: usize, future: impl Future) -> bool {
    let mut future = Box::pin(future);
    let mut waited = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if waited == awaits => Poll::Ready(false),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

/// Tasks, timers and sockets that stay. Cancelled tasks end in the next turns, and what was to be sent when the kernel says
/// that nobody receives it.
async fn what_is_left() -> (usize, usize, usize) {
    let held = || {
        let held = statistics();
        (held.tasks, held.timers, held.sockets)
    };
    for _ in 0..10_000 {
        if held() == (0, 0, 0) {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    held()
}

/// Cuts the operation at its first await, at its second, and so on until it is done; within a task and within the main
/// future.
fn cut_at_each_await<F>(name: &str, operation: impl Fn() -> F)
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What the process keeps: the threads of `spawn_blocking` have nothing open.
    run(async { operation().await.expect("undisturbed, it succeeds") });
    let before = open_descriptors();
    for in_task in [false, true] {
        for awaits in 0..=MOST_AWAITS {
            assert_ne!(awaits, MOST_AWAITS, "{name} has an end");
            let is_done = run(async {
                let cut = cut_after(awaits, operation());
                let is_done = if in_task { spawn(cut).await.expect("nobody cancels it") } else { cut.await };
                assert_eq!(what_is_left().await, (0, 0, 0), "{name}, cut after {awaits} awaits");
                is_done
            });
            assert!(come_down_to(before), "{name}, cut after {awaits} awaits");
            if is_done {
                break;
            }
        }
    }
}

/// Dropped with the operation, as in a program that cancels what it has begun.
struct Cancels<T: 'static>(ferrio::Task<T>);

impl<T> Drop for Cancels<T> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<T> Future for Cancels<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.map_err(io::Error::other))
    }
}

#[test]
fn sleeps_and_limits() {
    cut_at_each_await("sleep", || async {
        sleep(Duration::from_millis(1)).await;
        timeout(LONG, sleep(Duration::from_millis(1))).await?;
        timeout(Duration::from_millis(1), sleep(LONG)).await.expect_err("the time is up");
        Ok(())
    });
}

#[test]
fn tasks_and_what_combines_them() {
    cut_at_each_await("tasks", || async {
        let twice = || Cancels(spawn(async { (yield_now().await, yield_now().await) }));
        twice().await?;
        for outcome in join_all([twice(), twice()]).await {
            outcome?;
        }
        let (one, other) = gather!(twice(), sleep(Duration::from_millis(1)));
        let ((), ()) = (one.map(drop)?, other);
        let mut completed = as_completed([twice(), twice()]);
        while completed.next().await.is_some() {}
        Ok(())
    });
    cut_at_each_await("wait", || async {
        let (done, _) = wait(vec![spawn(yield_now())], Some(LONG), ReturnWhen::AllCompleted).await;
        assert_eq!(done.len(), 1);
        shield(yield_now()).await.map_err(io::Error::other)
    });
    cut_at_each_await("task_group", || async {
        let outcome = task_group(async |group| {
            group.spawn(async {
                sleep(Duration::from_millis(1)).await;
                Ok(())
            });
            group.spawn(async {
                yield_now().await;
                Ok(())
            });
            sleep(Duration::from_millis(1)).await;
            Ok(())
        });
        outcome.await.map_err(|_: ferrio::Failures<()>| io::ErrorKind::Other.into())
    });
}

#[test]
fn primitives() {
    cut_at_each_await("primitives", || async {
        let (lock, event, condition) = (Lock::new(0), Event::new(), Condition::new());
        let (semaphore, barrier, queue) = (Semaphore::new(1), Barrier::new(2), Queue::bounded(1));
        let held = lock.lock().await;
        gather!(async { *lock.lock().await += 1 }, async {
            yield_now().await;
            drop(held);
        });
        gather!(event.wait(), async { event.set() });
        gather!(async { drop(condition.wait(lock.lock().await).await) }, async {
            yield_now().await;
            drop(lock.lock().await);
            condition.notify_all();
        });
        let permit = semaphore.acquire().await;
        gather!(semaphore.acquire(), async {
            yield_now().await;
            drop(permit);
        });
        gather!(barrier.wait(), barrier.wait());
        let (put, got) = gather!(async { queue.put(1).await.and(queue.put(2).await) }, async {
            queue.get().await.and(queue.get().await)
        });
        put.map_err(io::Error::other)?;
        assert_eq!(got, Ok(2));
        Ok(())
    });
}

#[test]
fn threads() {
    cut_at_each_await("threads", || async {
        assert_eq!(spawn_blocking(|| 7).await, 7);
        let remote = ferrio::handle().spawn_threadsafe(|| async { yield_now().await });
        remote.await.map_err(io::Error::other)
    });
}

#[test]
fn connections() {
    cut_at_each_await("tcp", || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (near, far) = gather!(TcpStream::connect(address), listener.accept());
        let (mut near, mut far) = (near?, far?.0);
        near.write_all(b"ping").await?;
        let mut received = [0; 4];
        far.read_exact(&mut received).await?;
        drop(near);
        assert_eq!(far.read(&mut received).await?, 0);
        Ok(())
    });
    cut_at_each_await("unix", || async {
        let path = std::env::temp_dir().join(format!("ferrio-cancelling-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let (near, far) = gather!(UnixStream::connect(&path), listener.accept());
        let (near, mut far) = (near?, far?);
        drop(near);
        assert_eq!(far.read(&mut [0; 4]).await?, 0);
        std::fs::remove_file(path)
    });
    cut_at_each_await("udp", || async {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
        let (address, mut buffer) = (near.local_addr()?, [0; 4]);
        let (sent, received) = gather!(far.send_to(b"ping", address), near.recv_from(&mut buffer));
        sent.and(received).map(drop)
    });
    cut_at_each_await("a name", || async { TcpListener::bind("localhost:0").await.map(drop) });
}

#[test]
fn streams_with_more_to_send_than_the_kernel_takes() {
    cut_at_each_await("streams", || async {
        let (one, other) = UnixStream::pair()?;
        let ((mut reader, _), (_, mut writer)) = (one.into_split(), other.into_split());
        writer.write(&vec![1; 1 << 20]);
        let (wrote, read) = gather!(
            async {
                writer.drain().await?;
                writer.write(&vec![2; 1 << 20]);
                writer.close().await
            },
            reader.read_to_end()
        );
        wrote?;
        assert_eq!(read?.len(), 2 << 20);
        Ok(())
    });
}

#[test]
fn servers() {
    cut_at_each_await("server", || async {
        let server = start_server("127.0.0.1:0", async |mut reader, mut writer| {
            writer.write(&reader.readline().await?);
            io::Result::Ok(())
        })
        .await?;
        let (mut reader, mut writer) = open_connection(server.local_addr()).await?;
        writer.write(b"line\n");
        assert_eq!(reader.readline().await?, b"line\n");
        drop(writer);
        server.close();
        server.wait_closed().await;
        Ok(())
    });
}

#[test]
fn signals() {
    cut_at_each_await("signals", || async {
        let mut signal = ferrio::signal(12)?;
        timeout(Duration::from_millis(1), signal.recv()).await.expect_err("nobody sends it");
        Ok(())
    });
}

#[test]
fn a_loop_that_stops_in_the_middle_of_everything_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = open_descriptors();
    for _ in 0..100 {
        run(async {
            let server = start_server("127.0.0.1:0", async |mut reader, mut writer| {
                writer.write(&vec![0; 1 << 20]);
                reader.read_to_end().await
            })
            .await?;
            let address = server.local_addr();
            let clients: Rc<RefCell<Vec<_>>> = Rc::default();
            for _ in 0..5 {
                let clients = Rc::clone(&clients);
                spawn(async move {
                    let connection = open_connection(address).await?;
                    clients.borrow_mut().push(connection);
                    sleep(LONG).await;
                    io::Result::Ok(())
                });
            }
            spawn(async move { server.serve_forever().await });
            sleep(Duration::from_millis(1)).await;
            io::Result::Ok(())
        })
        .expect("nothing fails");
        assert!(come_down_to(before));
    }
}

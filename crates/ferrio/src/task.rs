//! Tasks: futures that the loop runs by themselves.
//!
//! A task is one allocation, made by `async-task`: its state, then the future or its output. The future stays on the loop's
//! thread; its wakers may be used on every thread.
//!
//! # Cancelling
//! A task that is cancelled is not polled any more: its future is dropped in the loop's next turn, and whoever awaits the
//! task goes on after that.

use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use async_task::{Builder, FallibleTask};
use ferrio_engine::backend::Key;
use pin_project_lite::pin_project;

use crate::event_loop::{Core, Remote, current};

/// The task was cancelled, or its loop has closed, before it had an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the task was cancelled")]
pub struct Cancelled;

/// A place in the loop's list of tasks, until it is dropped.
struct Listing {
    core: Rc<Core>,
    key: Key,
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.core.unlist_task(self.key);
    }
}

pin_project! {
    /// A task's future, listed with its loop until it has been dropped: fields are dropped in this order.
    struct Listed<F> {
        #[pin]
        future: F,
        listing: Option<Listing>,
    }
}

impl<F: Future> Future for Listed<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(context)
    }
}

/// Runs `future` as a task of the loop: its first step is in the next turn. Follows `asyncio.create_task`.
///
/// Unlike asyncio, which forgets a task that nobody refers to, the loop keeps it until it has ended.
///
/// # Panics
/// Outside of [`ferrio::run`](crate::run).
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let task = ferrio::spawn(async { "done" });
///     assert_eq!(task.await, Ok("done"));
/// });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    let core = current();
    let shared = Arc::clone(&core.shared);
    let number = core.next_task_number();
    let key = core.list_task();
    let listing = key.map(|key| Listing { core: Rc::clone(&core), key });
    let listed = Listed { future, listing };
    let (runnable, task) = Builder::new()
        .propagate_panic(true)
        .spawn_local(|()| listed, move |runnable| shared.schedule(Remote::Task(runnable)));
    if let Some(key) = key {
        core.set_waker_of_task(key, runnable.waker());
        core.push(crate::event_loop::Entry::Task(runnable));
    }
    Task { join: RefCell::new(Join::Own(Handle(Progress::Running(task.fallible())))), number, name: None }
}

/// A task: a future that the loop runs by itself. Awaiting it gives the output; dropping it lets the task go on.
///
/// What the future panics with comes to whoever awaits the task.
///
/// # Examples
/// ```
/// use core::future::pending;
///
/// ferrio::run(async {
///     let task = ferrio::spawn(pending::<()>());
///     task.cancel();
///     assert_eq!(task.await, Err(ferrio::Cancelled));
/// });
/// ```
pub struct Task<T> {
    join: RefCell<Join<T>>,
    number: u64,
    name: Option<Rc<str>>,
}

/// Where the handle of `async-task` is: with the task alone, or with its cancellers as well.
enum Join<T> {
    Own(Handle<T>),
    Shared(Rc<RefCell<Handle<T>>>),
}

/// A handle that lets its task go on when it is dropped.
struct Handle<T>(Progress<T>);

enum Progress<T> {
    Running(FallibleTask<T>),
    /// Told to end; the future is done when it has.
    Cancelling(Pin<Box<dyn Future<Output = Option<T>>>>),
    /// Seen to have ended; `None` for a task that was cancelled.
    Ended(Option<T>),
    Panicked(Box<dyn Any + Send>),
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Progress::Running(task) = core::mem::replace(&mut self.0, Progress::Ended(None)) {
            task.detach();
        }
    }
}

impl<T: 'static> Handle<T> {
    fn cancel(&mut self) {
        if self.is_finished() {
            return;
        }
        self.0 = match core::mem::replace(&mut self.0, Progress::Ended(None)) {
            Progress::Running(task) => {
                let mut ending = Box::pin(task.cancel());
                // The first poll is what cancels.
                match ending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(outcome) => Progress::Ended(outcome),
                    Poll::Pending => Progress::Cancelling(ending),
                }
            }
            other => other,
        };
    }
}

impl<T> Handle<T> {
    fn is_finished(&self) -> bool {
        match &self.0 {
            Progress::Running(task) => task.is_finished(),
            Progress::Cancelling(_) => false,
            Progress::Ended(_) | Progress::Panicked(_) => true,
        }
    }

    /// Waits until the task has ended; its outcome stays for whoever awaits the task.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let outcome = match &mut self.0 {
            Progress::Running(task) => catch_unwind(AssertUnwindSafe(|| Pin::new(task).poll(context))),
            Progress::Cancelling(ending) => catch_unwind(AssertUnwindSafe(|| ending.as_mut().poll(context))),
            Progress::Ended(_) | Progress::Panicked(_) => return Poll::Ready(()),
        };
        self.0 = match outcome {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Progress::Ended(output),
            Err(panic) => Progress::Panicked(panic),
        };
        Poll::Ready(())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Cancelled>> {
        let outcome = match &mut self.0 {
            Progress::Running(task) => Pin::new(task).poll(context),
            Progress::Cancelling(ending) => ending.as_mut().poll(context),
            Progress::Ended(output) => Poll::Ready(output.take()),
            Progress::Panicked(_) => match core::mem::replace(&mut self.0, Progress::Ended(None)) {
                Progress::Panicked(panic) => resume_unwind(panic),
                _ => unreachable!("it was seen a line above"),
            },
        };
        outcome.map(|outcome| {
            self.0 = Progress::Ended(None);
            outcome.ok_or(Cancelled)
        })
    }
}

impl<T> Join<T> {
    fn with<R>(&mut self, act: impl FnOnce(&mut Handle<T>) -> R) -> R {
        match self {
            Self::Own(handle) => act(handle),
            Self::Shared(handle) => act(&mut handle.borrow_mut()),
        }
    }
}

impl<T> Task<T> {
    /// Gives the task a name, for whoever looks at it.
    ///
    /// # Examples
    /// ```
    /// ferrio::run(async {
    ///     let task = ferrio::spawn(async {}).with_name("nothing");
    ///     assert_eq!(task.name(), "nothing");
    ///     assert_eq!(ferrio::spawn(async {}).name(), "Task-2");
    /// });
    /// ```
    #[must_use = "it is the task itself"]
    pub fn with_name(mut self, name: impl Into<Rc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The task's name: the one it was given, or `Task-` and its number in the loop.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match &self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("Task-{}", self.number)),
        }
    }

    /// Whether awaiting the task would give its outcome at once.
    ///
    /// # Examples
    /// ```
    /// ferrio::run(async {
    ///     let task = ferrio::spawn(async {});
    ///     assert!(!task.is_finished());
    ///     ferrio::yield_now().await;
    ///     assert!(task.is_finished());
    /// });
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.borrow_mut().with(|handle| handle.is_finished())
    }

    /// Waits until the task has ended; awaiting the task then gives its outcome at once.
    ///
    /// # Examples
    /// ```
    /// ferrio::run(async {
    ///     let mut task = ferrio::spawn(async { 7 });
    ///     task.ended().await;
    ///     assert!(task.is_finished());
    ///     assert_eq!(task.await, Ok(7));
    /// });
    /// ```
    pub async fn ended(&mut self) {
        poll_fn(|context| self.join.get_mut().with(|handle| handle.poll_ended(context))).await;
    }

    /// Whether the task, seen to have ended, was cancelled, panicked, or has such an output.
    pub(crate) fn has_failed(&mut self, is_failure: impl FnOnce(&T) -> bool) -> bool {
        self.join.get_mut().with(|handle| match &handle.0 {
            Progress::Ended(output) => output.as_ref().is_none_or(is_failure),
            Progress::Panicked(_) => true,
            Progress::Running(_) | Progress::Cancelling(_) => false,
        })
    }

    /// Lets the task go on without this handle, as dropping does.
    pub fn detach(self) {
        drop(self);
    }
}

impl<T: 'static> Task<T> {
    /// Has the task's future dropped in the loop's next turn. Awaiting the task then gives [`Cancelled`], once the future has
    /// been dropped. Does nothing to a task that has ended.
    pub fn cancel(&self) {
        self.join.borrow_mut().with(Handle::cancel);
    }

    /// Something that cancels the task while somebody else awaits it.
    ///
    /// # Examples
    /// ```
    /// use core::future::pending;
    ///
    /// ferrio::run(async {
    ///     let task = ferrio::spawn(pending::<()>());
    ///     let canceller = task.canceller();
    ///     ferrio::call_soon(move || canceller.cancel());
    ///     assert_eq!(task.await, Err(ferrio::Cancelled));
    /// });
    /// ```
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        let mut join = self.join.borrow_mut();
        if let Join::Own(handle) = &mut *join {
            let handle = core::mem::replace(handle, Handle(Progress::Ended(None)));
            *join = Join::Shared(Rc::new(RefCell::new(handle)));
        }
        let Join::Shared(shared) = &*join else { unreachable!("it is shared since the line above") };
        Canceller { task: Rc::clone(shared) as Rc<dyn Cancel> }
    }
}

impl<T> Unpin for Task<T> {}

impl<T> Future for Task<T> {
    type Output = Result<T, Cancelled>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.get_mut().with(|handle| handle.poll(context))
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Task").field("name", &self.name()).field("is_finished", &self.is_finished()).finish()
    }
}

trait Cancel {
    fn cancel(&self);
    fn is_finished(&self) -> bool;
}

impl<T: 'static> Cancel for RefCell<Handle<T>> {
    fn cancel(&self) {
        self.borrow_mut().cancel();
    }

    fn is_finished(&self) -> bool {
        self.borrow().is_finished()
    }
}

/// Cancels a task that somebody else holds: [`Task::canceller`]. Keeps the output of a task that has ended.
#[derive(Clone)]
pub struct Canceller {
    task: Rc<dyn Cancel>,
}

impl Canceller {
    /// As [`Task::cancel`].
    pub fn cancel(&self) {
        self.task.cancel();
    }

    /// As [`Task::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Canceller").field("is_finished", &self.is_finished()).finish()
    }
}

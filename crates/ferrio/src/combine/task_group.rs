//! A group of tasks that end together.
//!
//! # Invariants
//! 1. A member is listed from its spawning until its future has been dropped.
//! 2. The group's future is done only when no member is listed.
//! 3. Once the group is ending, a failure or its own cancellation the cause, every member has been told to end.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;

use ferrio_engine::backend::{Key, Slots};
use futures_util::FutureExt;

use crate::task::{Cancelled, Canceller, Task, spawn};

/// Runs `body`, and the tasks that it spawns in the group, until all have ended. Follows `async with asyncio.TaskGroup()`.
///
/// The first failure, of a task or of the body, cancels all others; each failure that comes until they have ended is in
/// the error. A panic does the same, and comes up when all have ended. If the group's future is dropped, all are
/// cancelled.
///
/// # Errors
/// All failures, in the order in which they came.
///
/// # Examples
/// ```
/// use core::future::pending;
/// use ferrio::task_group;
///
/// ferrio::run(async {
///     let sum = task_group(async |group| {
///         let (two, three) = (group.spawn(async { Ok(2) }), group.spawn(async { Ok(3) }));
///         Ok::<_, String>(two.await.unwrap_or(0) + three.await.unwrap_or(0))
///     });
///     assert_eq!(sum.await.expect("nothing fails"), 5);
///
///     let failed = task_group(async |group| {
///         group.spawn(pending::<Result<(), _>>());
///         group.spawn(async { Err::<(), _>("no connection") });
///         pending::<Result<(), _>>().await
///     });
///     assert_eq!(failed.await.expect_err("one task fails").into_vec(), ["no connection"]);
/// });
/// ```
pub async fn task_group<T, E, B>(body: B) -> Result<T, Failures<E>>
where
    B: AsyncFnOnce(TaskGroup<E>) -> Result<T, E>,
    E: 'static,
{
    let ending = EndsOnDrop(TaskGroup { group: Rc::default() });
    let group = &ending.0.group;
    let outcome = {
        let mut body = pin!(AssertUnwindSafe(body(ending.0.clone())).catch_unwind());
        poll_fn(|context| {
            if group.is_ending.get() {
                return Poll::Ready(None);
            }
            group.awaited_by(context);
            body.as_mut().poll(context).map(Some)
        })
        .await
    };
    let output = match outcome {
        Some(Ok(Ok(output))) => Some(output),
        Some(Ok(Err(failure))) => {
            group.fail(failure);
            None
        }
        Some(Err(panic)) => {
            group.panicked(panic);
            None
        }
        None => None,
    };
    poll_fn(|context| {
        group.awaited_by(context);
        if group.members.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    // From here on a task that is spawned in the group is cancelled.
    group.is_ending.set(true);
    if let Some(panic) = group.panic.take() {
        resume_unwind(panic);
    }
    match output {
        Some(output) if group.failures.borrow().is_empty() => Ok(output),
        _ => Err(Failures(group.failures.take())),
    }
}

/// Spawns tasks in a group: [`task_group`].
pub struct TaskGroup<E> {
    group: Rc<Group<E>>,
}

struct Group<E> {
    members: RefCell<Slots<Option<Canceller>>>,
    failures: RefCell<Vec<E>>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
    is_ending: Cell<bool>,
    /// Awaits the group.
    waker: Cell<Option<Waker>>,
}

impl<E> Default for Group<E> {
    fn default() -> Self {
        Self {
            members: RefCell::default(),
            failures: RefCell::default(),
            panic: Cell::default(),
            is_ending: Cell::new(false),
            waker: Cell::default(),
        }
    }
}

impl<E> Group<E> {
    fn awaited_by(&self, context: &Context<'_>) {
        self.waker.set(Some(context.waker().clone()));
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn fail(&self, failure: E) {
        self.failures.borrow_mut().push(failure);
        self.end();
    }

    fn panicked(&self, panic: Box<dyn Any + Send>) {
        let first = self.panic.take();
        self.panic.set(Some(first.unwrap_or(panic)));
        self.end();
    }

    fn end(&self) {
        self.is_ending.set(true);
        let members: Vec<Canceller> = self.members.borrow().iter().flatten().cloned().collect();
        members.iter().for_each(Canceller::cancel);
        self.wake();
    }
}

/// A listed member, until its future has been dropped.
struct Membership<E> {
    group: Rc<Group<E>>,
    key: Key,
}

impl<E> Drop for Membership<E> {
    fn drop(&mut self) {
        let gone = self.group.members.borrow_mut().remove(self.key);
        drop(gone);
        if self.group.members.borrow().is_empty() {
            self.group.wake();
        }
    }
}

/// Cancels the members of a group whose future is dropped.
struct EndsOnDrop<E>(TaskGroup<E>);

impl<E> Drop for EndsOnDrop<E> {
    fn drop(&mut self) {
        self.0.group.end();
    }
}

impl<E: 'static> TaskGroup<E> {
    /// Runs `future` as a task of the group. In a group that is ending, it is cancelled.
    ///
    /// # Panics
    /// Outside of [`ferrio::run`](crate::run).
    pub fn spawn<T, F>(&self, future: F) -> Member<T>
    where
        T: 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        let group = Rc::clone(&self.group);
        let key = group.members.borrow_mut().insert(None);
        let membership = Membership { group: Rc::clone(&group), key };
        let task = spawn(async move {
            // Dropped behind the future, whatever ends it.
            let membership = membership;
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(Ok(output)) => Some(output),
                Ok(Err(failure)) => {
                    membership.group.fail(failure);
                    None
                }
                Err(panic) => {
                    membership.group.panicked(panic);
                    None
                }
            }
        });
        if group.is_ending.get() {
            task.cancel();
        } else if let Some(place) = group.members.borrow_mut().get_mut(key) {
            *place = Some(task.canceller());
        }
        Member { task }
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        Self { group: Rc::clone(&self.group) }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TaskGroup").field("members", &self.group.members.borrow().len()).finish_non_exhaustive()
    }
}

/// A task of a group. Awaiting it gives the output, or [`Cancelled`] if the task fails or is cancelled; the failure comes
/// up with the group. Dropping it lets the task go on, and the group awaits it.
#[derive(Debug)]
pub struct Member<T> {
    task: Task<Option<T>>,
}

impl<T: 'static> Member<T> {
    /// As [`Task::cancel`]; that is no failure of the group.
    pub fn cancel(&self) {
        self.task.cancel();
    }
}

impl<T> Future for Member<T> {
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(context).map(|outcome| outcome?.ok_or(Cancelled))
    }
}

/// The failures of a [`task_group`], at least one, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures<E>(Vec<E>);

impl<E> Failures<E> {
    /// The failures.
    #[must_use]
    pub fn into_vec(self) -> Vec<E> {
        self.0
    }
}

impl<E> core::ops::Deref for Failures<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.0
    }
}

impl<E> IntoIterator for Failures<E> {
    type Item = E;
    type IntoIter = std::vec::IntoIter<E>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<E: fmt::Display> fmt::Display for Failures<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of the group's tasks failed", self.0.len())?;
        for (at, failure) in self.0.iter().enumerate() {
            write!(formatter, "{}{failure}", if at == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Failures<E> {}

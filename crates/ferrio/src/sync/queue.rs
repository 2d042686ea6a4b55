//! Queues: first in first out, last in first out, or by priority; bounded or not.
//!
//! # Invariants
//! 1. An item that is put wakes one who waits for an item, and an item that is got one who waits for room. Whoever was
//!    woken and is dropped before it runs passes that on, which is `event-listener`'s promise.
//! 2. `unfinished` counts items that were put and for which [`Queue::task_done`] has not been called.

use core::cell::{Cell, RefCell};
use core::cmp::Reverse;
use core::fmt;
use std::collections::{BinaryHeap, VecDeque};

use event_listener::{Event, IntoNotification};

/// In which order a [`Queue`] gives its items out.
pub trait Order<T>: Default {
    /// Adds an item.
    fn push(&mut self, item: T);
    /// Removes the next item.
    fn pop(&mut self) -> Option<T>;
    /// Items held.
    fn len(&self) -> usize;
    /// Whether no items are held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// First in, first out.
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out.
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

/// The least first.
#[derive(Debug)]
pub struct Priority<T>(BinaryHeap<Reverse<T>>);

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Default for Priority<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T> Order<T> for Fifo<T> {
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Order<T> for Lifo<T> {
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Order<T> for Priority<T> {
    fn push(&mut self, item: T) {
        self.0.push(Reverse(item));
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop().map(|Reverse(item)| item)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The queue has been shut down, and nothing is left in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the queue has been shut down")]
pub struct ShutDown;

/// Why [`Queue::put_nowait`] has not taken an item, which comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PutError<T> {
    /// There is no room.
    #[error("the queue is full")]
    Full(T),
    /// The queue takes no items any more.
    #[error("the queue has been shut down")]
    ShutDown(T),
}

/// Why [`Queue::get_nowait`] has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GetError {
    /// Nothing is there.
    #[error("the queue is empty")]
    Empty,
    /// Nothing is there, and nothing will come.
    #[error("the queue has been shut down")]
    ShutDown,
}

/// A queue between tasks of one loop. Follows `asyncio.Queue`; [`PriorityQueue`] and [`LifoQueue`] have other orders.
///
/// # Examples
/// Two workers and a producer that is held back by them:
/// ```
/// use std::rc::Rc;
/// use ferrio::Queue;
///
/// ferrio::run(async {
///     let queue = Rc::new(Queue::bounded(2));
///     let workers: Vec<_> = (0..2)
///         .map(|_| {
///             let queue = queue.clone();
///             ferrio::spawn(async move {
///                 let mut sum = 0;
///                 while let Ok(number) = queue.get().await {
///                     sum += number;
///                     queue.task_done();
///                 }
///                 sum
///             })
///         })
///         .collect();
///     for number in 1..=10 {
///         queue.put(number).await.expect("it is open");
///     }
///     queue.join().await;
///     queue.shut_down();
///     let sums = ferrio::join_all(workers).await;
///     assert_eq!(sums.into_iter().flatten().sum::<i32>(), 55);
/// });
/// ```
pub struct Queue<T, O = Fifo<T>> {
    items: RefCell<O>,
    limit: usize,
    unfinished: Cell<usize>,
    is_shut_down: Cell<bool>,
    got_item: Event,
    has_room: Event,
    all_done: Event,
    item: core::marker::PhantomData<T>,
}

/// A queue that gives out its least item first.
///
/// # Examples
/// ```
/// let queue = ferrio::PriorityQueue::default();
/// for number in [3, 1, 2] {
///     queue.put_nowait(number).expect("it has no bound");
/// }
/// assert_eq!([queue.get_nowait(), queue.get_nowait(), queue.get_nowait()], [Ok(1), Ok(2), Ok(3)]);
/// ```
pub type PriorityQueue<T> = Queue<T, Priority<T>>;

/// A queue that gives out its youngest item first.
///
/// # Examples
/// ```
/// let queue = ferrio::LifoQueue::default();
/// for number in [1, 2] {
///     queue.put_nowait(number).expect("it has no bound");
/// }
/// assert_eq!([queue.get_nowait(), queue.get_nowait()], [Ok(2), Ok(1)]);
/// ```
pub type LifoQueue<T> = Queue<T, Lifo<T>>;

impl<T> Queue<T> {
    /// A queue that holds at most `limit` items, first in, first out.
    ///
    /// # Panics
    /// When `limit` is 0.
    #[must_use]
    pub fn bounded(limit: usize) -> Self {
        Self::with_limit(limit)
    }

    /// A queue that holds any number of items, first in, first out.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::with_limit(usize::MAX)
    }
}

impl<T, O: Order<T>> Default for Queue<T, O> {
    /// A queue in any order that holds any number of items.
    fn default() -> Self {
        Self::with_limit(usize::MAX)
    }
}

impl<T, O: Order<T>> Queue<T, O> {
    /// A queue in any order that holds at most `limit` items.
    ///
    /// # Panics
    /// When `limit` is 0.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        assert_ne!(limit, 0, "a queue without room would take nothing");
        Self {
            items: RefCell::default(),
            limit,
            unfinished: Cell::new(0),
            is_shut_down: Cell::new(false),
            got_item: Event::new(),
            has_room: Event::new(),
            all_done: Event::new(),
            item: core::marker::PhantomData,
        }
    }

    /// Adds an item if there is room.
    ///
    /// # Errors
    /// [`PutError`], with the item.
    pub fn put_nowait(&self, item: T) -> Result<(), PutError<T>> {
        if self.is_shut_down.get() {
            return Err(PutError::ShutDown(item));
        }
        if self.is_full() {
            return Err(PutError::Full(item));
        }
        self.items.borrow_mut().push(item);
        self.unfinished.set(self.unfinished.get() + 1);
        self.got_item.notify(1_usize.additional());
        Ok(())
    }

    /// Adds an item, once there is room. A call that is dropped before has added nothing.
    ///
    /// # Errors
    /// [`ShutDown`].
    pub async fn put(&self, mut item: T) -> Result<(), ShutDown> {
        loop {
            match self.put_nowait(item) {
                Ok(()) => return Ok(()),
                Err(PutError::ShutDown(_)) => return Err(ShutDown),
                Err(PutError::Full(back)) => item = back,
            }
            self.has_room.listen().await;
        }
    }

    /// Removes the next item if there is one.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn get_nowait(&self) -> Result<T, GetError> {
        let Some(item) = self.items.borrow_mut().pop() else {
            return Err(if self.is_shut_down.get() { GetError::ShutDown } else { GetError::Empty });
        };
        self.has_room.notify(1_usize.additional());
        Ok(item)
    }

    /// Removes the next item, once there is one. A call that is dropped before has removed nothing.
    ///
    /// # Errors
    /// [`ShutDown`].
    pub async fn get(&self) -> Result<T, ShutDown> {
        loop {
            match self.get_nowait() {
                Ok(item) => return Ok(item),
                Err(GetError::ShutDown) => return Err(ShutDown),
                Err(GetError::Empty) => self.got_item.listen().await,
            }
        }
    }

    /// One item that was got has been dealt with; see [`Self::join`].
    ///
    /// # Panics
    /// When it is called more often than items were put.
    pub fn task_done(&self) {
        let Some(left) = self.unfinished.get().checked_sub(1) else {
            panic!("task_done() called too many times");
        };
        self.unfinished.set(left);
        if left == 0 {
            self.all_done.notify(usize::MAX);
        }
    }

    /// Waits until every item that was put has been dealt with.
    pub async fn join(&self) {
        while self.unfinished.get() != 0 {
            self.all_done.listen().await;
        }
    }

    /// Takes no more items; those that are there can be got. Whoever waits for room or for an item that will not come is told
    /// [`ShutDown`].
    pub fn shut_down(&self) {
        self.is_shut_down.set(true);
        self.got_item.notify(usize::MAX);
        self.has_room.notify(usize::MAX);
    }

    /// As [`Self::shut_down`], and gives back the items that are there: they count as dealt with.
    pub fn shut_down_now(&self) -> O {
        let left = self.items.take();
        let count = left.len();
        self.shut_down();
        for _ in 0..count {
            self.task_done();
        }
        left
    }

    /// Items that wait to be got.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Whether no item waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }
}

impl<T, O: Order<T>> fmt::Debug for Queue<T, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished)
            .finish_non_exhaustive()
    }
}

//! In which order a queue gives its items: first in, last in, smallest; and what it keeps them in for that.
//!
//! Each function does what asyncio's `_put` and `_get` of that class do, and holds for whatever object a program has put
//! in the place of the items: a wrong one is refused as asyncio's would be.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::queue;
use crate::coroutine::Plan;
use crate::ffi::call::{call, call_method};
use crate::ffi::deque;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;
use crate::ffi::operator;

/// What the items of a queue are in.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Items {
    /// Exactly a `deque`.
    Deque,
    /// Exactly a list.
    List,
    #[default]
    Other,
}

impl Items {
    pub(super) fn of(py: Python<'_>, object: &Object) -> PyResult<Self> {
        if deque::is_exact(py, object)? {
            return Ok(Self::Deque);
        }
        Ok(if object.bind(py).is_exact_instance_of::<PyList>() { Self::List } else { Self::Other })
    }
}

/// An order.
pub(super) trait Order: Sized + 'static {
    const ITEMS: Items;
    const PUT: &'static Plan = &queue::put_plan::<Self>();
    const GET: &'static Plan = &queue::get_plan::<Self>();

    fn length(py: Python<'_>, items: &Object) -> PyResult<usize>;
    fn put(py: Python<'_>, items: &Object, item: &Object) -> PyResult<()>;
    fn take(py: Python<'_>, items: &Object) -> PyResult<Object>;
}

/// `Queue`.
pub(super) struct FirstIn;
/// `LifoQueue`.
pub(super) struct LastIn;
/// `PriorityQueue`.
pub(super) struct Smallest;

impl Order for FirstIn {
    const ITEMS: Items = Items::Deque;

    #[inline]
    fn length(py: Python<'_>, items: &Object) -> PyResult<usize> {
        deque::length(py, items)
    }

    #[inline]
    fn put(py: Python<'_>, items: &Object, item: &Object) -> PyResult<()> {
        deque::append(py, items, item)
    }

    #[inline]
    fn take(py: Python<'_>, items: &Object) -> PyResult<Object> {
        deque::pop_left(py, items)
    }
}

impl Order for LastIn {
    const ITEMS: Items = Items::List;

    #[inline]
    fn length(py: Python<'_>, items: &Object) -> PyResult<usize> {
        operator::length(py, items)
    }

    #[inline]
    fn put(py: Python<'_>, items: &Object, item: &Object) -> PyResult<()> {
        match items.bind(py).cast_exact::<PyList>() {
            Ok(list) => list.append(item.bind(py)),
            Err(_) => call_method(py, &names(py).append, [items, item]).map(drop),
        }
    }

    #[inline]
    fn take(py: Python<'_>, items: &Object) -> PyResult<Object> {
        match items.bind(py).cast_exact::<PyList>() {
            Ok(list) if !list.is_empty() => {
                let item = list.get_item(list.len() - 1)?;
                list.del_item(list.len() - 1)?;
                Ok(Object::new(item))
            }
            _ => call_method(py, &names(py).pop, [items]),
        }
    }
}

impl Order for Smallest {
    const ITEMS: Items = Items::List;

    #[inline]
    fn length(py: Python<'_>, items: &Object) -> PyResult<usize> {
        operator::length(py, items)
    }

    #[inline]
    fn put(py: Python<'_>, items: &Object, item: &Object) -> PyResult<()> {
        call(py, OBJECTS.heapq_heappush.get(py)?, [items, item]).map(drop)
    }

    #[inline]
    fn take(py: Python<'_>, items: &Object) -> PyResult<Object> {
        call(py, OBJECTS.heapq_heappop.get(py)?, [items])
    }
}

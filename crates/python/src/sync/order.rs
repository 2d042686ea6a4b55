//! In which order a queue gives its items: first in, last in, smallest; and what it keeps them in for that.
//!
//! Each function does what asyncio's `_put` and `_get` of that class do, and holds for whatever object a program has put
//! in the place of the items: a wrong one is refused as asyncio's would be.

use core::ptr::null_mut;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{ffi, intern};

use super::{deque, queue};
use crate::coroutine::Plan;
use crate::ffi::object::Object;

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
        Ok(if is_list(object) { Self::List } else { Self::Other })
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
        list_length(py, items)
    }

    #[inline]
    fn put(py: Python<'_>, items: &Object, item: &Object) -> PyResult<()> {
        if !is_list(items) {
            return items.bind(py).call_method1(intern!(py, "append"), (item.bind(py),)).map(drop);
        }
        // SAFETY: a list and an item.
        if unsafe { ffi::PyList_Append(items.as_ptr(), item.as_ptr()) } == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
    }

    #[inline]
    fn take(py: Python<'_>, items: &Object) -> PyResult<Object> {
        // SAFETY: a live object; a list's size is asked of lists only.
        let count = if is_list(items) { unsafe { ffi::PyList_GET_SIZE(items.as_ptr()) } } else { 0 };
        if count == 0 {
            return Ok(Object::new(items.bind(py).call_method0(intern!(py, "pop"))?));
        }
        // SAFETY: a list and an index below its length.
        let item = unsafe { ffi::PyList_GET_ITEM(items.as_ptr(), count - 1) };
        // SAFETY: the list's own item.
        let item = unsafe { Object::from_borrowed(item) };
        // SAFETY: a list, and a range of it; null takes it out.
        let outcome = unsafe { ffi::PyList_SetSlice(items.as_ptr(), count - 1, count, null_mut()) };
        if outcome == 0 { Ok(item) } else { Err(PyErr::fetch(py)) }
    }
}

/// `heapq.heappush` and `heappop`.
static HEAP: PyOnceLock<(Object, Object)> = PyOnceLock::new();

fn heap(py: Python<'_>) -> PyResult<&'static (Object, Object)> {
    HEAP.get_or_try_init(py, || {
        let module = py.import("heapq")?;
        Ok((Object::new(module.getattr("heappush")?), Object::new(module.getattr("heappop")?)))
    })
}

impl Order for Smallest {
    const ITEMS: Items = Items::List;

    #[inline]
    fn length(py: Python<'_>, items: &Object) -> PyResult<usize> {
        list_length(py, items)
    }

    #[inline]
    fn put(py: Python<'_>, items: &Object, item: &Object) -> PyResult<()> {
        let (push, _) = heap(py)?;
        let arguments = [items.as_ptr(), item.as_ptr()];
        // SAFETY: a callable and two arguments.
        let result = unsafe { ffi::PyObject_Vectorcall(push.as_ptr(), arguments.as_ptr(), 2, null_mut()) };
        // SAFETY: a new reference, or null with an exception.
        unsafe { Object::from_owned(result) }.map(drop).ok_or_else(|| PyErr::fetch(py))
    }

    #[inline]
    fn take(py: Python<'_>, items: &Object) -> PyResult<Object> {
        let (_, pop) = heap(py)?;
        // SAFETY: a callable and an argument.
        let item = unsafe { ffi::PyObject_CallOneArg(pop.as_ptr(), items.as_ptr()) };
        // SAFETY: a new reference, or null with an exception.
        unsafe { Object::from_owned(item) }.ok_or_else(|| PyErr::fetch(py))
    }
}

#[inline]
fn is_list(object: &Object) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyList_CheckExact(object.as_ptr()) != 0 }
}

#[inline]
fn list_length(py: Python<'_>, items: &Object) -> PyResult<usize> {
    // SAFETY: a live object.
    let length = unsafe { ffi::PyObject_Size(items.as_ptr()) };
    usize::try_from(length).map_err(|_| PyErr::fetch(py))
}

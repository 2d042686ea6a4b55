//! Loop state behind an immutable reference.
//!
//! Python may come back to the loop at any moment: a call, a drop or an allocation can run foreign code. State is therefore
//! lent out for short sections that run none of it, and a section inside a section is a panic, not undefined behaviour.
//!
//! With the GIL, an attached thread is alone, so a flag is enough. Free-threaded builds take a mutex.
//!
//! Builds with debug assertions count the sections that a thread is in, and panic where one of them drops a reference or
//! comes to Python ([`assert_outside`]): the test suites run such a build.

/// How many sections this thread is in; builds with debug assertions count them.
#[cfg(debug_assertions)]
mod open {
    use core::cell::Cell;

    thread_local! {
        static OPEN: Cell<usize> = const { Cell::new(0) };
    }

    /// One section, for as long as it lives.
    pub(crate) struct Section;

    impl Section {
        pub(crate) fn enter() -> Self {
            OPEN.with(|open| open.set(open.get() + 1));
            Self
        }
    }

    impl Drop for Section {
        fn drop(&mut self) {
            OPEN.with(|open| open.set(open.get() - 1));
        }
    }

    pub(crate) fn is_any() -> bool {
        OPEN.with(Cell::get) != 0
    }
}

#[cfg(not(debug_assertions))]
mod open {
    pub(crate) struct Section;

    impl Section {
        #[inline]
        pub(crate) const fn enter() -> Self {
            Self
        }
    }

    pub(crate) const fn is_any() -> bool {
        false
    }
}

/// Panics, in builds with debug assertions, if this thread is in a section: what follows may run Python. Silent while a panic
/// is on its way already.
#[inline]
pub(crate) fn assert_outside(what: &str) {
    debug_assert!(!open::is_any() || std::thread::panicking(), "{what} within a section");
}

/// Runs `section`, which must not call Python, nor drop anything that might.
#[inline]
pub(crate) fn section<R>(section: impl FnOnce() -> R) -> R {
    let _section = open::Section::enter();
    section()
}

#[cfg(not(Py_GIL_DISABLED))]
mod cell {
    use core::cell::{Cell, UnsafeCell};

    use pyo3::Python;

    use super::open::Section;

    /// See the module above.
    #[derive(Default)]
    pub(crate) struct Guarded<T> {
        lent: Cell<bool>,
        value: UnsafeCell<T>,
    }

    struct Return<'a>(&'a Cell<bool>);

    impl Drop for Return<'_> {
        fn drop(&mut self) {
            self.0.set(false);
        }
    }

    impl<T> Guarded<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self { lent: Cell::new(false), value: UnsafeCell::new(value) }
        }

        /// Runs `section` with the state. It must not call Python, nor drop anything that might.
        #[inline]
        pub(crate) fn with<R>(&self, _attached: Python<'_>, section: impl FnOnce(&mut T) -> R) -> R {
            assert!(!self.lent.replace(true), "loop state is in use: a section ran foreign code");
            let _return = Return(&self.lent);
            let _section = Section::enter();
            // SAFETY: the flag was down, so no other section of this thread has the state; the token proves that this thread
            // is attached, and with the GIL no other thread is.
            section(unsafe { &mut *self.value.get() })
        }
    }

    // SAFETY: only an attached thread gets at the value, and with the GIL there is one at a time. What is not `Send` in a
    // loop's state is references to Python objects, which any attached thread may use and give back.
    unsafe impl<T> Sync for Guarded<T> {}
    // SAFETY: as above.
    unsafe impl<T> Send for Guarded<T> {}
}

#[cfg(Py_GIL_DISABLED)]
mod cell {
    use std::sync::{Mutex, PoisonError};

    use pyo3::Python;

    use super::open::Section;

    /// See the module above.
    #[derive(Default)]
    pub(crate) struct Guarded<T>(Mutex<T>);

    // SAFETY: the mutex lends the value to one thread at a time, and that thread is attached. What is not `Send` in a loop's
    // state is references to Python objects, which any attached thread may use and give back.
    unsafe impl<T> Sync for Guarded<T> {}
    // SAFETY: as above.
    unsafe impl<T> Send for Guarded<T> {}

    impl<T> Guarded<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        /// Runs `section` with the state. It must not call Python, nor drop anything that might.
        pub(crate) fn with<R>(&self, _attached: Python<'_>, section: impl FnOnce(&mut T) -> R) -> R {
            let mut lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _section = Section::enter();
            section(&mut lent)
        }
    }
}

pub(crate) use cell::Guarded;

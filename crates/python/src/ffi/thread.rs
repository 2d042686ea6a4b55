//! Threads, as Python numbers them.

unsafe extern "C" {
    fn pthread_self() -> usize;
}

/// The calling thread, as `threading.get_ident()` names it: CPython's own function asks first whether threads are set up.
#[inline]
pub(crate) fn current() -> u64 {
    // SAFETY: no conditions.
    let thread = unsafe { pthread_self() };
    thread as u64
}

//! Threads, as Python numbers them.

unsafe extern "C" {
    // It asks for nothing.
    safe fn pthread_self() -> usize;
}

/// The calling thread, as `threading.get_ident()` names it: CPython's own function asks first whether threads are set up.
#[inline]
pub(crate) fn current() -> u64 {
    pthread_self() as u64
}

//! Threads that the interpreter ends while they are in Python code.
//!
//! A daemon thread that asks for the GIL after the interpreter has begun to end is ended there: 3.14 lets it hang, earlier
//! versions call `pthread_exit`, which unwinds the thread's stack. Rust cannot be unwound so: a frame that drops a reference
//! would do it without the GIL, and one that must not unwind ends the process. [`call_of_c`] therefore does in the innermost
//! Rust frame what 3.14 does: the thread hangs until the process has ended. No frame outside it is unwound.
//!
//! It makes the calls of the C API that `ffi/` declares. Those that PyO3 makes or declares are out of its reach, but for what
//! takes the GIL back, where PyO3 does the same.

/// Calls a function of C, given as it is declared in Rust: `name(argument: type, ...) -> result`.
#[cfg(Py_3_14)]
macro_rules! call_of_c {
    ($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {{
        unsafe extern "C" { fn $name($($argument: $type),*) $(-> $result)?; }
        $name($($argument),*)
    }};
}

/// Calls a function of C, given as it is declared in Rust: `name(argument: type, ...) -> result`. If the thread is unwound
/// within, it hangs.
///
/// The function's address is loaded, since PyO3 declares some of the same functions as ones that never unwind, which the
/// compiler would believe of each call that names them.
#[cfg(not(Py_3_14))]
macro_rules! call_of_c {
    ($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {{
        unsafe extern "C" { fn $name($($argument: $type),*) $(-> $result)?; }
        #[used]
        static ADDRESS: core::sync::atomic::AtomicPtr<()> =
            core::sync::atomic::AtomicPtr::new(($name as *const ()).cast_mut());
        let address = ADDRESS.load(core::sync::atomic::Ordering::Relaxed);
        // The declared function, which may also unwind.
        let function: unsafe extern "C-unwind" fn($($type),*) $(-> $result)? = core::mem::transmute(address);
        let hang = $crate::ffi::thread_end::Hang;
        let result = function($($argument),*);
        let _ = core::mem::ManuallyDrop::new(hang);
        result
    }};
}

pub(in crate::ffi) use call_of_c;

/// Hangs the thread when it is dropped.
#[cfg(not(Py_3_14))]
pub(in crate::ffi) struct Hang;

#[cfg(not(Py_3_14))]
impl Drop for Hang {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

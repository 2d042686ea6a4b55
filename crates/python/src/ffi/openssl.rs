//! OpenSSL as Python's `_ssl` has loaded it: the bytes of a TLS connection, without a Python call.
//!
//! `_ssl` makes the TLS object, shakes hands, ends the connection and raises the errors. A [`Session`] does what its `read`
//! and `write` do, and those of the two `MemoryBIO`s, with the same functions of the same library on the same memory: which
//! of both does a step makes no difference to the next.
//!
//! # Invariants
//! 1. The functions are those that `_ssl` calls: they are looked up in its own file, which the linker answers with what that
//!    file was linked with, and the version must be the one that `_ssl` has noted.
//! 2. An address of OpenSSL's is taken from a Python object only where its neighbours are what `_ssl` puts there, and
//!    OpenSSL must then name the context and the two BIOs that the Python objects hold ([`Session::of`]). `_ssl` sets all of
//!    them when it makes its objects and frees them with those, which a session keeps alive.
//! 3. No operation begins while one of the same session is under way.
//! 4. What an operation that has failed has put into OpenSSL's queue of errors stays there: [`Outcome::Other`] says that
//!    `_ssl`'s own function is to be called, which finds it, or fails in the same way again.
//!
//! # Threads
//! Memory never blocks, so the GIL is kept. `_ssl` releases it while it reads, writes or shakes hands: another thread that
//! does so on an object that a loop uses is in OpenSSL at the same time, as it would be with `_ssl` on both sides. What else
//! an `SSLObject` tells (`getpeercert`, `cipher`, `version`) is told with the GIL held.
//!
//! OpenSSL may run Python in an operation, if a program has set callbacks. Nothing is lent in the meantime but memory that the
//! operation owns or has had exported.

use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyAnyMethods, PyType};

use super::buffer::View;
use super::bytes::{Blank, Bytes};
use super::cell::Plain;
use super::fields::{holds_no_object, native_state};
use super::known_class::KnownClass;
use super::nesting::Held;
use super::object::Object;

/// The operation needs more of the peer's bytes.
const SSL_ERROR_WANT_READ: c_int = 2;

const RTLD_LAZY: c_int = 1;
const RTLD_NOLOAD: c_int = 4;

// SAFETY: the dynamic linker's functions, as POSIX and Linux declare them.
unsafe extern "C" {
    fn dlopen(path: *const c_char, mode: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// A file that is loaded already, and what it was linked with.
struct LoadedFile(NonNull<c_void>);

impl LoadedFile {
    /// The file of that name; without a name, the program.
    fn find(path: Option<&CStr>) -> Option<Self> {
        let path = path.map_or(core::ptr::null(), CStr::as_ptr);
        // SAFETY: null or a string; the mode loads nothing, so no foreign code runs. The handle is kept for ever.
        NonNull::new(unsafe { dlopen(path, RTLD_LAZY | RTLD_NOLOAD) }).map(Self)
    }

    /// The function of that name.
    ///
    /// # Safety
    /// `F` is the type of a function pointer: the one of the function that has this name.
    unsafe fn function<F: Copy>(&self, name: &CStr) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: a handle and a string.
        let address = NonNull::new(unsafe { dlsym(self.0.as_ptr(), name.as_ptr()) })?;
        // SAFETY: the address of a function of this type, as the caller promises.
        Some(unsafe { core::mem::transmute_copy(&address) })
    }
}

macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of one OpenSSL; what points to its objects is a plain address here.
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            /// `None` unless the file leads to all of them.
            fn find(file: &LoadedFile) -> Option<Self> {
                Some(Self {
                    // SAFETY: as OpenSSL 1.1.1 and 3 declare it.
                    $($field: unsafe { file.function($name) }?,)*
                })
            }
        }
    };
}

functions! {
    version_number = c"OpenSSL_version_num": fn() -> c_ulong;
    peek_error = c"ERR_peek_error": fn() -> c_ulong;
    clear_errors = c"ERR_clear_error": fn();
    read = c"SSL_read": fn(*mut c_void, *mut c_void, c_int) -> c_int;
    write = c"SSL_write": fn(*mut c_void, *const c_void, c_int) -> c_int;
    error = c"SSL_get_error": fn(*const c_void, c_int) -> c_int;
    pending = c"SSL_pending": fn(*const c_void) -> c_int;
    has_pending = c"SSL_has_pending": fn(*const c_void) -> c_int;
    context = c"SSL_get_SSL_CTX": fn(*const c_void) -> *mut c_void;
    read_bio = c"SSL_get_rbio": fn(*const c_void) -> *mut c_void;
    write_bio = c"SSL_get_wbio": fn(*const c_void) -> *mut c_void;
    bio_read = c"BIO_read": fn(*mut c_void, *mut c_void, c_int) -> c_int;
    bio_write = c"BIO_write": fn(*mut c_void, *const c_void, c_int) -> c_int;
    bio_pending = c"BIO_ctrl_pending": fn(*mut c_void) -> usize;
}

/// The beginning of `PySSLSocket`.
#[repr(C)]
struct SocketObject {
    head: ffi::PyObject,
    /// A weak reference to the socket; null for an object over `MemoryBIO`s.
    socket: *mut ffi::PyObject,
    ssl: *mut c_void,
    context: *mut ffi::PyObject,
}

/// The beginning of `PySSLMemoryBIO` and of `PySSLContext`.
#[repr(C)]
struct PointerObject {
    head: ffi::PyObject,
    /// The `BIO` or the `SSL_CTX`.
    pointer: *mut c_void,
}

/// The OpenSSL of `_ssl`, and the classes of that.
struct Library {
    functions: Functions,
    socket: KnownClass,
    bio: KnownClass,
    context: KnownClass,
}

impl Library {
    /// `None` where OpenSSL cannot be reached from outside `_ssl`, or is another library of that interface.
    fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        let module = py.import("_ssl")?;
        let path = match module.getattr_opt("__file__")? {
            Some(path) => Some(std::ffi::CString::new(path.extract::<String>()?)?),
            None => None,
        };
        let Some(functions) = LoadedFile::find(path.as_deref()).as_ref().and_then(Functions::find) else {
            return Ok(None);
        };
        let name: String = module.getattr("OPENSSL_VERSION")?.extract()?;
        let noted: c_ulong = module.getattr("OPENSSL_VERSION_NUMBER")?.extract()?;
        // SAFETY: it takes no notice of anything.
        if !name.starts_with("OpenSSL ") || unsafe { (functions.version_number)() } != noted {
            return Ok(None);
        }
        let library = Self { functions, socket: KnownClass::new(), bio: KnownClass::new(), context: KnownClass::new() };
        let classes = [
            (&library.socket, "_SSLSocket", size_of::<SocketObject>()),
            (&library.bio, "MemoryBIO", size_of::<PointerObject>()),
            (&library.context, "_SSLContext", size_of::<PointerObject>()),
        ];
        for (known, name, size) in classes {
            let class = module.getattr(name)?.cast_into::<PyType>()?;
            if class.getattr("__basicsize__")?.extract::<usize>()? < size {
                return Ok(None);
            }
            known.set(class);
        }
        Ok(Some(library))
    }
}

/// The pointer that `_ssl` keeps in a `MemoryBIO` or in a context.
///
/// # Safety
/// The object is at least as large as a [`PointerObject`].
unsafe fn pointer_in(object: &Object) -> *mut c_void {
    let object: *const PointerObject = object.as_ptr().cast();
    // SAFETY: as the caller promises.
    unsafe { (*object).pointer }
}

static LIBRARY: PyOnceLock<Option<Library>> = PyOnceLock::new();

/// The addresses of one connection; see invariant 2.
#[derive(Clone, Copy)]
struct Addresses {
    ssl: *mut c_void,
    incoming: *mut c_void,
    outgoing: *mut c_void,
}

/// The functions, and the addresses that they are called with.
#[derive(Clone, Copy)]
struct Calls {
    functions: &'static Functions,
    addresses: Addresses,
}

// SAFETY: the addresses are used by attached threads only, one at a time.
unsafe impl Send for Calls {}
// SAFETY: as above.
unsafe impl Sync for Calls {}

holds_no_object!(Calls);

native_state! {
    /// The records of one TLS connection; see the module.
    pub(crate) struct Session {
        /// The `SSLObject`, which a program sees.
        ssl_object: Held,
        /// Its `_SSLSocket`, and the two `MemoryBIO`s.
        socket: Held,
        incoming: Held,
        outgoing: Held,
        calls: Calls,
        is_busy: Plain<bool>,
    }
}

/// What an operation came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many bytes; not 0.
    Bytes(usize),
    /// Nothing: the peer has to send more first.
    WantsMore,
    /// Anything else: the end of the peer's data, an error. `_ssl`'s own function says which.
    Other,
}

impl Session {
    /// The session of an `SSLObject` over these two `MemoryBIO`s; `None` where they are not what `_ssl` is known to make of
    /// them.
    ///
    /// # Errors
    /// Those of looking for OpenSSL.
    pub(crate) fn of(
        py: Python<'_>,
        ssl_object: &Object,
        incoming: &Object,
        outgoing: &Object,
    ) -> PyResult<Option<Self>> {
        let library = if let Some(library) = LIBRARY.get(py) {
            library
        } else {
            let found = Library::find(py)?;
            LIBRARY.get_or_init(py, || found)
        };
        let Some(library) = library else { return Ok(None) };
        let socket = Object::new(ssl_object.bind(py).getattr("_sslobj")?);
        let are_known = library.socket.is_class_of(&socket)
            && library.bio.is_class_of(incoming)
            && library.bio.is_class_of(outgoing);
        if !are_known {
            return Ok(None);
        }
        let context = Object::new(socket.bind(py).getattr("context")?);
        if !library.context.is_base_of(&context) {
            return Ok(None);
        }
        // SAFETY: an instance of a class whose instances are that large.
        let fields = unsafe { &*socket.as_ptr().cast::<SocketObject>() };
        // SAFETY: as above, for the three.
        let [context_address, incoming_address, outgoing_address] =
            [&context, incoming, outgoing].map(|object| unsafe { pointer_in(object) });
        let addresses = Addresses { ssl: fields.ssl, incoming: incoming_address, outgoing: outgoing_address };
        let is_laid_out_so = fields.socket.is_null()
            && fields.context == context.as_ptr()
            && !fields.ssl.is_null()
            && !incoming_address.is_null()
            && !outgoing_address.is_null();
        if !is_laid_out_so {
            return Ok(None);
        }
        let functions = &library.functions;
        // SAFETY: the field between those two is `SSL *ssl`, of the library that `_ssl` uses; the functions read one field.
        let named = [functions.context, functions.read_bio, functions.write_bio]
            .map(|function| unsafe { function(fields.ssl) });
        if named != [context_address, incoming_address, outgoing_address] {
            return Ok(None);
        }
        let [ssl_object, incoming, outgoing] = [ssl_object, incoming, outgoing].map(|object| Held::new(object.clone()));
        Ok(Some(Self {
            ssl_object,
            socket: Held::new(socket),
            incoming,
            outgoing,
            calls: Calls { functions, addresses },
            is_busy: Plain::new(false),
        }))
    }

    /// The `SSLObject`.
    #[inline]
    pub(crate) fn ssl_object(&self) -> &Object {
        &self.ssl_object
    }

    /// Runs an operation, unless one is under way: `call` returns more than 0 for success.
    #[inline]
    fn operate(&self, call: impl FnOnce(&Functions, *mut c_void) -> c_int) -> Outcome {
        let Calls { functions, addresses } = &self.calls;
        if self.is_busy.replace(true) {
            return Outcome::Other;
        }
        // What others have left in the thread's queue of errors would be taken for this operation's.
        // SAFETY: the functions look at the thread's own queue.
        if unsafe { (functions.peek_error)() } != 0 {
            // SAFETY: as above.
            unsafe { (functions.clear_errors)() };
        }
        let result = call(functions, addresses.ssl);
        let outcome = match usize::try_from(result) {
            Ok(count) if count > 0 => Outcome::Bytes(count),
            // SAFETY: the object of the last operation, with what that has returned.
            _ if unsafe { (functions.error)(addresses.ssl, result) } == SSL_ERROR_WANT_READ => Outcome::WantsMore,
            _ => Outcome::Other,
        };
        self.is_busy.set(false);
        outcome
    }

    /// Reads what the peer has sent, of one record at the most.
    #[inline]
    pub(crate) fn read(&self, _attached: Python<'_>, room: &mut [MaybeUninit<u8>]) -> Outcome {
        if room.is_empty() {
            return Outcome::Other;
        }
        let length = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
        // SAFETY: a TLS object (invariant 2), and so many bytes that nobody else uses.
        self.operate(|functions, ssl| unsafe { (functions.read)(ssl, room.as_mut_ptr().cast(), length) })
    }

    /// [`Self::read`], into a program's buffer of `length` bytes, from its byte `start` on.
    ///
    /// # Errors
    /// The object lends no writable buffer.
    pub(crate) fn read_into(&self, py: Python<'_>, buffer: &Object, start: usize, length: usize) -> PyResult<Outcome> {
        let view = View::writable(py, buffer)?;
        let (address, exported) = view.memory();
        if exported != length || start >= length {
            return Ok(Outcome::Other);
        }
        let room = c_int::try_from(length - start).unwrap_or(c_int::MAX);
        let first = address.wrapping_add(start);
        // SAFETY: a TLS object (invariant 2), and so many bytes of a buffer that stays exported until the view is dropped.
        Ok(self.operate(|functions, ssl| unsafe { (functions.read)(ssl, first.cast(), room) }))
    }

    /// Makes records of the bytes that an object exports: all of them, or none.
    ///
    /// # Errors
    /// The object exports no contiguous buffer.
    #[inline]
    pub(crate) fn write(&self, py: Python<'_>, data: &Object) -> PyResult<Outcome> {
        if let Some(bytes) = Bytes::of(data) {
            return Ok(self.write_from(bytes.as_slice().as_ptr(), bytes.len()));
        }
        let view = View::contiguous(py, data)?;
        let (address, length) = view.memory();
        Ok(self.write_from(address, length))
    }

    /// [`Self::write`], of memory that the caller keeps.
    #[inline]
    fn write_from(&self, address: *const u8, length: usize) -> Outcome {
        let Ok(length @ 1..) = c_int::try_from(length) else { return Outcome::Other };
        // SAFETY: a TLS object (invariant 2), and so many readable bytes.
        self.operate(|functions, ssl| unsafe { (functions.write)(ssl, address.cast(), length) })
    }

    /// Whether there may be more to read without further bytes of the peer's.
    #[inline]
    pub(crate) fn has_more(&self, py: Python<'_>) -> bool {
        let Calls { functions, addresses } = &self.calls;
        // SAFETY: a TLS object (invariant 2).
        self.incoming_bytes(py) != 0 || unsafe { (functions.pending)(addresses.ssl) } != 0
    }

    /// Room that is enough for all that can be read now.
    #[inline]
    pub(crate) fn readable_at_most(&self, py: Python<'_>) -> usize {
        /// The most that one record holds (RFC 8446, section 5.1).
        const RECORD_BYTES: usize = 16 * 1024;
        let Calls { functions, addresses } = &self.calls;
        // SAFETY: a TLS object (invariant 2).
        let has_begun = unsafe { (functions.has_pending)(addresses.ssl) } != 0;
        self.incoming_bytes(py) + if has_begun { RECORD_BYTES } else { 0 }
    }

    /// Bytes of the peer's that have not been looked at.
    #[inline]
    pub(crate) fn incoming_bytes(&self, _attached: Python<'_>) -> usize {
        // SAFETY: a BIO (invariant 2).
        unsafe { (self.calls.functions.bio_pending)(self.calls.addresses.incoming) }
    }

    /// Bytes that are to be sent.
    #[inline]
    pub(crate) fn outgoing_bytes(&self, _attached: Python<'_>) -> usize {
        // SAFETY: a BIO (invariant 2).
        unsafe { (self.calls.functions.bio_pending)(self.calls.addresses.outgoing) }
    }

    /// Adds bytes of the peer's; false if there was no memory for them.
    #[inline]
    pub(crate) fn put_incoming(&self, _attached: Python<'_>, data: &[u8]) -> bool {
        let Ok(length) = c_int::try_from(data.len()) else { return false };
        let Calls { functions, addresses } = &self.calls;
        // SAFETY: a BIO (invariant 2), and so many bytes, which are copied.
        unsafe { (functions.bio_write)(addresses.incoming, data.as_ptr().cast(), length) == length }
    }

    /// Takes at most so many of the bytes that are to be sent, as `bytes`; `None` for none.
    ///
    /// # Errors
    /// `MemoryError`; they are still there.
    #[inline]
    pub(crate) fn take_outgoing(&self, py: Python<'_>, at_most: usize) -> PyResult<Option<Object>> {
        let waiting = at_most.min(c_int::MAX as usize);
        if waiting == 0 {
            return Ok(None);
        }
        let Calls { functions, addresses } = &self.calls;
        Blank::new(py, waiting)?.fill(py, |room| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most the largest")]
            let length = room.len() as c_int;
            // SAFETY: a BIO (invariant 2), and so many bytes of a new object.
            let count = unsafe { (functions.bio_read)(addresses.outgoing, room.as_mut_ptr().cast(), length) };
            usize::try_from(count).unwrap_or(0)
        })
    }
}

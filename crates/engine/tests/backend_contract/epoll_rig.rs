//! epoll, over eventfds, pipes and socket pairs.

use std::fs::File;
use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferrio_engine::backend::epoll::{EpollBackend, EpollPoller};
use ferrio_engine::backend::{Poller, Usage};
use ferrio_engine::sys::clock;
use ferrio_engine::sys::error::Result;
use ferrio_engine::time::Nanos;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, dup2, ioctl_fionbio, read, write};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair, sockopt};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::rig::{Connected, Rig};

/// A kind of descriptor.
pub(crate) trait Kind {
    const USAGE: Usage = Usage::Watched;

    /// The loop's end and the test's.
    fn open() -> (OwnedFd, OwnedFd);
}

pub(crate) struct Eventfd;
pub(crate) struct Pipe;
pub(crate) struct Socket;
pub(crate) struct Tcp;

impl Kind for Eventfd {
    fn open() -> (OwnedFd, OwnedFd) {
        let near = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        let far = near.try_clone().expect("its duplicate");
        (near, far)
    }
}

impl Kind for Pipe {
    fn open() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe")
    }
}

impl Kind for Socket {
    const USAGE: Usage = Usage::Stream;

    fn open() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket pair")
    }
}

impl Kind for Tcp {
    const USAGE: Usage = Usage::Stream;

    fn open() -> (OwnedFd, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let far = TcpStream::connect(listener.local_addr().expect("which it has")).expect("somebody listens");
        let (near, _) = listener.accept().expect("the connection");
        for end in [&near, &far] {
            end.set_nonblocking(true).expect("a socket");
            end.set_nodelay(true).expect("a TCP socket");
        }
        (near.into(), far.into())
    }
}

/// Kinds that are connected sockets.
pub(crate) trait Stream: Kind {}

impl Stream for Socket {}
impl Stream for Tcp {}

pub(crate) struct EpollRig<K> {
    backend: EpollBackend,
    kind: PhantomData<K>,
}

pub(crate) type EventfdRig = EpollRig<Eventfd>;
pub(crate) type PipeRig = EpollRig<Pipe>;
pub(crate) type SocketRig = EpollRig<Socket>;
pub(crate) type TcpRig = EpollRig<Tcp>;

impl<K: Kind> Rig for EpollRig<K> {
    type Backend = EpollBackend;
    type Near = OwnedFd;
    type Far = OwnedFd;

    const USAGE: Usage = K::USAGE;

    fn new() -> Self {
        Self { backend: EpollBackend::new().expect("an epoll instance"), kind: PhantomData }
    }

    fn backend(&mut self) -> &mut EpollBackend {
        &mut self.backend
    }

    fn now(&self) -> Nanos {
        clock::now()
    }

    fn open(&mut self) -> (OwnedFd, OwnedFd) {
        K::open()
    }

    fn open_regular_file(&mut self) -> OwnedFd {
        File::open(std::env::current_exe().expect("this test has a file")).expect("which can be read").into()
    }

    fn duplicate(&mut self, near: &OwnedFd) -> OwnedFd {
        near.try_clone().expect("a duplicate")
    }

    fn replace(&mut self, near: &mut OwnedFd) -> OwnedFd {
        let (fresh, far) = K::open();
        self.put_under(&fresh, near);
        far
    }

    fn put_under(&mut self, near: &OwnedFd, onto: &mut OwnedFd) {
        dup2(near, onto).expect("two open descriptors");
    }

    fn make_readable(&mut self, far: &OwnedFd) {
        // Eight bytes: an eventfd takes no other number.
        assert_eq!(write(far, &1_u64.to_ne_bytes()), Ok(8));
    }

    fn drain(&mut self, near: &OwnedFd, _far: &OwnedFd) {
        let mut buffer = [0_u8; 4096];
        while read(near, &mut buffer).is_ok_and(|count| count > 0) {}
    }

    fn wait_for_signal(&mut self, poller: &mut EpollPoller) -> Result<()> {
        extern "C" fn nothing(_signal: libc::c_int) {}
        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: the handler does nothing, which is allowed in any context.
        let former = unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        assert_ne!(former, libc::SIG_ERR, "SIGUSR1 can be handled");
        // SAFETY: no conditions.
        let waiting = unsafe { libc::pthread_self() };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // A signal that comes before the wait is lost, so one is not enough.
                while !is_over.load(Ordering::Relaxed) {
                    // SAFETY: the thread outlives the scope, which is its own.
                    unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) };
                    thread::yield_now();
                }
            });
            let outcome = poller.wait(None);
            is_over.store(true, Ordering::Relaxed);
            outcome
        })
    }
}

impl<K: Stream> Connected for EpollRig<K> {
    fn far_sends(&mut self, far: &OwnedFd, bytes: &[u8]) {
        assert_eq!(write(far, bytes), Ok(bytes.len()));
    }

    fn far_ends(&mut self, far: &OwnedFd) {
        shutdown(far, Shutdown::Write).expect("a connected socket");
    }

    fn far_breaks(&mut self, far: OwnedFd) {
        // With unread bytes in it, a socket that is closed resets its peer.
        drop(far);
    }

    fn let_block(&mut self, near: &OwnedFd) {
        ioctl_fionbio(near, false).expect("a socket");
    }

    fn narrow(&mut self, near: &OwnedFd, _far: &OwnedFd) {
        sockopt::set_socket_send_buffer_size(near.as_fd(), 4096).expect("a socket");
    }

    fn far_takes(&mut self, far: &OwnedFd) -> Vec<u8> {
        let mut taken = Vec::new();
        let mut buffer = vec![0_u8; 65536];
        loop {
            match read(far, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return taken,
                Ok(count) => taken.extend_from_slice(&buffer[..count]),
                Err(errno) => panic!("reading what has arrived: {errno}"),
            }
        }
    }
}

//! The name of a socket's end, kept in two words.
//!
//! A server holds two names for each connection, and most are never asked for. An IPv4 name is kept in place, an IPv6 or
//! Unix one in memory of its own. Other families have no [`SocketName`].

use core::ffi::c_char;
use std::ffi::CStr;
use std::net::{SocketAddrV4, SocketAddrV6};
use std::os::fd::BorrowedFd;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

use super::error::{Result, retry};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SocketName {
    /// There is none: the socket is not connected, or has been reset.
    #[default]
    None,
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6. Its flow information is in network order, as the kernel has it.
    V6(Box<SocketAddrV6>),
    /// A Unix socket without a name.
    UnixUnnamed,
    /// The path of a Unix socket, without a final zero.
    UnixPath(Box<Vec<u8>>),
    /// A name in the abstract namespace, its first zero included.
    UnixAbstract(Box<Vec<u8>>),
}

const _: () = assert!(size_of::<SocketName>() <= 16);

impl SocketName {
    /// What the kernel reported, if its family is one of these.
    #[must_use]
    pub fn from_kernel(name: SocketAddrAny) -> Option<Self> {
        match name.address_family() {
            AddressFamily::INET => SocketAddrV4::try_from(name).ok().map(Self::V4),
            AddressFamily::INET6 => SocketAddrV6::try_from(name).ok().map(|name| Self::V6(Box::new(name))),
            AddressFamily::UNIX => SocketAddrUnix::try_from(name).ok().map(|name| Self::from_unix(&name)),
            _ => None,
        }
    }

    fn from_unix(name: &SocketAddrUnix) -> Self {
        // rustix reads "no name" as an abstract one without letters.
        if let Some(name) = name.abstract_name().filter(|name| !name.is_empty()) {
            let mut bytes = Vec::with_capacity(name.len() + 1);
            bytes.push(0);
            bytes.extend_from_slice(name);
            return Self::UnixAbstract(Box::new(bytes));
        }
        match name.path_bytes() {
            Some(path) if !path.is_empty() => {
                let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
                Self::UnixPath(Box::new(path[..end].to_vec()))
            }
            _ => Self::UnixUnnamed,
        }
    }
}

/// The name of this end; `Ok(None)` for a family that has no [`SocketName`].
///
/// # Errors
/// `EBADF`, `ENOTSOCK`, `ENOBUFS`.
pub fn local(fd: BorrowedFd<'_>) -> Result<Option<SocketName>> {
    retry("getsockname", || rustix::net::getsockname(fd)).map(SocketName::from_kernel)
}

/// The name of the other end; `Ok(None)` for a family that has no [`SocketName`].
///
/// # Errors
/// `ENOTCONN` when the connection has been reset, and those of [`local`].
pub fn peer(fd: BorrowedFd<'_>) -> Result<Option<SocketName>> {
    let name = retry("getpeername", || rustix::net::getpeername(fd))?;
    Ok(name.map_or(Some(SocketName::UnixUnnamed), SocketName::from_kernel))
}

/// The text of an IPv6 address, with its scope when it has one, as `getnameinfo` writes it.
#[must_use]
pub fn host_text(name: &SocketAddrV6) -> String {
    let mut text = [0 as c_char; 128];
    let raw = libc::sockaddr_in6 {
        #[expect(clippy::cast_possible_truncation, reason = "10")]
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: name.port().to_be(),
        sin6_flowinfo: name.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: name.ip().octets() },
        sin6_scope_id: name.scope_id(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "sizes of small things")]
    let (length, room) = (size_of_val(&raw) as libc::socklen_t, text.len() as libc::socklen_t);
    let start = (&raw const raw).cast();
    // SAFETY: an address of the given length, a buffer of the given room, no place for a service.
    let failure = unsafe {
        libc::getnameinfo(start, length, text.as_mut_ptr(), room, core::ptr::null_mut(), 0, libc::NI_NUMERICHOST)
    };
    if failure != 0 {
        return name.ip().to_string();
    }
    // SAFETY: the call has written a text with a final zero.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{Ipv6Addr, TcpListener};
    use std::os::fd::AsFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use super::*;

    fn v6(text: &str, scope: u32) -> String {
        host_text(&SocketAddrV6::new(text.parse::<Ipv6Addr>().expect("an address"), 1, 0, scope))
    }

    #[test]
    fn an_ipv4_name_is_what_was_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let Ok(std::net::SocketAddr::V4(bound)) = listener.local_addr() else { panic!("bound to IPv4") };
        assert_eq!(local(listener.as_fd()), Ok(Some(SocketName::V4(bound))));
        assert!(peer(listener.as_fd()).is_err());
    }

    #[test]
    fn unix_names_keep_their_kind() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        assert_eq!(local(one.as_fd()), Ok(Some(SocketName::UnixUnnamed)));
        assert_eq!(peer(one.as_fd()), Ok(Some(SocketName::UnixUnnamed)));
        let name = format!("ferrio-socket-name-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("a listener");
        let expected = [b"\0", name.as_bytes()].concat();
        assert_eq!(local(listener.as_fd()), Ok(Some(SocketName::UnixAbstract(Box::new(expected)))));
    }

    #[test]
    fn an_ipv6_text_has_its_scope_and_the_c_library_s_form() {
        assert_eq!(v6("::1", 0), "::1");
        assert_eq!(v6("::ffff:1.2.3.4", 0), "::ffff:1.2.3.4");
        assert_eq!(v6("2001:db8::1", 0), "2001:db8::1");
        assert_eq!(v6("fe80::1", 1), "fe80::1%lo");
    }
}

//! Addresses of sockets, as the kernel lays them out: IPv4, IPv6 and Unix.
//!
//! Port, flow label and IP address travel in network order, the family and the scope in the machine's. What is in an
//! address beyond its length means nothing and takes no part in comparisons.

use core::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes that any address of the kernel's fits in: `sizeof(struct sockaddr_storage)`.
const CAPACITY: usize = 128;
/// Bytes of `sockaddr_un.sun_path`.
const UNIX_PATH_BYTES: usize = 108;
/// Bytes of the family, in front of everything else.
const FAMILY_BYTES: usize = 2;
/// Bytes of the oldest form of address, `struct sockaddr`, behind its family.
const PLAIN_BYTES: usize = 14;

/// The family number of an address.
pub type Family = i32;
/// IPv4.
pub const INET: Family = libc::AF_INET;
/// IPv6.
pub const INET6: Family = libc::AF_INET6;
/// Unix.
pub const UNIX: Family = libc::AF_UNIX;

/// One address; see the module.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct SocketAddress {
    bytes: [u8; CAPACITY],
    length: u32,
}

/// What an address says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts<'a> {
    /// No address: the sender is the connected peer, or a Unix socket without a name.
    Unnamed,
    /// Host and port.
    V4(Ipv4Addr, u16),
    /// Host, port, flow label and scope.
    V6(Ipv6Addr, u16, u32, u32),
    /// A path, up to its first zero byte; empty for a socket without a name.
    UnixPath(&'a [u8]),
    /// A name in Linux's abstract namespace, with the zero byte that begins it.
    UnixAbstract(&'a [u8]),
    /// Family and the bytes behind it.
    Other(u16, [u8; PLAIN_BYTES]),
}

impl SocketAddress {
    /// No address.
    pub const UNNAMED: Self = Self { bytes: [0; CAPACITY], length: 0 };

    /// An IPv4 address.
    #[must_use]
    pub fn v4(host: Ipv4Addr, port: u16) -> Self {
        let mut address = Self::of_family(INET, 16);
        address.bytes[2..4].copy_from_slice(&port.to_be_bytes());
        address.bytes[4..8].copy_from_slice(&host.octets());
        address
    }

    /// An IPv6 address; the flow label has 20 bits.
    #[must_use]
    pub fn v6(host: Ipv6Addr, port: u16, flow: u32, scope: u32) -> Self {
        let mut address = Self::of_family(INET6, 28);
        address.bytes[2..4].copy_from_slice(&port.to_be_bytes());
        address.bytes[4..8].copy_from_slice(&flow.to_be_bytes());
        address.bytes[8..24].copy_from_slice(&host.octets());
        address.bytes[24..28].copy_from_slice(&scope.to_ne_bytes());
        address
    }

    /// A Unix address: a path, or a name in the abstract namespace when the first byte is zero. `None` when it is too long.
    #[must_use]
    pub fn unix(path: &[u8]) -> Option<Self> {
        // A path ends with a zero byte, which is part of the address; no path at all stands for no name.
        let end = usize::from(path.first().is_some_and(|&first| first != 0));
        let fits = path.len() + end <= UNIX_PATH_BYTES;
        fits.then(|| {
            let mut address = Self::of_family(UNIX, FAMILY_BYTES + path.len() + end);
            address.bytes[FAMILY_BYTES..FAMILY_BYTES + path.len()].copy_from_slice(path);
            address
        })
    }

    fn of_family(family: Family, length: usize) -> Self {
        let mut address = Self::UNNAMED;
        // Families are small numbers, and no address is longer than the place for it.
        address.bytes[..FAMILY_BYTES].copy_from_slice(&u16::try_from(family).unwrap_or(0).to_ne_bytes());
        address.length = u32::try_from(length).unwrap_or(0);
        address
    }

    /// What the address says.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        let bytes = self.as_bytes();
        let [first, second, rest @ ..] = bytes else { return Parts::Unnamed };
        let family = u16::from_ne_bytes([*first, *second]);
        let port = || u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        match Family::from(family) {
            INET => Parts::V4(Ipv4Addr::from(self.four(4)), port()),
            INET6 => {
                let mut host = [0; 16];
                host.copy_from_slice(&self.bytes[8..24]);
                let (flow, scope) = (u32::from_be_bytes(self.four(4)), u32::from_ne_bytes(self.four(24)));
                Parts::V6(Ipv6Addr::from(host), port(), flow, scope)
            }
            UNIX if rest.first() == Some(&0) => Parts::UnixAbstract(rest),
            UNIX => Parts::UnixPath(rest.split(|&byte| byte == 0).next().unwrap_or_default()),
            _ => {
                let mut plain = [0; PLAIN_BYTES];
                plain.copy_from_slice(&self.bytes[FAMILY_BYTES..FAMILY_BYTES + PLAIN_BYTES]);
                Parts::Other(family, plain)
            }
        }
    }

    fn four(&self, start: usize) -> [u8; 4] {
        let mut four = [0; 4];
        four.copy_from_slice(&self.bytes[start..start + 4]);
        four
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length as usize]
    }

    /// For the kernel to read.
    pub(super) const fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    /// For the kernel to write, up to [`Self::CAPACITY`] bytes; [`Self::set_length`] says how many it wrote.
    pub(super) const fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.bytes.as_mut_ptr().cast()
    }

    /// Bytes that [`Self::as_mut_ptr`] has room for.
    #[expect(clippy::cast_possible_truncation, reason = "128")]
    pub(super) const CAPACITY: libc::socklen_t = CAPACITY as libc::socklen_t;

    /// Bytes of the address.
    pub(super) const fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// The kernel has written so many bytes, or would have, had there been room.
    pub(super) fn set_length(&mut self, length: libc::socklen_t) {
        self.length = length.min(Self::CAPACITY);
    }
}

impl PartialEq for SocketAddress {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SocketAddress {}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

/// An IPv6 address as `inet_ntop` of the GNU C library writes it: as Rust does, but for IPv4 addresses behind 96 zero bits.
#[must_use]
pub fn v6_text(host: Ipv6Addr) -> String {
    match host.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            format!("::{a}.{b}.{c}.{d}")
        }
        _ => host.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let v4 = SocketAddress::v4(Ipv4Addr::new(10, 1, 2, 3), 0x1234);
        assert_eq!(v4.parts(), Parts::V4(Ipv4Addr::new(10, 1, 2, 3), 0x1234));
        let host: Ipv6Addr = "fe80::1:2".parse().expect("an address");
        let v6 = SocketAddress::v6(host, 53, 0x000a_bcde, 7);
        assert_eq!(v6.parts(), Parts::V6(host, 53, 0x000a_bcde, 7));
        let path = SocketAddress::unix(b"/tmp/name").expect("short");
        assert_eq!(path.parts(), Parts::UnixPath(b"/tmp/name"));
        let hidden = SocketAddress::unix(b"\0hidden\0").expect("short");
        assert_eq!(hidden.parts(), Parts::UnixAbstract(b"\0hidden\0"));
        assert_eq!(SocketAddress::UNNAMED.parts(), Parts::Unnamed);
    }

    #[test]
    fn unix_names_are_as_long_as_the_kernel_allows() {
        assert!(SocketAddress::unix(&[b'a'; 107]).is_some());
        assert!(SocketAddress::unix(&[b'a'; 108]).is_none());
        assert!(SocketAddress::unix(&[0; 108]).is_some());
        assert!(SocketAddress::unix(&[0; 109]).is_none());
        let lengths = [&b""[..], b"a", b"\0", b"\0a"].map(|path| SocketAddress::unix(path).expect("short").length());
        assert_eq!(lengths, [2, 4, 3, 4]);
    }

    #[test]
    fn a_unix_socket_without_a_name_has_an_empty_path() {
        let mut address = SocketAddress::unix(b"/tmp/name").expect("short");
        address.set_length(2);
        assert_eq!(address.parts(), Parts::UnixPath(b""));
    }

    #[test]
    fn an_unknown_family_shows_its_bytes() {
        let mut address = SocketAddress::v4(Ipv4Addr::new(1, 2, 3, 4), 5);
        address.bytes[..2].copy_from_slice(&99_u16.to_ne_bytes());
        assert_eq!(address.parts(), Parts::Other(99, [0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn only_what_belongs_to_an_address_is_compared() {
        let first = SocketAddress::v4(Ipv4Addr::LOCALHOST, 1);
        let mut second = first;
        second.bytes[100] = 1;
        assert_eq!(first, second);
        assert_ne!(first, SocketAddress::v4(Ipv4Addr::LOCALHOST, 2));
        second.set_length(15);
        assert_ne!(first, second);
    }

    #[test]
    fn a_length_beyond_the_room_is_cut() {
        let mut address = SocketAddress::UNNAMED;
        address.set_length(1000);
        assert_eq!(address.length(), SocketAddress::CAPACITY);
    }

    #[test]
    fn ipv6_is_written_as_the_c_library_writes_it() {
        for text in [
            "::",
            "::1",
            "::2",
            "::1.2.3.4",
            "::1.0.0.0",
            "::ffff:1.2.3.4",
            "::ffff:0.0.0.0",
            "fe80::1",
            "1::",
            "1:0:0:2::3",
            "1::2:0:0:3",
            "1:0:2:3:4:5:6:7",
            "2001:db8:1:2:3:4:5:6",
            "::fffe:102:304",
            "64:ff9b::102:304",
            "0:0:0:1::",
        ] {
            assert_eq!(v6_text(text.parse().expect("an address")), text);
        }
    }
}

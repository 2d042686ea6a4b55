//! Where to connect or to listen: numeric addresses, and names that the system's resolver knows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::blocking::spawn_blocking;

/// A host and a port. Made from a `SocketAddr`, from a pair `(host, port)` and from a text `"host:port"`.
///
/// # Examples
/// ```
/// use std::net::Ipv4Addr;
/// use ferrio::net::Address;
///
/// for address in [Address::from("127.0.0.1:80"), ("127.0.0.1", 80).into(), (Ipv4Addr::LOCALHOST, 80).into()] {
///     let resolved = ferrio::run(ferrio::net::resolve(address))?;
///     assert_eq!(resolved, ["127.0.0.1:80".parse().expect("an address")]);
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Numeric(SocketAddr),
    Pair(String, u16),
    /// Host and port in one.
    Text(String),
}

impl From<(IpAddr, u16)> for Address {
    fn from((host, port): (IpAddr, u16)) -> Self {
        Self(Kind::Numeric(SocketAddr::new(host, port)))
    }
}

impl From<(Ipv4Addr, u16)> for Address {
    fn from((host, port): (Ipv4Addr, u16)) -> Self {
        (IpAddr::V4(host), port).into()
    }
}

impl From<(Ipv6Addr, u16)> for Address {
    fn from((host, port): (Ipv6Addr, u16)) -> Self {
        (IpAddr::V6(host), port).into()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Kind::Numeric(address))
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(host) => Self(Kind::Numeric(SocketAddr::new(host, port))),
            Err(_) => Self(Kind::Pair(host.to_owned(), port)),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self(Kind::Text(text.to_owned())), |address| Self(Kind::Numeric(address)))
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

/// The addresses behind a name, in the resolver's order. Names are looked up on a thread of
/// [`spawn_blocking`](crate::spawn_blocking); numeric addresses need none.
///
/// # Errors
/// What the resolver reports; [`io::ErrorKind::InvalidInput`] for a text without a port.
///
/// # Examples
/// ```
/// let addresses = ferrio::run(ferrio::net::resolve("localhost:80"))?;
/// assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
/// # std::io::Result::Ok(())
/// ```
pub async fn resolve(address: impl Into<Address>) -> io::Result<Vec<SocketAddr>> {
    match address.into().0 {
        Kind::Numeric(address) => Ok(vec![address]),
        Kind::Pair(host, port) => look_up((host, port)).await,
        Kind::Text(text) => look_up(text).await,
    }
}

async fn look_up(name: impl ToSocketAddrs + Send + 'static) -> io::Result<Vec<SocketAddr>> {
    spawn_blocking(move || name.to_socket_addrs().map(Iterator::collect)).await
}

//! Who is at the other end of a connection, as far as the system knows that.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A program at this address.
    At(SocketAddr),
    /// A program of this machine that came by a Unix socket. It has no address: no ban of one is about it.
    Unix,
}

impl Peer {
    /// Its address without the port, where it has one.
    pub fn ip(self) -> Option<IpAddr> {
        self.addr().map(|addr| addr.ip())
    }

    /// Its address, where it has one.
    pub fn addr(self) -> Option<SocketAddr> {
        match self {
            Peer::At(addr) => Some(addr),
            Peer::Unix => None,
        }
    }

    /// What is shown of it beside the port: its address, or `unix`.
    pub fn host(self) -> String {
        self.ip().map_or_else(|| Peer::Unix.to_string(), |ip| ip.to_string())
    }

    /// The same one, with an IPv4 address inside IPv6 (`::ffff:10.0.0.1`) as that IPv4 address.
    #[must_use]
    pub fn canonical(self) -> Peer {
        match self {
            Peer::At(addr) => Peer::At(SocketAddr::new(addr.ip().to_canonical(), addr.port())),
            Peer::Unix => Peer::Unix,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Peer {
        Peer::At(addr)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::At(addr) => addr.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_an_address_in_one_form_or_none() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().expect("an address");
        assert_eq!(Peer::from(mapped).canonical().to_string(), "192.0.2.1:7");
        assert_eq!(
            (Peer::Unix.canonical().to_string(), Peer::Unix.host()),
            ("unix".to_owned(), "unix".to_owned())
        );
        assert_eq!(Peer::from(mapped).canonical().host(), "192.0.2.1");
        assert_eq!((Peer::Unix.ip(), Peer::Unix.addr()), (None, None));
    }
}

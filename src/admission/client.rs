//! Who is at the door.

use std::net::IpAddr;

/// A client as its CONNECT presents it, in the one form that bans are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    peer: Option<IpAddr>,
    client_id: Option<&'a str>,
    username: Option<&'a str>,
    tls: TlsIdentity<'a>,
}

/// What a client's TLS says of it. Nothing where it speaks none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsIdentity<'a> {
    /// The common name of its certificate.
    pub cert_cn: Option<&'a str>,
    /// The SHA-256 of its certificate, in lower-case hexadecimal.
    pub cert_sha256: Option<&'a str>,
    /// The JA4 fingerprint of its ClientHello.
    pub ja4: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// A client at this address, or without one, with this CONNECT. An IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is
    /// that IPv4 address; an empty client identifier is none, since the broker will choose one.
    pub fn new(peer: impl Into<Option<IpAddr>>, client_id: &'a str, username: Option<&'a str>) -> Client<'a> {
        let peer = peer.into().map(|peer| peer.to_canonical());
        let client_id = Some(client_id).filter(|id| !id.is_empty());
        Client { peer, client_id, username, tls: TlsIdentity::default() }
    }

    /// The same client, which speaks TLS.
    #[must_use]
    pub fn with_tls(self, tls: TlsIdentity<'a>) -> Client<'a> {
        Client { tls, ..self }
    }

    /// What its TLS says of it.
    pub fn tls(&self) -> TlsIdentity<'a> {
        self.tls
    }

    /// The address that it comes from, in canonical form; none where it came by a Unix socket. No rule about addresses
    /// names such a client, and no detector counts it by address.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The client identifier, where it has one.
    pub fn client_id(&self) -> Option<&'a str> {
        self.client_id
    }

    /// The user name, where it has one; it may be empty.
    pub fn username(&self) -> Option<&'a str> {
        self.username
    }
}

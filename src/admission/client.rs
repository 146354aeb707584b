//! Who is at the door.

use std::net::IpAddr;

/// A client as its CONNECT presents it, in the one form that bans are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    peer: IpAddr,
    client_id: Option<&'a str>,
    username: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// A client at this address with this CONNECT. An IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is that IPv4
    /// address; an empty client identifier is none, since the broker will choose one.
    pub fn new(peer: IpAddr, client_id: &'a str, username: Option<&'a str>) -> Client<'a> {
        Client { peer: peer.to_canonical(), client_id: Some(client_id).filter(|id| !id.is_empty()), username }
    }

    /// The address that it comes from, in canonical form.
    pub fn peer(&self) -> IpAddr {
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

//! One refused client, or one place that has too many of them to tell apart.

use super::reason::Reason;
use crate::admission::{As, Client, Timestamp, TlsIdentity, Who};
use compact_str::{CompactString, ToCompactString};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;
use std::sync::Arc;

/// A client that was turned away just now.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Who it claimed to be. Before a CONNECT was read: the address, and no names.
    pub client: Client<'a>,
    /// Whether its CONNECT had a password; unknown without a CONNECT.
    pub has_password: Option<bool>,
    /// It spoke TLS.
    pub is_tls: bool,
    /// The name of the server that it asked for by TLS.
    pub server_name: Option<&'a str>,
    /// The load balancer that spoke for it.
    pub via: Option<IpAddr>,
    /// The listener that it came to.
    pub listener: &'a Arc<str>,
    /// The listener's zone.
    pub zone: &'a Arc<str>,
    /// Why it was turned away.
    pub reason: Reason,
    /// Whom the ban names that refused it.
    pub ban: Option<&'a Who>,
}

/// The number of a row: no two ever have the same.
pub type RowId = u64;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: RowId,
    /// Who was turned away.
    pub origin: Origin,
    /// The client identifier, at most 256 bytes of it; `None` where it had none, or was not told apart.
    pub client_id: Option<CompactString>,
    /// The user name, likewise.
    pub username: Option<CompactString>,
    /// Whether its CONNECT had a password; `None` where there was no CONNECT.
    pub has_password: Option<bool>,
    /// It spoke TLS.
    pub is_tls: bool,
    /// What its TLS told last. Most tell nothing.
    pub tls: Option<Box<TlsSeen>>,
    /// The load balancer that spoke for it last.
    pub via: Option<IpAddr>,
    /// The listener that it came to last.
    pub listener: Arc<str>,
    /// That listener's zone.
    pub zone: Arc<str>,
    /// Why it was turned away last.
    pub reason: Reason,
    /// What kind of ban refused it last, and whom that names, at most 256 bytes of it.
    pub ban: Option<(As, CompactString)>,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// How often it came.
    pub count: u64,
}

/// What the TLS of a refused client told, of each part at most 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSeen {
    /// The name of the server that it asked for.
    pub server_name: Option<CompactString>,
    /// The fingerprint of its ClientHello, as soon as that was read.
    pub ja4: Option<CompactString>,
    /// The common name of its certificate, where it has shown one.
    pub cert_cn: Option<CompactString>,
    /// The SHA-256 of its certificate.
    pub cert_sha256: Option<CompactString>,
}

impl TlsSeen {
    fn of(attempt: &Attempt<'_>) -> Option<Box<TlsSeen>> {
        let TlsIdentity { cert_cn, cert_sha256, ja4 } = attempt.client.tls();
        let told = [attempt.server_name, ja4, cert_cn, cert_sha256];
        if told.iter().all(Option::is_none) {
            return None;
        }
        let [server_name, ja4, cert_cn, cert_sha256] = told.map(|told| told.map(cut));
        Some(Box::new(TlsSeen { server_name, ja4, cert_cn, cert_sha256 }))
    }
}

/// Whom a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// One client, at this address; at none where it came by a Unix socket.
    One(Option<IpAddr>),
    /// All from this place who found no row of their own any more.
    Others(Place),
}

/// The most bytes that are kept of a name.
pub(super) const MAX_NAME: usize = 256;

impl Row {
    pub(super) fn new(id: RowId, origin: Origin, attempt: &Attempt<'_>, now: Timestamp) -> Row {
        let mut row = Row {
            id,
            origin,
            client_id: None,
            username: None,
            has_password: None,
            is_tls: false,
            tls: None,
            via: None,
            listener: Arc::clone(attempt.listener),
            zone: Arc::clone(attempt.zone),
            reason: attempt.reason,
            ban: None,
            first: now,
            last: now,
            count: 0,
        };
        if let Origin::One(_) = origin {
            row.client_id = attempt.client.client_id().map(cut);
            row.username = attempt.client.username().map(cut);
        }
        row.note(attempt, now);
        row
    }

    pub(super) fn note(&mut self, attempt: &Attempt<'_>, now: Timestamp) {
        self.count += 1;
        self.last = now;
        self.reason = attempt.reason;
        self.has_password = attempt.has_password;
        self.is_tls = attempt.is_tls;
        self.tls = TlsSeen::of(attempt);
        self.via = attempt.via;
        if !Arc::ptr_eq(&self.listener, attempt.listener) {
            self.listener = Arc::clone(attempt.listener);
            self.zone = Arc::clone(attempt.zone);
        }
        self.ban = attempt.ban.map(|who| (who.kind(), cut_name(who)));
    }
}

impl Origin {
    /// The address or network as text.
    pub fn text(self) -> String {
        match self {
            Origin::One(Some(addr)) => addr.to_string(),
            Origin::Others(Some(IpNet::V4(net))) => net.addr().to_string(),
            Origin::Others(Some(net)) => net.to_string(),
            Origin::One(None) | Origin::Others(None) => "unix".to_owned(),
        }
    }
}

/// A network whose addresses are one origin's, or none: the Unix sockets of this machine.
pub type Place = Option<IpNet>;

/// Whose addresses are one origin's: an IPv4 address, an IPv6 /64.
pub(super) fn place_of(addr: Option<IpAddr>) -> Place {
    addr.map(|addr| match addr {
        IpAddr::V4(addr) => Ipv4Net::from(addr).into(),
        // No prefix is longer than 128.
        IpAddr::V6(addr) => Ipv6Net::new(addr, 64).unwrap_or_default().trunc().into(),
    })
}

fn cut_name(who: &Who) -> CompactString {
    match who {
        Who::ClientId(name) | Who::Username(name) => cut(name),
        _ => cut(&who.to_compact_string()),
    }
}

/// A name as it is kept: at most 256 bytes of it. One that is cut shows it.
pub fn cut(name: &str) -> CompactString {
    if name.len() <= MAX_NAME {
        return name.into();
    }
    let end = name.floor_char_boundary(MAX_NAME - '…'.len_utf8());
    let mut cut = CompactString::from(name.get(..end).unwrap_or_default());
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters_and_shows_it() {
        let kept = cut(&"ä".repeat(30_000));
        assert!(kept.len() <= MAX_NAME && kept.ends_with("ä…"), "{kept}");
        assert_eq!(cut("short"), "short");
    }
}

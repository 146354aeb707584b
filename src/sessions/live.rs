//! One session that lives.

use crate::admission::{Client, Timestamp, TlsIdentity};
use crate::net::kick::Kick;
use crate::net::peer::Peer;
use crate::net::tls::{CertFacts, TlsFacts};
use crate::wire::mqtt::Version;
use compact_str::CompactString;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What is known of a session when it begins.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// The client identifier as its CONNECT has it; empty where the broker is to choose one.
    pub client_id: &'a str,
    /// The user name.
    pub username: Option<&'a str>,
    /// Where it comes from, in canonical form.
    pub peer: Peer,
    /// The listener that it came through.
    pub listener: Arc<str>,
    /// The listener's zone.
    pub zone: Arc<str>,
    /// Which broker it was taken to.
    pub upstream: &'a str,
    /// Its MQTT version.
    pub version: Version,
    /// It wants no earlier session back.
    pub clean_start: bool,
    /// The Keep Alive of its CONNECT, in seconds.
    pub keep_alive: u16,
    /// The load balancer that speaks for it, where one does.
    pub via: Option<Peer>,
    /// It speaks TLS, with us or with the load balancer.
    pub is_tls: bool,
    /// What its TLS handshake told, where it speaks TLS with us.
    pub tls: Option<Arc<TlsFacts>>,
    /// The common name of its certificate, by its own TLS or as the load balancer says.
    pub cert_cn: Option<&'a str>,
    /// When it was let in.
    pub since: Timestamp,
    /// Bytes of its CONNECT, and what came along with it.
    pub received: u64,
}

/// A session that lives. Who relays it counts its bytes; anybody may read them, and kick it.
#[derive(Debug)]
pub struct Live {
    number: u64,
    since: Timestamp,
    /// Set at the beginning, or by the broker.
    client_id: OnceLock<CompactString>,
    username: Option<CompactString>,
    upstream: CompactString,
    listener: Arc<str>,
    zone: Arc<str>,
    from_client: AtomicU64,
    to_client: AtomicU64,
    kick: Kick,
    /// None where it came by a Unix socket.
    peer: Option<IpAddr>,
    port: u16,
    /// Most have none.
    via: Option<Box<Peer>>,
    keep_alive: AtomicU16,
    version: Version,
    clean_start: bool,
    is_tls: bool,
    tls: Option<Arc<TlsFacts>>,
    /// What the load balancer says of its certificate, where it speaks no TLS with us.
    announced_cn: Option<Box<str>>,
    accepted: AtomicBool,
}

impl Live {
    pub(super) fn new(number: u64, guest: Guest<'_>) -> Live {
        let client_id = OnceLock::new();
        if !guest.client_id.is_empty() {
            // It was empty a line ago.
            let _ = client_id.set(guest.client_id.into());
        }
        Live {
            number,
            since: guest.since,
            client_id,
            username: guest.username.map(CompactString::from),
            upstream: guest.upstream.into(),
            listener: guest.listener,
            zone: guest.zone,
            from_client: AtomicU64::new(guest.received),
            to_client: AtomicU64::new(0),
            kick: Kick::default(),
            peer: guest.peer.ip(),
            port: guest.peer.addr().map_or(0, |addr| addr.port()),
            via: guest.via.map(Box::new),
            keep_alive: AtomicU16::new(guest.keep_alive),
            version: guest.version,
            clean_start: guest.clean_start,
            is_tls: guest.is_tls,
            announced_cn: guest.cert_cn.filter(|_| guest.tls.is_none()).map(Box::from),
            tls: guest.tls,
            accepted: AtomicBool::new(false),
        }
    }

    /// Its number: sessions are numbered in the order in which they begin, and no two ever have the same.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was let in.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The client identifier: its own, or the one that the broker has chosen for it. Empty while nobody has one.
    pub fn client_id(&self) -> &str {
        self.client_id.get().map_or("", CompactString::as_str)
    }

    /// False when it had a client identifier already.
    pub(super) fn set_client_id(&self, client_id: &str) -> bool {
        self.client_id.set(client_id.into()).is_ok()
    }

    /// The user name.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Where the client comes from.
    pub fn peer(&self) -> Peer {
        self.peer.map_or(Peer::Unix, |ip| Peer::At(SocketAddr::new(ip, self.port)))
    }

    /// The load balancer that speaks for the client, where one does.
    pub fn via(&self) -> Option<Peer> {
        self.via.as_deref().copied()
    }

    /// The client as bans name it.
    pub fn client(&self) -> Client<'_> {
        let client = Client::new(self.peer, self.client_id(), self.username());
        client.with_tls(TlsIdentity {
            cert_cn: self.cert_cn(),
            cert_sha256: self.cert().map(|cert| cert.sha256.as_str()),
            ja4: self.tls.as_ref().map(|tls| tls.ja4.as_str()),
        })
    }

    /// The common name of its certificate, by its own TLS or as the load balancer says.
    pub fn cert_cn(&self) -> Option<&str> {
        if self.tls.is_none() { self.announced_cn.as_deref() } else { self.cert()?.cn.as_deref() }
    }

    fn cert(&self) -> Option<&CertFacts> {
        self.tls.as_ref()?.cert.as_ref()
    }

    /// The listener that it came through.
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// The listener's zone when the session began.
    pub fn zone(&self) -> &Arc<str> {
        &self.zone
    }

    /// Which broker it was taken to.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Its MQTT version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// It wanted no earlier session back.
    pub fn clean_start(&self) -> bool {
        self.clean_start
    }

    /// The Keep Alive that holds, in seconds.
    pub fn keep_alive(&self) -> u16 {
        self.keep_alive.load(Ordering::Relaxed)
    }

    /// True where the client speaks TLS, with us or with the load balancer.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// What its TLS handshake told, where it speaks TLS with us.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_deref()
    }

    /// True once the broker's CONNACK has said yes.
    pub fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The broker's CONNACK has said yes, and which Keep Alive holds.
    pub fn accept(&self, keep_alive: u16) {
        self.keep_alive.store(keep_alive, Ordering::Relaxed);
        self.accepted.store(true, Ordering::Relaxed);
    }

    /// Bytes that came from the client, its CONNECT included, and bytes that came for it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.from_client.load(Ordering::Relaxed), self.to_client.load(Ordering::Relaxed))
    }

    /// Counts bytes from the client. Only for whoever relays the session.
    pub fn count_from_client(&self, bytes: usize) {
        add(&self.from_client, bytes);
    }

    /// Counts bytes for the client. Only for whoever relays the session.
    pub fn count_to_client(&self, bytes: usize) {
        add(&self.to_client, bytes);
    }

    /// Ends the session; it is gone for whoever asks from now on. True when nobody had kicked it before.
    pub fn kick(&self) -> bool {
        self.kick.raise()
    }

    /// True once it was kicked: it lives for another moment.
    pub fn is_kicked(&self) -> bool {
        self.kick.is_raised()
    }

    /// The signal that ends it.
    pub fn kick_signal(&self) -> &Kick {
        &self.kick
    }
}

/// One task alone counts, so that no bus has to be locked.
fn add(count: &AtomicU64, bytes: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(bytes as u64), Ordering::Relaxed);
}

//! A list of bans (or of exemptions, which have the same form), and the answer to "which of them names this client?".
//!
//! No check tries rule by rule, and none takes a lock: names and addresses are concurrent hash maps, networks a trie,
//! patterns an index by the text that they demand. A change is in force when the call returns, at any size.

use super::ban::{Ban, Terms};
use super::client::{Client, TlsIdentity};
use super::ends::Ends;
use super::networks::NetworkMap;
use super::pattern::{Class, PatternIndex, TooMany};
use super::time::Timestamp;
use super::who::{As, Who};
use compact_str::{CompactString, ToCompactString};
use std::borrow::Borrow;
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Map<K> = papaya::HashMap<K, Terms, foldhash::fast::RandomState>;

/// A list of bans. Shared by reference; every method takes `&self`. Changes wait for each other, checks for nobody.
#[derive(Debug, Default)]
pub struct BanList {
    client_ids: Map<CompactString>,
    usernames: Map<CompactString>,
    cert_cns: Map<CompactString>,
    cert_digests: Map<CompactString>,
    fingerprints: Map<CompactString>,
    peers: Map<IpAddr>,
    networks: NetworkMap<Arc<Ban>>,
    client_id_patterns: PatternIndex<Arc<Ban>>,
    username_patterns: PatternIndex<Arc<Ban>>,
    peer_patterns: PatternIndex<Arc<Ban>>,
    /// The bans that end, by their end. Whoever changes the list holds this.
    ends: Mutex<Ends>,
}

/// How many bans of a kind have each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// The kind.
    pub kind: As,
    /// Those that hold.
    pub active: usize,
    /// As [`Status::Expired`](super::Status::Expired).
    pub expired: usize,
    /// As [`Status::DeletingSoon`](super::Status::DeletingSoon).
    pub deleting_soon: usize,
}

/// What patterns are shown of a client that names itself not at all: brokers make up an identifier for it, and a
/// pattern that fits any identifier must not be escaped by sending none. (EMQX matches the one that it has made up.)
const MADE_UP_CLIENT_ID: &str = "7Gk2xQ0vT9mWc4RbLz1YdHs";

impl BanList {
    /// The first ban that names `client` and holds at `now`. Order: client identifier, user name, certificate, fingerprint, address, networks
    /// (the longest prefix first), then patterns on each of the three.
    pub fn check(&self, client: &Client<'_>, now: Timestamp) -> Option<Ban> {
        let by_client_id = || {
            let id = client.client_id()?;
            Some(Ban { terms: active(&self.client_ids, id, now)?, who: Who::ClientId(id.into()) })
        };
        let by_username = || {
            let name = client.username()?;
            Some(Ban { terms: active(&self.usernames, name, now)?, who: Who::Username(name.into()) })
        };
        by_client_id()
            .or_else(by_username)
            .or_else(|| self.check_tls(client.tls(), now))
            .or_else(|| self.check_peer(client.peer()?, now))
            .or_else(|| self.check_patterns(client, now))
    }

    /// The ban of what TLS says of a client that holds at `now`.
    fn check_tls(&self, tls: TlsIdentity<'_>, now: Timestamp) -> Option<Ban> {
        let by_cn = || {
            let cn = tls.cert_cn?;
            Some(Ban { terms: active(&self.cert_cns, cn, now)?, who: Who::CertCn(cn.into()) })
        };
        let by_digest = || {
            let digest = tls.cert_sha256?;
            Some(Ban { terms: active(&self.cert_digests, digest, now)?, who: Who::CertSha256(digest.into()) })
        };
        by_cn().or_else(by_digest).or_else(|| self.check_ja4(tls.ja4?, now))
    }

    /// The ban of a fingerprint that holds at `now`, before anything else is known of the client.
    pub fn check_ja4(&self, ja4: &str, now: Timestamp) -> Option<Ban> {
        Some(Ban { terms: active(&self.fingerprints, ja4, now)?, who: Who::TlsJa4(ja4.into()) })
    }

    /// The ban of an address or its network that holds at `now`, before anything else is known of the client.
    pub fn check_peer(&self, peer: IpAddr, now: Timestamp) -> Option<Ban> {
        let peer = peer.to_canonical();
        let exact = || Some(Ban { terms: active(&self.peers, &peer, now)?, who: Who::PeerHost(peer) });
        exact().or_else(|| {
            // The trie shows the shortest prefix first; the longest is the verdict.
            let mut longest = None;
            let _ = self.networks.for_each_covering(peer, |_, ban| {
                if ban.terms.is_active(now) {
                    longest = Some(Arc::clone(ban));
                }
                ControlFlow::<()>::Continue(())
            });
            longest.map(Arc::unwrap_or_clone)
        })
    }

    fn check_patterns(&self, client: &Client<'_>, now: Timestamp) -> Option<Ban> {
        let matching = |index: &PatternIndex<Arc<Ban>>, text: &str| {
            if index.is_empty() {
                return None;
            }
            first(|visit| index.for_each_match(text.as_bytes(), visit), now)
        };
        matching(&self.client_id_patterns, client.client_id().unwrap_or(MADE_UP_CLIENT_ID))
            .or_else(|| matching(&self.username_patterns, client.username()?))
            .or_else(|| {
                // The text of an address is made only when somebody asks for it.
                let peer = client.peer().filter(|_| !self.peer_patterns.is_empty())?;
                matching(&self.peer_patterns, &peer.to_compact_string())
            })
    }

    /// Every ban that names `client`, in the order of evaluation, whether it holds or has ended.
    pub fn hits(&self, client: &Client<'_>) -> Vec<Ban> {
        let peer = client.peer();
        let exact = [
            client.client_id().map(|id| Who::ClientId(id.into())),
            client.username().map(|name| Who::Username(name.into())),
            client.tls().cert_cn.map(|cn| Who::CertCn(cn.into())),
            client.tls().cert_sha256.map(|digest| Who::CertSha256(digest.into())),
            client.tls().ja4.map(|ja4| Who::TlsJa4(ja4.into())),
            peer.map(Who::PeerHost),
        ];
        let mut hits: Vec<Ban> = exact.into_iter().flatten().filter_map(|who| self.get(&who)).collect();
        let mut networks = Vec::new();
        if let Some(peer) = peer {
            let _ = self.networks.for_each_covering(peer, |_, ban| {
                networks.push(Ban::clone(ban));
                ControlFlow::<()>::Continue(())
            });
        }
        hits.extend(networks.into_iter().rev());
        let mut collect = |ban: &Arc<Ban>| {
            hits.push(Ban::clone(ban));
            ControlFlow::<()>::Continue(())
        };
        let client_id = client.client_id().unwrap_or(MADE_UP_CLIENT_ID);
        let _ = self.client_id_patterns.for_each_match(client_id.as_bytes(), &mut collect);
        if let Some(username) = client.username() {
            let _ = self.username_patterns.for_each_match(username.as_bytes(), &mut collect);
        }
        if let Some(peer) = peer {
            let _ = self.peer_patterns.for_each_match(peer.to_compact_string().as_bytes(), &mut collect);
        }
        hits
    }

    /// The ban that names `who`, whether it holds or has ended.
    pub fn get(&self, who: &Who) -> Option<Ban> {
        let terms = match who {
            Who::ClientId(id) => self.client_ids.pin().get(id).cloned(),
            Who::Username(name) => self.usernames.pin().get(name).cloned(),
            Who::CertCn(cn) => self.cert_cns.pin().get(cn).cloned(),
            Who::CertSha256(digest) => self.cert_digests.pin().get(digest).cloned(),
            Who::TlsJa4(ja4) => self.fingerprints.pin().get(ja4).cloned(),
            Who::PeerHost(peer) => self.peers.pin().get(peer).cloned(),
            Who::PeerHostNet(net) => return self.networks.get(*net).map(|ban| Ban::clone(&ban)),
            Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => {
                return self.patterns(who.kind())?.get(pattern.source()).map(|ban| Ban::clone(&ban));
            }
        };
        terms.map(|terms| Ban { who: who.clone(), terms })
    }

    /// Whether the list can hold this ban: expensive patterns are limited in number.
    ///
    /// # Errors
    /// There are too many patterns of its class already.
    pub fn can_hold(&self, who: &Who) -> Result<(), TooMany> {
        match (who.pattern(), self.patterns(who.kind())) {
            (Some(pattern), Some(index)) => index.can_hold(pattern),
            _ => Ok(()),
        }
    }

    /// Adds a ban, or changes the one that names the same; returns the one before. Checks that begin after this
    /// returns see it.
    ///
    /// # Errors
    /// There are too many expensive patterns already; nothing has changed.
    pub fn insert(&self, ban: Ban) -> Result<Option<Ban>, TooMany> {
        let mut ends = self.lock();
        self.insert_locked(&mut ends, ban)
    }

    fn insert_locked(&self, ends: &mut Ends, ban: Ban) -> Result<Option<Ban>, TooMany> {
        let (who, until) = (ban.who.clone(), ban.terms.until);
        let before = match ban.who {
            Who::ClientId(id) => self.client_ids.pin().insert(id, ban.terms).cloned(),
            Who::Username(name) => self.usernames.pin().insert(name, ban.terms).cloned(),
            Who::CertCn(cn) => self.cert_cns.pin().insert(cn, ban.terms).cloned(),
            Who::CertSha256(digest) => self.cert_digests.pin().insert(digest, ban.terms).cloned(),
            Who::TlsJa4(ja4) => self.fingerprints.pin().insert(ja4, ban.terms).cloned(),
            Who::PeerHost(peer) => self.peers.pin().insert(peer, ban.terms).cloned(),
            Who::PeerHostNet(net) => self.networks.insert(net, Arc::new(ban)).map(|ban| ban.terms.clone()),
            Who::ClientIdRe(ref pattern) | Who::UsernameRe(ref pattern) | Who::PeerHostRe(ref pattern) => {
                let (pattern, kind) = (pattern.clone(), who.kind());
                match self.patterns(kind) {
                    Some(index) => index.insert(pattern, Arc::new(ban))?.map(|ban| ban.terms.clone()),
                    None => None,
                }
            }
        };
        if let Some(before) = &before {
            ends.remove(&who, before.until);
        }
        ends.insert(&who, until);
        let before = before.map(|terms| Ban { who, terms });
        Ok(before)
    }

    /// Takes the ban that names `who` off the list, active or not, and returns it.
    pub fn remove(&self, who: &Who) -> Option<Ban> {
        let mut ends = self.lock();
        self.remove_locked(&mut ends, who)
    }

    fn remove_locked(&self, ends: &mut Ends, who: &Who) -> Option<Ban> {
        let named = |terms: Option<&Terms>| Some(Ban { who: who.clone(), terms: terms?.clone() });
        let ban = match who {
            Who::ClientId(id) => named(self.client_ids.pin().remove(id)),
            Who::Username(name) => named(self.usernames.pin().remove(name)),
            Who::CertCn(cn) => named(self.cert_cns.pin().remove(cn)),
            Who::CertSha256(digest) => named(self.cert_digests.pin().remove(digest)),
            Who::TlsJa4(ja4) => named(self.fingerprints.pin().remove(ja4)),
            Who::PeerHost(peer) => named(self.peers.pin().remove(peer)),
            Who::PeerHostNet(net) => self.networks.remove(*net).map(|ban| Ban::clone(&ban)),
            Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => {
                self.patterns(who.kind())?.remove(pattern.source()).map(|ban| Ban::clone(&ban))
            }
        }?;
        ends.remove(who, ban.terms.until);
        Some(ban)
    }

    /// The bans that ended at `moment` or before, the oldest first, at most `limit` of them. Costs what they are, not
    /// what the list is.
    pub fn ended_by(&self, moment: Timestamp, limit: usize) -> Vec<Who> {
        self.lock().ended_by(moment, limit)
    }

    /// How many bans of this kind are in the list, active or not.
    pub fn count(&self, kind: As) -> usize {
        match kind {
            As::ClientId => self.client_ids.len(),
            As::Username => self.usernames.len(),
            As::CertCn => self.cert_cns.len(),
            As::CertSha256 => self.cert_digests.len(),
            As::TlsJa4 => self.fingerprints.len(),
            As::PeerHost => self.peers.len(),
            As::PeerHostNet => self.networks.len(),
            As::ClientIdRe | As::UsernameRe | As::PeerHostRe => {
                self.patterns(kind).map_or(0, PatternIndex::len)
            }
        }
    }

    /// How many bans of each kind have each status at `now`, when bans are kept for `ttl` after their end. Costs what has
    /// ended since it was asked last, not what the list is.
    pub fn statuses(&self, now: Timestamp, ttl: Duration) -> [Statuses; As::ALL.len()] {
        // Whoever adds a ban meanwhile does not wait for all of them.
        while !self.lock().advance(now, ttl, AT_ONCE) {}
        let ends = self.lock();
        As::ALL.map(|kind| {
            let (expired, deleting_soon) = ends.ended(kind);
            let active = self.count(kind).saturating_sub(expired + deleting_soon);
            Statuses { kind, active, expired, deleting_soon }
        })
    }

    /// How many patterns of this class are in the list. Those of the classes [`Class::Unfilterable`] and
    /// [`Class::Lookaround`] cost every check.
    pub fn count_class(&self, class: Class) -> usize {
        self.pattern_indexes().iter().map(|index| index.count(class)).sum()
    }

    /// How many patterns of this kind and class are in the list: what [`Class::max`] limits.
    pub fn count_of(&self, kind: As, class: Class) -> usize {
        self.patterns(kind).map_or(0, |index| index.count(class))
    }

    /// How many times a pattern could not be decided within its limits, and counted as a match.
    pub fn undecided(&self) -> u64 {
        self.pattern_indexes().iter().map(|index| index.undecided()).sum()
    }

    /// True when [`compact`](BanList::compact) would make checks cheaper.
    pub fn needs_compaction(&self) -> bool {
        self.pattern_indexes().iter().any(|index| index.needs_compaction())
    }

    /// Rearranges the patterns that have come since the last time. Takes up to seconds; checks and changes go on
    /// meanwhile.
    pub fn compact(&self) {
        for index in self.pattern_indexes().into_iter().filter(|index| index.needs_compaction()) {
            index.compact();
        }
    }

    fn patterns(&self, kind: As) -> Option<&PatternIndex<Arc<Ban>>> {
        match kind {
            As::ClientIdRe => Some(&self.client_id_patterns),
            As::UsernameRe => Some(&self.username_patterns),
            As::PeerHostRe => Some(&self.peer_patterns),
            As::ClientId
            | As::Username
            | As::CertCn
            | As::CertSha256
            | As::TlsJa4
            | As::PeerHost
            | As::PeerHostNet => None,
        }
    }

    fn pattern_indexes(&self) -> [&PatternIndex<Arc<Ban>>; 3] {
        [&self.client_id_patterns, &self.username_patterns, &self.peer_patterns]
    }

    /// A change that panicked has left the maps whole; at worst it has left an end without its ban, which is skipped.
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many ends are counted under one lock.
const AT_ONCE: usize = 10_000;

fn active<K, Q>(map: &Map<K>, key: &Q, now: Timestamp) -> Option<Terms>
where
    K: Hash + Eq + Borrow<Q>,
    Q: Hash + Eq + ?Sized,
{
    map.pin().get(key).filter(|terms| terms.is_active(now)).cloned()
}

/// The first ban that `each` shows and that holds at `now`.
fn first(
    each: impl FnOnce(&mut dyn FnMut(&Arc<Ban>) -> ControlFlow<Ban>) -> ControlFlow<Ban>,
    now: Timestamp,
) -> Option<Ban> {
    let mut visit = |ban: &Arc<Ban>| {
        if ban.terms.is_active(now) { ControlFlow::Break(Ban::clone(ban)) } else { ControlFlow::Continue(()) }
    };
    each(&mut visit).break_value()
}

//! Under which keys things are remembered, and what is known of them.

use super::Detection;
use super::duplicates::Holder;
use super::facts::{Facts, Keys};
use super::finding::Detector;
use super::key::Kind;
use super::known::Hand;
use super::strike::Now;
use std::time::Duration;

impl Detection {
    pub(super) fn broker_key(&self, upstream: &str) -> u64 {
        self.secret.own_name(Kind::Upstream, upstream)
    }

    pub(super) fn holder_key(&self, zone: u64, client_id: u64) -> u64 {
        self.secret.key(Kind::Origin, &[zone, client_id])
    }

    pub(super) fn holder(&self, facts: &Facts<'_>) -> Option<Holder> {
        let id = self.holder_key(facts.keys.zone, facts.keys.client_id?);
        let origin = self.secret.key(
            Kind::Origin,
            &[facts.keys.peer, facts.keys.username.unwrap_or(0), facts.keys.credentials.unwrap_or(0)],
        );
        Some(Holder { id, origin, peer: facts.peer })
    }

    /// The key under which it is remembered that a client stayed for long: it has to come under the same user name.
    pub(super) fn resident_key(&self, facts: &Facts<'_>) -> Option<u64> {
        let id = facts.keys.client_id?;
        let parts = [facts.keys.zone, id, facts.keys.username.unwrap_or(0)];
        Some(self.secret.key_of(id, Kind::Resident, &parts))
    }

    /// The key of a client identifier as something that is owned, and who the owner would be.
    pub(super) fn owner(&self, facts: &Facts<'_>) -> Option<(u64, u16)> {
        let id = facts.keys.client_id?;
        let name = self.secret.key_of(id, Kind::Owner, &[facts.keys.zone, id]);
        // Who has no password is told by its address.
        let proof = facts.keys.credentials.unwrap_or(facts.keys.peer);
        let owner = self.secret.key(Kind::Owner, &[facts.keys.username.unwrap_or(0), proof]);
        #[expect(clippy::cast_possible_truncation, reason = "16 bits of a hash")]
        Some((name, owner as u16))
    }

    /// True when the client identifier is known to belong to somebody else.
    pub(super) fn is_anothers(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        self.owner(facts).is_some_and(|(name, owner)| {
            hand.clients(name).marks.tag(name, now.moment).is_some_and(|known| known != owner)
        })
    }

    pub(super) fn is_old_resident(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        self.resident_key(facts).is_some_and(|key| hand.clients(key).marks.is_known(key, now.moment))
    }

    /// The key of a client seen at a place.
    pub(super) fn seen_key(&self, facts: &Facts<'_>, place: u64) -> u64 {
        let Keys { zone, identity, .. } = facts.keys;
        self.secret.key_of(identity, Kind::Seen, &[zone, place, identity])
    }

    /// The key of how often a client comes to its source.
    pub(super) fn pace_key(&self, facts: &Facts<'_>) -> u64 {
        let Keys { zone, source, identity, .. } = facts.keys;
        self.secret.key_of(identity, Kind::Pace, &[zone, source, identity])
    }

    /// Reads what is about to be asked of a client.
    pub(super) fn read_ahead(&self, facts: &Facts<'_>, was_resident: bool, hand: &mut Hand<'_>) {
        let policy = facts.policy;
        let mut read = 0;
        if facts.lived < SHORT {
            let seen = &hand.clients(facts.keys.identity).seen;
            let mut read_at = |place| read ^= seen.read(self.seen_key(facts, place));
            if policy.by_peerhost.is_some() {
                read_at(facts.keys.peer);
            }
            if let (Some(_), Some(username)) = (&policy.by_username, facts.keys.username) {
                read_at(username);
            }
            for (_, network) in facts.keys.networks.into_iter().flatten() {
                read_at(network);
            }
            if policy.connection_rate.is_some() {
                read ^= seen.read(self.pace_key(facts));
            }
        }
        if facts.is_accepted {
            if let Some((name, _)) = self.owner(facts) {
                read ^= hand.clients(name).marks.read(name);
            }
            if let Some(resident) = self.resident_key(facts).filter(|_| was_resident || facts.lived < SHORT) {
                read ^= hand.clients(resident).marks.read(resident);
            }
            if let (Some(by), Some(id)) = (&policy.by_clientid, facts.keys.client_id) {
                let key = self.window_key(facts, Detector::ByClientId, id, &by.threshold);
                read ^= hand.clients(key).singles.read(key);
            }
        }
        std::hint::black_box(read);
    }

    pub(super) fn place_key(&self, zone: u64, place: u64) -> u64 {
        self.secret.key_of(place, Kind::Population, &[zone, place])
    }

    /// The places where a session lives, of those that anything is weighed against.
    pub(super) fn places_of(&self, facts: &Facts<'_>) -> [Option<u64>; 5] {
        let (policy, zone) = (facts.policy, facts.keys.zone);
        let Keys { peer, source, networks, .. } = facts.keys;
        let mut places = [None; 5];
        let mut free = places.iter_mut();
        let mut add = |place| {
            if let Some(free) = free.next() {
                *free = Some(self.place_key(zone, place));
            }
        };
        if let (Some(_), Some(username)) = (&policy.by_username, facts.keys.username) {
            add(username);
        }
        let weighs_sources = policy.weighs_sources();
        if weighs_sources {
            add(peer);
        }
        // Of IPv6, a source is a network that may be counted by itself.
        let is_place = |network| weighs_sources && network == source;
        if weighs_sources && source != peer {
            add(source);
        }
        let [first, second] = networks.map(|network| network.map(|(_, key)| key));
        if let Some(first) = first.filter(|first| !is_place(*first)) {
            add(first);
        }
        if let Some(second) = second.filter(|second| !is_place(*second) && Some(*second) != first) {
            add(second);
        }
        places
    }

    pub(super) fn residents(&self, facts: &Facts<'_>, place: u64, now: Now) -> u32 {
        self.places.residents(self.place_key(facts.keys.zone, place), now.moment)
    }
}

/// Most of what is asked of a client is asked of sessions that are shorter than this.
const SHORT: Duration = Duration::from_secs(10);

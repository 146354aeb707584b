//! Under which keys things are remembered, and what is known of them.

use super::Detection;
use super::crowd::{Places, Stay};
use super::duplicates::Holder;
use super::facts::{Facts, Keys, Names};
use super::finding::Detector;
use super::key::Kind;
use super::known::Hand;
use super::moment::Moment;
use super::strike::Now;
use std::time::Duration;

impl Detection {
    pub(super) fn broker_key(&self, upstream: &str) -> u64 {
        self.secret.own_name(Kind::Upstream, upstream)
    }

    pub(super) fn holder_key(&self, zone: u64, client_id: u64) -> u64 {
        self.secret.key_of(client_id, Kind::Origin, &[zone, client_id])
    }

    /// The key under which it is remembered that a broker accepted the client's credentials.
    pub(super) fn accepted_key(&self, facts: &Facts<'_>) -> Option<u64> {
        let Keys { zone, credentials, .. } = facts.keys;
        let home = facts.keys.username().or(credentials)?;
        Some(self.secret.key_of(home, Kind::Accepted, &[zone, credentials?]))
    }

    pub(super) fn holder(&self, facts: &Facts<'_>) -> Option<Holder> {
        let id = self.holder_key(facts.keys.zone, facts.keys.client_id()?);
        let origin = self.secret.key(
            Kind::Origin,
            &[facts.keys.names.peer, facts.keys.username().unwrap_or(0), facts.keys.credentials.unwrap_or(0)],
        );
        Some(Holder { id, origin, peer: facts.peer })
    }

    /// The key under which it is remembered that a client stayed for long: it has to come under the same user name.
    pub(super) fn resident_key(&self, facts: &Facts<'_>) -> Option<u64> {
        let id = facts.keys.client_id()?;
        let parts = [facts.keys.zone, id, facts.keys.username().unwrap_or(0)];
        Some(self.secret.key_at(id, Kind::Resident, &parts))
    }

    /// The key of a client identifier as something that is owned.
    fn owned_key(&self, facts: &Facts<'_>) -> Option<u64> {
        let id = facts.keys.client_id()?;
        Some(self.secret.key_at(id, Kind::Owner, &[facts.keys.zone, id]))
    }

    /// Who a client is, as the owner of its client identifier: 16 bits of it.
    fn owner(&self, facts: &Facts<'_>) -> u16 {
        // Who has no password is told by its address.
        let proof = facts.keys.credentials.unwrap_or(facts.keys.names.peer);
        let owner = self.secret.key(Kind::Owner, &[facts.keys.username().unwrap_or(0), proof]);
        #[expect(clippy::cast_possible_truncation, reason = "16 bits of a hash")]
        let owner = owner as u16;
        owner
    }

    /// Remembers whose the client identifier is, unless it is somebody else's.
    pub(super) fn claim(&self, facts: &Facts<'_>, until: Moment, hand: &mut Hand<'_>, now: Now) {
        if let Some(key) = self.owned_key(facts) {
            hand.clients(key).marks.claim(key, self.owner(facts), until, now.moment);
        }
    }

    /// True when the client identifier is known to belong to somebody else.
    pub(super) fn is_anothers(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        let Some(key) = self.owned_key(facts) else { return false };
        hand.clients(key).marks.tag(key, now.moment).is_some_and(|known| known != self.owner(facts))
    }

    pub(super) fn is_old_resident(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        self.resident_key(facts).is_some_and(|key| hand.clients(key).marks.is_known(key, now.moment))
    }

    /// The key of a client seen at a place.
    pub(super) fn seen_key(&self, facts: &Facts<'_>, place: u64) -> u64 {
        let Keys { zone, identity, .. } = facts.keys;
        self.secret.key_near(identity, Kind::Seen, &[zone, place, identity])
    }

    /// The key of how often a client comes to its source: it stands where it is remembered that it was seen there.
    pub(super) fn pace_key(&self, facts: &Facts<'_>) -> u64 {
        let (Keys { zone, identity, .. }, source) = (facts.keys, facts.keys.names.source);
        let seen = self.seen_key(facts, source);
        self.secret.key_at(seen, Kind::Pace, &[zone, source, identity])
    }

    /// Has the memory bring what is about to be asked of a client whose session has ended. `resident` is that of a resident.
    pub(super) fn ask_ahead(&self, facts: &Facts<'_>, resident: Option<&Stay>, hand: &mut Hand<'_>) {
        let policy = facts.policy;
        for place in resident.into_iter().flat_map(Stay::places) {
            hand.clients(place).places.prefetch(place);
        }
        if facts.lived < SHORT {
            let seen = &hand.clients(facts.keys.identity).seen;
            let read_at = |place| seen.prefetch(self.seen_key(facts, place));
            if policy.by_peerhost.is_some() && facts.peer.is_some() {
                read_at(facts.keys.names.peer);
            }
            if let (Some(by), Some(username)) = (&policy.by_username, facts.keys.username()) {
                read_at(username);
                self.windows.prefetch(self.window_key(facts, Detector::ByUsername, username, &by.threshold));
            }
            for (_, network) in facts.keys.names.networks() {
                read_at(network);
            }
            if let Some(ja4) = facts.keys.ja4 {
                read_at(ja4);
            }
            let Names { peer, source, .. } = facts.keys.names;
            if policy.connection_rate.is_some() && (source != peer || policy.by_peerhost.is_none()) {
                read_at(source);
            }
        }
        if facts.is_accepted {
            if let Some(id) = facts.keys.client_id() {
                // Where its owner stands, and that it was a resident.
                hand.clients(id).marks.prefetch(id);
            }
            if let (Some(by), Some(id)) = (&policy.by_clientid, facts.keys.client_id()) {
                let key = self.window_key(facts, Detector::ByClientId, id, &by.threshold);
                hand.clients(key).singles.prefetch(key);
            }
        }
    }

    pub(super) fn place_key(&self, zone: u64, place: u64) -> u64 {
        self.secret.key_of(place, Kind::Population, &[zone, place])
    }

    /// The places where a session lives, of those that anything is weighed against.
    pub(super) fn places_of(&self, facts: &Facts<'_>) -> Places {
        let (policy, zone) = (facts.policy, facts.keys.zone);
        let Names { peer, source, .. } = facts.keys.names;
        let mut places = Places::default();
        let mut free = places.iter_mut();
        let mut add = |place| {
            if let Some(free) = free.next() {
                *free = self.place_key(zone, place);
            }
        };
        if let (Some(_), Some(username)) = (&policy.by_username, facts.keys.username()) {
            add(username);
        }
        let weighs_sources = policy.weighs_sources() && facts.peer.is_some();
        if weighs_sources {
            add(peer);
        }
        if weighs_sources && source != peer {
            add(source);
        }
        let mut last = 0;
        for (_, network) in facts.keys.names.networks() {
            // Of IPv6, a source is a network that may be counted by itself.
            let is_place = weighs_sources && network == source;
            if !is_place && network != last {
                add(network);
            }
            last = network;
        }
        if let Some(ja4) = facts.keys.ja4 {
            add(ja4);
        }
        places
    }
}

/// Most of what is asked of a client is asked of sessions that are shorter than this.
const SHORT: Duration = Duration::from_secs(10);

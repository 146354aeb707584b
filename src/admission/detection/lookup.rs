//! Under which keys things are remembered, and what is known of them.

use super::Detection;
use super::crowd::{Places, Stay};
use super::duplicates::Holder;
use super::facts::{Facts, Keys};
use super::finding::Detector;
use super::key::Kind;
use super::known::Hand;
use super::strike::Now;
use std::time::Duration;

/// What is asked for of a client that was accepted.
pub(super) struct Asked {
    pub(super) resident: Option<u64>,
    pub(super) accepted: Option<u64>,
    /// Where it lives.
    pub(super) places: Places,
}

impl Detection {
    pub(super) fn broker_key(&self, upstream: &str) -> u64 {
        self.secret.own_name(Kind::Upstream, upstream)
    }

    pub(super) fn holder_key(&self, zone: u64, client_id: u64) -> u64 {
        self.secret.key_of(client_id, Kind::Origin, &[zone, client_id])
    }

    /// The key under which it is remembered that a broker accepted the client's credentials.
    pub(super) fn accepted_key(&self, facts: &Facts<'_>) -> Option<u64> {
        let Keys { zone, username, credentials, .. } = facts.keys;
        let home = username.or(credentials)?;
        Some(self.secret.key_of(home, Kind::Accepted, &[zone, credentials?]))
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
        Some(self.secret.key_at(id, Kind::Resident, &parts))
    }

    /// The key of a client identifier as something that is owned, and who the owner would be.
    pub(super) fn owner(&self, facts: &Facts<'_>) -> Option<(u64, u16)> {
        let id = facts.keys.client_id?;
        let name = self.secret.key_at(id, Kind::Owner, &[facts.keys.zone, id]);
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
        self.secret.key_near(identity, Kind::Seen, &[zone, place, identity])
    }

    /// The key of how often a client comes to its source.
    pub(super) fn pace_key(&self, facts: &Facts<'_>) -> u64 {
        let Keys { zone, source, identity, .. } = facts.keys;
        self.secret.key_near(identity, Kind::Pace, &[zone, source, identity])
    }

    /// The keys that are about to be asked for of a client that was accepted, which the memory is asked for.
    pub(super) fn ask_ahead_of_arrival(&self, facts: &Facts<'_>, hand: &mut Hand<'_>) -> Asked {
        let guesses_count = facts.policy.auth_failures.is_some();
        let asked = Asked {
            resident: self.resident_key(facts),
            accepted: self.accepted_key(facts).filter(|_| guesses_count),
            places: self.places_of(facts),
        };
        if let Some(resident) = asked.resident {
            hand.clients(resident).marks.prefetch(resident);
        }
        if let Some(accepted) = asked.accepted {
            hand.clients(accepted).accepted.prefetch(accepted);
        }
        for place in asked.places.into_iter().filter(|place| *place != 0) {
            hand.clients(place).places.prefetch(place);
        }
        asked
    }

    /// Has the memory bring what is about to be asked of a client whose session has ended.
    pub(super) fn ask_ahead(&self, facts: &Facts<'_>, stay: Option<Stay>, hand: &mut Hand<'_>) {
        let policy = facts.policy;
        for place in stay.into_iter().flat_map(Stay::places) {
            hand.clients(place).places.prefetch(place);
        }
        if facts.lived < SHORT {
            let seen = &hand.clients(facts.keys.identity).seen;
            let read_at = |place| seen.prefetch(self.seen_key(facts, place));
            if policy.by_peerhost.is_some() {
                read_at(facts.keys.peer);
            }
            if let (Some(_), Some(username)) = (&policy.by_username, facts.keys.username) {
                read_at(username);
            }
            for (_, network) in facts.keys.networks.into_iter().flatten() {
                read_at(network);
            }
            if let Some(ja4) = facts.keys.ja4 {
                read_at(ja4);
            }
            if policy.connection_rate.is_some() {
                seen.prefetch(self.pace_key(facts));
            }
        }
        if facts.is_accepted {
            if let Some(id) = facts.keys.client_id {
                // Where its owner stands, and that it was a resident.
                hand.clients(id).marks.prefetch(id);
            }
            if let (Some(by), Some(id)) = (&policy.by_clientid, facts.keys.client_id) {
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
        let Keys { peer, source, networks, .. } = facts.keys;
        let mut places = Places::default();
        let mut free = places.iter_mut();
        let mut add = |place| {
            if let Some(free) = free.next() {
                *free = self.place_key(zone, place);
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
        if let Some(ja4) = facts.keys.ja4 {
            add(ja4);
        }
        places
    }

    pub(super) fn residents(&self, facts: &Facts<'_>, place: u64, hand: &mut Hand<'_>, now: Now) -> u32 {
        let key = self.place_key(facts.keys.zone, place);
        hand.clients(key).places.residents(key, now.moment, self.settings.resident_after)
    }
}

/// Most of what is asked of a client is asked of sessions that are shorter than this.
const SHORT: Duration = Duration::from_secs(10);

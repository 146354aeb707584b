//! The flapping detectors: what the end of a session, or a refused attempt, counts against whom.
//!
//! | counts against | what |
//! |---|---|
//! | client identifier | accepted sessions that ended by the client's fault |
//! | user name | of those, the short ones of a client identifier that is new there, or comes too often |
//! | address, network, TLS fingerprint | the same, and refused attempts of a client that is new there |
//!
//! "New" and "too often" is what makes a crowd innocent: the 5,000 devices of a gateway are known after their first
//! visit, and each of them may have its share of bad luck. A client that stayed for long once is new nowhere.
//!
//! A client identifier belongs to who stayed under it for long: the sessions of others, with other credentials, do not
//! count against it, even where the broker lets them have it.

use super::Detection;
use super::blame::Blame;
use super::facts::Facts;
use super::finding::{Detector, Finding};
use super::key::Kind;
use super::known::Hand;
use super::policy::{ByNetwork, Churn};
use super::sightings::{Due, Sighting};
use super::strike::{Now, Strike, Target};
use std::net::IpAddr;

impl Detection {
    /// The client's fault: counts it against everybody whom it tells something of.
    pub(super) fn count_flapping(
        &self,
        facts: &Facts<'_>,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let policy = facts.policy;
        // Who was not accepted counts against no client identifier, whosever it is.
        let is_anothers = facts.is_accepted && self.is_anothers(facts, hand, now);
        let is_duplicate = facts.is_accepted
            && !self.fights.is_empty()
            && facts.keys.client_id().is_some_and(|id| {
                self.fights.is_recognised(self.holder_key(facts.keys.zone, id), now.moment)
            });
        // Of duplicates, only who takes what is another's has to answer for it.
        if is_duplicate && !is_anothers {
            return;
        }
        // Before anything is counted: the window of a new user name is in no cache.
        let by_username = self.churn_of_username(facts, hand, now);
        if let (Some(by_clientid), Some(key), Some(client_id)) =
            (&policy.by_clientid, facts.keys.client_id(), facts.client_id)
            && facts.is_accepted
            && !by_clientid.count_refused
            && !is_anothers
            && !is_duplicate
        {
            let strike = Strike {
                detector: Detector::ByClientId,
                target: Target::ClientId(client_id),
                key,
                threshold: by_clientid.threshold,
                residents_per_count: 0,
            };
            findings.extend(self.strike(facts, &strike, hand, now));
        }
        if let Some(strike) = by_username {
            findings.extend(self.strike(facts, &strike, hand, now));
        }
        if let (Some(churn), Some(peer)) = (&policy.by_peerhost, facts.peer) {
            let strike = churn.strike(Detector::ByPeerHost, Target::Peer(peer), facts.keys.names.peer);
            if self.is_churn(facts, strike.key, churn, hand, now) {
                findings.extend(self.strike(facts, &strike, hand, now));
            }
        }
        if let Some(by_network) = &policy.by_network {
            self.count_networks(facts, by_network, hand, now, findings);
        }
        if let Some(by_ja4) = &policy.by_ja4 {
            findings.extend(self.count_stack(facts, by_ja4, hand, now));
        }
    }

    /// A CONNECT has come that no ban refuses: counts it as EMQX does, where the policy says so.
    pub(super) fn count_connect(&self, facts: &Facts<'_>, now: Now, findings: &mut Vec<Finding>) {
        let policy = facts.policy;
        let mut hand = self.known.hand();
        let mut count = |detector, target, key, threshold| {
            let strike = Strike { detector, target, key, threshold, residents_per_count: 0 };
            findings.extend(self.strike(facts, &strike, &mut hand, now));
        };
        if let (Some(by_clientid), Some(key), Some(id)) =
            (policy.by_clientid.filter(|by| by.count_refused), facts.keys.client_id(), facts.client_id)
        {
            count(Detector::ByClientId, Target::ClientId(id), key, by_clientid.threshold);
        }
        let counts_refused = |churn: &Churn| churn.count_refused;
        if let (Some(churn), Some(key), Some(name)) =
            (policy.by_username.filter(counts_refused), facts.keys.username(), facts.username)
        {
            count(Detector::ByUsername, Target::Username(name), key, churn.threshold);
        }
        let Some(peer) = facts.peer else { return };
        if let Some(churn) = policy.by_peerhost.filter(counts_refused) {
            count(Detector::ByPeerHost, Target::Peer(peer), facts.keys.names.peer, churn.threshold);
        }
        if let Some(by_network) = policy.by_network.filter(|by| by.churn.count_refused) {
            for (prefix, key) in facts.keys.names.networks() {
                count(Detector::ByNetwork, Target::Network(peer, prefix), key, by_network.churn.threshold);
            }
        }
    }

    /// Adds an end that does not count to the evidence that is being collected.
    pub(super) fn note_end(&self, facts: &Facts<'_>, blame: Blame) {
        let policy = facts.policy;
        if let (Some(by_clientid), Some(key)) = (&policy.by_clientid, facts.keys.client_id()) {
            self.note(facts, Detector::ByClientId, key, &by_clientid.threshold, blame);
        }
        if let Some(churn) = policy.by_peerhost.as_ref().filter(|_| facts.peer.is_some()) {
            self.note(facts, Detector::ByPeerHost, facts.keys.names.peer, &churn.threshold, blame);
        }
    }

    fn count_networks(
        &self,
        facts: &Facts<'_>,
        by_network: &ByNetwork,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let Some(peer) = facts.peer else { return };
        for (prefix, key) in facts.keys.names.networks() {
            if !self.is_churn(facts, key, &by_network.churn, hand, now) {
                continue;
            }
            // One bad address makes no bad network; it is banned by itself.
            let is_wide = peer.is_ipv6() && prefix < 64;
            let source = if is_wide { facts.keys.names.source } else { facts.keys.names.peer };
            let threshold = by_network.churn.threshold;
            let due = Due { count: (threshold.max_count / 4).max(1), window: threshold.window_time };
            let pair = self.secret.key(Kind::Pace, &[facts.keys.zone, key, source]);
            let alone = peer.is_ipv4() && prefix >= 32 || peer.is_ipv6() && prefix >= 128;
            if !alone && self.seen.see(pair, due, due.window, now.moment) == Sighting::TooOften {
                continue;
            }
            let target = Target::Network(peer, prefix);
            let strike = by_network.churn.strike(Detector::ByNetwork, target, key);
            findings.extend(self.strike(facts, &strike, hand, now));
        }
    }

    /// What the end counts against the user name, whose window is asked for.
    fn churn_of_username<'a>(&self, facts: &Facts<'a>, hand: &mut Hand<'_>, now: Now) -> Option<Strike<'a>> {
        let (churn, username) = (facts.policy.by_username.as_ref()?, facts.username?);
        let key = facts.keys.username().filter(|_| facts.is_accepted)?;
        let strike = churn.strike(Detector::ByUsername, Target::Username(username), key);
        self.is_churn(facts, key, churn, hand, now).then_some(strike)
    }

    /// True when this end is churn at a place.
    pub(super) fn is_churn(
        &self,
        facts: &Facts<'_>,
        place: u64,
        churn: &Churn,
        hand: &mut Hand<'_>,
        now: Now,
    ) -> bool {
        if churn.count_refused || facts.lived >= churn.short_session {
            return false;
        }
        let due = Due { count: churn.per_client, window: churn.threshold.window_time };
        let pair = self.seen_key(facts, place);
        let sighting = hand.clients(pair).seen.see(pair, due, self.settings.memory, now.moment);
        // While it is not known who lives where, everybody is new; who is seen now is known later.
        now.moment >= self.learned
            && match sighting {
                // Refusals that are repeated are the business of other detectors.
                Sighting::TooOften => facts.is_accepted,
                Sighting::Known => false,
                Sighting::New => !(facts.is_accepted && self.is_old_resident(facts, hand, now)),
            }
    }
}

impl Churn {
    pub(super) fn strike<'a>(&self, detector: Detector, target: Target<'a>, key: u64) -> Strike<'a> {
        let Churn { threshold, residents_per_count, .. } = *self;
        Strike { detector, target, key, threshold, residents_per_count }
    }
}

impl ByNetwork {
    /// The networks of this address that count.
    pub(super) fn prefixes(&self, peer: IpAddr) -> [Option<u8>; 2] {
        if peer.is_ipv4() {
            return [self.ipv4_prefix.map(|prefix| prefix.min(32)), None];
        }
        let [wide, narrow] = self.ipv6_prefixes;
        [wide.map(|prefix| prefix.min(128)), narrow.map(|prefix| prefix.min(128))]
    }
}

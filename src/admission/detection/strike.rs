//! One event against somebody: counts it, and makes the ban when it was one too many.

use super::blame::Blame;
use super::escalation::Offence;
use super::evidence::{Evidence, Suspicion};
use super::facts::Facts;
use super::finding::{Detected, Detector, Finding};
use super::key::Kind;
use super::known::Hand;
use super::moment::Moment;
use super::policy::Threshold;
use super::{Detection, duplicates};
use crate::admission::{Ban, Terms, Timestamp, Until, Who, canonical};
use compact_str::CompactString;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whom an event counts against.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    ClientId(&'a str),
    Username(&'a str),
    /// An address; of IPv6, the address.
    Peer(IpAddr),
    Network(IpAddr, u8),
    Ja4(&'a str),
}

impl<'a> Target<'a> {
    /// Who can be told from its neighbours at an address: an IPv4 address, or an IPv6 /64, which one subscriber has.
    pub(super) fn source(peer: IpAddr) -> Target<'a> {
        if peer.is_ipv4() { Target::Peer(peer) } else { Target::Network(peer, 64) }
    }

    pub(super) fn who(self) -> Who {
        match self {
            Target::ClientId(id) => Who::ClientId(id.into()),
            Target::Username(name) => Who::Username(name.into()),
            Target::Peer(peer) => Who::PeerHost(peer),
            Target::Ja4(ja4) => Who::TlsJa4(ja4.into()),
            Target::Network(peer, prefix) => {
                IpNet::new(peer, prefix).map_or(Who::PeerHost(peer), |net| Who::PeerHostNet(canonical(net)))
            }
        }
    }
}

/// The moment of an event, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Timestamp,
    pub(super) moment: Moment,
}

/// An event against somebody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike<'a> {
    pub(super) detector: Detector,
    pub(super) target: Target<'a>,
    /// The target's key.
    pub(super) key: u64,
    pub(super) threshold: Threshold,
    /// One event more than `max_count` is allowed for so many residents of the target; 0 allows none.
    pub(super) residents_per_count: u32,
}

impl Detection {
    /// Counts an event against somebody.
    pub(super) fn strike(
        &self,
        facts: &Facts<'_>,
        strike: &Strike<'_>,
        hand: &mut Hand<'_>,
        now: Now,
    ) -> Option<Finding> {
        let Strike { threshold, .. } = strike;
        let key = self.window_key(facts, strike.detector, strike.key, threshold);
        let would_be = || self.secret.key(Kind::WouldBe, &[key]);
        if self.is_told_only(threshold) && self.marks.is_known(would_be(), now.moment) {
            return None;
        }
        let (max_count, window) = (threshold.max_count, threshold.window_time);
        let mut residents = 0;
        let (count, limit) = if strike.detector == Detector::ByClientId {
            // No crowd has one client identifier.
            let singles = &mut hand.clients(key).singles;
            self.windows.count_beside(singles, key, max_count, window, now.moment)
        } else {
            let allowance = || {
                if strike.residents_per_count > 0 {
                    residents = self.residents(facts, strike.key, hand, now);
                }
                residents.checked_div(strike.residents_per_count).unwrap_or(0)
            };
            self.windows.count(key, max_count, allowance, window, now.moment)
        };
        let exhibit = facts.exhibit(Blame::Client);
        if count < limit {
            if count.saturating_mul(2) >= limit {
                let suspicion = Suspicion {
                    zone: &facts.policy.zone,
                    detector: strike.detector,
                    target: strike.target,
                    threshold: strike.threshold,
                    count,
                    limit,
                    at: now.at,
                };
                self.cases.add(key, exhibit, now.moment, suspicion);
            }
            return None;
        }
        let mut evidence = self.cases.close(key);
        evidence.add(exhibit);
        let evidence = Evidence { count, limit, window_time: window, residents, ..evidence };
        let who = strike.target.who();
        let reason = CompactString::from(strike.detector.reason());
        let detected = self.sentence(facts, strike.detector, threshold, who, &reason, evidence, now)?;
        if detected.is_shadow {
            self.marks.remember(would_be(), now.moment.after(detected.ban_time), now.moment);
        }
        Some(Finding::Detected(Box::new(detected)))
    }

    /// Tells an open case of an end that does not count.
    pub(super) fn note(
        &self,
        facts: &Facts<'_>,
        detector: Detector,
        target: u64,
        threshold: &Threshold,
        blame: Blame,
    ) {
        if !self.cases.is_empty() {
            self.cases.note(self.window_key(facts, detector, target, threshold), facts.exhibit(blame));
        }
    }

    /// Duplicates that the policy bans.
    pub(super) fn ban_duplicates(
        &self,
        facts: &Facts<'_>,
        client_id: &str,
        threshold: &Threshold,
        addresses: Vec<IpAddr>,
        now: Now,
    ) -> Option<Finding> {
        let reason = duplicates::reason(&addresses);
        let who = Who::ClientId(client_id.into());
        let evidence = Evidence {
            count: threshold.max_count,
            limit: threshold.max_count,
            window_time: threshold.window_time,
            addresses,
            client_ids: vec![client_id.into()],
            ..Evidence::default()
        };
        let detected = self.sentence(facts, Detector::Duplicates, threshold, who, &reason, evidence, now)?;
        Some(Finding::Detected(Box::new(detected)))
    }

    pub(super) fn window_key(
        &self,
        facts: &Facts<'_>,
        detector: Detector,
        target: u64,
        threshold: &Threshold,
    ) -> u64 {
        let window = super::moment::micros(threshold.window_time);
        let parts = [facts.keys.zone, detector as u64, threshold.max_count.into(), window, target];
        self.secret.key_of(target, Kind::Window, &parts)
    }

    /// How long, as which offence, and whether in earnest. Nothing while an earlier ban runs.
    #[expect(clippy::too_many_arguments, reason = "a sentence has as many parts")]
    fn sentence(
        &self,
        facts: &Facts<'_>,
        detector: Detector,
        threshold: &Threshold,
        who: Who,
        reason: &str,
        evidence: Evidence,
        now: Now,
    ) -> Option<Detected> {
        let policy = facts.policy;
        let moment = u64::try_from(now.at.as_millis()).unwrap_or(0);
        let jitter = self.secret.key(Kind::Jitter, &[self.secret.hash(who.to_string().as_bytes()), moment]);
        let is_shadow = self.is_told_only(threshold);
        let offences = if is_shadow { &self.shadow_offences } else { &self.offences };
        let (offence, ban_time) =
            offences.weigh(&who, threshold.ban_time, &policy.escalation, jitter, now.at)?;
        let until = now.at.after(ban_time);
        offences.record(Offence { who: who.clone(), count: offence, until, ban_time });
        let terms = Terms {
            by: detector.by().into(),
            reason: reason.into(),
            at: now.at,
            until: Until::Moment(until),
        };
        let zone = Arc::clone(&policy.zone);
        Some(Detected { ban: Ban { who, terms }, is_shadow, detector, zone, ban_time, offence, evidence })
    }

    /// A ban of no time bans nobody.
    #[expect(clippy::unused_self, reason = "reads as a question to detection")]
    fn is_told_only(&self, threshold: &Threshold) -> bool {
        threshold.shadow || threshold.ban_time == Duration::ZERO
    }
}

//! Connections that come to nothing, and banned clients that never give up.

use super::Detection;
use super::facts::Facts;
use super::finding::{Answer, Detector, Finding};
use super::key::Kind;
use super::known::Hand;
use super::moment::{Moment, micros};
use super::policy::{ConnectionRate, Hammering, Nuisance, Threshold, ZonePolicy};
use super::sightings::{Due, Sighting};
use super::strike::{Now, Strike, Target};
use super::visit::{Knock, NoConnect};
use std::time::Duration;

impl Detection {
    /// A connection ended without CONNECT.
    pub(super) fn count_nameless(
        &self,
        facts: &Facts<'_>,
        end: NoConnect,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let policy = facts.policy;
        let nuisance = match end {
            NoConnect::Malformed | NoConnect::TooLarge => {
                policy.malformed.map(|by| (Detector::Malformed, by))
            }
            NoConnect::TimedOut => policy.connect_timeouts.map(|by| (Detector::ConnectTimeouts, by)),
            NoConnect::Probe | NoConnect::ClosedEarly => None,
        };
        if let Some((detector, Nuisance { threshold, residents_per_count })) = nuisance {
            let finding = self.strike_source(facts, detector, (threshold, residents_per_count), hand, now);
            if finding.is_some() {
                findings.extend(finding);
                return;
            }
        }
        if let Some(ConnectionRate { threshold, residents_per_count, .. }) = policy.connection_rate {
            let detector = Detector::ConnectionRate;
            findings.extend(self.strike_source(facts, detector, (threshold, residents_per_count), hand, now));
        }
    }

    /// A client has had its connection: is that more than it may have for itself?
    pub(super) fn count_pace(
        &self,
        facts: &Facts<'_>,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let Some(ConnectionRate { threshold, per_client, residents_per_count }) =
            facts.policy.connection_rate
        else {
            return;
        };
        if facts.lived >= LONG {
            return;
        }
        let pair = self.pace_key(facts);
        let due = Due { count: per_client, window: threshold.window_time };
        if hand.clients(pair).seen.see(pair, due, threshold.window_time, now.moment) == Sighting::TooOften {
            let detector = Detector::ConnectionRate;
            findings.extend(self.strike_source(facts, detector, (threshold, residents_per_count), hand, now));
        }
    }

    /// How to answer a banned client that has come. Each attempt counts until it is not answered any more; attempts
    /// after that neither count nor prolong anything.
    pub(super) fn answer(&self, policy: &ZonePolicy, knock: &Knock<'_>, now: Moment) -> Answer {
        let Some(Hammering { max_count, window_time, hush_time, shadow }) = policy.hammering else {
            return Answer::Connack;
        };
        let key = self.hammer_key(policy, knock);
        let silence = |just_now| Answer::Silence { time: hush_time, just_now, is_shadow: shadow };
        if self.marks.is_known(key, now) {
            return silence(false);
        }
        let window = self.secret.key(Kind::Window, &[key, max_count.into(), micros(window_time)]);
        let (count, limit) = self.windows.count(window, max_count, || 0, window_time, now);
        if count < limit {
            return Answer::Connack;
        }
        self.marks.remember(key, now.after(hush_time), now);
        silence(true)
    }

    /// True while a banned client is not answered. Counts nothing.
    pub fn is_hushed(&self, policy: &ZonePolicy, knock: &Knock<'_>, now: Moment) -> bool {
        policy.hammering.is_some_and(|by| !by.shadow)
            && self.marks.is_known(self.hammer_key(policy, knock), now)
    }

    fn hammer_key(&self, policy: &ZonePolicy, knock: &Knock<'_>) -> u64 {
        let who = self.secret.hash(knock.who.to_string().as_bytes());
        let zone = self.secret.own_name(Kind::Zone, &policy.zone);
        let at = |addr| self.secret.peer(self.secret.site(addr), addr);
        let peer = knock.client.peer().map_or_else(|| self.secret.nowhere(), at);
        self.secret.key(Kind::Hammer, &[zone, knock.who.kind() as u64, who, peer])
    }

    fn strike_source(
        &self,
        facts: &Facts<'_>,
        detector: Detector,
        (threshold, residents_per_count): (Threshold, u32),
        hand: &mut Hand<'_>,
        now: Now,
    ) -> Option<Finding> {
        let key = facts.keys.names.source;
        let target = Target::source(facts.peer?);
        self.strike(facts, &Strike { detector, target, key, threshold, residents_per_count }, hand, now)
    }
}

/// Sessions that lived for longer came to something.
const LONG: Duration = Duration::from_secs(10);

//! Churn under a TLS fingerprint: whoever rotates identifier, user name and address rarely changes its TLS stack.
//!
//! A whole fleet has one fingerprint, and anybody can have a fleet's: so nothing counts against a fingerprint under which
//! anybody is known to live. What is left are the stacks that nobody uses but who comes and goes.

use super::Detection;
use super::facts::Facts;
use super::finding::{Detector, Finding};
use super::key::Kind;
use super::known::Hand;
use super::moment::Moment;
use super::policy::ByJa4;
use super::sightings::{Due, Sighting};
use super::strike::{Now, Target};

impl Detection {
    /// An end that was the client's fault: counts it against its fingerprint.
    pub(super) fn count_stack(
        &self,
        facts: &Facts<'_>,
        policy: &ByJa4,
        hand: &mut Hand<'_>,
        now: Now,
    ) -> Option<Finding> {
        let (key, ja4) = (facts.keys.ja4?, facts.ja4?);
        if !self.is_churn(facts, key, &policy.churn, hand, now) {
            return None;
        }
        if self.stack_residents(facts, key, hand, now) > policy.max_residents {
            return None;
        }
        // One bad address makes no bad stack; it is banned by itself.
        let threshold = policy.churn.threshold;
        let due = Due { count: (threshold.max_count / 4).max(1), window: threshold.window_time };
        let pair = self.secret.key(Kind::Pace, &[facts.keys.zone, key, facts.keys.names.source]);
        if self.seen.see(pair, due, due.window, now.moment) == Sighting::TooOften {
            return None;
        }
        self.strike(facts, &policy.churn.strike(Detector::ByJa4, Target::Ja4(ja4), key), hand, now)
    }

    /// A resident leaves, by whose fingerprint it is remembered that somebody lived there.
    pub(super) fn remember_stack(&self, facts: &Facts<'_>, until: Moment, hand: &mut Hand<'_>, now: Now) {
        if let Some(ja4) = facts.keys.ja4 {
            let mark = self.stack_key(facts, ja4);
            hand.clients(mark).marks.remember(mark, until, now.moment);
        }
    }

    /// How many live under this fingerprint or did of late. A crowd forgets within hours; that there was anybody is
    /// known for as long as anything is.
    fn stack_residents(&self, facts: &Facts<'_>, ja4: u64, hand: &mut Hand<'_>, now: Now) -> u32 {
        let residents = self.residents(facts, ja4, hand, now);
        let mark = self.stack_key(facts, ja4);
        residents.max(hand.clients(mark).marks.is_known(mark, now.moment).into())
    }

    fn stack_key(&self, facts: &Facts<'_>, ja4: u64) -> u64 {
        self.secret.key_of(ja4, Kind::Resident, &[facts.keys.zone, ja4])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Arrival, Cause, Codes, Detected, End, Secret, Session, Settings, Threshold, Visit, ZonePolicy,
    };
    use super::*;
    use crate::admission::{As, Client, Timestamp, TlsIdentity};
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    const STACK: &str = "t13d1516h2_8daaf6152771_02713d6af862";
    const HOUR: u64 = 3_600_000;

    /// Ten short sessions in a minute are too many for a stack.
    struct Rig {
        detection: Detection,
        policy: Arc<ZonePolicy>,
        millis: u64,
    }

    impl Rig {
        fn new(max_residents: u32) -> Rig {
            let settings = Settings { max_tracked: 1 << 14, learning: Duration::ZERO, ..Settings::default() };
            let by_ja4 = ByJa4::default();
            let threshold = Threshold { max_count: 10, ..by_ja4.churn.threshold };
            let churn = super::super::Churn { threshold, ..by_ja4.churn };
            let by_ja4 = Some(ByJa4 { churn, max_residents });
            Rig {
                detection: Detection::new(settings, Secret::new(1), Moment::from_micros(0)),
                policy: Arc::new(ZonePolicy { by_ja4, ..ZonePolicy::off("default") }),
                millis: 1_000_000,
            }
        }

        /// A session of so many milliseconds that the client ends.
        fn session(&mut self, client: Client<'_>, millis: u64) -> Vec<Detected> {
            let at = Timestamp::from_millis(1_800_000_000_000 + i64::try_from(self.millis).expect("small"));
            let (upstream, credentials, is_exempt) = ("10.0.0.1:1883", None, false);
            let arrival = Arrival { client, assigned_client_id: None, credentials, is_exempt, upstream };
            let now = Moment::from_millis(self.millis);
            let (stay, none) = self.detection.accepted(&self.policy, &arrival, at, now);
            assert_eq!(none, []);
            self.millis += millis;
            let end = End::Session(Session {
                upstream,
                stay: Some(stay),
                lived: Duration::from_millis(millis),
                codes: Codes::V3,
                connack: Some(0),
                client_disconnect: Some(0),
                broker_disconnect: None,
                cause: Cause::ClientClosed,
            });
            let visit = Visit { client, assigned_client_id: None, credentials, is_exempt, end };
            let now = Moment::from_millis(self.millis);
            let mut found = self.detection.ended(&self.policy, &visit, at, now);
            self.millis += 10_000;
            found.extend(self.detection.tick(at, Moment::from_millis(self.millis)));
            found.into_iter().map(detected).collect()
        }

        /// So many short sessions within seconds, each under another name and from another address.
        fn rotate(&mut self, times: u8, stack: &str) -> Vec<Detected> {
            let found = (0..times).flat_map(|i| {
                self.millis -= 9_000;
                let id = format!("{:x}", self.millis);
                self.session(of(&id, IpAddr::from([198, 51, i, 1]), stack), 100)
            });
            found.collect()
        }
    }

    fn of<'a>(id: &'a str, peer: IpAddr, ja4: &'a str) -> Client<'a> {
        Client::new(peer, id, None).with_tls(TlsIdentity { ja4: Some(ja4), ..TlsIdentity::default() })
    }

    fn resident(stack: &str) -> Client<'_> {
        of("resident", IpAddr::from([192, 0, 2, 1]), stack)
    }

    fn detected(finding: Finding) -> Detected {
        match finding {
            Finding::Detected(detected) => *detected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stack_that_nobody_lives_under_is_banned_for_churn_whatever_name_and_address_it_has() {
        let mut rig = Rig::new(0);
        let found = rig.rotate(10, STACK);
        assert_eq!(found.len(), 1, "{found:?}");
        let Detected { ban, detector, evidence, .. } = &found[0];
        assert_eq!(
            (ban.who.kind(), ban.who.to_string(), *detector),
            (As::TlsJa4, STACK.to_owned(), Detector::ByJa4)
        );
        assert_eq!((evidence.count, evidence.limit, evidence.residents), (10, 10, 0));
        assert!(evidence.addresses.len() > 4 && evidence.client_ids.len() > 4, "{evidence:?}");
    }

    #[test]
    fn a_stack_under_which_somebody_lives_is_never_banned() {
        let mut rig = Rig::new(0);
        assert_eq!(rig.session(resident(STACK), 120_000), []);
        assert_eq!(rig.rotate(200, STACK), []);
        // Another one is.
        assert_eq!(rig.rotate(10, "t13i1310h1_f57a46bbacb6_e7c285222651").len(), 1);
    }

    #[test]
    fn that_somebody_lived_there_is_known_for_a_day() {
        let mut rig = Rig::new(0);
        rig.session(resident(STACK), 120_000);
        rig.millis += 20 * HOUR;
        assert_eq!(rig.rotate(200, STACK), []);
        rig.millis += 5 * HOUR;
        assert_eq!(rig.rotate(10, STACK).len(), 1);
    }

    #[test]
    fn more_residents_protect_where_the_operator_says_so() {
        let mut rig = Rig::new(1);
        rig.session(resident(STACK), 120_000);
        assert_eq!(rig.rotate(10, STACK).len(), 1);
    }

    #[test]
    fn one_address_makes_no_bad_stack() {
        let mut rig = Rig::new(0);
        for i in 0..100 {
            rig.millis -= 9_000;
            assert_eq!(rig.session(of(&i.to_string(), IpAddr::from([198, 51, 100, 1]), STACK), 100), []);
        }
    }

    #[test]
    fn who_speaks_no_tls_has_no_stack_to_ban() {
        let mut rig = Rig::new(0);
        for i in 0..100 {
            rig.millis -= 9_000;
            let id = i.to_string();
            assert_eq!(rig.session(Client::new(IpAddr::from([198, 51, i, 1]), &id, None), 100), []);
        }
    }
}

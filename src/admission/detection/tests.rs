use super::crowd::Period;
use super::*;
use crate::admission::As;
use std::net::IpAddr;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const BROKER: &str = "10.0.0.1:1883";

/// Detection after its learning period, and a clock.
struct Rig {
    detection: Detection,
    policy: Arc<ZonePolicy>,
    millis: u64,
}

impl Rig {
    fn new(policy: ZonePolicy) -> Rig {
        let settings = Settings { max_tracked: 1 << 14, learning: Duration::ZERO, ..Settings::default() };
        let detection = Detection::new(settings, Secret::new(1), Moment::from_micros(0));
        Rig { detection, policy: Arc::new(policy), millis: 1_000_000 }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + i64::try_from(self.millis).expect("small"))
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.millis)
    }

    fn end(&mut self, client: Client<'_>, credentials: Option<u64>, end: End<'_>) -> Vec<Finding> {
        let visit = Visit { client, assigned_client_id: None, credentials, is_exempt: false, end };
        let findings = self.detection.ended(&self.policy, &visit, self.at(), self.now());
        self.millis += 1000;
        findings
    }

    /// A session of a second that the client ends.
    fn flap(&mut self, client: Client<'_>) -> Vec<Finding> {
        let arrival = Arrival {
            client,
            assigned_client_id: None,
            credentials: None,
            is_exempt: false,
            upstream: BROKER,
        };
        let (stay, mut findings) = self.detection.accepted(&self.policy, &arrival, self.at(), self.now());
        self.millis += 1000;
        findings.extend(self.end(
            client,
            None,
            End::Session(Session { stay: Some(stay), ..session(Some(0)) }),
        ));
        findings
    }

    /// Flaps so often, and returns what was found at which time.
    fn flaps(&mut self, times: usize, client: Client<'_>) -> Vec<(usize, Detected)> {
        (1..=times)
            .flat_map(|i| self.flap(client).into_iter().map(move |finding| (i, detected(finding))))
            .collect()
    }
}

fn session(connack: Option<u8>) -> Session<'static> {
    Session {
        upstream: BROKER,
        stay: None,
        lived: Duration::from_secs(1),
        codes: Codes::V3,
        connack,
        client_disconnect: None,
        broker_disconnect: None,
        cause: Cause::ClientClosed,
    }
}

fn detected(finding: Finding) -> Detected {
    match finding {
        Finding::Detected(detected) => *detected,
        other => panic!("{other:?}"),
    }
}

fn client(id: &str) -> Client<'_> {
    Client::new(IpAddr::from([192, 0, 2, 1]), id, None)
}

fn by_clientid(threshold: Threshold) -> ZonePolicy {
    ZonePolicy {
        by_clientid: Some(ByClientId { threshold, count_refused: false }),
        ..ZonePolicy::off("default")
    }
}

#[test]
fn the_fifteenth_end_within_a_minute_bans_as_emqx_would() {
    let mut rig = Rig::new(by_clientid(Threshold::default()));
    let found = rig.flaps(15, client("flapper"));
    assert_eq!(found.len(), 1, "{found:?}");
    let (nth, Detected { ban, is_shadow, detector, ban_time, offence, evidence, zone }) = &found[0];
    assert_eq!((*nth, *is_shadow, *detector, *offence), (15, false, Detector::ByClientId, 1));
    assert_eq!((zone, *ban_time), (&Arc::from("default"), 5 * MINUTE));
    assert_eq!((ban.who.to_string().as_str(), ban.who.kind()), ("flapper", As::ClientId));
    assert_eq!((&*ban.terms.by, &*ban.terms.reason), ("flapping detector", "flapping is detected"));
    assert_eq!((evidence.count, evidence.limit, evidence.window_time), (15, 15, MINUTE));
    assert_eq!(evidence.addresses, [IpAddr::from([192, 0, 2, 1])]);
    assert_eq!(evidence.blame.client, 8, "collected from half-way on");
}

#[test]
fn a_policy_that_is_off_finds_nothing() {
    let mut rig = Rig::new(ZonePolicy::off("default"));
    assert_eq!(rig.flaps(1000, client("flapper")), []);
}

#[test]
fn a_limit_of_0_or_1_bans_at_the_first_end_and_a_ban_of_no_time_is_only_told() {
    for max_count in [0, 1] {
        let mut rig = Rig::new(by_clientid(Threshold { max_count, ..Threshold::default() }));
        assert_eq!(rig.flaps(1, client("a")).len(), 1);
    }
    let mut rig = Rig::new(by_clientid(Threshold { ban_time: Duration::ZERO, ..Threshold::default() }));
    let found = rig.flaps(15, client("a"));
    assert!(found.len() == 1 && found[0].1.is_shadow, "{found:?}");
    assert_eq!(rig.detection.offences(), []);
}

#[test]
fn what_the_broker_did_not_accept_never_counts_against_a_claimed_name() {
    let mut policy = ZonePolicy::recommended("default");
    policy.connection_rate = None;
    let mut rig = Rig::new(policy);
    let victim = Client::new(IpAddr::from([192, 0, 2, 66]), "victim", Some("victim"));
    for i in 0..1000_u64 {
        for connack in [None, Some(2), Some(4), Some(5)] {
            for finding in rig.end(victim, Some(i % 7), End::Session(session(connack))) {
                let who = detected(finding).ban.who;
                assert!(matches!(who.kind(), As::PeerHost | As::PeerHostNet), "{who}");
            }
        }
    }
}

#[test]
fn count_refused_counts_every_connect_as_emqx_does() {
    let mut policy = by_clientid(Threshold::default());
    policy.by_clientid = Some(ByClientId { count_refused: true, ..ByClientId::default() });
    policy.by_peerhost = Some(Churn { count_refused: true, ..Churn::default() });
    let mut rig = Rig::new(policy);
    let mut found = Vec::new();
    for i in 1..=15 {
        rig.millis += 1000;
        let findings = rig.detection.arrived(&rig.policy, &client("victim"), false, rig.at(), rig.now());
        found.extend(findings.into_iter().map(|finding| (i, detected(finding).detector)));
        assert_eq!(rig.end(client("victim"), None, End::Session(session(Some(5)))), []);
    }
    assert_eq!(found, [(15, Detector::ByClientId), (15, Detector::ByPeerHost)]);
}

#[test]
fn escalation_doubles_and_a_lift_forgets() {
    let mut policy = by_clientid(Threshold::default());
    policy.escalation = Escalation { growth: Growth::Factor(2), jitter_percent: 0, ..Escalation::default() };
    let mut rig = Rig::new(policy);
    let mut minutes = Vec::new();
    for round in 0..4 {
        let found = rig.flaps(15, client("flapper"));
        minutes.push(found[0].1.ban_time.as_secs() / 60);
        if round == 2 {
            rig.detection.lifted(&found[0].1.ban.who);
        }
        rig.millis += 3_600_000;
    }
    assert_eq!(minutes, [5, 10, 20, 5]);
}

#[test]
fn offences_survive_a_restart() {
    let mut policy = by_clientid(Threshold::default());
    policy.escalation.growth = Growth::Steps(vec![1, 7]);
    policy.escalation.jitter_percent = 0;
    let mut before = Rig::new(policy.clone());
    before.flaps(15, client("flapper"));
    let mut after = Rig::new(policy);
    after.detection.restore(before.detection.offences());
    after.millis = before.millis + 600_000;
    let found = after.flaps(15, client("flapper"));
    assert_eq!((found[0].1.offence, found[0].1.ban_time), (2, 35 * MINUTE));
}

#[test]
fn connections_that_end_while_the_ban_runs_do_not_prolong_it() {
    let mut rig = Rig::new(by_clientid(Threshold::default()));
    assert_eq!(rig.flaps(15, client("flapper")).len(), 1);
    assert_eq!(rig.flaps(45, client("flapper")), []);
}

#[test]
fn shadow_tells_each_ban_once_and_as_long_as_it_would_be() {
    let policy = by_clientid(Threshold { shadow: true, ..Threshold::default() });
    let escalation = Escalation { growth: Growth::Factor(2), jitter_percent: 0, ..policy.escalation.clone() };
    let mut rig = Rig::new(ZonePolicy { escalation, ..policy });
    let mut told = Vec::new();
    for _ in 0..3 {
        let found = rig.flaps(120, client("flapper"));
        told.extend(
            found.iter().map(|(_, found)| (found.is_shadow, found.offence, found.ban_time.as_secs())),
        );
        rig.millis += 1_200_000;
    }
    assert_eq!(told, [(true, 1, 300), (true, 2, 600), (true, 3, 1200)]);
    assert_eq!(rig.detection.offences(), [], "nobody was banned");
}

#[test]
fn exempt_clients_count_for_nothing() {
    let rig = Rig::new(ZonePolicy::recommended("default"));
    for i in 0..5000_u64 {
        for end in [
            End::Session(session(Some(0))),
            End::Session(session(Some(5))),
            End::NoConnect(NoConnect::Malformed),
        ] {
            let visit = Visit {
                client: client("vip"),
                assigned_client_id: None,
                credentials: Some(i),
                is_exempt: true,
                end,
            };
            assert_eq!(rig.detection.ended(&rig.policy, &visit, rig.at(), rig.now()), []);
        }
    }
}

#[test]
fn zones_count_for_themselves_and_a_changed_policy_begins_anew() {
    let mut rig = Rig::new(by_clientid(Threshold::default()));
    rig.flaps(14, client("flapper"));
    let default = Arc::clone(&rig.policy);
    rig.policy = Arc::new(ZonePolicy { zone: "other".into(), ..ZonePolicy::clone(&default) });
    assert_eq!(rig.flaps(14, client("flapper")), []);
    rig.policy = Arc::new(by_clientid(Threshold { max_count: 14, ..Threshold::default() }));
    assert_eq!(rig.flaps(13, client("flapper")), []);
    // A zone whose detection was switched off while its clients are connected.
    rig.policy = Arc::new(ZonePolicy::off("default"));
    assert_eq!(rig.flaps(14, client("flapper")), []);
}

#[test]
fn a_client_with_a_wrong_password_is_never_banned_and_a_guesser_is() {
    let mut rig = Rig::new(ZonePolicy::recommended("default"));
    for _ in 0..10_000 {
        assert_eq!(rig.end(client("lost"), Some(1), End::Session(session(Some(5)))), []);
    }
    let found =
        (2..100).flat_map(|i| rig.end(client("lost"), Some(i), End::Session(session(Some(5))))).next();
    let found = detected(found.expect("found"));
    assert_eq!((found.detector, found.evidence.count), (Detector::AuthFailures, 10));
    assert_eq!(&*found.ban.terms.by, "authentication failure detector");
}

#[test]
fn the_name_of_a_besieged_account_is_not_banned_and_the_besiegers_are() {
    let mut rig = Rig::new(ZonePolicy::recommended("default"));
    let mut banned = Vec::new();
    for i in 0..60_u64 {
        let host = u8::try_from(i % 20).expect("small");
        let guesser = Client::new(IpAddr::from([198, 51, host, 1]), "x", Some("alice"));
        banned.extend(rig.end(guesser, Some(i), End::Session(session(Some(4)))).into_iter().map(detected));
    }
    assert!(
        banned.len() >= 10 && banned.iter().all(|found| found.ban.who.kind() == As::PeerHost),
        "{banned:?}"
    );
}

#[test]
fn a_banned_client_that_never_gives_up_is_not_answered_any_more() {
    let rig = Rig::new(ZonePolicy::recommended("default"));
    let who = Who::ClientId("a".into());
    let knock = Knock { client: client("a"), who: &who };
    let answers: Vec<Answer> =
        (0..60).map(|i| rig.detection.banned(&rig.policy, &knock, Moment::from_millis(i * 1000))).collect();
    let first = answers.iter().position(|answer| matches!(answer, Answer::Silence { just_now: true, .. }));
    assert_eq!(first, Some(29));
    let is_hushed = |at, knock| rig.detection.is_hushed(&rig.policy, knock, Moment::from_millis(at));
    assert!(is_hushed(60_000, &knock) && !is_hushed(700_000, &knock));
    assert!(answers[30..].iter().all(|answer| matches!(answer, Answer::Silence { just_now: false, .. })));
    // A neighbour of the same ban, and the same client later, are answered.
    let other = Knock { client: Client::new(IpAddr::from([192, 0, 2, 9]), "a", None), who: &who };
    assert!(!is_hushed(60_000, &other));
    assert_eq!(rig.detection.banned(&rig.policy, &other, Moment::from_millis(60_000)), Answer::Connack);
    assert_eq!(rig.detection.banned(&rig.policy, &knock, Moment::from_millis(700_000)), Answer::Connack);
}

#[test]
fn ipv6_guessers_are_banned_by_their_64() {
    let mut rig = Rig::new(ZonePolicy::recommended("default"));
    let mut found = Vec::new();
    for i in 0..20_u64 {
        let peer: IpAddr = format!("2001:db8:1:2::{i:x}").parse().expect("an address");
        found.extend(rig.end(Client::new(peer, "x", None), Some(i), End::Session(session(Some(5)))));
    }
    let found = detected(found.into_iter().next().expect("found"));
    assert_eq!(found.ban.who.to_string(), "2001:db8:1:2::/64");
}

#[test]
fn one_bad_address_makes_no_bad_network() {
    let mut policy = ZonePolicy::off("default");
    policy.by_network = Some(ByNetwork::default());
    let mut rig = Rig::new(policy);
    for i in 0..500 {
        assert_eq!(rig.flap(client(&format!("id-{i}"))), []);
    }
}

#[test]
fn names_of_64_kib_and_times_that_jump_do_no_harm() {
    let mut rig = Rig::new(ZonePolicy::recommended("default"));
    let long = "x".repeat(65_535);
    let giant = Client::new(IpAddr::from([192, 0, 2, 1]), &long, Some(&long));
    let found = rig.flaps(15, giant);
    assert_eq!(found.iter().filter(|(_, found)| found.detector == Detector::ByClientId).count(), 1);
    for millis in [u64::MAX / 1000, 0, 5, 1_000_000_000, 1] {
        rig.millis = millis;
        assert_eq!(rig.flap(client("other")), []);
        let at = Timestamp::from_millis(i64::MIN);
        assert_eq!(rig.detection.tick(at, rig.now()), []);
    }
}

#[test]
fn doubtful_ends_count_when_nothing_explains_them_and_not_when_the_broker_failed() {
    for broker_failed in [false, true] {
        let mut rig = Rig::new(by_clientid(Threshold::default()));
        let mut found = Vec::new();
        for _ in 0..20 {
            let closed = Session { cause: Cause::BrokerClosed, ..session(Some(0)) };
            found.extend(rig.end(client("odd"), None, End::Session(closed)));
            if broker_failed {
                rig.detection.unreachable(BROKER, rig.now());
            }
        }
        rig.millis += 5000;
        found.extend(rig.detection.tick(rig.at(), rig.now()));
        assert_eq!(found.len(), usize::from(!broker_failed), "{found:?}");
    }
}

#[test]
fn many_threads_may_ask_at_once() {
    let rig = Rig::new(ZonePolicy::recommended("default"));
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (detection, policy) = (&rig.detection, &rig.policy);
            scope.spawn(move || {
                for i in 0..2000_u64 {
                    let id = format!("{}", i % 50);
                    let client = Client::new(IpAddr::from([192, 0, 2, thread]), &id, None);
                    let end = End::Session(session(Some(0)));
                    let visit =
                        Visit { client, assigned_client_id: None, credentials: None, is_exempt: false, end };
                    detection.ended(policy, &visit, Timestamp::from_millis(0), Moment::from_millis(i));
                    detection.tick(Timestamp::from_millis(0), Moment::from_millis(i));
                }
            });
        }
    });
    assert!(rig.detection.usage().0 > 0);
}

/// How many live at the places of a session.
fn residents(rig: &Rig, stay: &Stay) -> Vec<u32> {
    let mut hand = rig.detection.known.hand();
    let period = Period::of(rig.now(), rig.detection.settings.resident_after);
    stay.places().map(|place| hand.clients(place).places.residents(place, period)).collect()
}

fn arrive(rig: &Rig, id: &str) -> Stay {
    let client = Client::new(IpAddr::from([192, 0, 2, 1]), id, Some("user"));
    let arrival =
        Arrival { client, assigned_client_id: None, credentials: None, is_exempt: false, upstream: BROKER };
    rig.detection.accepted(&rig.policy, &arrival, rig.at(), rig.now()).0
}

fn depart(rig: &mut Rig, id: &str, stay: Stay) {
    let client = Client::new(IpAddr::from([192, 0, 2, 1]), id, Some("user"));
    rig.end(client, None, End::Session(Session { stay: Some(stay), ..session(Some(0)) }));
}

fn by_place() -> Rig {
    let churn = Some(Churn::default());
    Rig::new(ZonePolicy { by_peerhost: churn, by_username: churn, ..ZonePolicy::off("default") })
}

/// Sessions left the places of the policy that held when they ended, and stayed in the others for ever.
#[test]
fn a_session_leaves_the_places_that_it_entered_whatever_the_policy_is_by_then() {
    let mut rig = by_place();
    let stay = arrive(&rig, "a");
    rig.millis += 5 * 60_000;
    rig.detection.tick(rig.at(), rig.now());
    assert_eq!(residents(&rig, &stay), [1, 1]);
    rig.policy = Arc::new(ZonePolicy::off("default"));
    depart(&mut rig, "a", stay);
    // The memory of who lived there halves every 64 minutes.
    rig.millis += 130 * 60_000;
    assert_eq!(residents(&rig, &stay), [0, 0]);
}

#[test]
fn an_ipv6_session_lives_at_its_address_its_subscriber_and_its_network() {
    let churn = Some(Churn::default());
    let by_network = Some(ByNetwork::default());
    let policy = ZonePolicy { by_peerhost: churn, by_network, ..ZonePolicy::off("default") };
    for (addr, places) in [("2001:db8::1", 3), ("192.0.2.1", 2)] {
        let mut rig = Rig::new(policy.clone());
        let client = Client::new(addr.parse::<IpAddr>().expect("an address"), "a", None);
        let (upstream, credentials) = (BROKER, None);
        let arrival = Arrival { client, assigned_client_id: None, credentials, is_exempt: false, upstream };
        let (stay, _) = rig.detection.accepted(&rig.policy, &arrival, rig.at(), rig.now());
        rig.millis += 60_000;
        rig.detection.tick(rig.at(), rig.now());
        assert_eq!(residents(&rig, &stay), vec![1; places], "{addr}");
    }
}

#[test]
fn a_session_lives_at_its_places_once_it_has_lasted() {
    let mut rig = by_place();
    let (short, long) = (arrive(&rig, "short"), arrive(&rig, "long"));
    rig.millis += 59_000;
    rig.detection.tick(rig.at(), rig.now());
    depart(&mut rig, "short", short);
    assert_eq!(residents(&rig, &short), [0, 0]);
    rig.detection.tick(rig.at(), rig.now());
    assert_eq!(residents(&rig, &long), [1, 1]);
    depart(&mut rig, "long", long);
    // It is known from now on: it lives there at once.
    let again = arrive(&rig, "long");
    assert_eq!(residents(&rig, &again), [1, 1]);
}

#[test]
fn a_session_that_lasted_was_a_resident_even_where_no_time_was_told() {
    let mut rig = by_place();
    let stay = arrive(&rig, "a");
    rig.millis += 60_000;
    depart(&mut rig, "a", stay);
    assert_eq!(residents(&rig, &stay), [1, 1], "of late");
    // Whoever has lasted settles when the next of its part comes.
    let stay = arrive(&rig, "b");
    rig.millis += 60_000;
    assert_eq!(residents(&rig, &stay), [1, 1]);
    arrive(&rig, "b");
    let again = arrive(&rig, "a");
    depart(&mut rig, "a", again);
    assert_eq!(residents(&rig, &stay), [2, 2], "a and the first b at once");
}

/// Sessions end while others see to it that they settle: nobody stays behind.
#[test]
fn whoever_ends_while_it_settles_leaves_no_resident_behind() {
    let rig = by_place();
    let (resident_after, rounds) = (60_000, 300_u64);
    let stays: Vec<Stay> = (0..rounds).map(|i| arrive(&rig, &format!("device-{i}"))).collect();
    let later = Moment::from_millis(rig.millis + resident_after);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20).for_each(|_| drop(rig.detection.tick(rig.at(), later))));
        }
        scope.spawn(|| {
            for (i, stay) in stays.iter().enumerate() {
                let id = format!("device-{i}");
                let client = Client::new(IpAddr::from([192, 0, 2, 1]), &id, Some("user"));
                let end = End::Session(Session { stay: Some(*stay), ..session(Some(0)) });
                let (assigned_client_id, credentials) = (None, None);
                let visit = Visit { client, assigned_client_id, credentials, is_exempt: false, end };
                rig.detection.ended(&rig.policy, &visit, rig.at(), later);
            }
        });
    });
    // Their memory halves every 64 minutes: who is left then is there.
    let rig = Rig { millis: rig.millis + 64 * 60_000 * 20, ..rig };
    assert_eq!(residents(&rig, &stays[0]), [0, 0]);
}

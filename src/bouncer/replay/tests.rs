//! What is told again is found again: as a detector finds it that has these limits while it happens.

use super::super::Bouncer;
use super::super::facts::{CAUSES, MAX_TEXT, NO_CONNECTS};
use super::super::wish::{Limits, Unknown, Wish};
use super::*;
use crate::admission::detection::{Cause, Codes, NoConnect, Refused};
use crate::admission::{Client, TlsIdentity};
use crate::clock::Clock;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tokio::sync::mpsc::Receiver;

const MEMORY: usize = 4 << 20;

/// Something that happens at the door.
#[derive(Debug, Clone)]
enum Step {
    Come {
        client: u8,
        addr: u8,
        is_exempt: bool,
    },
    /// Of those inside, this one leaves.
    Leave {
        which: usize,
        cause: Cause,
        has_disconnect: bool,
    },
    /// The broker says no.
    Guess {
        client: u8,
        addr: u8,
        password: u8,
        codes: Codes,
    },
    NoConnect {
        addr: u8,
        how: NoConnect,
    },
    Refused {
        addr: u8,
    },
    Unreachable,
    Wait {
        millis: u64,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = || (0..4_u8, 0..3_u8);
    prop_oneof![
        8 => (who(), prop::bool::weighted(0.05)).prop_map(|((client, addr), is_exempt)| Step::Come { client, addr, is_exempt }),
        8 => (any::<usize>(), prop::sample::select(CAUSES.to_vec()), any::<bool>())
            .prop_map(|(which, cause, has_disconnect)| Step::Leave { which, cause, has_disconnect }),
        4 => (who(), 0..6_u8, any::<bool>()).prop_map(|((client, addr), password, is_v5)| {
            Step::Guess { client, addr, password, codes: if is_v5 { Codes::V5 } else { Codes::V3 } }
        }),
        3 => (0..3_u8, prop::sample::select(NO_CONNECTS.to_vec())).prop_map(|(addr, how)| Step::NoConnect { addr, how }),
        1 => (0..3_u8).prop_map(|addr| Step::Refused { addr }),
        1 => Just(Step::Unreachable),
        6 => (1..4_000_u64).prop_map(|millis| Step::Wait { millis }),
        1 => (60_000..200_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// A door, and those who came in by it.
struct Door {
    bouncer: Bouncer,
    policy: Arc<ZonePolicy>,
    inside: Vec<(u8, u8, bool, Option<Stay>, Moment)>,
}

const SERVER: &str = "10.9.9.9:1883";

fn addr(number: u8) -> IpAddr {
    // One of them is of IPv6.
    if number == 2 { "2001:db8::7".parse().expect("an address") } else { IpAddr::from([10, 0, 0, number]) }
}

const NAMES: [&str; 4] = ["", "meter-1", "b", "ünï"];

impl Door {
    fn new(clock: &Clock, policy: ZonePolicy, memory: usize) -> Door {
        let settings = Settings { learning: Duration::ZERO, ..Settings::default() };
        let bouncer = Bouncer::with_detection(clock.clone(), settings, memory);
        Door { bouncer, policy: Arc::new(policy), inside: Vec::new() }
    }

    fn client(client: u8, from: u8) -> Client<'static> {
        let username = (client > 1).then_some("user");
        let name = NAMES[usize::from(client) % NAMES.len()];
        Client::new(addr(from), name, username)
            .with_tls(TlsIdentity { ja4: Some("t13d_x"), ..TlsIdentity::default() })
    }

    fn end(&self, client: Client<'_>, credentials: Option<u64>, is_exempt: bool, end: End<'_>) {
        let assigned_client_id = client.client_id().is_none().then_some("auto-7");
        let visit = Visit { client, assigned_client_id, credentials, is_exempt, end };
        self.bouncer.ended(&self.policy, &visit);
    }

    fn take(&mut self, step: &Step) {
        let now = self.bouncer.clock().moment();
        match *step {
            Step::Come { client: id, addr, is_exempt } => {
                let client = Door::client(id, addr);
                self.bouncer.arrived(&self.policy, &client);
                let assigned_client_id = client.client_id().is_none().then_some("auto-7");
                let arrival =
                    Arrival { client, assigned_client_id, credentials: Some(7), is_exempt, upstream: SERVER };
                let stay = self.bouncer.accepted(&self.policy, &arrival);
                self.inside.push((id, addr, is_exempt, stay, now));
            }
            Step::Leave { which, cause, has_disconnect } => {
                if self.inside.is_empty() {
                    return;
                }
                let (id, addr, is_exempt, stay, began) = self.inside.remove(which % self.inside.len());
                let session = Session {
                    upstream: SERVER,
                    stay,
                    lived: now.since(began),
                    codes: Codes::V5,
                    connack: Some(0),
                    client_disconnect: has_disconnect.then_some(0),
                    broker_disconnect: None,
                    cause,
                };
                self.end(Door::client(id, addr), Some(7), is_exempt, End::Session(session));
            }
            Step::Guess { client, addr, password, codes } => {
                let session = Session {
                    upstream: SERVER,
                    stay: None,
                    lived: Duration::from_millis(3),
                    codes,
                    connack: Some(if codes == Codes::V5 { 0x86 } else { 5 }),
                    client_disconnect: None,
                    broker_disconnect: None,
                    cause: Cause::BrokerClosed,
                };
                self.end(Door::client(client, addr), Some(u64::from(password)), false, End::Session(session));
            }
            Step::NoConnect { addr: from, how } => {
                self.end(Client::new(addr(from), "", None), None, false, End::NoConnect(how));
            }
            Step::Refused { addr: from } => {
                self.end(Client::new(addr(from), "", None), None, false, End::Refused(Refused::Banned));
            }
            Step::Unreachable => self.bouncer.unreachable(SERVER),
            Step::Wait { .. } => {}
        }
    }
}

/// Whom a door has found so far.
fn found(findings: &mut Receiver<(Finding, Timestamp)>) -> BTreeSet<(Detector, String)> {
    let mut found = BTreeSet::new();
    while let Ok((finding, _)) = findings.try_recv() {
        if let Finding::Detected(detected) = finding {
            found.insert((detected.detector, detected.ban.who.to_string()));
        }
    }
    found
}

/// Lets time pass, with a tick each second.
fn wait(clock: &Clock, doors: &[&Door], millis: u64) {
    let micros = |clock: &Clock| clock.moment().as_micros();
    let end = micros(clock) + millis * 1_000;
    loop {
        let next = (micros(clock) / 1_000_000 + 1) * 1_000_000;
        let until = next.min(end);
        clock.advance(Duration::from_micros(until - micros(clock)));
        if until < next {
            return;
        }
        for door in doors {
            door.bouncer.tick();
        }
        if until == end {
            return;
        }
    }
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let detectors =
        Detector::ALL.into_iter().filter(|detector| *detector != Detector::Hammering).collect::<Vec<_>>();
    let limits = (1..5_u32, 5..100_u64).prop_map(|(count, seconds)| Limits {
        max_count: Some(count),
        window_time: Some(Duration::from_secs(seconds)),
    });
    let one = (prop::sample::select(detectors), prop_oneof![9 => limits.prop_map(Some), 1 => Just(None)]);
    prop::collection::vec(one, 1..8)
        .prop_map(|detectors| Wish { zone: None, detectors: detectors.into_iter().collect() })
}

fn found_again(bouncer: &Bouncer, wish: &Wish) -> BTreeSet<(Detector, String)> {
    let what_if = bouncer.what_if(wish).expect("known");
    what_if.found.iter().map(|(detected, _)| (detected.detector, detected.ban.who.to_string())).collect()
}

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whom_a_detector_finds_is_found_when_it_is_told_again(wish in any_wish(), steps in prop::collection::vec(any_step(), 1..250)) {
        let clock = Clock::manual(START);
        let off = ZonePolicy::off("z");
        let mut live = Door::new(&clock, wish.apply(&off).shadowed(), MEMORY);
        let mut quiet = Door::new(&clock, off, MEMORY);
        let mut findings = live.bouncer.findings().expect("the first to ask");
        for step in [&Step::NoConnect { addr: 0, how: NoConnect::Probe }].into_iter().chain(&steps) {
            if let Step::Wait { millis } = step {
                wait(&clock, &[&live, &quiet], *millis);
            }
            live.take(step);
            quiet.take(step);
        }
        // What has ended in doubt is clear then.
        wait(&clock, &[&live, &quiet], 5_000);
        let found = found(&mut findings);
        prop_assert_eq!(&found_again(&quiet.bouncer, &wish), &found, "by one that was off");
        prop_assert_eq!(&found_again(&live.bouncer, &Wish::default()), &found, "by one that was on");
    }
}

fn flapping(count: u32) -> Wish {
    let limits = Limits { max_count: Some(count), window_time: Some(Duration::from_mins(1)) };
    Wish { zone: None, detectors: [(Detector::ByClientId, Some(limits))].into() }
}

fn flap(clock: &Clock, door: &mut Door, client: u8, times: u32) {
    for _ in 0..times {
        door.take(&Step::Come { client, addr: 0, is_exempt: false });
        wait(clock, &[door], 100);
        door.take(&Step::Leave { which: 0, cause: Cause::ClientFailed, has_disconnect: false });
        wait(clock, &[door], 100);
    }
}

#[test]
fn limits_decide_who_would_have_been_banned_and_a_detector_can_be_switched_off() {
    let clock = Clock::manual(START);
    let mut door = Door::new(&clock, ZonePolicy::off("z"), MEMORY);
    flap(&clock, &mut door, 1, 5);
    flap(&clock, &mut door, 2, 9);
    wait(&clock, &[&door], 5_000);
    let names =
        |wish: &Wish| found_again(&door.bouncer, wish).into_iter().map(|(_, who)| who).collect::<Vec<_>>();
    assert_eq!(names(&flapping(4)), ["b", "meter-1"]);
    assert_eq!(names(&flapping(7)), ["b"]);
    assert_eq!(names(&flapping(20)), Vec::<String>::new());
    assert_eq!(names(&Wish { zone: Some("other".to_owned()), ..flapping(4) }), Vec::<String>::new());
    assert_eq!(names(&Wish { zone: Some("z".to_owned()), ..flapping(7) }), ["b"]);
    let both = [(Detector::ByClientId, None), (Detector::ByPeerHost, Some(Limits::default()))];
    assert_eq!(names(&Wish { zone: None, detectors: both.into() }), Vec::<String>::new());
}

#[test]
fn what_is_older_than_an_hour_does_not_count_and_then_the_hour_is_whole() {
    let clock = Clock::manual(START);
    let mut door = Door::new(&clock, ZonePolicy::off("z"), MEMORY);
    flap(&clock, &mut door, 1, 5);
    let early = door.bouncer.what_if(&flapping(4)).expect("known");
    assert_eq!((early.found.len(), early.is_complete, early.since), (1, false, START));
    wait(&clock, &[&door], 3_700_000);
    flap(&clock, &mut door, 2, 5);
    let late = door.bouncer.what_if(&flapping(4)).expect("known");
    let names: Vec<_> = late.found.iter().map(|(detected, _)| detected.ban.who.to_string()).collect();
    assert_eq!((names, late.is_complete), (vec!["b".to_owned()], true));
    assert_eq!(late.since, clock.now().before(Duration::from_hours(1)));
}

#[test]
fn the_oldest_is_forgotten_first_and_that_is_told() {
    let clock = Clock::manual(START);
    let mut door = Door::new(&clock, ZonePolicy::off("z"), 10 * (64 << 10));
    flap(&clock, &mut door, 1, 5);
    // Somebody who comes in now and leaves when that is forgotten.
    door.take(&Step::Come { client: 3, addr: 1, is_exempt: false });
    let old = door.inside.pop().expect("inside");
    for _ in 0..10 {
        flap(&clock, &mut door, 0, 1_000);
    }
    door.inside.push(old);
    door.take(&Step::Leave { which: 0, cause: Cause::ClientClosed, has_disconnect: true });
    flap(&clock, &mut door, 2, 5);
    let what_if = door.bouncer.what_if(&flapping(4)).expect("known");
    assert!(!what_if.is_complete && what_if.since > START, "{:?}", what_if.since);
    let names: BTreeSet<_> = what_if.found.iter().map(|(detected, _)| detected.ban.who.to_string()).collect();
    assert!(names.contains("b") && !names.contains("meter-1"), "{names:?}");
}

#[test]
fn nothing_is_known_where_nothing_is_remembered_and_one_asks_at_a_time() {
    let clock = Clock::manual(START);
    let door = Door::new(&clock, ZonePolicy::off("z"), 0);
    assert_eq!(door.bouncer.what_if(&flapping(4)).err(), Some(Unknown::Off));
    let door = Door::new(&clock, ZonePolicy::off("z"), MEMORY);
    let alone = door.bouncer.shared.replaying.lock();
    assert_eq!(door.bouncer.what_if(&flapping(4)).err(), Some(Unknown::Busy));
    drop(alone);
    assert_eq!(door.bouncer.what_if(&flapping(4)).expect("known").facts, 0);
}

#[test]
fn names_of_any_length_fit_and_stay_apart() {
    let clock = Clock::manual(START);
    let door = Door::new(&clock, ZonePolicy::off("z"), MEMORY);
    let names = [1, 2].map(|last| format!("{}{last}", "é".repeat(30_000)));
    for name in &names {
        let client = Client::new(addr(2), name, Some(name))
            .with_tls(TlsIdentity { ja4: Some(name), ..TlsIdentity::default() });
        for _ in 0..5 {
            let session = Session {
                upstream: SERVER,
                stay: None,
                lived: Duration::from_secs(1),
                codes: Codes::V5,
                connack: Some(0),
                client_disconnect: None,
                broker_disconnect: None,
                cause: Cause::ClientFailed,
            };
            door.end(client, Some(u64::MAX), false, End::Session(session));
        }
    }
    wait(&clock, &[&door], 5_000);
    let found = found_again(&door.bouncer, &flapping(4));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|(_, who)| who.len() <= MAX_TEXT), "{found:?}");
}

//! A world in simulated time: devices, brokers, and between them a door that does what the proxy does, in its order.

use super::device::{Claim, Device, Life, Live, What};
use fastrand::Rng;
use mqtt_bouncer::admission::detection::{
    Answer, Arrival, Cause, Codes, Detection, Detector, End, Finding, Knock, Moment, NoConnect, Refused,
    Secret, Session, Settings, Visit, ZonePolicy,
};
use mqtt_bouncer::admission::{Admission, Ban, Client, List, Timestamp, Verdict};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const SECOND: u64 = 1000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Not to be reached.
    Down,
    /// Takes connections and answers none.
    Hangs,
    /// Refuses everybody: its user database is away.
    Refuses,
}

enum Event {
    /// Unless another attempt was planned since.
    Attempt(usize, u64),
    /// The device ends its session of this number.
    Leave(usize, u64),
    GiveUp(usize, u64),
    Act(Box<dyn FnOnce(&mut World)>),
    Tick,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) brokers: Vec<Mood>,
    /// User names and passwords.
    pub(crate) accounts: HashMap<String, u64>,
    /// Brokers let in whoever gives no user name.
    pub(crate) is_open: bool,
    pub(crate) report: Report,
    /// As the door's clock has it.
    pub(crate) wall_offset: i64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    holders: HashMap<(usize, String), usize>,
    admission: Admission,
    detection: Detection,
    policy: Arc<ZonePolicy>,
    sequence: u64,
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Connections of attackers, and how many of them the bans refused.
    pub(crate) attempts: u32,
    pub(crate) refused: u32,
    /// How many connections attackers had had when they were first found out.
    pub(crate) detected_after: Option<u32>,
    pub(crate) detectors: BTreeSet<Detector>,
    pub(crate) silenced: u32,
    pub(crate) duplicates_told: u32,
    /// Innocent devices that a ban named or refused.
    pub(crate) innocents_banned: BTreeSet<usize>,
    /// The first few bans that hit innocents.
    pub(crate) wrongs: Vec<String>,
}

const BEGIN: i64 = 1_800_000_000_000;

impl World {
    pub(crate) fn new(seed: u64, policy: ZonePolicy) -> World {
        let mut world = World {
            rng: Rng::with_seed(seed),
            now: 0,
            devices: Vec::new(),
            brokers: vec![Mood::Well],
            accounts: HashMap::new(),
            is_open: false,
            report: Report::default(),
            wall_offset: BEGIN,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            holders: HashMap::new(),
            admission: Admission::default(),
            detection: detection(0),
            policy: Arc::new(policy),
            sequence: 0,
        };
        world.schedule(0, Event::Tick);
        world
    }

    /// Adds a device that connects first at some moment of `begin`.
    pub(crate) fn add(&mut self, device: Device, begin: Range<u64>) -> usize {
        self.devices.push(device);
        let (device, at) = (self.devices.len() - 1, self.rng.u64(begin));
        self.schedule(at, Event::Attempt(device, 0));
        device
    }

    /// Does something at a moment.
    pub(crate) fn at(&mut self, moment: u64, act: impl FnOnce(&mut World) + 'static) {
        self.schedule(moment, Event::Act(Box::new(act)));
    }

    pub(crate) fn run(mut self, until: u64) -> Report {
        while let Some(Reverse((at, number))) = self.queue.pop()
            && at <= until
        {
            self.now = at;
            match self.events.remove(&number).expect("scheduled") {
                Event::Attempt(device, plan) if self.devices[device].plan == plan => self.attempt(device),
                Event::Attempt(..) => {}
                Event::Leave(device, session) => self.leave(device, session),
                Event::GiveUp(device, session) => self.give_up(device, session),
                Event::Act(act) => act(&mut self),
                Event::Tick => {
                    let findings = self.detection.tick(self.wall(), self.moment());
                    self.carry_out(findings);
                    self.schedule(self.now + SECOND, Event::Tick);
                }
            }
        }
        self.report
    }

    /// A broker ends all its sessions at once and is in this mood from now on.
    pub(crate) fn cut(&mut self, broker: usize, mood: Mood) {
        self.brokers[broker] = mood;
        for device in 0..self.devices.len() {
            if self.devices[device].broker == broker {
                self.end(device, Cause::BrokerClosed, None, None);
            }
        }
    }

    /// The sessions of these devices break on the client's side.
    pub(crate) fn break_off(&mut self, devices: Range<usize>) {
        devices.for_each(|device| self.end(device, Cause::ClientFailed, None, None));
    }

    /// An operator ends a session.
    pub(crate) fn kick(&mut self, device: usize) {
        self.end(device, Cause::Stopped, None, None);
    }

    /// The proxy ends its sessions and starts again. Bans survive, what detection knew does not.
    pub(crate) fn restart_proxy(&mut self) {
        (0..self.devices.len()).for_each(|device| self.kick(device));
        let offences = self.detection.offences();
        self.detection = detection(self.now);
        self.detection.restore(offences);
    }

    fn attempt(&mut self, device: usize) {
        if self.devices[device].session.is_some() {
            return;
        }
        let claim = (self.devices[device].claim)(&mut self.rng);
        self.devices[device].claimed = Some(claim.clone());
        self.retry(device);
        if self.rng.u8(..100) < self.devices[device].loss {
            return;
        }
        if self.devices[device].is_attacker {
            self.report.attempts += 1;
        }
        let client = claim.client();
        if let Some(ban) = self.ban_of(&client, claim.what) {
            return self.refuse(device, &claim, &ban);
        }
        let nameless = match claim.what {
            What::Connect => None,
            What::Malformed => Some(NoConnect::Malformed),
            What::HalfOpen => Some(NoConnect::TimedOut),
            What::Probe => Some(NoConnect::Probe),
        };
        if let Some(nameless) = nameless {
            return self.tell(&claim, End::NoConnect(nameless));
        }
        let findings = self.detection.arrived(&self.policy, &client, false, self.wall(), self.moment());
        self.carry_out(findings);
        let broker = self.devices[device].broker;
        match self.brokers[broker] {
            Mood::Down => {
                self.detection.unreachable(&broker_name(broker), self.moment());
                self.tell(&claim, End::Refused(Refused::UpstreamUnavailable));
            }
            Mood::Hangs => {
                let session = self.next_number(device);
                self.schedule(self.now + 5 * SECOND, Event::GiveUp(device, session));
            }
            Mood::Well if self.is_right(&claim) => self.accept(device, broker, &claim),
            Mood::Well | Mood::Refuses => self.refuse_password(broker, &claim),
        }
    }

    fn ban_of(&self, client: &Client<'_>, what: What) -> Option<Ban> {
        if what != What::Connect {
            return self.admission.check_peer(client.peer()?, self.wall());
        }
        match self.admission.check(client, self.wall()) {
            Verdict::Admit => None,
            Verdict::Refuse(ban) => Some(ban),
        }
    }

    fn refuse(&mut self, device: usize, claim: &Claim, ban: &Ban) {
        if self.devices[device].is_attacker {
            self.report.refused += 1;
        } else {
            self.wrong(device, ban);
        }
        let client = claim.client();
        let knock = Knock { client, who: &ban.who };
        if let Answer::Silence { just_now: true, .. } =
            self.detection.banned(&self.policy, &knock, self.moment())
        {
            self.report.silenced += 1;
            self.report.detectors.insert(Detector::Hammering);
        }
        self.tell(claim, End::Refused(Refused::Banned));
    }

    fn accept(&mut self, device: usize, broker: usize, claim: &Claim) {
        let holder = (broker, claim.client_id.clone());
        if !claim.client_id.is_empty()
            && let Some(old) = self.holders.insert(holder, device)
            && old != device
        {
            self.end(old, Cause::BrokerClosed, None, None);
        }
        let upstream = broker_name(broker);
        let arrival = Arrival {
            client: claim.client(),
            assigned_client_id: None,
            credentials: self.credentials(claim),
            is_exempt: false,
            upstream: &upstream,
        };
        let (stay, findings) = self.detection.accepted(&self.policy, &arrival, self.wall(), self.moment());
        self.carry_out(findings);
        let number = self.next_number(device);
        self.devices[device].session = Some(Live { number, began: self.now, stay });
        if let Life::For(range) = self.devices[device].life.clone() {
            let at = self.now + self.rng.u64(range);
            self.schedule(at, Event::Leave(device, number));
        }
    }

    fn leave(&mut self, device: usize, number: u64) {
        if self.devices[device].session.as_ref().is_none_or(|live| live.number != number) {
            return;
        }
        if self.devices[device].is_polite {
            self.end(device, Cause::ClientClosed, Some(0), None);
        } else {
            self.end(device, Cause::ClientFailed, None, None);
        }
    }

    /// The session of a device ends, if it has one, and the device will try again.
    fn end(&mut self, device: usize, cause: Cause, client_disconnect: Option<u8>, connack: Option<u8>) {
        let Some(live) = self.devices[device].session.take() else { return };
        let claim = self.devices[device].claimed.clone().expect("it connected");
        let holder = (self.devices[device].broker, claim.client_id.clone());
        if self.holders.get(&holder) == Some(&device) {
            self.holders.remove(&holder);
        }
        let upstream = broker_name(self.devices[device].broker);
        let session = Session {
            upstream: &upstream,
            stay: Some(live.stay),
            lived: Duration::from_millis(self.now - live.began),
            codes: Codes::V3,
            connack: connack.or(Some(0)),
            client_disconnect,
            broker_disconnect: None,
            cause,
        };
        self.tell(&claim, End::Session(session));
        self.retry(device);
    }

    fn give_up(&mut self, device: usize, number: u64) {
        if self.devices[device].number != number || self.devices[device].session.is_some() {
            return;
        }
        let claim = self.devices[device].claimed.clone().expect("it connected");
        let upstream = broker_name(self.devices[device].broker);
        let cause = Cause::ClientClosed;
        self.tell(&claim, End::Session(unaccepted(&upstream, None, cause, Duration::from_secs(5))));
    }

    fn refuse_password(&mut self, broker: usize, claim: &Claim) {
        let upstream = broker_name(broker);
        let session = unaccepted(&upstream, Some(5), Cause::BrokerClosed, Duration::from_millis(30));
        self.tell(claim, End::Session(session));
    }

    /// Tells detection of the end of a connection, and does what it says.
    fn tell(&mut self, claim: &Claim, end: End<'_>) {
        let visit = Visit {
            client: claim.client(),
            assigned_client_id: None,
            credentials: self.credentials(claim),
            is_exempt: false,
            end,
        };
        let findings = self.detection.ended(&self.policy, &visit, self.wall(), self.moment());
        self.carry_out(findings);
    }

    fn carry_out(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            match finding {
                Finding::Hushed(_) => unreachable!("the caller makes it of an answer"),
                Finding::Duplicates(_) => {
                    self.report.duplicates_told += 1;
                    self.report.detectors.insert(Detector::Duplicates);
                }
                Finding::Detected(detected) => {
                    self.report.detectors.insert(detected.detector);
                    self.judge(&detected.ban);
                    if !detected.is_shadow {
                        self.admission.list(List::Bans).insert(detected.ban).expect("no pattern");
                    }
                }
            }
        }
    }

    /// Whom does this ban hit?
    fn judge(&mut self, ban: &Ban) {
        let judge = Admission::default();
        judge.list(List::Bans).insert(ban.clone()).expect("no pattern");
        let mut seen = HashSet::new();
        for device in 0..self.devices.len() {
            let Some(claim) = self.devices[device].claimed.clone() else { continue };
            let client = claim.client();
            if judge.check(&client, self.wall()) == Verdict::Admit {
                continue;
            }
            if self.devices[device].is_attacker {
                self.report.detected_after.get_or_insert(self.report.attempts);
            } else if seen.insert(device) {
                self.wrong(device, ban);
            }
        }
    }

    fn wrong(&mut self, device: usize, ban: &Ban) {
        self.report.innocents_banned.insert(device);
        if self.report.wrongs.len() < 5 {
            let claim = self.devices[device].claimed.clone();
            let text = format!(
                "at {} s: {} {} ({}) hits device {device}: {claim:?}",
                self.now / SECOND,
                ban.who.kind(),
                ban.who,
                ban.terms.by
            );
            self.report.wrongs.push(text);
        }
    }

    fn retry(&mut self, device: usize) {
        let at = self.now + self.rng.u64(self.devices[device].pause.clone()).max(1);
        self.devices[device].plan += 1;
        let plan = self.devices[device].plan;
        self.schedule(at, Event::Attempt(device, plan));
    }

    fn next_number(&mut self, device: usize) -> u64 {
        self.devices[device].number += 1;
        self.devices[device].number
    }

    fn is_right(&self, claim: &Claim) -> bool {
        match &claim.username {
            Some(name) => claim.password.is_some() && self.accounts.get(name) == claim.password.as_ref(),
            None => self.is_open,
        }
    }

    fn credentials(&self, claim: &Claim) -> Option<u64> {
        let password = claim.password?;
        Some(self.detection.fingerprint(claim.username.as_deref(), &password.to_le_bytes()))
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert(self.sequence, event);
        self.queue.push(Reverse((at, self.sequence)));
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_offset + i64::try_from(self.now).expect("short"))
    }

    fn moment(&self) -> Moment {
        Moment::from_millis(self.now)
    }
}

fn unaccepted(upstream: &str, connack: Option<u8>, cause: Cause, lived: Duration) -> Session<'_> {
    let (client_disconnect, broker_disconnect) = (None, None);
    let codes = Codes::V3;
    Session { upstream, stay: None, lived, codes, connack, client_disconnect, broker_disconnect, cause }
}

fn broker_name(broker: usize) -> String {
    format!("10.0.0.{broker}:1883")
}

fn detection(now: u64) -> Detection {
    let settings = Settings { max_tracked: 1 << 17, ..Settings::default() };
    Detection::new(settings, Secret::new(0x0123_4567_89AB_CDEF_0011_2233_4455_6677), Moment::from_millis(now))
}

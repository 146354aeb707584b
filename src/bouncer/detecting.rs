//! Detection behind the handle: tells it what happens and when, and puts what it finds in force.

use super::Bouncer;
use super::facts::Fact;
use crate::admission::detection::{
    Answer, Arrival, End, Finding, Hushed, Knock, Moment, Offence, Stay, Suspect, Visit, ZonePolicy,
};
use crate::admission::{Client, List, Timestamp, Who};
use crate::metrics::Counter;
use compact_str::CompactString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Carries findings to whoever logs and keeps them.
#[derive(Debug)]
pub(super) struct Findings {
    sender: Sender<(Finding, Timestamp)>,
    receiver: std::sync::Mutex<Option<Receiver<(Finding, Timestamp)>>>,
    lost: AtomicU64,
    pub(super) lost_in_all: Counter,
}

/// How many findings may wait.
const WAITING: usize = 8192;

impl Default for Findings {
    fn default() -> Findings {
        let (sender, receiver) = channel(WAITING);
        Findings {
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
            lost: AtomicU64::new(0),
            lost_in_all: Counter::new(),
        }
    }
}

impl Bouncer {
    /// A CONNECT has come that no ban refuses.
    pub fn arrived(&self, policy: &Arc<ZonePolicy>, client: &Client<'_>) {
        if policy.counts_connects() {
            let (at, now) = self.times();
            let is_exempt = self.is_exempt(client);
            self.record(Some(policy), &Fact::Arrived(*client, is_exempt), now);
            let findings = self.shared.detection.arrived(policy, client, is_exempt, at, now);
            self.carry_out(findings, at);
        }
    }

    /// The broker has accepted a client. What is returned is given back when it [ends](Bouncer::ended); nothing where
    /// nothing is detected.
    pub fn accepted(&self, policy: &Arc<ZonePolicy>, arrival: &Arrival<'_>) -> Option<Stay> {
        if policy.is_off() && self.shared.recorder.is_none() {
            return None;
        }
        let now = self.clock.moment();
        self.record(Some(policy), &Fact::Accepted(arrival), now);
        if policy.is_off() {
            return None;
        }
        let at = self.clock.now();
        let (stay, findings) = self.shared.detection.accepted(policy, arrival, at, now);
        self.carry_out(findings, at);
        Some(stay)
    }

    /// A connection has ended, however far it came.
    pub fn ended(&self, policy: &Arc<ZonePolicy>, visit: &Visit<'_>) {
        let is_told = self.shared.recorder.is_some() && !matches!(visit.end, End::Refused(_));
        // A session that began while something was detected is given back in any case.
        let is_judged = !policy.is_off() || visit.session().is_some_and(|session| session.stay.is_some());
        if !is_told && !is_judged {
            return;
        }
        let now = self.clock.moment();
        if is_told {
            self.record(Some(policy), &Fact::Ended(visit), now);
        }
        if !is_judged {
            return;
        }
        let at = self.clock.now();
        let findings = self.shared.detection.ended(policy, visit, at, now);
        self.carry_out(findings, at);
    }

    /// A banned client has come. Says how to answer it.
    pub fn banned(&self, policy: &ZonePolicy, knock: &Knock<'_>) -> Answer {
        let (at, now) = self.times();
        let answer = self.shared.detection.banned(policy, knock, now);
        if let Answer::Silence { time, just_now: true, is_shadow } = answer {
            let Knock { client, who } = knock;
            self.pass_on(
                Finding::Hushed(Box::new(Hushed {
                    who: Who::clone(who),
                    zone: Arc::clone(&policy.zone),
                    address: client.peer(),
                    client_id: client.client_id().map(CompactString::from),
                    time,
                    is_shadow,
                })),
                at,
            );
        }
        answer
    }

    /// True while a banned client is not [answered](Bouncer::banned), whatever it sends.
    pub fn is_hushed(&self, policy: &ZonePolicy, knock: &Knock<'_>) -> bool {
        self.shared.detection.is_hushed(policy, knock, self.clock.moment())
    }

    /// A broker could not be reached.
    pub fn unreachable(&self, server: &str) {
        let now = self.clock.moment();
        self.record(None, &Fact::Unreachable(server), now);
        self.shared.detection.unreachable(server, now);
    }

    /// Writes down what detection is told, for [`what_if`](Bouncer::what_if).
    fn record(&self, policy: Option<&Arc<ZonePolicy>>, fact: &Fact<'_>, now: Moment) {
        if let Some(recorder) = &self.shared.recorder {
            recorder.write(policy, fact, now, || self.clock.now());
        }
    }

    /// Time has passed; to be called about once a second.
    pub fn tick(&self) {
        let (at, now) = self.times();
        let findings = self.shared.detection.tick(at, now);
        self.carry_out(findings, at);
    }

    /// A ban was lifted by hand: the next one of the same `who` is a first one again.
    pub fn lifted(&self, who: &Who) {
        self.shared.detection.lifted(who);
    }

    /// Remembers offences from before a restart.
    pub fn restore(&self, offences: impl IntoIterator<Item = Offence>) {
        self.shared.detection.restore(offences);
    }

    /// Those who are nearest to the limits of detection, the nearest first.
    pub fn suspects(&self, most: usize) -> Vec<Suspect> {
        self.shared.detection.suspects(most, self.clock.moment())
    }

    /// The keyed hash of user name and password, by which detection tells credentials apart.
    pub fn fingerprint(&self, username: Option<&str>, password: &[u8]) -> u64 {
        self.shared.detection.fingerprint(username, password)
    }

    /// True when an exemption names this client now.
    pub fn is_exempt(&self, client: &Client<'_>) -> bool {
        self.list(List::Exemptions).check(client, self.clock.now()).is_some()
    }

    /// What detection finds from now on, each with its time. For one receiver: later calls get nothing.
    pub fn findings(&self) -> Option<Receiver<(Finding, Timestamp)>> {
        self.shared.findings.receiver.lock().ok()?.take()
    }

    /// How many findings came to nothing since this was last asked, because there were too many.
    pub fn take_lost_findings(&self) -> u64 {
        self.shared.findings.lost.swap(0, Ordering::Relaxed)
    }

    /// True when automatic bans take so much memory that those that have ended should go.
    pub fn is_crowded(&self) -> bool {
        self.shared.automatic.load(Ordering::Relaxed) > MAX_AUTOMATIC / 2
    }

    pub(super) fn times(&self) -> (Timestamp, Moment) {
        (self.clock.now(), self.clock.moment())
    }

    fn carry_out(&self, findings: Vec<Finding>, at: Timestamp) {
        for finding in findings {
            self.pass_on(finding, at);
        }
    }

    /// Puts a ban in force at once, before anybody is told. One that nobody can be told of, or that has no room, is not
    /// made: what is in force is known and kept.
    fn pass_on(&self, finding: Finding, at: Timestamp) {
        let ban = match &finding {
            Finding::Detected(detected) if !detected.is_shadow => Some(&detected.ban),
            Finding::Detected(_) | Finding::Duplicates(_) | Finding::Hushed(_) => None,
        };
        let has_room = ban.is_none() || self.shared.automatic.load(Ordering::Relaxed) < MAX_AUTOMATIC;
        match self.shared.findings.sender.try_reserve() {
            Ok(place) if has_room => {
                if let Some(ban) = ban {
                    // Detection bans by name, address and network: of those there may be any number.
                    let _ = self.extend(List::Bans, ban.clone());
                }
                place.send((finding, at));
            }
            _ => {
                if let Some(ban) = ban {
                    self.shared.detection.lifted(&ban.who);
                }
                self.shared.findings.lost.fetch_add(1, Ordering::Relaxed);
                self.shared.findings.lost_in_all.add(1);
            }
        }
    }
}

/// The most memory that automatic bans may take, in bytes: room for about a million.
const MAX_AUTOMATIC: usize = 256 << 20;

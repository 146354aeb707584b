//! Finds out who is to be banned, from what connections did: flapping, guessing, flooding, hammering.
//!
//! Pure: the caller tells what happened and when, by two clocks, and carries out what is found.
//!
//! ```text
//! CONNECT read, a ban refuses it ──► banned()   → how to answer it
//! CONNECT read, no ban ────────────► arrived()  → findings (EMQX's counting, where it is switched on)
//! the broker's CONNACK says yes ───► accepted() → Stay, findings
//! the connection has ended ────────► ended()    → blame → windows → findings
//! a broker cannot be reached ──────► unreachable()
//! about once a second ─────────────► tick()     → findings whose doubts have cleared
//! a ban was lifted by hand ────────► lifted()
//! ```
//! What counts, and against whom, is told in `churn` (flapping), `guesses` (passwords) and docs/DETECTION.md; whose fault
//! an end was in [`blame`] and `weather`. Everything is per zone: a zone's name is part of every key.
//!
//! All tables are bounded by [`Settings::max_tracked`], hold keyed hashes instead of names, and are shared: every
//! method takes `&self`, and locks are held for one bucket of one table.

pub mod blame;
mod churn;
mod crowd;
mod duplicates;
mod escalation;
mod evidence;
mod facts;
mod finding;
mod guesses;
mod key;
mod known;
mod moment;
mod nuisance;
mod policy;
mod row;
mod sightings;
mod strike;
mod table;
mod visit;
mod weather;
mod window;

pub use blame::Blame;
pub use crowd::Stay;
pub use escalation::Offence;
pub use evidence::{BlameSplit, Evidence};
pub use finding::{Answer, Detected, Detector, DuplicateClients, Finding, Hushed};
pub use key::Secret;
pub use moment::Moment;
pub use policy::{
    AuthFailures, ByClientId, ByNetwork, Churn, ConnectionRate, Duplicates, Escalation, Growth, Hammering,
    Nuisance, OnDuplicates, Settings, Threshold, ZonePolicy,
};
pub use visit::{Cause, Codes, End, Knock, NoConnect, Refused, Session, Visit};

use super::{Client, Timestamp, Who};
use crowd::Places;
use duplicates::{Fights, Holder, Recognised};
use escalation::Offences;
use evidence::Cases;
use facts::{Doubt, Facts, Keys};
use guesses::Trust;
use key::Kind;
use known::{Hand, Known};
use sightings::Sightings;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use strike::Now;
use weather::{Side, Weather};
use window::Windows;

/// Everything that detection remembers.
#[derive(Debug)]
pub struct Detection {
    secret: Secret,
    settings: Settings,
    /// When it is known who lives where.
    learned: Moment,
    known: Known,
    windows: Windows,
    /// Which credentials were seen where, and how often; and which addresses in networks.
    seen: Sightings,
    /// What is so until some moment: which credentials were accepted, which accounts are under siege, who is not
    /// answered, whose ban would be running.
    marks: Sightings,
    places: Places,
    weather: Weather,
    fights: Fights,
    trust: Trust,
    cases: Cases,
    /// Ends whose blame is in doubt, and when each clears; never more than [`MAX_DOUBTS`].
    doubts: Mutex<VecDeque<(Moment, Doubt)>>,
    offences: Offences,
    turn: AtomicUsize,
}

/// More ends than this in doubt at once are a common cause, whatever it is; the rest does not count.
const MAX_DOUBTS: usize = 8192;

/// A client that the broker accepted.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Where it came from, and who it claimed to be.
    pub client: Client<'a>,
    /// The client identifier that the broker assigned, where it did.
    pub assigned_client_id: Option<&'a str>,
    /// As in [`Visit`].
    pub credentials: Option<u64>,
    /// As in [`Visit`].
    pub is_exempt: bool,
    /// As in [`Session`].
    pub upstream: &'a str,
}

impl Detection {
    /// Detection that begins at `now`. `secret` is 128 random bits.
    pub fn new(settings: Settings, secret: Secret, now: Moment) -> Detection {
        let Settings { max_tracked, memory, resident_after, patience, settle, learning } = settings;
        Detection {
            secret,
            settings,
            learned: now.after(learning),
            known: Known::new(max_tracked),
            windows: Windows::new(max_tracked),
            seen: Sightings::new(max_tracked / 2),
            marks: Sightings::new(max_tracked / 2),
            places: Places::new(max_tracked / 8, resident_after),
            weather: Weather::new(resident_after, patience, settle),
            fights: Fights::new(max_tracked / 2, memory),
            trust: Trust::default(),
            cases: Cases::default(),
            doubts: Mutex::default(),
            offences: Offences::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The keyed hash of user name and password, for [`Visit::credentials`].
    pub fn fingerprint(&self, username: Option<&str>, password: &[u8]) -> u64 {
        let name = username.map_or(0, |name| self.secret.name(Kind::Username, name));
        self.secret.key(Kind::Accepted, &[name, self.secret.hash(password)])
    }

    /// A CONNECT has come that no ban refuses. Only counts where a policy says `count_refused`.
    pub fn arrived(
        &self,
        policy: &Arc<ZonePolicy>,
        client: &Client<'_>,
        is_exempt: bool,
        at: Timestamp,
        now: Moment,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if policy.counts_connects() && !is_exempt {
            let keys = Keys::of(&self.secret, policy, client, None, None, false);
            let facts = Facts::of_client(policy, keys, client);
            self.count_connect(&facts, Now { at, moment: now }, &mut findings);
        }
        findings
    }

    /// The broker has accepted a client. What is returned is to be given back in [`Session::stay`] when it ends.
    pub fn accepted(
        &self,
        policy: &Arc<ZonePolicy>,
        arrival: &Arrival<'_>,
        at: Timestamp,
        now: Moment,
    ) -> (Stay, Vec<Finding>) {
        let Arrival { client, assigned_client_id, credentials, .. } = arrival;
        let keys = Keys::of(&self.secret, policy, client, *assigned_client_id, *credentials, false);
        let facts = Facts::of_client(policy, keys, client);
        let facts = Facts { client_id: client.client_id().or(*assigned_client_id), ..facts };
        let now = Now { at, moment: now };
        let is_returning = self.is_old_resident(&facts, &mut self.known.hand(), now);
        let stay = Stay { began: now.moment, is_returning };
        self.weather.enter(self.broker_key(arrival.upstream), stay);
        self.places.enter(&self.places_of(&facts), stay);
        if let Some(credentials) = credentials.filter(|_| policy.auth_failures.is_some()) {
            let accepted = self.secret.key(Kind::Accepted, &[keys.zone, credentials]);
            if self.marks.renew(accepted, now.moment.after(self.settings.memory), now.moment) {
                self.trust.accepted(now.moment);
            }
        }
        let recognised = || self.fights.begin(self.holder(&facts)?, policy.duplicates.as_ref()?, now.moment);
        let finding = recognised().and_then(|recognised| self.tell_duplicates(&facts, recognised, now));
        (stay, finding.filter(|_| !arrival.is_exempt).into_iter().collect())
    }

    /// A connection has ended, however far it came.
    pub fn ended(
        &self,
        policy: &Arc<ZonePolicy>,
        visit: &Visit<'_>,
        at: Timestamp,
        now: Moment,
    ) -> Vec<Finding> {
        let now = Now { at, moment: now };
        let mut findings = self.clear_doubts(now);
        let facts = Facts::of(&self.secret, policy, visit);
        let mut hand = self.known.hand();
        match &visit.end {
            End::NoConnect(no_connect) if !visit.is_exempt => {
                self.count_nameless(&facts, *no_connect, &mut hand, now, &mut findings);
            }
            End::NoConnect(_) | End::Refused(_) => {}
            End::Session(session) => self.leave(&facts, visit, session, &mut hand, now, &mut findings),
        }
        findings
    }

    /// A banned client has come. Says how to answer it.
    pub fn banned(&self, policy: &ZonePolicy, knock: &Knock<'_>, now: Moment) -> Answer {
        self.answer(policy, knock, now)
    }

    /// A broker could not be reached, or did not take the CONNECT, whether or not another one did.
    pub fn unreachable(&self, upstream: &str, now: Moment) {
        self.weather.trouble(self.broker_key(upstream), now);
    }

    /// Time has passed. To be called about once a second: counts the ends whose doubts have cleared, and gives back
    /// memory that is not needed any more.
    pub fn tick(&self, at: Timestamp, now: Moment) -> Vec<Finding> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.known.tidy(turn, now);
        self.windows.tidy(turn, now);
        self.seen.tidy(turn, now);
        self.marks.tidy(turn, now);
        self.places.tidy(turn, now);
        self.fights.tidy(turn, now);
        if turn.is_multiple_of(64) {
            self.cases.tidy(now);
        }
        self.clear_doubts(Now { at, moment: now })
    }

    /// A ban was lifted by hand: its offences are forgotten. (What was counted went when the ban was made.) Must be
    /// told, or nothing more is found against whom it named until it would have ended.
    pub fn lifted(&self, who: &Who) {
        self.offences.forget(who);
    }

    /// Everything that escalation remembers, to be kept across a restart.
    pub fn offences(&self) -> Vec<Offence> {
        self.offences.export()
    }

    /// Remembers offences from before a restart.
    pub fn restore(&self, offences: impl IntoIterator<Item = Offence>) {
        offences.into_iter().for_each(|offence| self.offences.record(offence));
    }

    /// How many keys are held, and how many bytes their tables take.
    pub fn usage(&self) -> (usize, usize) {
        let tables = [
            self.known.usage(),
            self.windows.usage(),
            self.seen.usage(),
            self.marks.usage(),
            self.places.usage(),
            self.fights.usage(),
        ];
        tables.iter().fold((0, 0), |sum, usage| (sum.0 + usage.0, sum.1 + usage.1))
    }
}

/// The end of a session.
impl Detection {
    fn leave(
        &self,
        facts: &Facts<'_>,
        visit: &Visit<'_>,
        session: &Session<'_>,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let broker = self.broker_key(session.upstream);
        let side = session.side();
        let was_resident =
            session.stay.is_some_and(|stay| stay.is_resident(now.moment, self.settings.resident_after));
        self.read_ahead(facts, was_resident, hand);
        if let Some(stay) = session.stay {
            self.weather.leave(broker, stay, side, now.moment);
            self.say_goodbye(facts, stay, was_resident, hand, now);
        }
        let judgement = blame::judge(&visit.end);
        if judgement.blame == Blame::Broker {
            self.weather.trouble(broker, now.moment);
        }
        if side == Side::Broker && session.is_accepted() {
            let recognised =
                || self.fights.end(self.holder(facts)?, facts.policy.duplicates.as_ref()?, now.moment);
            let finding = recognised().and_then(|recognised| self.tell_duplicates(facts, recognised, now));
            findings.extend(finding.filter(|_| !visit.is_exempt));
        }
        if visit.is_exempt {
            return;
        }
        if judgement.blame != Blame::Client {
            self.note_end(facts, judgement.blame);
            return;
        }
        if session.is_auth_failure() {
            self.count_refused_credentials(facts, hand, now, findings);
            return;
        }
        self.count_pace(facts, hand, now, findings);
        let may_be_excused = judgement.is_doubtful
            || (was_resident && side == Side::Client && session.cause != Cause::Violation);
        if may_be_excused {
            self.doubt(Doubt::new(facts, broker, side, was_resident), now);
        } else if session.connack.is_none() && self.weather.explains(broker, Side::Broker, false, now.moment)
        {
            // It did not wait long for an answer, but from this broker nobody gets one.
            self.note_end(facts, Blame::Broker);
        } else {
            self.count_flapping(facts, hand, now, findings);
        }
    }

    fn say_goodbye(&self, facts: &Facts<'_>, stay: Stay, was_resident: bool, hand: &mut Hand<'_>, now: Now) {
        self.places.leave(&self.places_of(facts), stay, now.moment);
        if was_resident && let Some(key) = self.resident_key(facts) {
            let until = now.moment.after(self.settings.memory);
            hand.clients(key).marks.remember(key, until, now.moment);
            if now.moment.since(stay.began) >= self.settings.resident_after
                && let Some((name, owner)) = self.owner(facts)
            {
                hand.clients(name).marks.claim(name, owner, until, now.moment);
            }
        }
    }

    fn count_refused_credentials(
        &self,
        facts: &Facts<'_>,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        if self.is_excused_refusal(facts, now) {
            self.note_end(facts, Blame::Unknown);
            return;
        }
        let found = findings.len();
        if let Some(policy) = &facts.policy.auth_failures {
            self.count_guess(facts, policy, hand, now, findings);
        }
        // Whoever is banned for guessing need not be banned for flapping as well.
        if findings.len() == found {
            self.count_pace(facts, hand, now, findings);
            self.count_flapping(facts, hand, now, findings);
        }
    }

    fn doubt(&self, doubt: Doubt, now: Now) {
        let mut doubts = self.doubts();
        if doubts.len() < MAX_DOUBTS {
            doubts.push_back((now.moment.after(self.settings.patience), doubt));
        }
    }

    /// Counts the ends that no common cause has explained by now.
    fn clear_doubts(&self, now: Now) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut hand = self.known.hand();
        loop {
            let mut doubts = self.doubts();
            let is_clear = doubts.front().is_some_and(|(clears, _)| *clears <= now.moment);
            let Some((clears, doubt)) = doubts.pop_front_if(|_| is_clear) else { return findings };
            drop(doubts);
            let ended = Moment::from_micros(
                clears.as_micros().saturating_sub(moment::micros(self.settings.patience)),
            );
            let facts = doubt.facts();
            if self.weather.explains(doubt.broker, doubt.side, doubt.was_resident, ended) {
                let blame = if doubt.side == Side::Broker { Blame::Broker } else { Blame::Unknown };
                self.note_end(&facts, blame);
            } else {
                self.count_flapping(&facts, &mut hand, Now { moment: clears, ..now }, &mut findings);
            }
        }
    }

    fn doubts(&self) -> MutexGuard<'_, VecDeque<(Moment, Doubt)>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_duplicates(&self, facts: &Facts<'_>, recognised: Recognised, now: Now) -> Option<Finding> {
        let (policy, client_id) = (facts.policy.duplicates?, facts.client_id?);
        let Recognised { addresses, returns } = recognised;
        let threshold = Threshold {
            max_count: policy.max_count,
            window_time: policy.window_time,
            ban_time: policy.ban_time,
            shadow: policy.shadow,
        };
        match policy.action {
            OnDuplicates::Ban => self.ban_duplicates(facts, client_id, &threshold, addresses, now),
            OnDuplicates::Warn => Some(Finding::Duplicates(Box::new(DuplicateClients {
                who: Who::ClientId(client_id.into()),
                zone: Arc::clone(&facts.policy.zone),
                addresses,
                returns,
            }))),
        }
    }
}

/// Keys, and what is known of them.
impl Detection {
    fn broker_key(&self, upstream: &str) -> u64 {
        self.secret.own_name(Kind::Upstream, upstream)
    }

    fn holder_key(&self, zone: u64, client_id: u64) -> u64 {
        self.secret.key(Kind::Origin, &[zone, client_id])
    }

    fn holder(&self, facts: &Facts<'_>) -> Option<Holder> {
        let id = self.holder_key(facts.keys.zone, facts.keys.client_id?);
        let origin = self.secret.key(
            Kind::Origin,
            &[facts.keys.peer, facts.keys.username.unwrap_or(0), facts.keys.credentials.unwrap_or(0)],
        );
        Some(Holder { id, origin, peer: facts.peer })
    }

    /// The key under which it is remembered that a client stayed for long: it has to come under the same user name.
    fn resident_key(&self, facts: &Facts<'_>) -> Option<u64> {
        let id = facts.keys.client_id?;
        let parts = [facts.keys.zone, id, facts.keys.username.unwrap_or(0)];
        Some(self.secret.key_of(id, Kind::Resident, &parts))
    }

    /// The key of a client identifier as something that is owned, and who the owner would be.
    fn owner(&self, facts: &Facts<'_>) -> Option<(u64, u16)> {
        let id = facts.keys.client_id?;
        let name = self.secret.key_of(id, Kind::Owner, &[facts.keys.zone, id]);
        // Who has no password is told by its address.
        let proof = facts.keys.credentials.unwrap_or(facts.keys.peer);
        let owner = self.secret.key(Kind::Owner, &[facts.keys.username.unwrap_or(0), proof]);
        #[expect(clippy::cast_possible_truncation, reason = "16 bits of a hash")]
        Some((name, owner as u16))
    }

    /// True when the client identifier is known to belong to somebody else.
    fn is_anothers(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        self.owner(facts).is_some_and(|(name, owner)| {
            hand.clients(name).marks.tag(name, now.moment).is_some_and(|known| known != owner)
        })
    }

    fn is_old_resident(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        self.resident_key(facts).is_some_and(|key| hand.clients(key).marks.is_known(key, now.moment))
    }

    /// The key of a client seen at a place.
    fn seen_key(&self, facts: &Facts<'_>, place: u64) -> u64 {
        let Keys { zone, identity, .. } = facts.keys;
        self.secret.key_of(identity, Kind::Seen, &[zone, place, identity])
    }

    /// The key of how often a client comes to its source.
    fn pace_key(&self, facts: &Facts<'_>) -> u64 {
        let Keys { zone, source, identity, .. } = facts.keys;
        self.secret.key_of(identity, Kind::Pace, &[zone, source, identity])
    }

    /// Reads what is about to be asked of a client.
    fn read_ahead(&self, facts: &Facts<'_>, was_resident: bool, hand: &mut Hand<'_>) {
        let policy = facts.policy;
        let mut read = 0;
        if facts.lived < SHORT {
            let seen = &hand.clients(facts.keys.identity).seen;
            let mut read_at = |place| read ^= seen.read(self.seen_key(facts, place));
            if policy.by_peerhost.is_some() {
                read_at(facts.keys.peer);
            }
            if let (Some(_), Some(username)) = (&policy.by_username, facts.keys.username) {
                read_at(username);
            }
            for (_, network) in facts.keys.networks.into_iter().flatten() {
                read_at(network);
            }
            if policy.connection_rate.is_some() {
                read ^= seen.read(self.pace_key(facts));
            }
        }
        if facts.is_accepted {
            if let Some((name, _)) = self.owner(facts) {
                read ^= hand.clients(name).marks.read(name);
            }
            if let Some(resident) = self.resident_key(facts).filter(|_| was_resident || facts.lived < SHORT) {
                read ^= hand.clients(resident).marks.read(resident);
            }
            if let (Some(by), Some(id)) = (&policy.by_clientid, facts.keys.client_id) {
                let key = self.window_key(facts, Detector::ByClientId, id, &by.threshold);
                read ^= hand.clients(key).singles.read(key);
            }
        }
        std::hint::black_box(read);
    }

    fn place_key(&self, zone: u64, place: u64) -> u64 {
        self.secret.key_of(place, Kind::Population, &[zone, place])
    }

    /// The places where a session lives, of those that anything is weighed against.
    fn places_of(&self, facts: &Facts<'_>) -> [Option<u64>; 5] {
        let (policy, zone) = (facts.policy, facts.keys.zone);
        let Keys { peer, source, networks, .. } = facts.keys;
        let mut places = [None; 5];
        let mut free = places.iter_mut();
        let mut add = |place| {
            if let Some(free) = free.next() {
                *free = Some(self.place_key(zone, place));
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
        places
    }

    fn residents(&self, facts: &Facts<'_>, place: u64, now: Now) -> u32 {
        self.places.residents(self.place_key(facts.keys.zone, place), now.moment)
    }
}

/// Most of what is asked of a client is asked of sessions that are shorter than this.
const SHORT: std::time::Duration = std::time::Duration::from_secs(10);

#[cfg(test)]
mod tests;

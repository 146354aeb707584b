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
mod ends;
mod escalation;
mod evidence;
mod facts;
mod finding;
mod fingerprints;
mod guesses;
mod key;
mod known;
mod lookup;
mod moment;
mod newcomers;
mod nuisance;
mod policy;
mod prefetch;
mod residence;
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
pub use evidence::{BlameSplit, Evidence, Suspect};
pub use finding::{Answer, Detected, Detector, DuplicateClients, Finding, Hushed};
pub use key::Secret;
pub use moment::Moment;
pub use policy::{
    AuthFailures, ByClientId, ByJa4, ByNetwork, Churn, ConnectionRate, Duplicates, Escalation, Growth,
    Hammering, Nuisance, OnDuplicates, Settings, Threshold, ZonePolicy,
};
pub use visit::{Cause, Codes, End, Knock, NoConnect, Refused, Session, Visit};

use super::{Client, Timestamp, Who};
use duplicates::Fights;
use escalation::Offences;
use evidence::Cases;
use facts::{Doubt, Facts, Keys, Names};
use guesses::Trust;
use key::Kind;
use known::Known;
use sightings::Sightings;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use strike::Now;
use weather::Weather;
use window::Windows;

/// Everything that detection remembers.
#[derive(Debug)]
pub struct Detection {
    secret: Secret,
    settings: Settings,
    /// When it is known who lives where.
    learned: Moment,
    /// Of single clients and of where they live.
    known: Known,
    windows: Windows,
    /// Which credentials were seen where, and how often; and which addresses in networks.
    seen: Sightings,
    /// What is so until some moment: which accounts are under siege, who is not answered, whose ban would be running.
    marks: Sightings,
    weather: Weather,
    fights: Fights,
    trust: Trust,
    cases: Cases,
    /// Ends whose blame is in doubt, and when each clears; never more than [`MAX_DOUBTS`].
    doubts: Mutex<VecDeque<(Moment, Doubt)>>,
    /// When the first of them clears, in microseconds; `u64::MAX` when there is none. Most ends need no lock to know.
    first_doubt: AtomicU64,
    offences: Offences,
    /// Those of bans that were only told of, so that each is told as long as it would be.
    shadow_offences: Offences,
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
        let Settings { max_tracked, resident_after, patience, settle, learning, .. } = settings;
        Detection {
            secret,
            settings,
            learned: now.after(learning),
            known: Known::new(max_tracked),
            windows: Windows::new(max_tracked),
            seen: Sightings::new(max_tracked / 2),
            marks: Sightings::new(max_tracked / 4),
            weather: Weather::new(resident_after, patience, settle),
            fights: Fights::default(),
            trust: Trust::default(),
            cases: Cases::default(),
            doubts: Mutex::default(),
            first_doubt: AtomicU64::new(u64::MAX),
            offences: Offences::default(),
            shadow_offences: Offences::default(),
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
            let client_id = Names::client_id_of(&self.secret, client, None);
            let names = Names::of(&self.secret, policy, client, client_id);
            let keys = Keys::of(&self.secret, policy, client, names, None, false);
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
        let mut hand = self.known.hand();
        let client_id = Names::client_id_of(&self.secret, client, *assigned_client_id);
        // Whether it was a resident: nothing else is waited for.
        hand.clients(client_id).marks.prefetch(client_id);
        let names = Names::of(&self.secret, policy, client, client_id);
        let keys = Keys::of(&self.secret, policy, client, names, *credentials, false);
        let facts = Facts::of_client(policy, keys, client);
        let facts = Facts { client_id: client.client_id().or(*assigned_client_id), ..facts };
        let now = Now { at, moment: now };
        let accepted = self.accepted_key(&facts).filter(|_| policy.auth_failures.is_some());
        if let Some(accepted) = accepted {
            hand.clients(accepted).accepted.prefetch(accepted);
        }
        let places = self.places_of(&facts);
        let broker = self.broker_key(arrival.upstream);
        let is_returning = self.is_old_resident(&facts, &mut hand, now);
        let stay = self.move_in(names, broker, places, is_returning, &mut hand, now);
        self.weather.enter(&stay);
        let finding = self.look_for_duplicates(&facts, &mut hand, now);
        if let Some(key) = accepted {
            let until = now.moment.after(self.settings.memory);
            if hand.clients(key).accepted.renew(key, until, now.moment) {
                self.trust.accepted(now.moment);
            }
        }
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
        self.fights.tidy(now);
        if turn.is_multiple_of(64) {
            self.cases.tidy(now);
        }
        let now = Now { at, moment: now };
        self.settle(now);
        self.clear_doubts(now)
    }

    /// A ban was lifted by hand: its offences are forgotten. (What was counted went when the ban was made.) Must be
    /// told, or nothing more is found against whom it named until it would have ended.
    pub fn lifted(&self, who: &Who) {
        self.offences.forget(who);
        self.shadow_offences.forget(who);
    }

    /// Everything that escalation remembers, to be kept across a restart.
    pub fn offences(&self) -> Vec<Offence> {
        self.offences.export()
    }

    /// Remembers offences from before a restart.
    pub fn restore(&self, offences: impl IntoIterator<Item = Offence>) {
        offences.into_iter().for_each(|offence| self.offences.record(offence));
    }

    /// Those who are nearest to their limits now, the nearest first: whoever is half-way at least.
    pub fn suspects(&self, most: usize, now: Moment) -> Vec<Suspect> {
        self.cases.suspects(most, now)
    }

    /// How many keys are held, as each part of the tables counted them when it was tidied last, and how many bytes the
    /// tables take. Walks over no keys.
    pub fn usage(&self) -> (usize, usize) {
        let tables = [self.known.usage(), self.windows.usage(), self.seen.usage(), self.marks.usage()];
        tables.iter().fold((0, 0), |sum, usage| (sum.0 + usage.0, sum.1 + usage.1))
    }
}

#[cfg(test)]
mod tests;

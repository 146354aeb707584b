//! What detection was told, told again to another detector.

use super::facts::{Ended, Facts, Named, Told, What};
use super::recorder::Block;
use crate::admission::detection::{
    Arrival, Detected, Detection, Detector, End, Finding, Moment, Secret, Session, Settings, Stay, Visit,
    ZonePolicy,
};
use crate::admission::{Timestamp, Who};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Whom a detector that is told all of this finds.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Each name of each detector once, with the time at which it was found first.
    pub(super) found: Vec<(Box<Detected>, Timestamp)>,
    /// How many facts there were.
    pub(super) facts: usize,
}

/// Tells a new detector all of it, in order. `wish` says what the policies of zones are to be. What is found before
/// `from` does not count, and after a while `is_enough` may say that it takes too long: then nothing is answered.
pub(super) fn replay(
    blocks: &[Arc<Block>],
    settings: Settings,
    secret: Secret,
    from: Moment,
    wish: impl Fn(&ZonePolicy) -> ZonePolicy,
    is_enough: impl Fn() -> bool,
) -> Option<Replayed> {
    let mut places = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let mut facts = Facts { block, at: 0 };
        let mut at = 0;
        while let Some(told) = facts.next() {
            places.push((told.now, number, at));
            at = facts.at;
        }
    }
    places.sort_unstable();
    let Some((first, ..)) = places.first() else { return Some(Replayed::default()) };
    let told =
        |(_, number, at): &(Moment, usize, usize)| Facts { block: blocks.get(*number)?, at: *at }.next();
    let old = began_before(places.iter().filter_map(told));
    let began = old.first().map_or(*first, |old| old.began.0.min(*first));
    // Room for whoever is told of, and no more.
    let max_tracked = settings.max_tracked.min(places.len().saturating_mul(4).max(LEAST_TRACKED));
    let detection = Detection::new(Settings { max_tracked, ..settings }, secret, began);
    let mut policies = Policies::new(blocks, wish);
    let replayed = Replayed { facts: places.len(), ..Replayed::default() };
    let mut teller =
        Teller { detection, inside: Inside::default(), from, seen: HashSet::new(), replayed, ticked: began };
    for old in &old {
        if let Some(policy) = policies.of(old.policy) {
            teller.tick_until(old.began.0, old.began.1);
            teller.enter(&policy, &old.arrival(), old.key.clone(), old.began);
        }
    }
    for (number, place) in places.iter().enumerate() {
        if number % 1_024 == 0 && is_enough() {
            return None;
        }
        let Some(told) = told(place) else { continue };
        teller.tick_until(told.now, told.at);
        match (&told.what, policies.of(told.policy)) {
            (What::Unreachable, _) => teller.detection.unreachable(told.server, told.now),
            (_, Some(policy)) => teller.tell(&policy, &told),
            (_, None) => {}
        }
    }
    if let Some(told) = places.last().and_then(told) {
        // Until no end is in doubt any more.
        let rest = settings.patience + TICK + TICK;
        teller.tick_until(told.now.after(rest), told.at.after(rest));
    }
    Some(teller.replayed)
}

/// How often time passes.
const TICK: Duration = Duration::from_secs(1);

/// So often at most while nothing happens.
const MAX_TICKS: u64 = 120;

/// A detector of fewer would forget sooner than it has to.
const LEAST_TRACKED: usize = 1 << 16;

/// What the newest policy of each zone is to be.
struct Policies<W> {
    wish: W,
    newest: HashMap<Arc<str>, Arc<ZonePolicy>>,
    wished: HashMap<Arc<str>, Arc<ZonePolicy>>,
}

impl<W: Fn(&ZonePolicy) -> ZonePolicy> Policies<W> {
    fn new(blocks: &[Arc<Block>], wish: W) -> Policies<W> {
        let mut sorted: Vec<_> = blocks.iter().collect();
        sorted.sort_by_key(|block| block.began.0);
        let all = sorted.into_iter().flat_map(|block| &block.policies);
        let newest = all.map(|policy| (Arc::clone(&policy.zone), Arc::clone(policy))).collect();
        Policies { wish, newest, wished: HashMap::new() }
    }

    fn of(&mut self, policy: Option<&Arc<ZonePolicy>>) -> Option<Arc<ZonePolicy>> {
        let policy = policy?;
        if let Some(wished) = self.wished.get(&policy.zone) {
            return Some(Arc::clone(wished));
        }
        let newest = self.newest.get(&policy.zone).unwrap_or(policy);
        let wished = Arc::new((self.wish)(newest).shadowed());
        self.wished.insert(Arc::clone(&policy.zone), Arc::clone(&wished));
        Some(wished)
    }
}

/// Who a session is, for want of a number of its own.
type SessionKey = (Option<IpAddr>, Box<str>, Option<Box<str>>, Box<str>);

fn key_of(told: &Told<'_>, named: &Named<'_>) -> SessionKey {
    let Named { client, assigned, .. } = named;
    let id = client.client_id().or(*assigned).unwrap_or_default();
    (client.peer(), id.into(), client.username().map(Into::into), told.server.into())
}

/// Those who are inside: when they entered, and what they were given.
struct Inside<T>(HashMap<SessionKey, Vec<(Moment, T)>>);

impl<T> Default for Inside<T> {
    fn default() -> Inside<T> {
        Inside(HashMap::new())
    }
}

impl<T> Inside<T> {
    fn enter(&mut self, key: SessionKey, now: Moment, given: T) {
        self.0.entry(key).or_default().push((now, given));
    }

    /// Of those of this name the one who entered when this session did.
    fn leave(&mut self, key: SessionKey, began: Moment) -> Option<T> {
        let Entry::Occupied(mut of_name) = self.0.entry(key) else { return None };
        let apart = |entered: Moment| entered.as_micros().abs_diff(began.as_micros());
        let all = of_name.get_mut();
        let nearest = all.iter().enumerate().map(|(at, (entered, _))| (apart(*entered), at)).min();
        let (_, at) = nearest.filter(|(apart, _)| *apart <= MAX_APART)?;
        let (_, given) = all.swap_remove(at);
        if all.is_empty() {
            of_name.remove();
        }
        Some(given)
    }
}

/// The most that the beginning of a session and the broker's yes are apart, in microseconds.
const MAX_APART: u64 = 30_000_000;

/// A session that began before all that is known.
struct Old<'b> {
    policy: Option<&'b Arc<ZonePolicy>>,
    named: Named<'b>,
    server: &'b str,
    is_exempt: bool,
    began: (Moment, Timestamp),
    key: SessionKey,
}

impl<'b> Old<'b> {
    fn arrival(&self) -> Arrival<'b> {
        let Named { client, assigned: assigned_client_id, credentials } = self.named;
        Arrival { client, assigned_client_id, credentials, is_exempt: self.is_exempt, upstream: self.server }
    }
}

/// The sessions whose ends are told and whose beginnings are not, in the order of their beginnings.
fn began_before<'b>(all: impl Iterator<Item = Told<'b>>) -> Vec<Old<'b>> {
    let (mut inside, mut old) = (Inside::default(), Vec::new());
    for told in all {
        match told.what {
            What::Accepted(named) => inside.enter(key_of(&told, &named), told.now, ()),
            What::Ended(named, ended) if ended.was_accepted => {
                let (key, began) = (key_of(&told, &named), before(told.now, ended.lived));
                if inside.leave(key.clone(), began).is_none() {
                    let Told { policy, server, is_exempt, at, .. } = told;
                    old.push(Old {
                        policy,
                        named,
                        server,
                        is_exempt,
                        began: (began, at.before(ended.lived)),
                        key,
                    });
                }
            }
            _ => {}
        }
    }
    old.sort_by_key(|old| old.began.0);
    old
}

fn before(now: Moment, duration: Duration) -> Moment {
    Moment::from_micros(
        now.as_micros().saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
    )
}

struct Teller {
    detection: Detection,
    inside: Inside<Stay>,
    from: Moment,
    seen: HashSet<(Detector, Who)>,
    replayed: Replayed,
    ticked: Moment,
}

impl Teller {
    /// Time passes, second by second, until this one.
    fn tick_until(&mut self, now: Moment, at: Timestamp) {
        let seconds = now.since(self.ticked).as_secs();
        // Of a long time in which nothing happens the end is enough.
        let seconds = if seconds > MAX_TICKS {
            self.ticked = before(now, Duration::from_secs(MAX_TICKS));
            MAX_TICKS
        } else {
            seconds
        };
        for _ in 0..seconds {
            self.ticked = self.ticked.after(TICK);
            let at = at.before(now.since(self.ticked));
            let findings = self.detection.tick(at, self.ticked);
            self.keep(findings, self.ticked, at);
        }
    }

    fn enter(
        &mut self,
        policy: &Arc<ZonePolicy>,
        arrival: &Arrival<'_>,
        key: SessionKey,
        (now, at): (Moment, Timestamp),
    ) {
        if policy.is_off() {
            return;
        }
        let (stay, findings) = self.detection.accepted(policy, arrival, at, now);
        self.inside.enter(key, now, stay);
        self.keep(findings, now, at);
    }

    fn tell(&mut self, policy: &Arc<ZonePolicy>, told: &Told<'_>) {
        let Told { server: upstream, is_exempt, now, at, .. } = *told;
        let (named, end) = match &told.what {
            What::Unreachable => return,
            What::Arrived(client) => {
                let findings = self.detection.arrived(policy, client, is_exempt, at, now);
                return self.keep(findings, now, at);
            }
            What::Accepted(named) => {
                let Named { client, assigned: assigned_client_id, credentials } = *named;
                let arrival = Arrival { client, assigned_client_id, credentials, is_exempt, upstream };
                return self.enter(policy, &arrival, key_of(told, named), (now, at));
            }
            What::NoConnect(named, no_connect) => (*named, End::NoConnect(*no_connect)),
            What::Ended(named, ended) => {
                let began = before(now, ended.lived);
                let stay =
                    ended.was_accepted.then(|| self.inside.leave(key_of(told, named), began)).flatten();
                let Ended { codes, connack, client_disconnect, broker_disconnect, cause, lived, .. } = *ended;
                let session = Session {
                    upstream,
                    stay,
                    lived,
                    codes,
                    connack,
                    client_disconnect,
                    broker_disconnect,
                    cause,
                };
                (*named, End::Session(session))
            }
        };
        let Named { client, assigned: assigned_client_id, credentials } = named;
        let visit = Visit { client, assigned_client_id, credentials, is_exempt, end };
        let findings = self.detection.ended(policy, &visit, at, now);
        self.keep(findings, now, at);
    }

    fn keep(&mut self, findings: Vec<Finding>, now: Moment, at: Timestamp) {
        for finding in findings {
            if let Finding::Detected(detected) = finding
                && now >= self.from
                && self.seen.insert((detected.detector, detected.ban.who.clone()))
            {
                self.replayed.found.push((detected, at));
            }
        }
    }
}

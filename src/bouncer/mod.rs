//! The one handle to the lists that the rest of the program holds: the lists, detection, and the time to ask them with.
//!
//! A ban has one of two sources: the config file, or somebody at run time. Where both name the same, the one that ends
//! later is in force, and when one of them goes the other is there again: whoever is banned by either stays out.

mod detecting;
mod facts;
mod hits;
mod news;
mod recorder;
mod replay;
mod wish;

pub use hits::Hit;
pub use wish::{Limits, Unknown, WhatIf, Wish};

use crate::admission::detection::{Detection, Detector, Secret, Settings};
use crate::admission::{
    Admission, As, Ban, BanList, Client, Explanation, List, Match, Timestamp, TooMany, Verdict, Who,
};
use crate::clock::Clock;
use crate::metrics::Checks;
use detecting::Findings;
use hits::Hits;
use news::News;
use recorder::Recorder;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::error;

/// A handle to the lists. Clones share them. Checks take no lock.
#[derive(Debug, Clone)]
pub struct Bouncer {
    shared: Arc<Shared>,
    clock: Clock,
}

#[derive(Debug)]
struct Shared {
    admission: Admission,
    detection: Detection,
    findings: Findings,
    news: News,
    /// What the config file says, and beside it what was said at run time. Whoever changes the lists holds this.
    from_file: Mutex<FromFile>,
    /// How often what the config file says has been changed, hits included.
    file_version: AtomicU64,
    hits: Hits,
    /// What detection was told, where that is kept.
    recorder: Option<Recorder>,
    /// Held by whoever tells it again.
    replaying: Mutex<()>,
    settings: Settings,
    /// About how many bytes the automatic bans in the lists take.
    automatic: AtomicUsize,
    checks: Checks,
}

type FromFile = HashMap<(List, Who), Sources>;

/// Two bans that name the same. The one in the list is the one that ends later, the file's if they end alike; of two
/// patterns that match differently, the one that matches any part.
#[derive(Debug)]
struct Sources {
    file: Ban,
    run_time: Option<Ban>,
    /// How often it has refused somebody since the start, and when last.
    hits: u64,
    last_hit: Option<Timestamp>,
}

/// A ban of the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBan {
    /// On which list it is.
    pub list: List,
    /// The ban.
    pub ban: Ban,
    /// How often it has refused somebody since the start.
    pub hits: u64,
    /// When it has refused somebody last.
    pub last_hit: Option<Timestamp>,
}

impl Sources {
    fn in_force(&self) -> &Ban {
        let Some(run_time) = &self.run_time else { return &self.file };
        let is_in_force = match (self.file.who.matching(), run_time.who.matching()) {
            (Some(Match::Search), Some(Match::Full)) => false,
            (Some(Match::Full), Some(Match::Search)) => true,
            _ => run_time.terms.until > self.file.terms.until,
        };
        if is_in_force { run_time } else { &self.file }
    }
}

impl Bouncer {
    /// A bouncer with empty lists that takes the time from `clock`.
    pub fn new(clock: Clock) -> Bouncer {
        Bouncer::with_detection(clock, Settings::default(), 0)
    }

    /// A bouncer with empty lists, whose detection is set like this. So many bytes may be taken to remember what it was
    /// told of late, for [`what_if`](Bouncer::what_if).
    pub fn with_detection(clock: Clock, settings: Settings, replay_memory: usize) -> Bouncer {
        let shared = Shared {
            admission: Admission::default(),
            detection: Detection::new(settings, secret(), clock.moment()),
            findings: Findings::default(),
            news: News::default(),
            from_file: Mutex::default(),
            file_version: AtomicU64::new(0),
            hits: Hits::default(),
            recorder: Recorder::new(replay_memory, clock.moment()),
            replaying: Mutex::default(),
            settings,
            automatic: AtomicUsize::new(0),
            checks: Checks::default(),
        };
        Bouncer { shared: Arc::new(shared), clock }
    }

    /// Says whether this client may enter now.
    pub fn check(&self, client: &Client<'_>) -> Verdict {
        self.timed(|| self.shared.admission.check(client, self.clock.now()))
    }

    /// The ban that holds now for an address alone.
    pub fn check_peer(&self, peer: IpAddr) -> Option<Ban> {
        self.timed(|| self.shared.admission.check_peer(peer, self.clock.now()))
    }

    /// The ban that holds now for the fingerprint of a client's first message.
    pub fn check_ja4(&self, peer: Option<IpAddr>, ja4: &str) -> Option<Ban> {
        self.timed(|| self.shared.admission.check_ja4(peer, ja4, self.clock.now()))
    }

    /// Counts a check, and times one of many.
    fn timed<R>(&self, check: impl FnOnce() -> R) -> R {
        let Checks { count, sampled } = &self.shared.checks;
        if !count.add(1).is_multiple_of(Checks::SAMPLE) {
            return check();
        }
        let began = self.clock.nanos();
        let result = check();
        sampled.observe(Duration::from_nanos(self.clock.nanos().saturating_sub(began)));
        result
    }

    /// Everything that names this client, and the verdict now.
    pub fn explain(&self, client: &Client<'_>) -> Explanation {
        self.shared.admission.explain(client, self.clock.now())
    }

    /// Adds a ban or an exemption at run time, or changes the one that names the same. In force for every check that
    /// begins after this returns, unless the config file has one that ends later.
    ///
    /// # Errors
    /// It is an expensive pattern, and there are too many already; nothing has changed.
    pub fn put(&self, list: List, ban: Ban) -> Result<(), TooMany> {
        self.put_locked(&mut self.lock(), list, ban)
    }

    /// As [`put`](Bouncer::put), unless what was added at run time ends as late, or later.
    pub(crate) fn extend(&self, list: List, ban: Ban) -> Result<(), TooMany> {
        let mut from_file = self.lock();
        let sources = from_file.get(&(list, ban.who.clone()));
        let there = match sources {
            Some(sources) => sources.run_time.as_ref().map(|ban| ban.terms.until),
            None => self.list(list).get(&ban.who).map(|ban| ban.terms.until),
        };
        if there.is_some_and(|until| until >= ban.terms.until) {
            return Ok(());
        }
        self.put_locked(&mut from_file, list, ban)
    }

    fn put_locked(&self, from_file: &mut FromFile, list: List, ban: Ban) -> Result<(), TooMany> {
        // Most bans have one source, and millions are put.
        let sources = if from_file.is_empty() { None } else { from_file.get_mut(&(list, ban.who.clone())) };
        let Some(sources) = sources else { return self.insert(list, ban) };
        let before = sources.run_time.replace(ban);
        let inserted = self.insert(list, sources.in_force().clone());
        if inserted.is_err() {
            sources.run_time = before;
        }
        inserted
    }

    /// Takes off the list what was added at run time. What the config file says of the same `who` is in force again.
    pub fn remove(&self, list: List, who: &Who) {
        let mut from_file = self.lock();
        match from_file.get_mut(&(list, who.clone())) {
            Some(sources) => {
                sources.run_time = None;
                self.put_back(list, sources.file.clone());
            }
            None => self.take_off(list, who),
        }
    }

    /// Puts in force what the config file says, unless something was added at run time that ends later.
    ///
    /// # Errors
    /// It is an expensive pattern, and there are too many already; nothing has changed.
    pub fn put_from_file(&self, list: List, file: Ban) -> Result<(), TooMany> {
        let mut from_file = self.lock();
        let key = (list, file.who.clone());
        let sources = match from_file.get(&key) {
            Some(Sources { run_time, hits, last_hit, .. }) => {
                Sources { file, run_time: run_time.clone(), hits: *hits, last_hit: *last_hit }
            }
            None => Sources { run_time: self.list(list).get(&file.who), file, hits: 0, last_hit: None },
        };
        self.insert(list, sources.in_force().clone())?;
        from_file.insert(key, sources);
        self.shared.file_version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Takes off the list what the config file no longer says. What was added at run time is in force again.
    pub fn remove_from_file(&self, list: List, who: &Who) {
        let mut from_file = self.lock();
        self.shared.file_version.fetch_add(1, Ordering::Release);
        match from_file.remove(&(list, who.clone())) {
            Some(Sources { run_time: Some(ban), .. }) => self.put_back(list, ban),
            Some(Sources { run_time: None, .. }) => self.take_off(list, who),
            None => {}
        }
    }

    /// What the config file says of this `who`.
    pub fn from_file(&self, list: List, who: &Who) -> Option<Ban> {
        self.lock().get(&(list, who.clone())).map(|sources| sources.file.clone())
    }

    /// All that the config file says, and a number that is another one when that has changed.
    pub fn file_bans(&self) -> (u64, Vec<FileBan>) {
        let from_file = self.lock();
        let of = |((list, _), sources): (&(List, Who), &Sources)| {
            let Sources { file, hits, last_hit, .. } = sources;
            FileBan { list: *list, ban: file.clone(), hits: *hits, last_hit: *last_hit }
        };
        (self.file_version(), from_file.iter().map(of).collect())
    }

    /// The number of [`file_bans`](Bouncer::file_bans).
    pub fn file_version(&self) -> u64 {
        self.shared.file_version.load(Ordering::Acquire)
    }

    /// A ban has refused somebody.
    pub fn hit(&self, who: &Who) {
        self.shared.hits.count(who, self.clock.now());
    }

    /// The hits since the last time, of bans that were made at run time; those of the config file keep theirs here.
    pub fn take_hits(&self) -> Vec<Hit> {
        let mut hits = self.shared.hits.take();
        if !hits.is_empty() {
            let mut from_file = self.lock();
            hits.retain(|hit| match from_file.get_mut(&(List::Bans, hit.who.clone())) {
                Some(sources) => {
                    sources.hits = sources.hits.saturating_add(hit.count);
                    sources.last_hit = sources.last_hit.max(Some(hit.last));
                    self.shared.file_version.fetch_add(1, Ordering::Release);
                    false
                }
                None => true,
            });
        }
        hits
    }

    /// Takes back hits that could not be written down.
    pub fn give_back(&self, hits: Vec<Hit>) {
        for Hit { who, count, last } in hits {
            self.shared.hits.add(&who, count, last);
        }
    }

    /// Puts a ban in the place of one that names the same.
    fn put_back(&self, list: List, ban: Ban) {
        let who = ban.who.clone();
        if self.insert(list, ban.clone()).is_err() {
            // Of two patterns alike the one may be of a dearer class than the other; the place of both is free then.
            self.take_off(list, &who);
            if let Err(error) = self.insert(list, ban) {
                error!(%list, %error, "not in force any more");
            }
        }
    }

    fn insert(&self, list: List, ban: Ban) -> Result<(), TooMany> {
        let (size, who) = (automatic_size(&ban), ban.who.clone());
        let before = self.list(list).insert(ban)?;
        self.shared.automatic.fetch_add(size, Ordering::Relaxed);
        self.forget_size(before.as_ref());
        self.shared.news.tell(list, &who);
        Ok(())
    }

    fn take_off(&self, list: List, who: &Who) {
        if list == List::Bans {
            self.shared.hits.forget(who);
        }
        self.forget_size(self.list(list).remove(who).as_ref());
    }

    fn forget_size(&self, gone: Option<&Ban>) {
        self.shared.automatic.fetch_sub(gone.map_or(0, automatic_size), Ordering::Relaxed);
    }

    /// How many bans or exemptions of this kind there are, active or not.
    pub fn count(&self, list: List, kind: As) -> usize {
        self.list(list).count(kind)
    }

    /// How often the lists were asked, and how long that took.
    pub fn checks(&self) -> &Checks {
        &self.shared.checks
    }

    /// About how many bytes the automatic bans in the lists take.
    pub fn automatic_bytes(&self) -> usize {
        self.shared.automatic.load(Ordering::Relaxed)
    }

    /// How many keys detection holds, as they were counted within the last minute or so, and how many bytes its tables
    /// take.
    pub fn detection_usage(&self) -> (usize, usize) {
        self.shared.detection.usage()
    }

    /// How many findings came to nothing because there were too many, since the start.
    pub fn lost_findings(&self) -> u64 {
        self.shared.findings.lost_in_all.value()
    }

    /// The lists.
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// The clock that bans are held to.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn list(&self, list: List) -> &BanList {
        self.shared.admission.list(list)
    }

    /// A change that panicked has left the map whole.
    fn lock(&self) -> MutexGuard<'_, FromFile> {
        self.shared.from_file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Bouncer {
    fn default() -> Bouncer {
        Bouncer::new(Clock::default())
    }
}

/// About how many bytes a ban takes that detection has made; nothing for others, which people answer for.
fn automatic_size(ban: &Ban) -> usize {
    let name = match &ban.who {
        _ if !Detector::is_author(&ban.terms.by) => return 0,
        Who::ClientId(name) | Who::Username(name) => name.len(),
        _ => 0,
    };
    // It stands in the list by its name, and once more by its end.
    BAN_SIZE + 2 * name
}

const BAN_SIZE: usize = 250;

/// 128 bits that nobody knows: the standard library's own random keys, seen through its hash.
fn secret() -> Secret {
    let bits = |half: u8| u128::from(RandomState::new().hash_one(half));
    Secret::new(bits(0) | bits(1) << 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Terms, Until};

    const WHO: Who = Who::ClientId(compact_str::CompactString::const_new("bot"));

    fn ban(by: &str, until: Until) -> Ban {
        let terms = Terms { by: by.into(), reason: "".into(), at: Timestamp::from_millis(0), until };
        Ban { who: WHO, terms }
    }

    fn at(millis: i64) -> Until {
        Until::Moment(Timestamp::from_millis(millis))
    }

    fn in_force(bouncer: &Bouncer) -> Option<Arc<str>> {
        bouncer.admission().list(List::Bans).get(&WHO).map(|ban| ban.terms.by)
    }

    #[test]
    fn of_two_sources_the_one_that_ends_later_is_in_force() {
        for (file, run_time, expected) in [
            (at(2), at(1), "file"),
            (at(1), at(2), "us"),
            (at(1), at(1), "file"),
            (at(1), Until::Infinity, "us"),
        ] {
            let bouncer = Bouncer::default();
            bouncer.put_from_file(List::Bans, ban("file", file)).expect("room");
            bouncer.put(List::Bans, ban("us", run_time)).expect("room");
            assert_eq!(in_force(&bouncer).as_deref(), Some(expected), "{file} {run_time}");
        }
    }

    #[test]
    fn when_one_source_goes_the_other_is_in_force_again() {
        for file_comes_first in [true, false] {
            let bouncer = Bouncer::default();
            let from_file = || bouncer.put_from_file(List::Bans, ban("file", at(2))).expect("room");
            let at_run_time = |until| bouncer.put(List::Bans, ban("us", until)).expect("room");
            if file_comes_first {
                from_file();
            }
            at_run_time(at(1));
            from_file();
            assert_eq!(in_force(&bouncer).as_deref(), Some("file"));
            bouncer.remove_from_file(List::Bans, &WHO);
            assert_eq!(in_force(&bouncer).as_deref(), Some("us"));
            bouncer.remove_from_file(List::Bans, &WHO);
            assert_eq!(in_force(&bouncer).as_deref(), Some("us"), "the file has nothing to take back");

            from_file();
            at_run_time(at(3));
            assert_eq!(in_force(&bouncer).as_deref(), Some("us"));
            bouncer.remove(List::Bans, &WHO);
            assert_eq!(in_force(&bouncer).as_deref(), Some("file"));
            bouncer.remove(List::Bans, &WHO);
            assert_eq!(in_force(&bouncer).as_deref(), Some("file"), "the file's ban is not ours to remove");
            bouncer.remove_from_file(List::Bans, &WHO);
            assert_eq!(in_force(&bouncer), None);
        }
    }

    #[test]
    fn a_ban_that_the_file_has_changed_is_in_force_as_it_is_now() {
        let bouncer = Bouncer::default();
        bouncer.put_from_file(List::Bans, ban("file", at(9))).expect("room");
        bouncer.put(List::Bans, ban("us", at(3))).expect("room");
        bouncer.put_from_file(List::Bans, ban("file", at(2))).expect("room");
        assert_eq!(in_force(&bouncer).as_deref(), Some("us"));
    }

    #[test]
    fn hits_of_a_ban_of_the_file_stay_with_it_over_reloads() {
        let bouncer = Bouncer::default();
        bouncer.put_from_file(List::Bans, ban("file", at(2))).expect("room");
        bouncer.hit(&WHO);
        assert_eq!(bouncer.take_hits(), []);
        bouncer.put_from_file(List::Bans, ban("file", at(3))).expect("room");
        let (version, bans) = bouncer.file_bans();
        assert_eq!((bans[0].hits, bans[0].last_hit.is_some()), (1, true));
        bouncer.remove_from_file(List::Bans, &WHO);
        assert_ne!(bouncer.file_version(), version);
        bouncer.put(List::Bans, ban("us", at(3))).expect("room");
        bouncer.hit(&WHO);
        assert_eq!(bouncer.take_hits().len(), 1);
    }

    #[test]
    fn the_lists_have_sources_of_their_own() {
        let bouncer = Bouncer::default();
        bouncer.put_from_file(List::Exemptions, ban("file", Until::Infinity)).expect("room");
        bouncer.put(List::Bans, ban("us", at(2))).expect("room");
        assert_eq!(in_force(&bouncer).as_deref(), Some("us"));
        assert!(bouncer.from_file(List::Exemptions, &WHO).is_some());
        assert!(bouncer.from_file(List::Bans, &WHO).is_none());
    }
}

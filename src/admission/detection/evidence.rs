//! What an operator is told about a ban: counts, addresses, names, whose fault the ends were.
//!
//! Windows remember times alone. The rest is collected once a key is half-way to its limit, for a bounded number of
//! keys; a ban that comes without any of that still has the evidence of its last event.

use super::blame::Blame;
use super::finding::Detector;
use super::moment::Moment;
use super::policy::Threshold;
use super::strike::Target;
use crate::admission::{As, Timestamp};
use compact_str::{CompactString, ToCompactString};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Why somebody was found out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Events within the window.
    pub count: u32,
    /// How many would have been allowed, and one.
    pub limit: u32,
    /// The window.
    pub window_time: Duration,
    /// Long-lived sessions at the place, now or of late, that the limit was weighed with.
    pub residents: u32,
    /// Where the latest events came from: the first eight different addresses.
    pub addresses: Vec<IpAddr>,
    /// The first eight different client identifiers.
    pub client_ids: Vec<CompactString>,
    /// Whose fault the connections were that ended since the evidence is collected.
    pub blame: BlameSplit,
}

/// How many ends were whose fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlameSplit {
    /// The client's.
    pub client: u32,
    /// The broker's.
    pub broker: u32,
    /// The operator's.
    pub operator: u32,
    /// Nobody's that is known.
    pub unknown: u32,
}

impl BlameSplit {
    pub(super) fn add(&mut self, blame: Blame) {
        let count = match blame {
            Blame::Client => &mut self.client,
            Blame::Broker => &mut self.broker,
            Blame::Operator => &mut self.operator,
            Blame::Unknown => &mut self.unknown,
        };
        *count = count.saturating_add(1);
    }
}

/// One event, as evidence shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exhibit<'a> {
    pub(super) peer: Option<IpAddr>,
    pub(super) client_id: Option<&'a str>,
    pub(super) blame: Blame,
}

/// The open cases.
#[derive(Debug, Default)]
pub(super) struct Cases {
    open: Mutex<HashMap<u64, Case, foldhash::fast::RandomState>>,
    /// When those that are over were last looked for, in seconds: no flood of new cases makes every event do that.
    swept: AtomicU64,
    /// So that most ends need no lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Case {
    evidence: Evidence,
    until: Moment,
    suspect: Suspect,
}

/// Somebody who is half-way to a limit, or further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The zone whose limit it is.
    pub zone: Arc<str>,
    /// Whose limit it is.
    pub detector: Detector,
    /// The kind of name.
    pub kind: As,
    /// The name, at most 256 bytes of it; one that is cut ends with `…`.
    pub name: CompactString,
    /// How many events there were in the window when the last one came.
    pub count: u32,
    /// How many make a ban; where many live, it may be more.
    pub limit: u32,
    /// The window.
    pub window_time: Duration,
    /// It would only be told.
    pub is_shadow: bool,
    /// When the last event came.
    pub last: Timestamp,
    /// Addresses and client identifiers, as [`Evidence`] has them.
    pub addresses: Vec<IpAddr>,
    /// Likewise.
    pub client_ids: Vec<CompactString>,
}

const MAX_CASES: usize = 4096;
const MAX_SAMPLES: usize = 8;
/// A client identifier may have 64 KiB; of a longer one, this many bytes are shown.
const MAX_SHOWN: usize = 256;

impl Cases {
    /// Adds to the case of this key, and opens it where there is room.
    pub(super) fn add(&self, key: u64, exhibit: Exhibit<'_>, now: Moment, suspect: Suspicion<'_>) {
        let window = suspect.threshold.window_time;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_CASES && !open.contains_key(&key) {
            let second = now.as_micros() / 1_000_000;
            if self.swept.swap(second, Ordering::Relaxed) == second {
                return;
            }
            open.retain(|_, case| case.until > now);
            self.count.store(open.len(), Ordering::Relaxed);
            if open.len() >= MAX_CASES {
                return;
            }
        }
        let case = open.entry(key).or_insert_with(|| Case {
            evidence: Evidence::default(),
            until: now,
            suspect: suspect.suspect(),
        });
        if case.until < now {
            case.evidence = Evidence::default();
        }
        // A reload may have changed it. A limit that it changes is another case.
        case.suspect.is_shadow = suspect.is_shadow();
        case.suspect.count = suspect.count;
        case.suspect.limit = suspect.limit;
        case.suspect.last = suspect.at;
        case.until = now.after(window);
        case.evidence.add(exhibit);
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// Those who are nearest to their limits, the nearest first.
    pub(super) fn suspects(&self, most: usize, now: Moment) -> Vec<Suspect> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let cases = open.values().filter(|case| case.until > now);
        let mut near: Vec<_> = cases.map(|case| (nearness(&case.suspect), case)).collect();
        near.sort_by_key(|(nearness, _)| std::cmp::Reverse(*nearness));
        let told = |(_, case): &(u64, &Case)| Suspect {
            addresses: case.evidence.addresses.clone(),
            client_ids: case.evidence.client_ids.clone(),
            ..case.suspect.clone()
        };
        near.iter().take(most).map(told).collect()
    }

    /// Adds an end that does not count to a case that is open.
    pub(super) fn note(&self, key: u64, exhibit: Exhibit<'_>) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(case) = open.get_mut(&key) {
            case.evidence.blame.add(exhibit.blame);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Closes the case of this key.
    pub(super) fn close(&self, key: u64) -> Evidence {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let case = open.remove(&key);
        self.count.store(open.len(), Ordering::Relaxed);
        case.map(|case| case.evidence).unwrap_or_default()
    }

    pub(super) fn tidy(&self, now: Moment) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, case| case.until > now);
        self.count.store(open.len(), Ordering::Relaxed);
    }
}

/// Per million of the limit.
fn nearness(suspect: &Suspect) -> u64 {
    u64::from(suspect.count) * 1_000_000 / u64::from(suspect.limit.max(1))
}

/// An event that brings somebody near a limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspicion<'a> {
    pub(super) zone: &'a Arc<str>,
    pub(super) detector: Detector,
    pub(super) target: Target<'a>,
    pub(super) threshold: Threshold,
    pub(super) count: u32,
    pub(super) limit: u32,
    pub(super) at: Timestamp,
}

impl Suspicion<'_> {
    fn is_shadow(&self) -> bool {
        self.threshold.shadow || self.threshold.ban_time == Duration::ZERO
    }

    fn suspect(&self) -> Suspect {
        let who = self.target.who();
        let (kind, name) = (who.kind(), who.to_compact_string());
        Suspect {
            zone: Arc::clone(self.zone),
            detector: self.detector,
            kind,
            name: if name.len() > MAX_SHOWN { cut(&name) } else { name },
            count: self.count,
            limit: self.limit,
            window_time: self.threshold.window_time,
            is_shadow: self.is_shadow(),
            last: self.at,
            addresses: Vec::new(),
            client_ids: Vec::new(),
        }
    }
}

fn cut(name: &str) -> CompactString {
    let mut cut = CompactString::from(
        name.get(..name.floor_char_boundary(MAX_SHOWN - '…'.len_utf8())).unwrap_or_default(),
    );
    cut.push('…');
    cut
}

impl Evidence {
    pub(super) fn add(&mut self, exhibit: Exhibit<'_>) {
        self.blame.add(exhibit.blame);
        if let Some(peer) = exhibit.peer
            && self.addresses.len() < MAX_SAMPLES
            && !self.addresses.contains(&peer)
        {
            self.addresses.push(peer);
        }
        let Some(id) = exhibit.client_id else { return };
        let id = id.get(..id.floor_char_boundary(MAX_SHOWN)).unwrap_or_default();
        if self.client_ids.len() < MAX_SAMPLES && !self.client_ids.iter().any(|known| known == id) {
            self.client_ids.push(id.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn add(cases: &Cases, key: u64, client_id: &str, now: Moment) {
        let threshold = Threshold { window_time: MINUTE, ..Threshold::default() };
        add_under(cases, key, client_id, now, threshold);
    }

    fn add_under(cases: &Cases, key: u64, client_id: &str, now: Moment, threshold: Threshold) {
        let zone: Arc<str> = "default".into();
        let suspicion = Suspicion {
            zone: &zone,
            detector: Detector::ByClientId,
            target: Target::ClientId(client_id),
            threshold,
            count: u32::try_from(key % 15).expect("small"),
            limit: 15,
            at: Timestamp::from_millis(0),
        };
        cases.add(key, exhibit(client_id), now, suspicion);
    }

    #[test]
    fn whoever_is_nearest_to_a_limit_is_told_first_and_by_a_bounded_name() {
        let cases = Cases::default();
        add(&cases, 8, "far", Moment::default());
        add(&cases, 14, &"é".repeat(40_000), Moment::default());
        add(&cases, 9, "nearer", Moment::from_millis(1));
        let told = cases.suspects(2, Moment::default());
        assert_eq!(told.iter().map(|one| one.count).collect::<Vec<_>>(), [14, 9]);
        assert!(told[0].name.len() <= 256 && told[0].name.ends_with('…'));
        assert_eq!((told[1].name.as_str(), &told[1].client_ids[..]), ("nearer", &["nearer".into()][..]));
        let later = cases.suspects(9, Moment::from_millis(60_000));
        assert_eq!(later.len(), 1, "its window is over for the others");
    }

    #[test]
    fn a_suspect_is_told_as_the_policy_has_it_now() {
        let cases = Cases::default();
        let threshold = Threshold { window_time: MINUTE, shadow: true, ..Threshold::default() };
        add_under(&cases, 8, "one", Moment::default(), threshold);
        assert!(cases.suspects(1, Moment::default())[0].is_shadow);
        add_under(&cases, 8, "one", Moment::default(), Threshold { shadow: false, ..threshold });
        assert!(!cases.suspects(1, Moment::default())[0].is_shadow);
    }

    fn exhibit(client_id: &str) -> Exhibit<'_> {
        Exhibit { peer: Some(IpAddr::from([192, 0, 2, 1])), client_id: Some(client_id), blame: Blame::Client }
    }

    #[test]
    fn evidence_is_a_bounded_sample() {
        let cases = Cases::default();
        let long = "é".repeat(40_000);
        add(&cases, 1, &long, Moment::default());
        for i in 0..100 {
            add(&cases, 1, &i.to_string(), Moment::default());
        }
        cases.note(1, Exhibit { blame: Blame::Broker, ..exhibit("x") });
        let evidence = cases.close(1);
        assert_eq!((evidence.addresses.len(), evidence.client_ids.len()), (1, 8));
        assert_eq!(evidence.client_ids[0].len(), 256);
        assert_eq!(evidence.blame, BlameSplit { client: 101, broker: 1, ..BlameSplit::default() });
        assert_eq!(cases.close(1), Evidence::default());
    }

    #[test]
    fn cases_are_bounded_and_age_out() {
        let cases = Cases::default();
        (0..10_000).for_each(|key| add(&cases, key, "a", Moment::default()));
        assert_eq!(cases.count.load(Ordering::Relaxed), MAX_CASES);
        add(&cases, 20_000, "b", Moment::from_millis(61_000));
        assert_eq!(cases.close(20_000).client_ids, ["b"]);
    }
}

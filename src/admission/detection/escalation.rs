//! Longer bans for repeat offenders, after fail2ban: per name, whichever detector found it.

use super::policy::{Escalation, Growth};
use crate::admission::{As, Timestamp, Who};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is remembered of somebody who was banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// Who it was.
    pub who: Who,
    /// How many bans there have been.
    pub count: u32,
    /// When the last of them ends, or ended.
    pub until: Timestamp,
    /// How long the last of them was.
    pub ban_time: Duration,
}

/// The offences of everybody. Survives a restart when it is exported and restored.
#[derive(Debug, Default)]
pub(super) struct Offences(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Never more than [`MAX_OFFENCES`]; who has been free for longest goes first.
    of: HashMap<(As, String), Offence>,
    by_end: BTreeSet<(Timestamp, (As, String))>,
}

const MAX_OFFENCES: usize = 100_000;

/// Offences of longer names are not remembered, in bytes: each name is held three times.
const MAX_NAME: usize = 256;

impl Offences {
    /// The number of the offence that `who` commits at `at`, from 1, and how long its ban is. `None` while the ban of
    /// its last one has not ended: connections that began before it neither prolong it nor count as another.
    pub(super) fn weigh(
        &self,
        who: &Who,
        ban_time: Duration,
        policy: &Escalation,
        jitter: u64,
        at: Timestamp,
    ) -> Option<(u32, Duration)> {
        let book = self.book();
        let earlier = book.of.get(&key(who)).filter(|offence| offence.is_remembered(policy, at));
        if earlier.is_some_and(|offence| offence.until > at) {
            return None;
        }
        let number = earlier.map_or(0, |offence| offence.count).saturating_add(1);
        Some((number, policy.ban_time(ban_time, number, jitter)))
    }

    /// Remembers that `who` was banned.
    pub(super) fn record(&self, offence: Offence) {
        let key = key(&offence.who);
        if key.1.len() > MAX_NAME {
            return;
        }
        let mut book = self.book();
        if let Some(old) = book.of.remove(&key) {
            book.by_end.remove(&(old.until, key.clone()));
        }
        while book.of.len() >= MAX_OFFENCES {
            let Some((_, oldest)) = book.by_end.pop_first() else { break };
            book.of.remove(&oldest);
        }
        book.by_end.insert((offence.until, key.clone()));
        book.of.insert(key, offence);
    }

    /// Forgets what `who` did.
    pub(super) fn forget(&self, who: &Who) {
        let mut book = self.book();
        let key = key(who);
        if let Some(old) = book.of.remove(&key) {
            book.by_end.remove(&(old.until, key));
        }
    }

    /// Everything that is remembered, the oldest ends first.
    pub(super) fn export(&self) -> Vec<Offence> {
        let book = self.book();
        book.by_end.iter().filter_map(|(_, key)| book.of.get(key).cloned()).collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(who: &Who) -> (As, String) {
    (who.kind(), who.to_string())
}

impl Offence {
    fn is_remembered(&self, policy: &Escalation, at: Timestamp) -> bool {
        at < self.until.after(policy.memory.max(self.ban_time))
    }
}

impl Escalation {
    /// How long the ban for the offence of this number is, from 1. `jitter` is any random number.
    pub fn ban_time(&self, first: Duration, number: u32, jitter: u64) -> Duration {
        let times = match &self.growth {
            Growth::Off => 1,
            Growth::Factor(factor) => factor.saturating_pow(number.saturating_sub(1)),
            Growth::Steps(steps) => {
                let step = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
                steps.get(step).or(steps.last()).copied().unwrap_or(1)
            }
        };
        let grown = first.saturating_mul(times).min(self.max_ban_time).max(first);
        let most = grown.saturating_sub(first).min(grown / 100 * u32::from(self.jitter_percent.min(100)));
        // 2^32 steps are fine enough for any duration.
        let share = u32::try_from(jitter >> 32).unwrap_or(u32::MAX);
        let off = u64::try_from((most.as_millis() * u128::from(share)) >> 32).unwrap_or(0);
        grown.saturating_sub(Duration::from_millis(off))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn policy(growth: Growth) -> Escalation {
        Escalation { growth, max_ban_time: HOUR, jitter_percent: 0, memory: HOUR }
    }

    fn minutes(policy: &Escalation, jitter: u64) -> Vec<u64> {
        (1..=7).map(|number| policy.ban_time(5 * MINUTE, number, jitter).as_secs() / 60).collect()
    }

    fn who() -> Who {
        Who::ClientId("a".into())
    }

    #[test]
    fn bans_grow_by_factor_or_steps_up_to_the_cap() {
        assert_eq!(minutes(&policy(Growth::Off), 0), [5; 7]);
        assert_eq!(minutes(&policy(Growth::Factor(2)), 0), [5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(minutes(&policy(Growth::Steps(vec![1, 3, 6])), 0), [5, 15, 30, 30, 30, 30, 30]);
        assert_eq!(minutes(&policy(Growth::Steps(vec![])), 0), [5; 7]);
        assert_eq!(minutes(&policy(Growth::Factor(0)), 0), [5; 7], "never shorter than the first");
        assert_eq!(policy(Growth::Factor(u32::MAX)).ban_time(MINUTE, u32::MAX, 0), HOUR);
        assert_eq!(policy(Growth::Factor(2)).ban_time(2 * HOUR, 3, 0), 2 * HOUR);
    }

    #[test]
    fn jitter_stays_between_the_first_ban_and_the_cap() {
        let policy = Escalation { jitter_percent: 10, ..policy(Growth::Factor(2)) };
        assert_eq!(minutes(&policy, u64::MAX), [5, 9, 18, 36, 54, 54, 54]);
        assert_eq!(minutes(&policy, 0), [5, 10, 20, 40, 60, 60, 60]);
        let wild = Escalation { jitter_percent: 255, ..policy };
        for number in 1..100 {
            let time = wild.ban_time(5 * MINUTE, number, 0xDEAD_BEEF_0000_0000);
            assert!((5 * MINUTE..=HOUR).contains(&time), "{time:?}");
        }
    }

    #[test]
    fn memory_decays_and_a_lift_erases_it() {
        let (offences, policy) = (Offences::default(), policy(Growth::Factor(2)));
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let number =
            |now| offences.weigh(&who(), 5 * MINUTE, &policy, 0, at(now)).map_or(0, |weighed| weighed.0);
        assert_eq!(number(0), 1);
        offences.record(Offence { who: who(), count: 1, until: at(5), ban_time: 5 * MINUTE });
        assert_eq!((number(4), number(5), number(64), number(65)), (0, 2, 2, 1));
        offences.record(Offence { who: who(), count: 4, until: at(600), ban_time: 300 * MINUTE });
        assert_eq!((number(899), number(900)), (5, 1), "a long ban is remembered for as long as it was");
        offences.forget(&who());
        assert_eq!((number(600), offences.export()), (1, vec![]));
    }

    #[test]
    fn the_book_is_bounded() {
        let offences = Offences::default();
        for i in 0..MAX_OFFENCES + 10 {
            let (until, ban_time) = (Timestamp::from_millis(i64::try_from(i).expect("small")), MINUTE);
            offences.record(Offence { who: Who::ClientId(i.to_string().into()), count: 1, until, ban_time });
        }
        let kept = offences.export();
        assert_eq!((kept.len(), kept[0].until), (MAX_OFFENCES, Timestamp::from_millis(10)));
    }
}

//! The bans that end, by their end: which have ended, and how many of each kind.
//!
//! How many have ended is not counted when somebody asks, since there may be a million: two hands go along the order of
//! the ends as time does, and count what they pass. So each ban is looked at once for each hand in its life, whoever
//! asks how often. A hand goes back when the clock is set back.

use super::ban::Until;
use super::time::Timestamp;
use super::who::{As, Who};
use compact_str::{CompactString, ToCompactString};
use std::collections::BTreeSet;
use std::time::Duration;

/// The bans of one list that end.
#[derive(Debug, Default)]
pub(super) struct Ends {
    ends: BTreeSet<End>,
    /// Those that have ended.
    expired: Hand,
    /// Those that have ended, and half of the time that they are kept after that is over.
    deleting_soon: Hand,
}

/// When a ban ends, and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    until: Timestamp,
    kind: As,
    who: CompactString,
}

/// Counts the ends before the place where it stands.
#[derive(Debug)]
struct Hand {
    place: End,
    counts: Counts,
}

/// How many there are of each kind, in the order of [`As::ALL`].
type Counts = [usize; As::ALL.len()];

impl Default for Hand {
    fn default() -> Hand {
        Hand { place: End::first_after(Timestamp::from_millis(i64::MIN)), counts: Counts::default() }
    }
}

impl Ends {
    pub(super) fn insert(&mut self, who: &Who, until: Until) {
        if let Some(end) = End::of(who, until) {
            for hand in [&mut self.expired, &mut self.deleting_soon] {
                hand.count(&end, |count| count + 1);
            }
            self.ends.insert(end);
        }
    }

    pub(super) fn remove(&mut self, who: &Who, until: Until) {
        if let Some(end) = End::of(who, until)
            && self.ends.remove(&end)
        {
            for hand in [&mut self.expired, &mut self.deleting_soon] {
                hand.count(&end, |count| count.saturating_sub(1));
            }
        }
    }

    /// The bans that ended at `moment` or before, the oldest first, at most `limit` of them.
    pub(super) fn ended_by(&self, moment: Timestamp, limit: usize) -> Vec<Who> {
        let ended = self.ends.iter().take_while(|end| end.until <= moment).take(limit);
        ended.filter_map(|end| Who::new(end.kind, &end.who, None).ok()).collect()
    }

    /// Moves the hands towards `now`, past at most `limit` ends each, for bans that are kept for `ttl` after their end.
    /// False when there is more to pass.
    pub(super) fn advance(&mut self, now: Timestamp, ttl: Duration, limit: usize) -> bool {
        let expired = self.expired.go(&self.ends, now, limit);
        self.deleting_soon.go(&self.ends, now.before(ttl / 2), limit) && expired
    }

    /// How many bans of this kind the hands have passed: those that have expired, and those that are about to be deleted.
    pub(super) fn ended(&self, kind: As) -> (usize, usize) {
        let of = |hand: &Hand| position(kind).and_then(|at| hand.counts.get(at)).copied().unwrap_or(0);
        let deleting_soon = of(&self.deleting_soon);
        (of(&self.expired).saturating_sub(deleting_soon), deleting_soon)
    }
}

impl Hand {
    fn count(&mut self, end: &End, change: impl FnOnce(usize) -> usize) {
        if *end < self.place {
            self.pass(end.kind, change);
        }
    }

    fn pass(&mut self, kind: As, change: impl FnOnce(usize) -> usize) {
        if let Some(count) = position(kind).and_then(|at| self.counts.get_mut(at)) {
            *count = change(*count);
        }
    }

    /// Goes on until it has passed what ended at `to` or before, or `limit` ends; true when it has arrived.
    fn go(&mut self, ends: &BTreeSet<End>, to: Timestamp, limit: usize) -> bool {
        let to = End::first_after(to);
        if self.place <= to {
            for (passed, end) in ends.range(&self.place..&to).enumerate() {
                if passed == limit {
                    self.place = end.clone();
                    return false;
                }
                self.pass(end.kind, |count| count + 1);
            }
        } else {
            for (passed, end) in ends.range(&to..&self.place).rev().enumerate() {
                self.pass(end.kind, |count| count.saturating_sub(1));
                if passed + 1 == limit {
                    self.place = end.clone();
                    return false;
                }
            }
        }
        self.place = to;
        true
    }
}

impl End {
    fn of(who: &Who, until: Until) -> Option<End> {
        match until {
            Until::Moment(until) => Some(End { until, kind: who.kind(), who: who.to_compact_string() }),
            Until::Infinity => None,
        }
    }

    /// Before every end that comes after `moment`, and behind all others.
    fn first_after(moment: Timestamp) -> End {
        let until = moment.after(Duration::from_millis(1));
        End { until, kind: As::ClientId, who: CompactString::default() }
    }
}

fn position(kind: As) -> Option<usize> {
    As::ALL.iter().position(|other| *other == kind)
}

#[cfg(test)]
mod tests {
    use super::super::ban::{Ban, Status, Terms};
    use super::*;

    const TTL: Duration = Duration::from_millis(100);

    fn ban(number: usize, until: i64) -> Ban {
        let at = Timestamp::from_millis(0);
        let kind = if number.is_multiple_of(2) { As::ClientId } else { As::Username };
        let who = Who::new(kind, &number.to_string(), None).expect("a name");
        let until = Until::Moment(Timestamp::from_millis(until));
        Ban { who, terms: Terms { by: "".into(), reason: "".into(), at, until } }
    }

    /// What a walk over all of them would count.
    fn walked(bans: &[Ban], kind: As, now: Timestamp) -> (usize, usize) {
        let count = |status| {
            let is_such = |ban: &&Ban| ban.who.kind() == kind && ban.terms.status(now, TTL) == status;
            bans.iter().filter(is_such).count()
        };
        (count(Status::Expired), count(Status::DeletingSoon))
    }

    #[test]
    fn the_hands_count_what_a_walk_would_count_wherever_the_clock_goes() {
        let (mut ends, mut bans) = (Ends::default(), Vec::new());
        let mut random = fastrand::Rng::with_seed(7);
        for number in 0..3_000 {
            // Many end at the same moment.
            let ban = ban(number, random.i64(0..40) * 10);
            ends.insert(&ban.who, ban.terms.until);
            bans.push(ban);
            if random.u8(..) < 40 {
                let gone = bans.swap_remove(random.usize(..bans.len()));
                ends.remove(&gone.who, gone.terms.until);
            }
            if random.u8(..) < 20 {
                let now = Timestamp::from_millis(random.i64(0..600));
                while !ends.advance(now, TTL, 7) {}
                for kind in [As::ClientId, As::Username, As::PeerHost] {
                    assert_eq!(ends.ended(kind), walked(&bans, kind, now), "{number} {kind}");
                }
            }
        }
    }
}

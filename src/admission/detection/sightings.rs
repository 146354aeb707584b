//! Who was seen where: tells a client that comes back from one that was never there.

use super::moment::{Moment, micros};
use super::table::{Compact, Part, Table};
use std::time::Duration;

/// Pairs of a place and a client, 16 bytes each, with a count that leaks away.
#[derive(Debug)]
pub(super) struct Sightings(Table<Compact>);

/// How someone was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sighting {
    /// For the first time within memory.
    New,
    /// Again, no more often than is its due.
    Known,
    /// Again, and too often.
    TooOften,
}

/// So often in so much time is everybody's due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) count: u32,
    pub(super) window: Duration,
}

/// Parts of one that the leaking count has.
const FINE: u32 = 32;

impl Sightings {
    pub(super) fn new(max: usize) -> Sightings {
        Sightings(Table::new(max))
    }

    /// As [`Part::see`], and so with the others.
    pub(super) fn see(&self, pair: u64, due: Due, memory: Duration, now: Moment) -> Sighting {
        self.0.part(pair).see(pair, due, memory, now)
    }

    pub(super) fn remember(&self, pair: u64, until: Moment, now: Moment) {
        self.0.part(pair).remember(pair, until, now);
    }

    pub(super) fn is_known(&self, pair: u64, now: Moment) -> bool {
        self.0.part(pair).is_known(pair, now)
    }

    pub(super) fn tidy(&self, turn: usize, now: Moment) {
        self.0.tidy(turn, now);
    }

    pub(super) fn usage(&self) -> (usize, usize) {
        self.0.usage()
    }
}

impl Part<Compact> {
    /// Sees a pair, which is remembered for `memory` from now.
    pub(super) fn see(&mut self, pair: u64, due: Due, memory: Duration, now: Moment) -> Sighting {
        let (count, window) = (u64::from(due.count.min(2000)), micros(due.window).max(1));
        self.with(pair, now, |slot, is_known| {
            let last = slot.until().as_micros().saturating_sub(micros(memory));
            let is_known = is_known && slot.until() > now;
            let passed = now.as_micros().saturating_sub(last);
            // Within a window all of it leaks away: most come again later than that, and need no division.
            let level = if is_known && passed < window {
                let leaked = passed.saturating_mul(count * u64::from(FINE)) / window;
                u32::from(slot.tag()).saturating_sub(u32::try_from(leaked).unwrap_or(u32::MAX))
            } else {
                0
            };
            let is_too_often = level + FINE > u32::try_from(count).unwrap_or(0) * FINE;
            let level = if is_too_often { level } else { level + FINE };
            *slot = Compact::new(pair, now.after(memory), u16::try_from(level).unwrap_or(u16::MAX));
            match (is_known, is_too_often) {
                (false, _) => Sighting::New,
                (true, false) => Sighting::Known,
                (true, true) => Sighting::TooOften,
            }
        })
    }

    /// Remembers a pair without counting.
    pub(super) fn remember(&mut self, pair: u64, until: Moment, now: Moment) {
        self.with(pair, now, |slot, _| *slot = Compact::new(pair, until, 0));
    }

    /// The same, and says whether it was known.
    pub(super) fn renew(&mut self, pair: u64, until: Moment, now: Moment) -> bool {
        self.with(pair, now, |slot, is_known| {
            let is_known = is_known && slot.until() > now;
            *slot = Compact::new(pair, until, 0);
            is_known
        })
    }

    /// Remembers a pair with a tag, unless another one is remembered: who comes first stays.
    pub(super) fn claim(&mut self, pair: u64, tag: u16, until: Moment, now: Moment) {
        self.with(pair, now, |slot, is_known| {
            if !is_known || slot.until() <= now || slot.tag() == tag {
                *slot = Compact::new(pair, until, tag);
            }
        });
    }

    /// The tag that a pair is remembered with.
    pub(super) fn tag(&mut self, pair: u64, now: Moment) -> Option<u16> {
        self.peek(pair, |slot| (slot.until() > now).then(|| slot.tag())).flatten()
    }

    pub(super) fn is_known(&mut self, pair: u64, now: Moment) -> bool {
        self.peek(pair, |slot| slot.until() > now).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const DUE: Due = Due { count: 10, window: Duration::from_mins(1) };

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn a_pair_is_new_once() {
        let sightings = Sightings::new(1000);
        assert_eq!(sightings.see(1, DUE, DAY, at(0)), Sighting::New);
        assert_eq!(sightings.see(1, DUE, DAY, at(80_000)), Sighting::Known);
        assert_eq!(sightings.see(2, DUE, DAY, at(80_000)), Sighting::New);
        assert_eq!(sightings.see(1, DUE, DAY, at(166_400)), Sighting::New);
    }

    #[test]
    fn who_comes_as_often_as_is_its_due_never_comes_too_often() {
        let sightings = Sightings::new(1000);
        assert!((0..1000).all(|i| sightings.see(1, DUE, DAY, at(i * 6)) != Sighting::TooOften));
        let often = (0..1000).filter(|i| sightings.see(2, DUE, DAY, at(i * 2)) == Sighting::TooOften).count();
        assert!((650..690).contains(&often), "{often}");
        let at_once = (0..30).filter(|_| sightings.see(3, DUE, DAY, at(0)) == Sighting::TooOften).count();
        assert_eq!(at_once, 20);
    }

    #[test]
    fn a_due_of_nothing_or_of_very_much_is_no_trouble() {
        let sightings = Sightings::new(1000);
        let none = Due { count: 0, window: Duration::ZERO };
        assert_eq!([0, 1].map(|i| sightings.see(1, none, DAY, at(i))), [Sighting::New, Sighting::TooOften]);
        let much = Due { count: u32::MAX, window: Duration::MAX };
        assert!((0..1000).all(|i| sightings.see(2, much, Duration::MAX, at(i)) != Sighting::TooOften));
    }
}

//! What is remembered of clients and of where they live: a visit asks for most of it, so it stands together.
//!
//! The upper bits of a key choose its part. They are those of its home ([`Secret::key_of`]): the client identifier, the
//! user name, the address's site, or a network that is wider than that. So a visit has few parts in hand, and has
//! the memory bring all that it is about to ask for at once.
//!
//! [`Secret::key_of`]: super::key::Secret::key_of

use super::crowd::Place;
use super::moment::Moment;
use super::newcomers::Newcomers;
use super::table::{Compact, PARTS, Part, part_of};
use super::window::Single;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// All clients that are known.
#[derive(Debug)]
pub(super) struct Known {
    parts: Box<[Mutex<Clients>]>,
}

/// Those of one part.
#[derive(Debug)]
pub(super) struct Clients {
    /// Who was seen where, and how often.
    pub(super) seen: Part<Compact>,
    /// Who once was a resident, and whose a client identifier is.
    pub(super) marks: Part<Compact>,
    /// Who has just got or lost the session of a client identifier: see [`duplicates`](super::duplicates).
    pub(super) holders: Part<Compact>,
    /// Credentials that a broker accepted.
    pub(super) accepted: Part<Compact>,
    /// The last events that count against a client identifier.
    pub(super) singles: Part<Single>,
    /// How many live where.
    pub(super) places: Part<Place>,
    /// Who has come lately.
    pub(super) newcomers: Newcomers,
}

/// The parts in hand.
#[derive(Debug)]
pub(super) struct Hand<'a> {
    known: &'a Known,
    /// Which parts they are, apart from them: a visit asks for a part two dozen times.
    parts: [usize; HOMES],
    held: [Option<MutexGuard<'a, Clients>>; HOMES],
}

/// How many homes a visit has.
const HOMES: usize = 4;
/// The number of no part.
const NO_PART: usize = usize::MAX;

impl Known {
    pub(super) fn new(max: usize) -> Known {
        let part = || Clients {
            seen: Part::new(max),
            marks: Part::new(max / 2),
            holders: Part::new(max / 4),
            accepted: Part::new(max / 4),
            singles: Part::new(max / 2),
            places: Part::new(max / 8),
            newcomers: Newcomers::new((max / 8).div_ceil(PARTS)),
        };
        Known { parts: (0..PARTS).map(|_| Mutex::new(part())).collect() }
    }

    /// A hand that holds nothing yet.
    pub(super) fn hand(&self) -> Hand<'_> {
        Hand { known: self, parts: [NO_PART; HOMES], held: [const { None }; HOMES] }
    }

    pub(super) fn tidy(&self, turn: usize, now: Moment) {
        let mut clients = self.lock(turn % PARTS);
        let Clients { seen, marks, holders, accepted, singles, places, newcomers } = &mut *clients;
        seen.tidy(now);
        marks.tidy(now);
        holders.tidy(now);
        accepted.tidy(now);
        singles.tidy(now);
        places.tidy(now);
        newcomers.tidy();
    }

    /// Keys and bytes.
    pub(super) fn usage(&self) -> (usize, usize) {
        let usages = (0..PARTS).flat_map(|at| {
            let Clients { seen, marks, holders, accepted, singles, places, newcomers } = &*self.lock(at);
            [
                seen.usage(),
                marks.usage(),
                holders.usage(),
                accepted.usage(),
                singles.usage(),
                places.usage(),
                newcomers.usage(),
            ]
        });
        usages.fold((0, 0), |sum, usage| (sum.0 + usage.0, sum.1 + usage.1))
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, Clients> {
        self.part(at).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self, at: usize) -> Option<MutexGuard<'_, Clients>> {
        match self.part(at).try_lock() {
            Ok(clients) => Some(clients),
            Err(TryLockError::Poisoned(clients)) => Some(clients.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn part(&self, at: usize) -> &Mutex<Clients> {
        #[expect(clippy::indexing_slicing, reason = "there are PARTS of them")]
        &self.parts[at % PARTS]
    }
}

impl Hand<'_> {
    /// The clients among whom this key belongs. Nobody waits for a part while holding another one: what is in hand is
    /// laid down before.
    #[expect(
        clippy::inline_always,
        reason = "a call costs as much, and it is asked for two dozen times a visit"
    )]
    #[inline(always)]
    pub(super) fn clients(&mut self, key: u64) -> &mut Clients {
        let part = part_of(key);
        let place = self.parts.iter().position(|held| *held == part).unwrap_or_else(|| self.take(part));
        let known = self.known;
        #[expect(clippy::indexing_slicing, reason = "a place of those that there are")]
        let held = &mut self.held[place];
        held.get_or_insert_with(|| known.lock(part))
    }

    /// Where a part is taken in hand.
    #[cold]
    fn take(&mut self, part: usize) -> usize {
        let free = self.held.iter().position(Option::is_none);
        let (place, clients) = free.zip(self.known.try_lock(part)).unwrap_or_else(|| {
            self.held = [const { None }; HOMES];
            self.parts = [NO_PART; HOMES];
            (0, self.known.lock(part))
        });
        if let (Some(number), Some(held)) = (self.parts.get_mut(place), self.held.get_mut(place)) {
            (*number, *held) = (part, Some(clients));
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many keys are in use.
    fn keys(known: &Known) -> usize {
        (0..PARTS).for_each(|turn| known.tidy(turn, Moment::default()));
        known.usage().0
    }

    #[test]
    fn hands_that_cross_do_not_wait_for_each_other() {
        let known = Known::new(1000);
        let (one, other) = (1 << 58, 2 << 58);
        let hold = |first, second| {
            for _ in 0..20_000 {
                let mut hand = known.hand();
                hand.clients(first).marks.remember(first | 1, Moment::from_micros(9), Moment::default());
                hand.clients(second).marks.remember(second | 1, Moment::from_micros(9), Moment::default());
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| hold(one, other));
            scope.spawn(|| hold(other, one));
        });
        assert_eq!(keys(&known), 2);
    }

    #[test]
    fn a_hand_holds_no_more_parts_than_there_are_homes() {
        let known = Known::new(1000);
        let mut hand = known.hand();
        for key in (0..PARTS as u64).map(|at| at << 58 | 1) {
            hand.clients(key).marks.remember(key, Moment::from_micros(9), Moment::default());
            assert!((1..=HOMES).contains(&hand.held.iter().flatten().count()));
        }
        drop(hand);
        assert_eq!(keys(&known), PARTS);
    }
}

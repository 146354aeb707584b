//! Sessions that have not lasted long enough to make residents, in the order in which they began.
//!
//! A short session, and most attacks are nothing else, ends here: the places where it lives, each of them somewhere in
//! memory, never hear of it. Those that last are taken out, oldest first, and enter their places.

use super::crowd::Places;
use super::moment::Moment;
use std::num::NonZeroU32;
use std::time::Duration;

/// The newcomers of one part: a list in slots that are used again.
#[derive(Debug)]
pub(super) struct Newcomers {
    slots: Vec<Newcomer>,
    max: usize,
    oldest: u32,
    youngest: u32,
    /// The first of the free slots, which are a list of their own.
    free: u32,
    count: usize,
    numbers: u32,
}

/// 72 bytes.
#[derive(Debug)]
struct Newcomer {
    places: Places,
    began: Moment,
    /// `None` where the slot is free.
    number: Option<NonZeroU32>,
    older: u32,
    younger: u32,
}

/// Tells a newcomer from who had its slot before, and from who has it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    at: u32,
    number: NonZeroU32,
}

/// The index of no slot.
const NOWHERE: u32 = u32::MAX;

impl Newcomers {
    pub(super) fn new(max: usize) -> Newcomers {
        let (oldest, youngest, free) = (NOWHERE, NOWHERE, NOWHERE);
        Newcomers { slots: Vec::new(), max, oldest, youngest, free, count: 0, numbers: 0 }
    }

    /// A session has begun. `None` where there are as many as may be: this one will make no resident.
    pub(super) fn enter(&mut self, places: Places, began: Moment) -> Option<Ticket> {
        self.numbers = self.numbers.checked_add(1).unwrap_or(1);
        let number = NonZeroU32::new(self.numbers)?;
        let newcomer =
            Newcomer { places, began, number: Some(number), older: self.youngest, younger: NOWHERE };
        let at = if let Some(slot) = slot(&mut self.slots, self.free) {
            let at = self.free;
            self.free = slot.younger;
            *slot = newcomer;
            at
        } else {
            let at = u32::try_from(self.slots.len()).ok().filter(|_| self.slots.len() < self.max)?;
            self.slots.push(newcomer);
            at
        };
        match slot(&mut self.slots, self.youngest) {
            Some(before) => before.younger = at,
            None => self.oldest = at,
        }
        self.youngest = at;
        self.count += 1;
        Some(Ticket { at, number })
    }

    /// The session of this ticket has ended. True when it was still a newcomer.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(gone) = slot(&mut self.slots, ticket.at).filter(|slot| slot.number == Some(ticket.number))
        else {
            return false;
        };
        let (older, younger) = (gone.older, gone.younger);
        (gone.number, gone.younger) = (None, self.free);
        self.free = ticket.at;
        match slot(&mut self.slots, older) {
            Some(older) => older.younger = younger,
            None => self.oldest = younger,
        }
        match slot(&mut self.slots, younger) {
            Some(younger) => younger.older = older,
            None => self.youngest = older,
        }
        self.count -= 1;
        true
    }

    /// The oldest, if it has lasted for so long. It stays until it [leaves](Self::leave).
    pub(super) fn oldest_settled(&self, resident_after: Duration, now: Moment) -> Option<(Ticket, Places)> {
        let at = self.oldest;
        let oldest = self.slots.get(usize::try_from(at).ok()?)?;
        let has_lasted = now.since(oldest.began) >= resident_after;
        Some((Ticket { at, number: oldest.number? }, oldest.places)).filter(|_| has_lasted)
    }

    /// Gives back what is not needed any more.
    pub(super) fn tidy(&mut self) {
        if self.count == 0 {
            *self = Newcomers { numbers: self.numbers, ..Newcomers::new(self.max) };
        }
    }

    /// Sessions and bytes.
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.count, self.slots.capacity() * size_of::<Newcomer>())
    }
}

fn slot(slots: &mut [Newcomer], at: u32) -> Option<&mut Newcomer> {
    slots.get_mut(usize::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn who_lasts_is_taken_out_once_and_who_does_not_never_is() {
        let mut newcomers = Newcomers::new(10);
        let [one, two, three] = [1, 2, 3].map(|i| newcomers.enter([i; 6], at(i)).expect("there is room"));
        assert!(newcomers.leave(two) && !newcomers.leave(two));
        assert_eq!(newcomers.oldest_settled(MINUTE, at(60)), None);
        assert_eq!(newcomers.oldest_settled(MINUTE, at(61)), Some((one, [1; 6])));
        assert!(newcomers.leave(one) && !newcomers.leave(one), "of two who would settle it, one does");
        assert_eq!(newcomers.oldest_settled(MINUTE, at(62)), None);
        let again = newcomers.enter([4; 6], at(62)).expect("there is room");
        assert!(!newcomers.leave(one) && !newcomers.leave(two), "their slots have others");
        assert!(newcomers.leave(three) && newcomers.leave(again));
        newcomers.tidy();
        assert_eq!(newcomers.usage(), (0, 0));
        assert!(!newcomers.leave(again));
        assert_eq!(size_of::<Newcomer>(), 72);
        assert_eq!(size_of::<Option<Ticket>>(), 8);
    }

    #[test]
    fn a_part_has_room_for_so_many_and_slots_are_used_again() {
        let mut newcomers = Newcomers::new(3);
        for round in 0..10_000 {
            let tickets: Vec<Option<Ticket>> = (0..4).map(|i| newcomers.enter([i; 6], at(round))).collect();
            assert_eq!(tickets.iter().flatten().count(), 3);
            assert_eq!(newcomers.usage().0, 3);
            assert_eq!(tickets.into_iter().flatten().filter(|ticket| newcomers.leave(*ticket)).count(), 3);
        }
        assert!(newcomers.slots.len() <= 3);
    }

    proptest! {
        /// As a plain list would have it.
        #[test]
        fn newcomers_are_a_list_in_order(steps in proptest::collection::vec((0..3_u8, 0..40_usize), 0..200)) {
            let mut newcomers = Newcomers::new(16);
            let mut list: Vec<(u64, Ticket)> = Vec::new();
            for (now, (step, which)) in (0..).zip(steps) {
                match step {
                    0 => {
                        let ticket = newcomers.enter([now; 6], at(now));
                        prop_assert_eq!(ticket.is_some(), list.len() < 16);
                        list.extend(ticket.map(|ticket| (now, ticket)));
                    }
                    1 if !list.is_empty() => {
                        let (_, ticket) = list.remove(which % list.len());
                        prop_assert!(newcomers.leave(ticket));
                    }
                    _ => {
                        let settled = list.first().filter(|(began, _)| now - began >= 60).map(|(began, _)| [*began; 6]);
                        let found = newcomers.oldest_settled(MINUTE, at(now));
                        prop_assert_eq!(found.map(|(_, places)| places), settled);
                        if let Some((ticket, _)) = found {
                            prop_assert!(newcomers.leave(ticket));
                            list.remove(0);
                        }
                    }
                }
                prop_assert_eq!(newcomers.usage().0, list.len());
            }
        }
    }
}

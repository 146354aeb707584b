//! Who lives where: a session enters its places when it has lasted, or at once where its client had lasted before.

use super::Detection;
use super::crowd::{Period, Places, Stay};
use super::facts::{Facts, Names};
use super::known::Hand;
use super::strike::Now;
use super::table::{PARTS, home_of};

/// Of those who have lasted, so many settle when somebody else comes: a little more than come.
const SETTLED_BY_EACH: usize = 2;
/// And so many of each part when time has passed.
const SETTLED_AT_ONCE: usize = 1024;

impl Detection {
    /// A client was accepted by this broker: it lives at these places, from now or once it has lasted.
    pub(super) fn move_in(
        &self,
        names: Names,
        broker: u64,
        places: Places,
        is_returning: bool,
        hand: &mut Hand<'_>,
        now: Now,
    ) -> Stay {
        let (began, period) = (now.moment, self.period(now));
        let mut newcomer = None;
        if is_returning {
            self.enter(places, hand, now);
        } else {
            newcomer = hand.clients(names.home()).newcomers.enter(places, began);
        }
        for _ in 0..SETTLED_BY_EACH {
            if !self.settle_oldest(names.home(), hand, now) {
                break;
            }
        }
        Stay { began, period, is_returning, newcomer, places, names, broker }
    }

    /// Its session has ended.
    pub(super) fn move_out(&self, stay: &Stay, was_resident: bool, hand: &mut Hand<'_>, now: Now) {
        let newcomer = stay.newcomer;
        if newcomer.is_some_and(|ticket| hand.clients(stay.names.home()).newcomers.leave(ticket)) {
            if !was_resident {
                return;
            }
            // It has lasted, and nobody came to see it.
            self.enter(stay.places, hand, now);
        }
        if newcomer.is_some() || stay.is_returning {
            self.leave_places(stay.places, hand, now);
        }
    }

    /// Time has passed: all who have lasted settle.
    pub(super) fn settle(&self, now: Now) {
        for part in 0..PARTS {
            let home = home_of(part);
            for _ in 0..SETTLED_AT_ONCE {
                if !self.settle_oldest(home, &mut self.known.hand(), now) {
                    break;
                }
            }
        }
    }

    /// The oldest newcomer enters its places, if it has lasted. False when none has.
    ///
    /// Meanwhile it may end, or another thread may see to it: whoever takes it from the list has the last word, and who
    /// comes too late takes back what it did.
    fn settle_oldest(&self, home: u64, hand: &mut Hand<'_>, now: Now) -> bool {
        let resident_after = self.settings.resident_after;
        let oldest = hand.clients(home).newcomers.oldest_settled(resident_after, now.moment);
        let Some((ticket, places)) = oldest else { return false };
        self.enter(places, hand, now);
        if !hand.clients(home).newcomers.leave(ticket) {
            self.leave_places(places, hand, now);
        }
        true
    }

    /// How many residents live at a place, or lived there of late.
    pub(super) fn residents(&self, facts: &Facts<'_>, place: u64, hand: &mut Hand<'_>, now: Now) -> u32 {
        let key = self.place_key(facts.keys.zone, place);
        hand.clients(key).places.residents(key, self.period(now))
    }

    fn enter(&self, places: Places, hand: &mut Hand<'_>, now: Now) {
        let places = places.into_iter().filter(|place| *place != 0);
        for place in places.clone() {
            hand.clients(place).places.prefetch(place);
        }
        let period = self.period(now);
        for place in places {
            hand.clients(place).places.enter(place, now.moment, period);
        }
    }

    fn leave_places(&self, places: Places, hand: &mut Hand<'_>, now: Now) {
        let period = self.period(now);
        for place in places.into_iter().filter(|place| *place != 0) {
            hand.clients(place).places.leave(place, period);
        }
    }

    fn period(&self, now: Now) -> Period {
        Period::of(now.moment, self.settings.resident_after)
    }
}

//! How many live at a place: an address, a network, a user name, a broker. Who has stayed for long is a resident.
//!
//! What goes wrong at a place is weighed against its residents: a gateway with 5,000 devices may have more trouble
//! than a single client.

use super::facts::Names;
use super::moment::{Moment, micros};
use super::newcomers::Ticket;
use super::table::{Part, Slot};
use std::time::Duration;

/// The sessions of one place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Crowd {
    live: u32,
    /// Of those, the ones that began in the current period and in the one before: too young to be residents.
    young: [u32; 2],
    period: Period,
}

/// The keys of the places where a session lives; 0 where there is none.
pub(super) type Places = [u64; 6];

/// How a session entered, to be given back when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    pub(super) began: Moment,
    /// The period in which it began.
    pub(super) period: Period,
    /// Its client had been a resident before.
    pub(super) is_returning: bool,
    /// Among the newcomers, until it has lasted. `None` when it entered its places at once, or when there was no room.
    pub(super) newcomer: Option<Ticket>,
    /// The places where it lives, which it leaves whatever the policy is by then.
    pub(super) places: Places,
    /// What it is called.
    pub(super) names: Names,
    /// The broker that accepted it.
    pub(super) broker: u64,
}

/// Time in steps of what it takes to become a resident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Period(u32);

impl Period {
    pub(super) fn of(moment: Moment, resident_after: Duration) -> Period {
        Period(u32::try_from(moment.as_micros() / micros(resident_after).max(1)).unwrap_or(u32::MAX))
    }

    /// The same in steps of 64, which go round.
    #[expect(clippy::cast_possible_truncation, reason = "it goes round")]
    fn age(self) -> u16 {
        (self.0 >> 6) as u16
    }

    /// How many periods ago `earlier` was; 0 when it is still to come.
    fn since(self, earlier: Period) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Stay {
    /// The places where it lives.
    pub(super) fn places(&self) -> impl Iterator<Item = u64> {
        self.places.into_iter().filter(|place| *place != 0)
    }

    /// True when the session's client counts as a resident at `now`.
    pub(super) fn is_resident(&self, now: Moment, resident_after: Duration) -> bool {
        self.is_returning || now.since(self.began) >= resident_after
    }
}

impl Crowd {
    pub(super) fn enter(&mut self, stay: &Stay) {
        self.turn_to(stay.period);
        self.live = self.live.saturating_add(1);
        if !stay.is_returning {
            let [current, _] = &mut self.young;
            *current = current.saturating_add(1);
        }
    }

    pub(super) fn leave(&mut self, stay: &Stay, now: Period) {
        self.turn_to(now);
        self.live = self.live.saturating_sub(1);
        let age = usize::try_from(self.period.since(stay.period)).unwrap_or(usize::MAX);
        if let Some(young) = self.young.get_mut(age).filter(|_| !stay.is_returning) {
            *young = young.saturating_sub(1);
        }
    }

    /// How many residents live here.
    pub(super) fn residents(&self) -> u32 {
        let [young, younger] = self.young;
        self.live.saturating_sub(young.saturating_add(younger))
    }

    fn turn_to(&mut self, period: Period) {
        match period.since(self.period) {
            0 => {}
            1 => self.young = [0, self.young[0]],
            _ => self.young = [0, 0],
        }
        self.period = self.period.max(period);
    }
}

/// The residents of a place, by its key. 16 bytes.
#[derive(Debug, Default)]
pub(super) struct Place {
    key: u64,
    /// As [`Residents`] are packed.
    residents: u64,
}

/// How many residents a place has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Residents {
    now: u32,
    /// The most of late: it halves every 64 periods, so a place that reboots keeps its name.
    peak: u32,
    /// Until when it was halved, in 64 periods.
    halved: u16,
}

impl Residents {
    /// More than this are not told apart.
    const MAX: u32 = (1 << 24) - 1;

    /// Nobody, from now on.
    fn none(now: Period) -> Residents {
        Residents { halved: now.age(), ..Residents::default() }
    }

    fn unpack(packed: u64) -> Residents {
        #[expect(clippy::cast_possible_truncation, reason = "24, 24 and 16 bits")]
        let (now, peak, halved) =
            (packed as u32 & Self::MAX, (packed >> 24) as u32 & Self::MAX, (packed >> 48) as u16);
        Residents { now, peak, halved }
    }

    fn pack(self) -> u64 {
        let [now, peak] = [self.now, self.peak].map(|count| u64::from(count.min(Self::MAX)));
        now | peak << 24 | u64::from(self.halved) << 48
    }

    /// Now and then a thread is a little late, so time may seem to go back.
    fn turn_to(&mut self, period: Period) {
        let passed = period.age().wrapping_sub(self.halved);
        if (1..1 << 15).contains(&passed) {
            self.peak = self.peak.checked_shr(passed.into()).unwrap_or(0);
            self.halved = period.age();
        }
        self.peak = self.peak.max(self.now);
    }
}

impl Place {
    fn change(&mut self, now: Period, change: impl FnOnce(&mut Residents)) -> Residents {
        let mut residents = Residents::unpack(self.residents);
        residents.turn_to(now);
        change(&mut residents);
        residents.peak = residents.peak.max(residents.now);
        self.residents = residents.pack();
        residents
    }
}

impl Part<Place> {
    /// A resident's session lives at this place.
    pub(super) fn enter(&mut self, key: u64, now: Moment, period: Period) {
        self.with(key, now, |place, is_known| {
            if !is_known {
                *place = Place { key, residents: Residents::none(period).pack() };
            }
            place.change(period, |residents| residents.now = residents.now.saturating_add(1));
        });
    }

    /// A resident's session has ended.
    pub(super) fn leave(&mut self, key: u64, now: Period) {
        self.peek(key, |place| {
            place.change(now, |residents| residents.now = residents.now.saturating_sub(1));
        });
    }

    /// How many residents live there or lived there of late.
    pub(super) fn residents(&mut self, key: u64, now: Period) -> u32 {
        self.peek(key, |place| place.change(now, |_| ()).peak).unwrap_or(0)
    }
}

impl Slot for Place {
    fn key(&self) -> u64 {
        self.key
    }

    fn is_idle(&self, _: Moment) -> bool {
        let Residents { now, peak, .. } = Residents::unpack(self.residents);
        now == 0 && peak == 0
    }

    fn worth(&self) -> (u32, u64) {
        let Residents { peak, .. } = Residents::unpack(self.residents);
        (peak, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn period(seconds: u64) -> Period {
        Period::of(at(seconds), MINUTE)
    }

    fn stay(seconds: u64) -> Stay {
        Stay {
            began: at(seconds),
            period: period(seconds),
            is_returning: false,
            newcomer: None,
            places: Places::default(),
            names: Names::default(),
            broker: 1,
        }
    }

    #[test]
    fn a_session_becomes_a_residents() {
        let mut crowd = Crowd::default();
        (0..100).for_each(|i| crowd.enter(&stay(i % 10)));
        let residents = |crowd: &mut Crowd, seconds| {
            crowd.turn_to(period(seconds));
            crowd.residents()
        };
        assert_eq!((residents(&mut crowd, 59), residents(&mut crowd, 120)), (0, 100));
        (0..100).for_each(|i| crowd.leave(&stay(i % 10), period(130)));
        assert_eq!(crowd.residents(), 0);
    }

    #[test]
    fn who_comes_and_goes_is_no_resident_and_who_returns_is_one_at_once() {
        let mut crowd = Crowd::default();
        for i in 0..1000 {
            crowd.enter(&stay(i));
            crowd.leave(&stay(i), period(i + 1));
            assert_eq!(crowd.residents(), 0);
        }
        crowd.enter(&Stay { is_returning: true, ..stay(1001) });
        assert_eq!(crowd.residents(), 1);
    }

    #[test]
    fn ends_without_a_beginning_and_times_out_of_order_do_no_harm() {
        let mut crowd = Crowd::default();
        crowd.leave(&stay(5), period(3));
        crowd.enter(&stay(1_000_000));
        crowd.leave(&stay(1_000_000), period(0));
        crowd.enter(&stay(0));
        assert!(crowd.residents() <= 1);
        // No time at all makes a resident.
        let _ = Period::of(at(1_000_000), Duration::ZERO);
    }

    #[test]
    fn a_place_keeps_its_name_for_a_while() {
        let mut places = Part::new(1000);
        (0..100).for_each(|i| places.enter(7, at(i), period(i)));
        assert_eq!(places.residents(7, period(130)), 100);
        (0..100).for_each(|_| places.leave(7, period(130)));
        assert_eq!(places.residents(7, period(130)), 100);
        assert_eq!(places.residents(7, period(64 * 60)), 50);
        assert_eq!(places.residents(7, period(64 * 59)), 50, "a thread that is late");
        assert_eq!(places.residents(7, period(64 * 600)), 0);
        places.leave(7, period(64 * 600));
        places.leave(8, period(64 * 600));
        assert_eq!((places.residents(7, period(64 * 600)), places.residents(8, period(0))), (0, 0));
        assert_eq!(size_of::<Place>(), 16);
    }

    #[test]
    fn residents_are_packed_and_no_more_than_can_be() {
        for (now, peak, halved) in [(0, 0, 0), (1, 2, 3), (Residents::MAX, Residents::MAX, u16::MAX)] {
            let residents = Residents { now, peak, halved };
            assert_eq!(Residents::unpack(residents.pack()), residents);
        }
        let many = Residents { now: u32::MAX, peak: u32::MAX, halved: 0 };
        let most = Residents { now: Residents::MAX, peak: Residents::MAX, halved: 0 };
        assert_eq!(Residents::unpack(many.pack()), most);
        // Ages go round; half of the way is the past.
        let mut old = Residents { now: 0, peak: 8, halved: u16::MAX };
        old.turn_to(Period(1 << 6));
        assert_eq!(old, Residents { now: 0, peak: 2, halved: 1 });
    }
}

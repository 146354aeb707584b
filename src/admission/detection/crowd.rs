//! How many live at a place: an address, a network, a user name, a broker. Who has stayed for long is a resident.
//!
//! What goes wrong at a place is weighed against its residents: a gateway with 5,000 devices may have more trouble
//! than a single client.

use super::facts::Names;
use super::moment::{Moment, micros};
use super::table::{Part, Slot};
use std::time::Duration;

/// The sessions of one place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Crowd {
    live: u32,
    /// Of those, the ones that began in the current period and in the one before: too young to be residents.
    young: [u32; 2],
    period: u32,
    /// The most residents of late: it halves every 64 periods, so a place that reboots keeps its name.
    peak: u32,
}

/// The keys of the places where a session lives; 0 where there is none.
pub(super) type Places = [u64; 6];

/// How a session entered, to be given back when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    pub(super) began: Moment,
    /// Its client had been a resident before.
    pub(super) is_returning: bool,
    /// The places that it entered, which it leaves whatever the policy is by then.
    pub(super) places: Places,
    /// What it is called.
    pub(super) names: Names,
}

impl Stay {
    /// The places that it entered.
    pub(super) fn places(self) -> impl Iterator<Item = u64> {
        self.places.into_iter().filter(|place| *place != 0)
    }

    /// True when the session's client counts as a resident at `now`.
    pub(super) fn is_resident(self, now: Moment, resident_after: Duration) -> bool {
        self.is_returning || now.since(self.began) >= resident_after
    }
}

impl Crowd {
    pub(super) fn enter(&mut self, stay: Stay, resident_after: Duration) {
        self.turn_to(period(stay.began, resident_after));
        self.live = self.live.saturating_add(1);
        if !stay.is_returning {
            let [current, _] = &mut self.young;
            *current = current.saturating_add(1);
        }
    }

    pub(super) fn leave(&mut self, stay: Stay, now: Moment, resident_after: Duration) {
        self.turn_to(period(now, resident_after));
        self.live = self.live.saturating_sub(1);
        let age = self.period.saturating_sub(period(stay.began, resident_after));
        let age = usize::try_from(age).unwrap_or(usize::MAX);
        if let Some(young) = self.young.get_mut(age).filter(|_| !stay.is_returning) {
            *young = young.saturating_sub(1);
        }
    }

    /// How many residents live here.
    pub(super) fn residents(&self) -> u32 {
        self.live.saturating_sub(self.young.iter().sum())
    }

    /// How many residents live here or lived here of late.
    pub(super) fn usual_residents(&mut self, now: Moment, resident_after: Duration) -> u32 {
        self.turn_to(period(now, resident_after));
        self.peak
    }

    fn turn_to(&mut self, period: u32) {
        match period.saturating_sub(self.period) {
            0 => {}
            1 => self.young = [0, self.young[0]],
            _ => self.young = [0, 0],
        }
        let halvings = (period >> 6).saturating_sub(self.period >> 6);
        self.peak = self.peak.checked_shr(halvings).unwrap_or(0).max(self.residents());
        self.period = self.period.max(period);
    }
}

fn period(moment: Moment, resident_after: Duration) -> u32 {
    u32::try_from(moment.as_micros() / micros(resident_after).max(1)).unwrap_or(u32::MAX)
}

/// The crowd of a place, by its key. 32 bytes.
#[derive(Debug, Default)]
pub(super) struct Place {
    key: u64,
    crowd: Crowd,
}

impl Part<Place> {
    /// A session has begun at this place.
    pub(super) fn enter(&mut self, key: u64, stay: Stay, resident_after: Duration) {
        self.with(key, stay.began, |place, _| {
            place.key = key;
            place.crowd.enter(stay, resident_after);
        });
    }

    pub(super) fn leave(&mut self, key: u64, stay: Stay, now: Moment, resident_after: Duration) {
        self.peek(key, |place| place.crowd.leave(stay, now, resident_after));
    }

    pub(super) fn residents(&mut self, key: u64, now: Moment, resident_after: Duration) -> u32 {
        self.peek(key, |place| place.crowd.usual_residents(now, resident_after)).unwrap_or(0)
    }
}

impl Slot for Place {
    fn key(&self) -> u64 {
        self.key
    }

    fn is_idle(&self, _: Moment) -> bool {
        self.crowd.live == 0 && self.crowd.peak == 0
    }

    fn worth(&self) -> (u32, u64) {
        (self.crowd.live.max(self.crowd.peak), self.crowd.period.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn stay(seconds: u64) -> Stay {
        Stay { began: at(seconds), is_returning: false, places: Places::default(), names: Names::default() }
    }

    #[test]
    fn a_session_becomes_a_residents_and_stays_one() {
        let mut crowd = Crowd::default();
        (0..100).for_each(|i| crowd.enter(stay(i % 10), MINUTE));
        assert_eq!((crowd.usual_residents(at(59), MINUTE), crowd.usual_residents(at(120), MINUTE)), (0, 100));
        (0..100).for_each(|i| crowd.leave(stay(i % 10), at(130), MINUTE));
        assert_eq!((crowd.residents(), crowd.usual_residents(at(130), MINUTE)), (0, 100));
        assert_eq!(crowd.usual_residents(at(64 * 60), MINUTE), 50);
        assert_eq!(crowd.usual_residents(at(64 * 600), MINUTE), 0);
    }

    #[test]
    fn who_comes_and_goes_is_no_resident_and_who_returns_is_one_at_once() {
        let mut crowd = Crowd::default();
        for i in 0..1000 {
            crowd.enter(stay(i), MINUTE);
            crowd.leave(stay(i), at(i + 1), MINUTE);
        }
        assert_eq!(crowd.usual_residents(at(1001), MINUTE), 0);
        crowd.enter(
            Stay { began: at(1001), is_returning: true, places: Places::default(), names: Names::default() },
            MINUTE,
        );
        assert_eq!(crowd.residents(), 1);
    }

    #[test]
    fn ends_without_a_beginning_and_times_out_of_order_do_no_harm() {
        let mut crowd = Crowd::default();
        crowd.leave(stay(5), at(3), MINUTE);
        crowd.enter(stay(1_000_000), MINUTE);
        crowd.leave(stay(1_000_000), at(0), MINUTE);
        crowd.enter(stay(0), Duration::ZERO);
        assert!(crowd.residents() <= 1);
        assert_eq!(size_of::<Place>(), 32);
    }
}

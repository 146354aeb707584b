//! Forgets bans that ended long ago, and is not fooled by a clock that is set wrong for a while.
//!
//! Bans hold by the wall clock, because people and other machines name their ends by it. Forgetting one cannot be
//! undone, so it waits until the wall clock has gone steadily: as fast as the clock that cannot be set.

use crate::admission::Timestamp;
use std::time::Duration;

/// When bans that have ended are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupSettings {
    /// How often it is seen to.
    pub period: Duration,
    /// How long a ban is kept after its end; zero is EMQX's way, a week TBMQ's.
    pub ttl: Duration,
    /// How long it is remembered after an automatic ban's end that there was one.
    pub offences: Duration,
}

/// Follows both clocks, and says what may be forgotten.
#[derive(Debug)]
pub struct Cleanup {
    ttl: Duration,
    /// When the clocks were read last, and how far the wall clock was ahead of the steady one then.
    last: Reading,
    /// Nothing is forgotten before this reading of the steady clock.
    held_until: Duration,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// How long the process has been running, by a clock that nobody can set.
    pub steady: Duration,
}

/// What a look at the clocks says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Bans that ended at this moment or before may be forgotten.
    Forget(Timestamp),
    /// The wall clock was set, by so many milliseconds. Nothing is forgotten for [`STEADY`].
    Jumped(i64),
    /// The wall clock was set not long ago.
    Held,
}

/// How long the wall clock must have gone steadily after it was set.
pub const STEADY: Duration = Duration::from_hours(1);

/// What a wall clock may be off against a steady one, between two looks, without having been set: slewing and coarse
/// timers.
const TOLERANCE: Duration = Duration::from_secs(10);

impl Cleanup {
    /// Keeps bans for `ttl` after their end. The wall clock is believed as it is `now`.
    pub fn new(ttl: Duration, now: Reading) -> Cleanup {
        Cleanup { ttl, last: now, held_until: Duration::ZERO }
    }

    /// Keeps bans for another time from now on.
    pub fn adjust(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }

    /// What may be forgotten now.
    pub fn due(&mut self, now: Reading) -> Due {
        let passed = millis(now.steady.saturating_sub(self.last.steady));
        let jump = now.wall.as_millis().saturating_sub(self.last.wall.as_millis()).saturating_sub(passed);
        self.last = now;
        if jump.unsigned_abs() > TOLERANCE.as_millis().try_into().unwrap_or(u64::MAX) {
            self.held_until = now.steady + STEADY;
            return Due::Jumped(jump);
        }
        if now.steady < self.held_until {
            return Due::Held;
        }
        Due::Forget(Timestamp::from_millis(now.wall.as_millis().saturating_sub(millis(self.ttl))))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn reading(wall: i64, steady: i64) -> Reading {
        let steady = Duration::from_millis(steady.try_into().expect("not negative"));
        Reading { wall: Timestamp::from_millis(wall), steady }
    }

    fn forget(millis: i64) -> Due {
        Due::Forget(Timestamp::from_millis(millis))
    }

    #[test]
    fn what_ended_longer_ago_than_the_ttl_is_forgotten() {
        let mut cleanup = Cleanup::new(Duration::from_hours(1), reading(5 * HOUR, 0));
        assert_eq!(cleanup.due(reading(6 * HOUR, HOUR)), forget(5 * HOUR));
        cleanup.adjust(Duration::ZERO);
        assert_eq!(cleanup.due(reading(7 * HOUR, 2 * HOUR)), forget(7 * HOUR));
    }

    #[test]
    fn a_clock_that_is_set_forward_makes_nothing_forgotten_until_it_has_been_steady() {
        let mut cleanup = Cleanup::new(Duration::ZERO, reading(0, 0));
        assert_eq!(cleanup.due(reading(9000 * HOUR + 1000, 1000)), Due::Jumped(9000 * HOUR));
        assert_eq!(cleanup.due(reading(9000 * HOUR + 2000, 2000)), Due::Held);
        // It is set right again.
        assert_eq!(cleanup.due(reading(3000, 3000)), Due::Jumped(-9000 * HOUR));
        assert_eq!(cleanup.due(reading(HOUR, HOUR)), Due::Held);
        assert_eq!(cleanup.due(reading(HOUR + 3000, HOUR + 3000)), forget(HOUR + 3000));
    }

    #[test]
    fn a_clock_that_is_slewed_or_read_late_has_not_been_set() {
        let mut cleanup = Cleanup::new(Duration::ZERO, reading(0, 0));
        assert_eq!(cleanup.due(reading(9_000, 0)), forget(9_000));
        assert_eq!(cleanup.due(reading(9_000, 9_000)), forget(9_000));
    }

    #[test]
    fn clocks_at_their_ends_do_not_overflow() {
        let mut cleanup = Cleanup::new(Duration::MAX, reading(i64::MIN, 0));
        assert_eq!(cleanup.due(reading(i64::MAX, 0)), Due::Jumped(i64::MAX));
        assert_eq!(cleanup.due(reading(i64::MIN, 0)), Due::Jumped(i64::MIN));
    }
}

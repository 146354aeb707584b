//! Whether a server is to be given clients. Pure: `now` is an argument.
//!
//! Two witnesses, and both must find it well. *Dials* say whether it can be reached: after some failures in a row it is
//! ejected for a while, then one client tries it again, and as long as that fails, the while grows. *Checks*, where they
//! are made, say whether it works: some failures in a row take it down, some successes bring it back. What a client does
//! after its broker has seen it is no witness: whoever speaks MQTT badly could have every broker ejected.

use std::time::Duration;
use tokio::time::Instant;

/// When a server that cannot be reached is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// After so many failures in a row; 0 for never.
    pub after: u32,
    /// For so long the first time, and twice as long each time that follows.
    pub time: Duration,
    /// For so long at most. A server that was well for this long is ejected for a first time again.
    pub max_time: Duration,
}

/// How many checks in a row change what is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// So many successes bring a server back.
    pub rise: u32,
    /// So many failures take it down.
    pub fall: u32,
}

/// What has changed about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It could not be reached, too often in a row.
    Ejected {
        /// How many dials failed since the last that did not.
        failures: u32,
        /// How long it is left alone.
        time: Duration,
    },
    /// It was ejected, and is reached again.
    Returned,
    /// Its checks fail.
    Down {
        /// What the last of them found.
        problem: String,
    },
    /// Its checks succeed again.
    Up,
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It takes its share of clients.
    Up,
    /// It is back, and its share grows.
    Starting,
    /// It could not be reached, and is left alone.
    Ejected,
    /// It was ejected, and the next client tries it.
    Trying,
    /// Its checks fail.
    Down,
}

impl Condition {
    /// The name in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Up => "up",
            Condition::Starting => "starting",
            Condition::Ejected => "ejected",
            Condition::Trying => "trying",
            Condition::Down => "down",
        }
    }

    /// Every condition.
    pub const ALL: [Condition; 5] =
        [Condition::Up, Condition::Starting, Condition::Ejected, Condition::Trying, Condition::Down];
}

/// A dial or a check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Instant,
    /// What came of it.
    pub problem: String,
}

/// What is known of a server.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Dials that failed since the last that did not.
    failures: u32,
    ejected: Option<Ejected>,
    /// How many ejections have followed each other.
    in_a_row: u32,
    is_down: bool,
    /// Checks in a row with the same outcome.
    streak: Streak,
    /// Since when it is back.
    back_since: Option<Instant>,
    last_failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
struct Ejected {
    until: Instant,
    /// A client is trying it, and has until then to tell.
    trying_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Streak {
    is_good: bool,
    length: u32,
}

impl Health {
    /// True when clients may be taken there.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        let is_tried = |ejected: &Ejected| ejected.trying_until.is_some_and(|until| now < until);
        !self.is_down && self.ejected.is_none_or(|ejected| ejected.until <= now && !is_tried(&ejected))
    }

    /// A client is being taken there, and what comes of it is known within `patience`.
    pub(super) fn attempt(&mut self, now: Instant, patience: Duration) {
        if let Some(ejected) = self.ejected.as_mut().filter(|ejected| ejected.until <= now) {
            ejected.trying_until = Some(now + patience);
        }
    }

    /// It was reached.
    pub(super) fn reached(&mut self, now: Instant) -> Option<Event> {
        self.failures = 0;
        self.ejected.take().map(|_| {
            self.back_since = Some(now);
            Event::Returned
        })
    }

    /// An attempt that had begun at `began` did not reach it.
    pub(super) fn missed(
        &mut self,
        (began, now): (Instant, Instant),
        ejection: &Ejection,
        problem: String,
    ) -> Option<Event> {
        self.last_failure = Some(Failure { at: now, problem });
        self.failures = self.failures.saturating_add(1);
        // Whatever a check found before this is out of date.
        if self.streak.is_good {
            self.streak = Streak::default();
        }
        let is_due = match self.ejected {
            // What began before it was ejected is no news.
            Some(ejected) => ejected.until <= began,
            None => ejection.after > 0 && self.failures >= ejection.after,
        };
        is_due.then(|| self.eject(now, ejection))
    }

    fn eject(&mut self, now: Instant, ejection: &Ejection) -> Event {
        let was_well = self.ejected.is_none()
            && self.back_since.is_none_or(|since| now.saturating_duration_since(since) > ejection.max_time);
        self.in_a_row = if was_well { 1 } else { self.in_a_row.saturating_add(1) };
        let factor = 1_u32.checked_shl(self.in_a_row.saturating_sub(1)).filter(|factor| *factor > 0);
        let time = factor.and_then(|factor| ejection.time.checked_mul(factor)).unwrap_or(ejection.max_time);
        let time = time.min(ejection.max_time);
        self.ejected = Some(Ejected { until: now + time, trying_until: None });
        Event::Ejected { failures: self.failures, time }
    }

    /// A check was made.
    pub(super) fn checked(
        &mut self,
        now: Instant,
        outcome: Result<(), String>,
        thresholds: Thresholds,
    ) -> Option<Event> {
        let is_good = outcome.is_ok();
        let length = if self.streak.is_good == is_good { self.streak.length.saturating_add(1) } else { 1 };
        self.streak = Streak { is_good, length };
        match outcome {
            Ok(()) if length >= thresholds.rise => self.rise(now),
            Ok(()) => None,
            Err(problem) => {
                self.last_failure = Some(Failure { at: now, problem: problem.clone() });
                let falls = !self.is_down && length >= thresholds.fall;
                self.is_down |= falls;
                falls.then_some(Event::Down { problem })
            }
        }
    }

    /// Enough checks have found it well: they speak for a server that was ejected, too.
    fn rise(&mut self, now: Instant) -> Option<Event> {
        let was_down = std::mem::replace(&mut self.is_down, false);
        let was_ejected = self.ejected.take().is_some();
        if !was_down && !was_ejected {
            return None;
        }
        self.failures = 0;
        self.back_since = Some(now);
        Some(if was_down { Event::Up } else { Event::Returned })
    }

    /// No checks are made any more.
    pub(super) fn forget_checks(&mut self) {
        self.is_down = false;
        self.streak = Streak::default();
    }

    /// What part of its weight it is given, of 1024: all of it, or less while it starts slowly.
    pub(super) fn part(&self, now: Instant, slow_start: Duration) -> u32 {
        let Some(since) = self.back_since.filter(|_| !slow_start.is_zero()) else { return WHOLE };
        let elapsed = now.saturating_duration_since(since);
        let part = elapsed.as_micros().saturating_mul(WHOLE.into()) / slow_start.as_micros().max(1);
        u32::try_from(part).unwrap_or(WHOLE).clamp(LEAST, WHOLE)
    }

    /// How it is.
    pub(super) fn condition(&self, now: Instant, slow_start: Duration) -> Condition {
        match self.ejected {
            _ if self.is_down => Condition::Down,
            Some(ejected) if ejected.until > now => Condition::Ejected,
            Some(_) => Condition::Trying,
            None if self.part(now, slow_start) < WHOLE => Condition::Starting,
            None => Condition::Up,
        }
    }

    /// The last dial or check that failed.
    pub(super) fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }
}

/// A whole weight.
const WHOLE: u32 = 1024;
/// What a server has that has just come back: a tenth, so that it has clients to show that it is well.
const LEAST: u32 = WHOLE / 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EJECTION: Ejection =
        Ejection { after: 3, time: Duration::from_secs(5), max_time: Duration::from_secs(30) };
    const THRESHOLDS: Thresholds = Thresholds { rise: 2, fall: 3 };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn miss(health: &mut Health, now: Instant) -> Option<Event> {
        health.missed((now, now), &EJECTION, "refused".to_owned())
    }

    fn time_of(event: Option<Event>) -> Duration {
        match event {
            Some(Event::Ejected { time, .. }) => time,
            other => panic!("not ejected: {other:?}"),
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!((miss(&mut health, now), miss(&mut health, now)), (None, None));
        assert_eq!(health.reached(now), None);
        assert_eq!((miss(&mut health, now), miss(&mut health, now)), (None, None));
        assert_eq!(miss(&mut health, now), Some(Event::Ejected { failures: 3, time: secs(5) }));
        assert!(!health.is_usable(now) && !health.is_usable(now + secs(4)));
        assert_eq!(health.condition(now, Duration::ZERO), Condition::Ejected);
    }

    #[test]
    fn one_client_tries_an_ejected_server_and_the_while_grows_until_it_answers() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        let mut times = Vec::new();
        let mut time =
            [(); 3].map(|()| miss(&mut health, now)).into_iter().next_back().map(time_of).expect("3");
        for _ in 0..5 {
            times.push(time.as_secs());
            now += time;
            assert!(health.is_usable(now));
            health.attempt(now, secs(5));
            assert!(!health.is_usable(now), "another client tries it already");
            now += secs(1);
            time = time_of(health.missed((now, now), &EJECTION, "refused".to_owned()));
        }
        assert_eq!(times, [5, 10, 20, 30, 30]);
        now += time;
        assert_eq!(health.reached(now), Some(Event::Returned));
        assert!(health.is_usable(now));
        // Soon after that it is no first time, and long after it is.
        let again = [(); 3].map(|()| miss(&mut health, now)).into_iter().next_back().map(time_of);
        assert_eq!(again, Some(secs(30)));
        now += secs(30);
        health.reached(now);
        now += secs(31);
        let first = [(); 3].map(|()| miss(&mut health, now)).into_iter().next_back().map(time_of);
        assert_eq!(first, Some(secs(5)));
    }

    #[test]
    fn a_client_that_never_tells_does_not_keep_a_server_away() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..3 {
            miss(&mut health, now);
        }
        health.attempt(now + secs(5), secs(5));
        assert!(!health.is_usable(now + secs(9)));
        assert!(health.is_usable(now + secs(10)));
    }

    #[test]
    fn dials_that_began_before_the_ejection_do_not_prolong_it() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..3 {
            miss(&mut health, now);
        }
        let late = health.missed((now, now + secs(6)), &EJECTION, "timed out".to_owned());
        assert_eq!(late, None);
        assert!(health.is_usable(now + secs(6)));
    }

    #[test]
    fn servers_are_never_ejected_where_that_is_switched_off() {
        let off = Ejection { after: 0, ..EJECTION };
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(health.missed((now, now), &off, "refused".to_owned()), None);
        }
        assert!(health.is_usable(now));
    }

    #[test]
    fn checks_take_a_server_down_and_bring_it_back() {
        let (mut health, now) = (Health::default(), Instant::now());
        let mut check =
            |outcome: Result<(), &str>| health.checked(now, outcome.map_err(ToOwned::to_owned), THRESHOLDS);
        assert_eq!((check(Err("a")), check(Err("b")), check(Ok(()))), (None, None, None));
        assert_eq!((check(Err("a")), check(Err("b"))), (None, None));
        assert_eq!(check(Err("c")), Some(Event::Down { problem: "c".to_owned() }));
        assert_eq!((check(Err("d")), check(Ok(())), check(Ok(()))), (None, None, Some(Event::Up)));
        assert_eq!(check(Ok(())), None);
        assert!(health.is_usable(now));
    }

    #[test]
    fn checks_speak_for_a_server_that_was_ejected_only_after_its_last_failure() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..5 {
            health.checked(now, Ok(()), THRESHOLDS);
        }
        for _ in 0..3 {
            miss(&mut health, now);
        }
        assert_eq!(health.checked(now, Ok(()), THRESHOLDS), None);
        assert_eq!(health.checked(now, Ok(()), THRESHOLDS), Some(Event::Returned));
        assert!(health.is_usable(now));
    }

    #[test]
    fn a_server_that_is_not_checked_any_more_is_not_down() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..3 {
            health.checked(now, Err("x".to_owned()), THRESHOLDS);
        }
        assert_eq!(health.condition(now, Duration::ZERO), Condition::Down);
        health.forget_checks();
        assert_eq!(health.condition(now, Duration::ZERO), Condition::Up);
    }

    proptest! {
        #[test]
        fn a_slow_start_never_goes_back_and_ends(slow_start in 1_u64..100_000, mut steps in prop::collection::vec(0_u64..200_000, 1..50)) {
            let (mut health, now) = (Health::default(), Instant::now());
            for _ in 0..3 {
                miss(&mut health, now);
            }
            health.reached(now);
            let slow_start = Duration::from_millis(slow_start);
            steps.sort_unstable();
            let parts: Vec<_> =
                steps.iter().map(|step| health.part(now + Duration::from_millis(*step), slow_start)).collect();
            prop_assert!(parts.is_sorted(), "{parts:?}");
            prop_assert!(parts.iter().all(|part| (LEAST..=WHOLE).contains(part)));
            prop_assert_eq!(health.part(now + slow_start, slow_start), WHOLE);
        }
    }
}

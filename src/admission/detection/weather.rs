//! Common causes: ends that many sessions share are nobody's fault.
//!
//! Two kinds of weather. A broker is *unsteady* from shortly before the first sign of trouble (it cannot be reached,
//! says that it is shutting down or busy, or ends a quarter of its resident sessions within seconds) until it has been
//! well for a while. A *gust* is when a quarter of all resident sessions end on the clients' side within seconds, as
//! when a load balancer restarts.
//!
//! Only residents make weather, and only they are excused by what happens on the clients' side: whoever wants to buy
//! impunity with a burst of its own must first have had a quarter of all long-lived sessions accepted by the broker.

use super::crowd::{Crowd, Period, Stay};
use super::moment::{Moment, micros};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Which side ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Broker,
    /// We did, or nobody knows.
    Neither,
}

/// The weather of all brokers.
#[derive(Debug)]
pub(super) struct Weather {
    sky: Mutex<Sky>,
    /// Until when any weather lasts that there has been, in microseconds: what ends later needs no lock to know that
    /// nothing explains it.
    rough_until: AtomicU64,
    resident_after: Duration,
    patience: Duration,
    settle: Duration,
}

#[derive(Debug, Default)]
struct Sky {
    /// Brokers in the order of their keys; the operator names them, so there are few. Never more than [`MAX_BROKERS`].
    brokers: Vec<(u64, Broker)>,
    everybody: Crowd,
    /// Residents whose client ended the session.
    gone: Recent,
    /// From when to when the last gusts blew.
    gusts: VecDeque<(Moment, Moment)>,
}

#[derive(Debug, Default)]
struct Broker {
    crowd: Crowd,
    /// Residents whose session the broker ended.
    gone: Recent,
    unsteady: Option<(Moment, Moment)>,
}

const MAX_BROKERS: usize = 1024;
const MAX_GUSTS: usize = 16;
/// Fewer ends than this are no weather.
const MIN_GONE_BY_BROKER: u32 = 3;
const MIN_GONE_BY_CLIENT: u32 = 5;

impl Weather {
    pub(super) fn new(resident_after: Duration, patience: Duration, settle: Duration) -> Weather {
        Weather { sky: Mutex::default(), rough_until: AtomicU64::new(0), resident_after, patience, settle }
    }

    pub(super) fn enter(&self, stay: &Stay) {
        let mut sky = self.sky();
        sky.everybody.enter(stay);
        if let Some(broker) = sky.broker(stay.broker) {
            broker.crowd.enter(stay);
        }
    }

    /// A session that was accepted has ended.
    pub(super) fn leave(&self, stay: &Stay, side: Side, now: Moment) {
        let was_resident = stay.is_resident(now, self.resident_after);
        let period = Period::of(now, self.resident_after);
        let mut sky = self.sky();
        let Sky { everybody, gone, gusts, .. } = &mut *sky;
        everybody.leave(stay, period);
        if side == Side::Client && was_resident {
            let gone = gone.add(now, self.patience);
            if gone >= MIN_GONE_BY_CLIENT
                && gone.saturating_mul(4) >= everybody.residents().saturating_add(gone)
            {
                blow(gusts, self.begin(now), self.lasts(now, self.patience));
            }
        }
        let Some(broker) = sky.broker(stay.broker) else { return };
        broker.crowd.leave(stay, period);
        if side == Side::Broker && was_resident {
            let gone = broker.gone.add(now, self.patience);
            let residents = broker.crowd.residents().saturating_add(gone);
            if gone >= MIN_GONE_BY_BROKER && gone.saturating_mul(4) >= residents {
                broker.trouble(self.begin(now), self.lasts(now, self.settle));
            }
        }
    }

    /// A broker showed that it is not well.
    pub(super) fn trouble(&self, broker: u64, now: Moment) {
        if let Some(broker) = self.sky().broker(broker) {
            broker.trouble(self.begin(now), self.lasts(now, self.settle));
        }
    }

    /// True when what ended a session at this moment was a common cause.
    pub(super) fn explains(&self, broker: u64, side: Side, was_resident: bool, ended: Moment) -> bool {
        if ended.as_micros() > self.rough_until.load(Ordering::Acquire) {
            return false;
        }
        let mut sky = self.sky();
        let is_in = |(from, to): &(Moment, Moment)| (*from..=*to).contains(&ended);
        let may_be_excused = side == Side::Broker || was_resident;
        let is_gust = was_resident && sky.gusts.iter().any(is_in);
        let is_unsteady =
            sky.broker(broker).and_then(|broker| broker.unsteady).is_some_and(|span| is_in(&span));
        is_gust || (may_be_excused && is_unsteady)
    }

    /// When the cause of what is seen now may have begun.
    fn begin(&self, now: Moment) -> Moment {
        Moment::from_micros(now.as_micros().saturating_sub(micros(self.patience)))
    }

    /// When the weather ends that is now, and for so long yet.
    fn lasts(&self, now: Moment, span: Duration) -> Moment {
        let end = now.after(span);
        self.rough_until.fetch_max(end.as_micros(), Ordering::Release);
        end
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sky {
    fn broker(&mut self, key: u64) -> Option<&mut Broker> {
        let at = match self.brokers.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => at,
            Err(_) if self.brokers.len() >= MAX_BROKERS => return None,
            Err(at) => {
                self.brokers.insert(at, (key, Broker::default()));
                at
            }
        };
        self.brokers.get_mut(at).map(|(_, broker)| broker)
    }
}

impl Broker {
    fn trouble(&mut self, begin: Moment, end: Moment) {
        let begin = self.unsteady.filter(|(_, to)| *to >= begin).map_or(begin, |(from, _)| from);
        self.unsteady = Some((begin, end));
    }
}

fn blow(gusts: &mut VecDeque<(Moment, Moment)>, from: Moment, to: Moment) {
    if let Some(last) = gusts.back_mut()
        && last.1 >= from
    {
        last.1 = to;
        return;
    }
    if gusts.len() >= MAX_GUSTS {
        gusts.pop_front();
    }
    gusts.push_back((from, to));
}

/// How many there were of late, by eighths of the time that is looked back.
#[derive(Debug, Default)]
struct Recent {
    counts: [u32; 8],
    newest: u64,
}

impl Recent {
    /// Counts one, and returns how many there were within `span`.
    fn add(&mut self, now: Moment, span: Duration) -> u32 {
        let number = now.as_micros() / (micros(span) / 8).max(1);
        let passed = number.saturating_sub(self.newest);
        for _ in 0..passed.min(8) {
            self.counts.rotate_right(1);
            self.counts[0] = 0;
        }
        self.newest = self.newest.max(number);
        self.counts[0] = self.counts[0].saturating_add(1);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Names;
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    /// A hundred residents since 0, on one broker.
    fn weather() -> Weather {
        let weather = Weather::new(Duration::from_mins(1), Duration::from_secs(3), Duration::from_mins(1));
        (0..100).for_each(|_| weather.enter(&old()));
        weather
    }

    fn old() -> Stay {
        let names = Names::default();
        Stay {
            began: at(0),
            period: Period::default(),
            is_returning: false,
            newcomer: None,
            places: [0; 6],
            names,
            broker: 1,
        }
    }

    #[test]
    fn a_broker_that_ends_a_quarter_of_its_residents_is_unsteady_and_the_others_are_not() {
        let weather = weather();
        (0..24).for_each(|_| weather.leave(&old(), Side::Broker, at(1000)));
        assert!(!weather.explains(1, Side::Broker, true, at(1000)));
        weather.leave(&old(), Side::Broker, at(1001));
        assert!(
            weather.explains(1, Side::Broker, false, at(998)),
            "what came just before has the same cause"
        );
        assert!(weather.explains(1, Side::Broker, false, at(1061)));
        assert!(!weather.explains(1, Side::Broker, false, at(1062)));
        assert!(weather.explains(1, Side::Client, true, at(1010)));
        assert!(!weather.explains(1, Side::Client, false, at(1010)), "a stranger's own end is its own");
        assert!(!weather.explains(2, Side::Broker, true, at(1001)));
    }

    #[test]
    fn ends_that_come_slowly_or_of_the_young_are_no_weather() {
        let weather = weather();
        (0..90).for_each(|i| weather.leave(&old(), Side::Broker, at(1000 + i)));
        (0..90).for_each(|i| weather.leave(&old(), Side::Client, at(1000 + i)));
        for _ in 0..1000 {
            let period = Period::of(at(1100), Duration::from_mins(1));
            let young = Stay { began: at(1100), period, ..old() };
            weather.enter(&young);
            weather.leave(&young, Side::Client, at(1100));
        }
        assert!(!weather.explains(1, Side::Broker, true, at(1050)));
        assert!(!weather.explains(1, Side::Client, true, at(1100)));
    }

    #[test]
    fn a_gust_excuses_residents_alone() {
        let weather = weather();
        (0..25).for_each(|_| weather.leave(&old(), Side::Client, at(1000)));
        assert!(weather.explains(1, Side::Client, true, at(999)));
        assert!(weather.explains(1, Side::Client, true, at(1003)));
        assert!(!weather.explains(1, Side::Client, false, at(1000)));
        assert!(!weather.explains(1, Side::Client, true, at(1004)));
    }

    #[test]
    fn a_broker_that_cannot_be_reached_is_unsteady() {
        let weather = weather();
        weather.trouble(1, at(1000));
        weather.trouble(1, at(1050));
        assert!([997, 1000, 1110].into_iter().all(|ended| weather.explains(
            1,
            Side::Broker,
            false,
            at(ended)
        )));
        assert!([996, 1111].into_iter().all(|ended| !weather.explains(1, Side::Broker, false, at(ended))));
    }
}

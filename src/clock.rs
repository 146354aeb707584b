//! The only file that asks the system for the time: the wall clock's, and that of a clock that nobody can set.

use crate::admission::Timestamp;
use crate::admission::detection::Moment;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time: the system's, or one that a test moves by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Hands>),
}

/// Where the hands of a manual clock are.
#[derive(Debug)]
struct Hands {
    wall_millis: AtomicI64,
    steady_micros: AtomicU64,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still until it is moved. Clones share the time.
    pub fn manual(now: Timestamp) -> Clock {
        let hands = Hands { wall_millis: AtomicI64::new(now.as_millis()), steady_micros: AtomicU64::new(0) };
        Clock(Source::Manual(Arc::new(hands)))
    }

    /// Sets a manual clock's time on the wall, forwards or backwards; no time passes. The system's clock is not ours to
    /// set.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(hands) = &self.0 {
            hands.wall_millis.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Lets time pass on a manual clock.
    pub fn advance(&self, duration: Duration) {
        if let Source::Manual(hands) = &self.0 {
            self.set(self.now().after(duration));
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            hands.steady_micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// The time on the wall now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::from_millis(system_millis()),
            Source::Manual(hands) => Timestamp::from_millis(hands.wall_millis.load(Ordering::Relaxed)),
        }
    }

    /// The moment now, by a clock that nobody can set.
    pub fn moment(&self) -> Moment {
        Moment::from_micros(match &self.0 {
            Source::System => u64::try_from(BEGINNING.elapsed().as_micros()).unwrap_or(u64::MAX),
            Source::Manual(hands) => hands.steady_micros.load(Ordering::Relaxed),
        })
    }

    /// Nanoseconds of the clock that nobody can set, to measure what takes less than a [`Moment`] can tell.
    pub fn nanos(&self) -> u64 {
        match &self.0 {
            Source::System => u64::try_from(BEGINNING.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Manual(hands) => hands.steady_micros.load(Ordering::Relaxed).saturating_mul(1000),
        }
    }
}

/// When this process asked for a moment first.
#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
fn system_millis() -> i64 {
    // A clock before 1970 is a broken clock; bans then hold, which errs on the safe side.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

//! What became of the events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What became of the events: each of them counts once, or waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The receiver took them.
    pub delivered: u64,
    /// The receiver refused them, or all attempts failed.
    pub failed: u64,
    /// The queue was full, or the webhook stopped before their turn was over.
    pub dropped: u64,
}

impl Counts {
    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        Counts {
            delivered: self.delivered + other.delivered,
            failed: self.failed + other.failed,
            dropped: self.dropped + other.dropped,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    told: Mutex<Told>,
}

/// What the log was told of dropped events.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Dropped since then.
    untold: u64,
}

/// The log is told no more often than this.
const TELL_EVERY: Duration = Duration::from_mins(1);

impl Tally {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an event that found no place; says how many there were since the log was told, when it is time again.
    pub(super) fn dropped_one(&self, now: Instant) -> Option<u64> {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.untold += 1;
        if told.at.is_some_and(|at| now.duration_since(at) < TELL_EVERY) {
            return None;
        }
        let untold = told.untold;
        *told = Told { at: Some(now), untold: 0 };
        Some(untold)
    }

    /// Counts what was accepted and will never be sent, and says how many dropped events the log was not told of.
    pub(super) fn drop_the_rest(&self) -> u64 {
        let Counts { delivered, failed, .. } = self.counts();
        let rest = self.accepted.load(Ordering::Relaxed).saturating_sub(delivered + failed);
        self.dropped.fetch_add(rest, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        rest + std::mem::take(&mut told.untold)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_of_dropped_events_once_a_minute() {
        let tally = Tally::default();
        let start = Instant::now();
        let told =
            [0, 1, 59, 60, 61, 200].map(|second| tally.dropped_one(start + Duration::from_secs(second)));
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
        assert_eq!(tally.counts().dropped, 6);
    }

    #[test]
    fn what_is_left_is_dropped_and_told() {
        let tally = Tally::default();
        let now = Instant::now();
        (0..5).for_each(|_| tally.accepted());
        tally.delivered();
        tally.failed();
        assert_eq!([(); 3].map(|()| tally.dropped_one(now)), [Some(1), None, None]);
        assert_eq!(tally.drop_the_rest(), 3 + 2);
        assert_eq!(tally.counts(), Counts { delivered: 1, failed: 1, dropped: 3 + 3 });
    }
}

//! Who waits for something, and since when.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Those who wait at one place. There are never more of them than are let wait there.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Since>);

/// When each began to wait, in microseconds of a clock that nobody sets, in the order in which they came.
#[derive(Debug, Default)]
struct Since {
    next: u64,
    all: BTreeMap<u64, u64>,
}

/// Somebody who waits, until it is dropped.
#[derive(Debug)]
pub struct Waits<'w> {
    place: &'w Waiting,
    number: u64,
}

impl Waiting {
    /// Somebody begins to wait, at this time.
    pub fn begin(&self, now_micros: u64) -> Waits<'_> {
        let mut since = self.lock();
        let number = since.next;
        since.next += 1;
        since.all.insert(number, now_micros);
        Waits { place: self, number }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// Since when whoever came first has waited, in microseconds; `None` where nobody waits.
    pub fn since_micros(&self) -> Option<u64> {
        self.lock().all.first_key_value().map(|(_, since)| *since)
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.place.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_came_first_has_waited_longest_until_it_goes() {
        let place = Waiting::default();
        assert_eq!((place.count(), place.since_micros()), (0, None));
        let (first, second) = (place.begin(7), place.begin(9));
        assert_eq!((place.count(), place.since_micros()), (2, Some(7)));
        drop(first);
        assert_eq!((place.count(), place.since_micros()), (1, Some(9)));
        drop(second);
        assert_eq!((place.count(), place.since_micros()), (0, None));
    }
}

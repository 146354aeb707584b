//! How often each ban has refused somebody, and when last, since that was written down the last time.
//!
//! Only bans that were hit take a place here, and at most [`MAX_HIT`] of them: ten million bans that nobody meets cost
//! nothing. A ban that is known already is counted without a lock and without memory.

use crate::admission::{Timestamp, Who};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A ban, how often it has refused somebody since the last time, and when last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Whom the ban names.
    pub who: Who,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

/// The counters.
#[derive(Debug)]
pub(super) struct Hits {
    counters: papaya::HashMap<Who, Counter, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Counter {
    /// [`GONE`] once it has left the map: whoever holds it still has to look for the next one.
    count: AtomicU64,
    last: AtomicI64,
}

const GONE: u64 = 1 << 63;

/// How many bans are counted between two writings.
pub(super) const MAX_HIT: usize = 1 << 16;

impl Default for Hits {
    fn default() -> Hits {
        // A map that is half resized stays so until something is added, and every look-up then looks twice.
        let counters = papaya::HashMap::builder()
            .hasher(foldhash::fast::RandomState::default())
            .resize_mode(papaya::ResizeMode::Blocking)
            .build();
        Hits { counters }
    }
}

impl Hits {
    /// Counts a refusal by the ban of this name.
    pub(super) fn count(&self, who: &Who, at: Timestamp) {
        self.add(who, 1, at);
    }

    pub(super) fn add(&self, who: &Who, count: u64, at: Timestamp) {
        let counters = self.counters.pin();
        loop {
            let counter = match counters.get(who) {
                Some(counter) => counter,
                None if counters.len() >= MAX_HIT => return,
                None => counters.get_or_insert_with(who.clone(), Counter::new),
            };
            counter.last.fetch_max(at.as_millis(), Ordering::Relaxed);
            if counter.count.fetch_add(count, Ordering::AcqRel) & GONE == 0 {
                return;
            }
            // Whoever has marked it takes it out in a moment.
            std::hint::spin_loop();
        }
    }

    /// Takes what was counted since the last time. Bans that were not hit since then give their places back.
    pub(super) fn take(&self) -> Vec<Hit> {
        let counters = self.counters.pin();
        let mut hits = Vec::new();
        for (who, counter) in &counters {
            let count = counter.count.fetch_and(GONE, Ordering::AcqRel);
            if count & GONE != 0 {
                continue;
            }
            if count > 0 {
                let last = Timestamp::from_millis(counter.last.load(Ordering::Relaxed));
                hits.push(Hit { who: who.clone(), count, last });
            } else if counter.count.compare_exchange(0, GONE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                counters.remove(who);
            }
        }
        hits
    }

    /// Forgets what was counted of a ban that is no more.
    pub(super) fn forget(&self, who: &Who) {
        if let Some(counter) = self.counters.pin().get(who) {
            counter.count.fetch_and(GONE, Ordering::AcqRel);
        }
    }
}

impl Counter {
    fn new() -> Counter {
        Counter { count: AtomicU64::new(0), last: AtomicI64::new(i64::MIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::As;
    use std::sync::atomic::AtomicBool;

    fn who(name: &str) -> Who {
        Who::new(As::ClientId, name, None).expect("a name")
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn hits_are_counted_and_taken_once() {
        let hits = Hits::default();
        hits.count(&who("a"), at(5));
        hits.count(&who("a"), at(4));
        assert_eq!(hits.take(), [Hit { who: who("a"), count: 2, last: at(5) }]);
        assert_eq!(hits.take(), []);
        hits.count(&who("a"), at(9));
        assert_eq!(hits.take(), [Hit { who: who("a"), count: 1, last: at(9) }]);
    }

    #[test]
    fn a_ban_that_is_lifted_is_forgotten() {
        let hits = Hits::default();
        hits.count(&who("a"), at(5));
        hits.forget(&who("a"));
        assert_eq!(hits.take(), []);
    }

    #[test]
    fn only_so_many_are_counted_and_idle_ones_give_their_places_back() {
        let hits = Hits::default();
        for number in 0..MAX_HIT + 10 {
            hits.count(&who(&number.to_string()), at(1));
        }
        assert_eq!(hits.take().len(), MAX_HIT);
        assert_eq!(hits.take(), []);
        hits.count(&who("new"), at(1));
        assert_eq!(hits.take().len(), 1);
    }

    #[test]
    fn no_hit_is_lost_while_others_take() {
        let hits = Hits::default();
        let is_over = AtomicBool::new(false);
        let counted = std::thread::scope(|scope| {
            let counting: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for number in 0..100_000 {
                            hits.count(&who(if number % 7 == 0 { "a" } else { "b" }), at(number));
                        }
                    })
                })
                .collect();
            let taking = scope.spawn(|| {
                let mut total = 0;
                while !is_over.load(Ordering::Acquire) {
                    total += hits.take().iter().map(|hit| hit.count).sum::<u64>();
                }
                total
            });
            for thread in counting {
                thread.join().expect("no panic");
            }
            is_over.store(true, Ordering::Release);
            taking.join().expect("no panic")
        });
        let left: u64 = hits.take().iter().map(|hit| hit.count).sum();
        assert_eq!(counted + left, 200_000);
    }
}

//! Which clients a broker has accepted before, so that they need not wait behind strangers.

use foldhash::quality::RandomState;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keyed hashes of clients that were accepted: about `max` of them at most, those that were seen longest ago forgotten
/// first. A claim alone makes nobody known: the name is taken with the password that the broker accepted with it.
#[derive(Debug)]
pub struct Known {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    max: usize,
    young: HashSet<u64, RandomState>,
    old: HashSet<u64, RandomState>,
}

impl Known {
    /// Room for so many.
    pub fn new(max: usize) -> Known {
        let generations = Generations { max, young: HashSet::default(), old: HashSet::default() };
        Known { hasher: RandomState::default(), generations: Mutex::new(generations) }
    }

    /// A broker has accepted this client.
    pub fn remember(&self, client: &impl Hash) {
        let key = self.hasher.hash_one(client);
        self.lock().remember(key);
    }

    /// True when a broker has accepted it before.
    pub fn contains(&self, client: &impl Hash) -> bool {
        let key = self.hasher.hash_one(client);
        let mut generations = self.lock();
        if generations.young.contains(&key) {
            return true;
        }
        let is_known = generations.old.contains(&key);
        if is_known {
            generations.remember(key);
        }
        is_known
    }

    /// Changes for how many there is room.
    pub fn resize(&self, max: usize) {
        let mut generations = self.lock();
        generations.max = max;
        if generations.young.len() + generations.old.len() > max {
            generations.old = HashSet::default();
        }
        if generations.young.len() > max {
            generations.young = HashSet::default();
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    /// True when nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn remember(&mut self, key: u64) {
        if self.max == 0 {
            return;
        }
        self.young.insert(key);
        self.old.remove(&key);
        if self.young.len() > self.max / 2 {
            self.old = mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_seen_longest_ago_is_forgotten_first_and_the_room_is_kept_to() {
        let known = Known::new(100);
        for client in 0..1000_u32 {
            known.remember(&client);
            // One of them comes again and again.
            assert!(known.contains(&0_u32));
            assert!(known.len() <= 101, "{}", known.len());
        }
        assert!(known.contains(&999_u32) && !known.contains(&500_u32));
        known.resize(0);
        known.remember(&7_u32);
        assert!(known.is_empty());
    }
}

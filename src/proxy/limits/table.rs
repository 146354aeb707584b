//! What the rate limiter remembers of addresses and networks: a table of fixed size.

use foldhash::quality::RandomState;
use governor::nanos::Nanos;
use governor::state::StateStore;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The state of each key, of as many as there is room for. Whoever finds no room takes the place of the one among its
/// neighbours that is furthest from its limit, and so loses least: strangers who make up addresses cannot have anybody
/// forgotten who is over one.
#[derive(Debug)]
pub(super) struct Table {
    hasher: RandomState,
    buckets: Box<[Mutex<Vec<Cell>>]>,
}

/// When a key will be as good as new, and its keyed hash.
#[derive(Debug, Clone, Copy)]
struct Cell {
    key: u64,
    clear_at: u64,
}

/// How many keys share a lock.
const WAYS: usize = 16;

impl Table {
    /// Room for about so many keys.
    pub(super) fn new(max: usize) -> Table {
        let buckets = (0..max.div_ceil(WAYS).max(1)).map(|_| Mutex::default()).collect();
        Table { hasher: RandomState::default(), buckets }
    }

    /// How many keys it has.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

impl StateStore for Table {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, key: &IpAddr, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let key = self.hasher.hash_one(key);
        let at = usize::try_from(key % self.buckets.len() as u64).unwrap_or_default();
        let Some(bucket) = self.buckets.get(at) else { return decide(None).map(|(outcome, _)| outcome) };
        let mut cells = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.iter_mut().find(|cell| cell.key == key) {
            let (outcome, clear_at) = decide(Some(cell.clear_at.into()))?;
            cell.clear_at = clear_at.into();
            return Ok(outcome);
        }
        let (outcome, clear_at) = decide(None)?;
        let cell = Cell { key, clear_at: clear_at.into() };
        if cells.len() < WAYS {
            cells.push(cell);
        } else if let Some(clearest) = cells.iter_mut().min_by_key(|cell| cell.clear_at) {
            *clearest = cell;
        }
        Ok(outcome)
    }
}

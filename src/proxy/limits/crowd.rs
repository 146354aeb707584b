//! How many of one kind are here now.

use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts by name. A name that nobody has takes no room, so there are never more names than there are connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    hasher: RandomState,
    parts: [Mutex<HashMap<u64, u32, RandomState>>; PARTS],
}

/// So many locks that two connections rarely want the same.
const PARTS: usize = 16;

/// One of a crowd, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    key: u64,
}

impl Crowd {
    /// One more of this name.
    pub(super) fn enter<K: Hash + ?Sized>(&self, name: &K) -> Place {
        let key = self.0.hasher.hash_one(name);
        let mut part = self.part(key);
        let count = part.entry(key).or_default();
        *count = count.saturating_add(1);
        Place { crowd: self.clone(), key }
    }

    /// How many of this name are here.
    pub(super) fn len<K: Hash + ?Sized>(&self, name: &K) -> u32 {
        let key = self.0.hasher.hash_one(name);
        self.part(key).get(&key).copied().unwrap_or_default()
    }

    fn part(&self, key: u64) -> MutexGuard<'_, HashMap<u64, u32, RandomState>> {
        let at = usize::try_from(key % PARTS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length")]
        self.0.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.crowd.part(self.key).entry(self.key) {
            match entry.get().checked_sub(1) {
                None | Some(0) => drop(entry.remove()),
                Some(left) => *entry.get_mut() = left,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_is_no_longer_counted_and_takes_no_room() {
        let crowd = Crowd::default();
        let (one, two, other) = (crowd.enter("a"), crowd.enter("a"), crowd.enter("b"));
        assert_eq!((crowd.len("a"), crowd.len("b"), crowd.len("c")), (2, 1, 0));
        drop(one);
        assert_eq!(crowd.len("a"), 1);
        drop((two, other));
        assert!((0..PARTS as u64).all(|part| crowd.part(part).is_empty()));
    }
}

//! Which sessions have a name: an index by keyed hash, in which a name that a hundred thousand sessions share costs
//! little more than one that nobody shares.

use foldhash::{fast, quality};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a session can be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name<'a> {
    ClientId(&'a str),
    Username(&'a str),
    Peer(IpAddr),
    CertCn(&'a str),
    CertSha256(&'a str),
    Ja4(&'a str),
}

/// The index. A hash that two names share only shows the sessions of both: whoever asks looks at their names.
#[derive(Debug, Default)]
pub(super) struct Names {
    hasher: quality::RandomState,
    parts: [Mutex<Part>; PARTS],
}

/// The sessions of some names, by the hash of the name.
type Part = HashMap<u64, Numbers, fast::RandomState>;

/// So many locks that two sessions rarely want the same.
const PARTS: usize = 32;

/// The numbers of the sessions that have a name.
#[derive(Debug)]
enum Numbers {
    One(u64),
    /// Two at least, when they were put in.
    #[expect(clippy::box_collection, reason = "most names are one session's, and there may be millions")]
    Many(Box<BTreeSet<u64>>),
}

impl Names {
    pub(super) fn insert(&self, name: Name<'_>, number: u64) {
        let hash = self.hasher.hash_one(name);
        match self.part(hash).entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(Numbers::One(number));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Numbers::Many(numbers) => {
                    numbers.insert(number);
                }
                Numbers::One(first) => {
                    let both = BTreeSet::from([*first, number]);
                    entry.insert(Numbers::Many(Box::new(both)));
                }
            },
        }
    }

    pub(super) fn remove(&self, name: Name<'_>, number: u64) {
        let hash = self.hasher.hash_one(name);
        if let Entry::Occupied(mut entry) = self.part(hash).entry(hash) {
            let is_last = match entry.get_mut() {
                Numbers::One(only) => *only == number,
                Numbers::Many(numbers) => {
                    numbers.remove(&number);
                    numbers.is_empty()
                }
            };
            if is_last {
                entry.remove();
            }
        }
    }

    /// The sessions that may have this name, at most `limit` of them, with numbers after `after`, in their order.
    pub(super) fn find(&self, name: Name<'_>, after: u64, limit: usize) -> Vec<u64> {
        let hash = self.hasher.hash_one(name);
        match self.part(hash).get(&hash) {
            None => Vec::new(),
            Some(Numbers::One(number)) => {
                Some(*number).filter(|number| *number > after).into_iter().collect()
            }
            Some(Numbers::Many(numbers)) => {
                numbers.range(after.saturating_add(1)..).take(limit).copied().collect()
            }
        }
    }

    /// A thread that panicked has left the map whole.
    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        // Each map has keys of its own to hash with, so that the bits that choose the part do not choose the place, too.
        let index = usize::try_from(hash % PARTS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length")]
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

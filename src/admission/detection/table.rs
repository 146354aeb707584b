//! A table of bounded size whose keys strangers choose, shared by all threads.
//!
//! It is laid out like a processor's cache: a key has eight places where it may stand, and when all of them are taken,
//! the one of least worth makes room. So there is no list to keep in order and no sweep to wait for: every call touches
//! one bucket under the lock of one of 64 parts. A part doubles while somebody would have to go who is still of use,
//! until it has its share of the maximum, and shrinks when it is nearly empty.

use super::moment::Moment;
use super::prefetch::prefetch;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What stands in a place of a table. The default is a free place, whose key is 0.
pub(super) trait Slot: Default {
    /// Its key; 0 when the place is free.
    fn key(&self) -> u64;

    /// True when forgetting it loses nothing, as of a free place.
    fn is_idle(&self, now: Moment) -> bool;

    /// Among those that are not idle, the least goes first.
    fn worth(&self) -> (u32, u64);
}

/// The table.
#[derive(Debug)]
pub(super) struct Table<S> {
    parts: Box<[Mutex<Part<S>>]>,
}

/// One part of a table, for who holds its lock.
#[derive(Debug)]
pub(super) struct Part<S> {
    buckets: Vec<Bucket<S>>,
    /// A power of two.
    max_buckets: usize,
    /// How many keys were in use when it was tidied last.
    in_use: usize,
}

/// The places where a key may stand; as many whole cache lines as they need.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket<S>([S; WAYS]);

/// How many parts, and so how many locks.
pub(super) const PARTS: usize = 64;
const WAYS: usize = 8;

/// The part that a key belongs to.
pub(super) fn part_of(key: u64) -> usize {
    usize::try_from(key >> 58).unwrap_or(0) % PARTS
}

/// A key that belongs to this part.
pub(super) fn home_of(part: usize) -> u64 {
    (part as u64) << 58
}

impl<S: Slot> Table<S> {
    /// A table that never holds more than `max` keys (rounded up to 512 times a power of two).
    pub(super) fn new(max: usize) -> Table<S> {
        Table { parts: (0..PARTS).map(|_| Mutex::new(Part::new(max))).collect() }
    }

    /// Shows the place of a key to `visit`, and whether the key stands there. When it does not, the place is free, and
    /// `visit` may take it by writing a slot of this key; it may free a place by writing the default.
    pub(super) fn with<R>(&self, key: u64, now: Moment, visit: impl FnOnce(&mut S, bool) -> R) -> R {
        self.part(key).with(key, now, visit)
    }

    /// Shows what is known of a key, if anything is.
    #[cfg(test)]
    pub(super) fn peek<R>(&self, key: u64, look: impl FnOnce(&mut S) -> R) -> Option<R> {
        self.part(key).peek(key, look)
    }

    /// Forgets a key.
    pub(super) fn remove(&self, key: u64) {
        self.part(key).remove(key);
    }

    /// Gives back what one part of the table does not need any more. Called now and then with any number.
    pub(super) fn tidy(&self, turn: usize, now: Moment) {
        let Some(part) = self.parts.get(turn % PARTS) else { return };
        part.lock().unwrap_or_else(PoisonError::into_inner).tidy(now);
    }

    /// How many keys were in use when each part was tidied last, and how many bytes their places take now. Walks over no
    /// keys.
    pub(super) fn usage(&self) -> (usize, usize) {
        let usage = |part: &Mutex<Part<S>>| part.lock().unwrap_or_else(PoisonError::into_inner).usage();
        self.parts.iter().map(usage).fold((0, 0), |sum, usage| (sum.0 + usage.0, sum.1 + usage.1))
    }

    /// The part of a key, for several calls under one lock.
    pub(super) fn part(&self, key: u64) -> MutexGuard<'_, Part<S>> {
        #[expect(clippy::indexing_slicing, reason = "there are PARTS of them")]
        self.parts[part_of(key)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Slot> Part<S> {
    /// One of [`PARTS`] parts that hold `max` keys together.
    pub(super) fn new(max: usize) -> Part<S> {
        let max_buckets = max.div_ceil(PARTS * WAYS).max(1).next_power_of_two();
        Part { buckets: Vec::new(), max_buckets, in_use: 0 }
    }

    /// As [`Table::with`].
    pub(super) fn with<R>(&mut self, key: u64, now: Moment, visit: impl FnOnce(&mut S, bool) -> R) -> R {
        let at = self.bucket(key);
        if let Some(Bucket(slots)) = self.buckets.get_mut(at) {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.key() == key) {
                return visit(slot, true);
            }
            if let Some(slot) = slots.iter_mut().find(|slot| slot.is_idle(now)) {
                *slot = S::default();
                return visit(slot, false);
            }
        }
        match self.make_room(key, now) {
            Some(slot) => {
                *slot = S::default();
                visit(slot, false)
            }
            // A part always has a bucket for a key once room was made.
            None => visit(&mut S::default(), false),
        }
    }

    /// Shows what is known of a key, if anything is.
    pub(super) fn peek<R>(&mut self, key: u64, look: impl FnOnce(&mut S) -> R) -> Option<R> {
        self.find(key).map(look)
    }

    pub(super) fn remove(&mut self, key: u64) {
        self.peek(key, |slot| *slot = S::default());
    }

    /// Asks the memory for where a key would stand, and waits for nothing. Memory is slow, and brings much at once as fast
    /// as one thing: who is about to ask for several keys says so of all of them first.
    pub(super) fn prefetch(&self, key: u64) {
        if let Some(Bucket(slots)) = self.buckets.get(self.bucket(key)) {
            prefetch(slots);
        }
    }

    pub(super) fn tidy(&mut self, now: Moment) {
        let slots = self.buckets.iter().flat_map(|Bucket(slots)| slots);
        let in_use = slots.filter(|slot| slot.key() != 0 && !slot.is_idle(now)).count();
        let size = self.buckets.len();
        self.in_use = in_use;
        if in_use == 0 {
            self.buckets = Vec::new();
        } else if in_use < size && size > 2 {
            self.resize((in_use * 2).next_power_of_two().max(WAYS) / WAYS, now);
        }
    }

    /// As [`Table::usage`].
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.in_use, self.buckets.capacity() * size_of::<Bucket<S>>())
    }

    /// There are a power of two of them, or none.
    fn bucket(&self, key: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits")]
        let at = key as usize & self.buckets.len().wrapping_sub(1);
        at
    }

    fn find(&mut self, key: u64) -> Option<&mut S> {
        let at = self.bucket(key);
        self.buckets.get_mut(at)?.0.iter_mut().find(|slot| slot.key() == key)
    }

    /// A place for a new key: a free one, an idle one, one in a larger part, or else the one of least worth.
    #[cold]
    fn make_room(&mut self, key: u64, now: Moment) -> Option<&mut S> {
        let free = |slot: &S| slot.is_idle(now);
        let place = loop {
            let at = self.bucket(key);
            let slots = self.buckets.get(at).map_or(&[][..], |Bucket(slots)| slots);
            if let Some(place) = slots.iter().position(free) {
                break place;
            }
            if self.buckets.len() >= self.max_buckets {
                break slots.iter().enumerate().min_by_key(|(_, slot)| slot.worth())?.0;
            }
            self.resize((self.buckets.len() * 2).clamp(1, self.max_buckets), now);
        };
        let at = self.bucket(key);
        self.buckets.get_mut(at)?.0.get_mut(place)
    }

    /// Moves everybody who is not idle to a part of another size. Who finds no place in it is of least worth.
    fn resize(&mut self, size: usize, now: Moment) {
        let mut buckets = Vec::with_capacity(size);
        buckets.resize_with(size, Bucket::default);
        let old = std::mem::replace(&mut self.buckets, buckets);
        let max_buckets = std::mem::replace(&mut self.max_buckets, size);
        let slots = old.into_iter().flat_map(|Bucket(slots)| slots);
        for slot in slots.filter(|slot| slot.key() != 0 && !slot.is_idle(now)) {
            if let Some(place) = self.make_room(slot.key(), now)
                && (place.key() == 0 || place.worth() < slot.worth())
            {
                *place = slot;
            }
        }
        self.max_buckets = max_buckets;
    }
}

/// A key in 16 bytes: until when it is of use, and 16 bits of anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Compact {
    key: u64,
    /// Microseconds above, tag below.
    value: u64,
}

impl Compact {
    /// The latest end that fits: nine years after the fixed moment.
    const MAX_UNTIL: u64 = (1 << 48) - 1;

    pub(super) fn new(key: u64, until: Moment, tag: u16) -> Compact {
        Compact { key, value: until.as_micros().min(Self::MAX_UNTIL) << 16 | u64::from(tag) }
    }

    pub(super) fn until(self) -> Moment {
        Moment::from_micros(self.value >> 16)
    }

    pub(super) fn tag(self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits")]
        let tag = self.value as u16;
        tag
    }
}

impl Slot for Compact {
    fn key(&self) -> u64 {
        self.key
    }

    fn is_idle(&self, now: Moment) -> bool {
        self.until() <= now
    }

    fn worth(&self) -> (u32, u64) {
        (0, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn put(table: &Table<Compact>, key: u64, until: u64, now: u64) {
        table.with(key, at(now), |slot, _| *slot = Compact::new(key, at(until), 5));
    }

    fn scattered(i: u64) -> u64 {
        (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1)
    }

    /// As many keys as are in use, and the bytes of their places.
    fn usage(table: &Table<Compact>) -> (usize, usize) {
        (0..PARTS).for_each(|turn| table.tidy(turn, at(0)));
        table.usage()
    }

    #[test]
    fn what_is_put_is_found_and_what_is_removed_is_gone() {
        let table = Table::new(100_000);
        for i in 0..50_000 {
            put(&table, scattered(i), 100 + i, 0);
        }
        assert_eq!(usage(&table).0, 50_000);
        for i in 0..50_000 {
            assert_eq!(table.peek(scattered(i), |slot| (slot.until(), slot.tag())), Some((at(100 + i), 5)));
            table.remove(scattered(i));
            assert_eq!(table.peek(scattered(i), |_| ()), None);
        }
        assert_eq!(usage(&table).0, 0);
    }

    #[test]
    fn the_table_never_exceeds_its_maximum_and_the_soonest_to_end_go_first() {
        let table = Table::new(4096);
        for i in 0..100_000 {
            put(&table, scattered(i), 10_000 + i, 0);
        }
        let (keys, bytes) = usage(&table);
        assert!(keys <= 4096 && bytes <= 4096 * 16, "{keys} keys in {bytes} bytes");
        let young = (99_000..100_000).filter(|i| table.peek(scattered(*i), |_| ()).is_some()).count();
        let old = (0..90_000).filter(|i| table.peek(scattered(*i), |_| ()).is_some()).count();
        assert!(young > 950 && old < 200, "{young} of the last thousand, {old} of the first ninety");
    }

    #[test]
    fn idle_keys_make_room_before_the_table_grows() {
        let table = Table::new(1 << 20);
        for i in 0..100_000 {
            put(&table, scattered(i), i + 10, i);
        }
        assert!(table.usage().1 < 64 * 1024, "{:?}", table.usage());
    }

    #[test]
    fn a_table_that_empties_gives_its_memory_back() {
        let table = Table::new(1 << 20);
        for i in 0..100_000 {
            put(&table, scattered(i), if i < 100 { 1000 } else { 10 }, 0);
        }
        (0..64).for_each(|turn| table.tidy(turn, at(20)));
        assert!(table.usage().1 < 64 * 1024, "{:?}", table.usage());
        assert!((0..100).all(|i| table.peek(scattered(i), |_| ()).is_some()));
        (0..64).for_each(|turn| table.tidy(turn, at(1000)));
        assert_eq!(table.usage(), (0, 0));
    }
}

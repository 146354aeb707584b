//! The table of refused clients. Pure: callers pass `now`.
//!
//! A row is one client identifier with one user name at one address. Three things keep strangers from pushing out what
//! an operator wants to see:
//!
//! - A place (an IPv4 address, an IPv6 /64) has at most a tenth of the rows. Who comes beyond that is counted in one
//!   row for all the others of the place.
//! - When the table is full, a client that came once goes before one that came again: a flood of made-up names comes
//!   once each, a device that cannot get in tries again and again. Of either sort the one goes that came longest ago.
//! - Those that came again have three quarters of the table, so that they cannot keep everybody new out, either.

use super::RefusedSettings;
use super::row::{Attempt, Origin, Place, Row, RowId, place_of};
use crate::admission::{Client, Timestamp};
use foldhash::quality::RandomState;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::ops::Bound;

/// The table. Never holds more rows than it is set to.
#[derive(Debug)]
pub struct Table {
    settings: RefusedSettings,
    hasher: RandomState,
    /// By number.
    rows: BTreeMap<RowId, Box<Kept>>,
    /// By keyed hash of what a row is about.
    keys: HashMap<u64, RowId, RandomState>,
    /// By keyed hashes of what leaves together, once the broker lets one of it in.
    kin: BTreeSet<(u64, RowId)>,
    /// How many rows a place has, that of the others included.
    places: HashMap<Place, usize, RandomState>,
    /// Those that came once, and those that came again: by the order in which they came last.
    queues: [BTreeSet<(u64, RowId)>; 2],
    last_id: RowId,
    last_turn: u64,
}

#[derive(Debug)]
struct Kept {
    row: Row,
    key: u64,
    kin: [Option<u64>; 2],
    /// When it came last, in the order of all attempts: the wall clock may be set.
    turn: u64,
}

impl Kept {
    fn queue(&self) -> usize {
        usize::from(self.row.count > 1)
    }
}

impl Table {
    /// An empty table.
    pub fn new(settings: RefusedSettings) -> Table {
        Table {
            settings,
            hasher: RandomState::default(),
            rows: BTreeMap::new(),
            keys: HashMap::default(),
            kin: BTreeSet::new(),
            places: HashMap::default(),
            queues: Default::default(),
            last_id: 0,
            last_turn: 0,
        }
    }

    /// Changes its size, and how long it remembers. What finds no room any more goes.
    pub fn adjust(&mut self, settings: RefusedSettings) {
        self.settings = settings;
        while self.rows.len() > settings.max_entries {
            self.evict();
        }
    }

    /// A client was turned away.
    pub fn note(&mut self, attempt: &Attempt<'_>, now: Timestamp) {
        if self.settings.max_entries == 0 {
            return;
        }
        self.forget_some(now);
        let peer = attempt.client.peer();
        if self.count(self.key_of(&attempt.client), attempt, now) {
            return;
        }
        let place = place_of(peer);
        let share = (self.settings.max_entries / 10).max(1);
        if self.places.get(&place).is_none_or(|rows| *rows < share) {
            return self.add(Origin::One(peer), attempt, now);
        }
        // The row of the others is one more than the share.
        if !self.count(self.hasher.hash_one(place), attempt, now) {
            self.add(Origin::Others(place), attempt, now);
        }
    }

    /// The broker has let this client in. What goes is what was known of it: its client identifier from its address, and
    /// its client identifier with its user name, wherever from. Somebody else who tried its name stays.
    pub fn admitted(&mut self, client: &Client<'_>) {
        for kin in self.kin_of(client).into_iter().flatten() {
            let rows: Vec<RowId> = self.kin.range((kin, 0)..=(kin, RowId::MAX)).map(|(_, id)| *id).collect();
            for id in rows {
                self.remove(id);
            }
        }
    }

    /// Takes a row off; false when there is none of this number.
    pub fn remove(&mut self, id: RowId) -> bool {
        let Some(kept) = self.rows.remove(&id) else { return false };
        self.keys.remove(&kept.key);
        for kin in kept.kin.into_iter().flatten() {
            self.kin.remove(&(kin, id));
        }
        if let Some(queue) = self.queues.get_mut(kept.queue()) {
            queue.remove(&(kept.turn, id));
        }
        let place = match kept.row.origin {
            Origin::One(addr) => place_of(addr),
            Origin::Others(place) => place,
        };
        if let Entry::Occupied(mut rows) = self.places.entry(place) {
            *rows.get_mut() -= 1;
            if *rows.get() == 0 {
                rows.remove();
            }
        }
        true
    }

    /// Takes all rows off; returns how many there were.
    pub fn clear(&mut self) -> usize {
        let count = self.rows.len();
        let (last_id, last_turn) = (self.last_id, self.last_turn);
        *self = Table { last_id, last_turn, ..Table::new(self.settings) };
        count
    }

    /// Takes off what nobody has come for in a long time.
    pub fn forget(&mut self, now: Timestamp) {
        while self.forget_some(now) {}
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows after this one, or all, by number.
    pub fn after(&self, id: Option<RowId>) -> impl Iterator<Item = &Row> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range((from, Bound::Unbounded)).map(|(_, kept)| &kept.row)
    }

    /// Takes off the one of each queue that came longest ago, if that is too long; false when neither is to go. An
    /// attempt makes one row at most, so that this keeps up with whatever comes.
    fn forget_some(&mut self, now: Timestamp) -> bool {
        let ttl = self.settings.ttl;
        let first = |queue: &BTreeSet<(u64, RowId)>| queue.first().map(|(_, id)| *id);
        let old = |id: &RowId| self.rows.get(id).is_none_or(|kept| kept.row.last.after(ttl) <= now);
        let ids: Vec<RowId> = self.queues.iter().filter_map(first).filter(old).collect();
        ids.into_iter().filter(|id| self.remove(*id)).count() > 0
    }

    /// Counts one more attempt of a row that is there.
    fn count(&mut self, key: u64, attempt: &Attempt<'_>, now: Timestamp) -> bool {
        let Some(id) = self.keys.get(&key).copied() else { return false };
        let Some(kept) = self.rows.get_mut(&id) else { return false };
        let before = (kept.queue(), (kept.turn, id));
        self.last_turn += 1;
        kept.turn = self.last_turn;
        kept.row.note(attempt, now);
        let after = (kept.queue(), (kept.turn, id));
        for (index, queue) in self.queues.iter_mut().enumerate() {
            if index == before.0 {
                queue.remove(&before.1);
            }
            if index == after.0 {
                queue.insert(after.1);
            }
        }
        true
    }

    fn add(&mut self, origin: Origin, attempt: &Attempt<'_>, now: Timestamp) {
        if self.rows.len() >= self.settings.max_entries {
            self.evict();
        }
        self.last_id += 1;
        self.last_turn += 1;
        let (id, turn) = (self.last_id, self.last_turn);
        let (place, key, kin) = match origin {
            Origin::One(addr) => (place_of(addr), self.key_of(&attempt.client), self.kin_of(&attempt.client)),
            Origin::Others(place) => (place, self.hasher.hash_one(place), [None, None]),
        };
        let kept = Box::new(Kept { row: Row::new(id, origin, attempt, now), key, kin, turn });
        self.keys.insert(key, id);
        self.kin.extend(kin.into_iter().flatten().map(|kin| (kin, id)));
        *self.places.entry(place).or_default() += 1;
        if let Some(queue) = self.queues.get_mut(kept.queue()) {
            queue.insert((turn, id));
        }
        self.rows.insert(id, kept);
    }

    /// Makes room for one.
    fn evict(&mut self) {
        let [once, again] = &self.queues;
        let has_its_share = again.len() <= self.settings.max_entries / 4 * 3;
        let order = if has_its_share { [once, again] } else { [again, once] };
        let oldest = order.into_iter().find_map(|queue| queue.first().map(|(_, id)| *id));
        if let Some(id) = oldest {
            self.remove(id);
        }
    }

    fn key_of(&self, client: &Client<'_>) -> u64 {
        self.hasher.hash_one((client.peer(), client.client_id(), client.username()))
    }

    /// Client identifier and address; client identifier and user name. Without an identifier, a client is known by all
    /// of it.
    fn kin_of(&self, client: &Client<'_>) -> [Option<u64>; 2] {
        let Some(client_id) = client.client_id() else { return [Some(self.key_of(client)), None] };
        let at_home: (Option<IpAddr>, &str) = (client.peer(), client_id);
        [Some(self.hasher.hash_one(at_home)), Some(self.hasher.hash_one((client_id, client.username())))]
    }
}

#[cfg(test)]
impl Table {
    /// Everything that is kept twice says the same.
    pub(super) fn check(&self) {
        let mut places: HashMap<Place, usize> = HashMap::new();
        for (id, kept) in &self.rows {
            assert_eq!(self.keys.get(&kept.key), Some(id));
            assert!(kept.kin.iter().flatten().all(|kin| self.kin.contains(&(*kin, *id))));
            assert!(self.queues[kept.queue()].contains(&(kept.turn, *id)));
            let place = match kept.row.origin {
                Origin::One(addr) => place_of(addr),
                Origin::Others(place) => place,
            };
            *places.entry(place).or_default() += 1;
        }
        let kin: usize = self.rows.values().map(|kept| kept.kin.iter().flatten().count()).sum();
        let queued: usize = self.queues.iter().map(BTreeSet::len).sum();
        assert_eq!((self.keys.len(), self.kin.len(), queued), (self.rows.len(), kin, self.rows.len()));
        assert_eq!(self.places.len(), places.len());
        assert!(places.iter().all(|(place, rows)| self.places.get(place) == Some(rows)));
    }
}

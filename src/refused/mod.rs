//! Who was turned away lately: a table of fixed size, by the door and by the broker.
//!
//! The table is pure and takes `now`; the handle puts a lock around it, and answers whoever was let in without that lock
//! while nobody is in the table.

mod reason;
mod row;
mod table;

pub use reason::{Codes, Reason};
pub use row::{Attempt, Origin, Place, Row, RowId, TlsSeen, cut};
pub use table::Table;

use crate::admission::{Client, Timestamp};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many refused clients are kept in mind, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedSettings {
    /// Never more rows than this; 0 keeps none.
    pub max_entries: usize,
    /// How long a row stays after its last attempt.
    pub ttl: Duration,
}

/// The refused clients. Clones share them.
#[derive(Debug, Clone)]
pub struct Refused(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// How many rows there are, for those who have nothing to do when there is none.
    len: AtomicUsize,
}

impl Refused {
    /// Nobody so far.
    pub fn new(settings: RefusedSettings) -> Refused {
        Refused(Arc::new(Shared { table: Mutex::new(Table::new(settings)), len: AtomicUsize::new(0) }))
    }

    /// Changes how many are kept, and for how long.
    pub fn adjust(&self, settings: RefusedSettings) {
        self.change(|table| table.adjust(settings));
    }

    /// A client was turned away.
    pub fn note(&self, attempt: &Attempt<'_>, now: Timestamp) {
        self.change(|table| table.note(attempt, now));
    }

    /// The broker has let this client in: it leaves the table.
    pub fn admitted(&self, client: &Client<'_>) {
        if self.0.len.load(Ordering::Relaxed) > 0 {
            self.change(|table| table.admitted(client));
        }
    }

    /// Takes a row off; false when there is none of this number.
    pub fn remove(&self, id: RowId) -> bool {
        self.change(|table| table.remove(id))
    }

    /// Takes all rows off; returns how many there were.
    pub fn clear(&self) -> usize {
        self.change(Table::clear)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Relaxed)
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows that `is_wanted` picks, by number. They are looked at in pieces, between which others may change them.
    pub fn pick(&self, now: Timestamp, is_wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        self.change(|table| table.forget(now));
        let (mut picked, mut last) = (Vec::new(), None);
        loop {
            let table = self.lock();
            let mut piece = table.after(last).take(PIECE).peekable();
            if piece.peek().is_none() {
                return picked;
            }
            for row in piece {
                last = Some(row.id);
                if is_wanted(row) {
                    picked.push(row.clone());
                }
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.lock();
        let done = change(&mut table);
        self.0.len.store(table.len(), Ordering::Relaxed);
        done
    }

    /// A thread that panicked has left no worse than a row that nobody finds.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many rows are looked at under one lock.
const PIECE: usize = 512;

#[cfg(test)]
mod tests;

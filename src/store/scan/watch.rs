//! What of a list has changed since its table was read.

use super::table::{RowKey, Shared};
use crate::admission::{As, List};
use compact_str::CompactString;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The table of each list, and what the writer has changed since. The writer tells before it commits, so whatever a
/// snapshot shows that the table does not is told when the snapshot has begun.
#[derive(Debug, Default)]
pub(in crate::store) struct Watch([Followed; List::ALL.len()]);

#[derive(Debug, Default)]
struct Followed {
    /// Whether anybody wants to be told.
    is_on: AtomicBool,
    state: Mutex<State>,
}

pub(super) type Keys = HashSet<RowKey, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
struct State {
    table: Option<Shared>,
    /// What has changed since that table; none when it was too much.
    changed: Keys,
    /// The same since a table is being read; none when it was too much.
    next: Option<Keys>,
    is_reading: bool,
    /// Whether the table is to be read anew, however little has changed.
    is_due: bool,
    asked: Option<Instant>,
}

/// What is known of a list.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) table: Shared,
    pub(super) changed: Keys,
}

impl Watch {
    fn of(&self, list: List) -> &Followed {
        let [bans, exemptions] = &self.0;
        match list {
            List::Bans => bans,
            List::Exemptions => exemptions,
        }
    }

    /// The writer is about to change this row.
    pub(in crate::store) fn touch(&self, list: List, kind: As, who: &str) {
        let followed = self.of(list);
        if !followed.is_on.load(Ordering::Acquire) {
            return;
        }
        let mut state = followed.lock();
        let State { table, changed, next, .. } = &mut *state;
        if table.is_some() {
            changed.insert((kind, CompactString::from(who)));
            if changed.len() > MAX_CHANGED {
                (*table, *changed) = (None, Keys::default());
            }
        }
        if let Some(keys) = next {
            keys.insert((kind, CompactString::from(who)));
            if keys.len() > MAX_CHANGED {
                *next = None;
            }
        }
        followed.settle(&state);
    }

    /// The writer is about to change all of it.
    pub(in crate::store) fn touch_all(&self, list: List) {
        let followed = self.of(list);
        let mut state = followed.lock();
        (state.table, state.changed, state.next) = (None, Keys::default(), None);
        followed.settle(&state);
    }

    /// What is known of this list now.
    pub(super) fn known(&self, list: List) -> Option<Known> {
        let state = self.of(list).lock();
        let table = state.table.clone()?;
        Some(Known { table, changed: state.changed.clone() })
    }

    pub(super) fn table(&self, list: List) -> Option<Shared> {
        self.of(list).lock().table.clone()
    }

    /// Somebody asks, at this moment. True when a table should be read: by whoever is told so.
    pub(super) fn ask(&self, list: List, now: Instant) -> bool {
        let mut state = self.of(list).lock();
        state.asked = Some(now);
        let is_due = state.table.is_none() || state.changed.len() > MANY_CHANGED || state.is_due;
        is_due && !std::mem::replace(&mut state.is_reading, true)
    }

    /// From now on it is told what changes, for a table that is read from a snapshot which begins later. The writer has
    /// to be between two transactions.
    pub(super) fn begin(&self, list: List) {
        let followed = self.of(list);
        let mut state = followed.lock();
        state.next = Some(Keys::default());
        followed.settle(&state);
    }

    /// The table was read, or there will be none.
    pub(super) fn end(&self, list: List, table: Option<Shared>) {
        let followed = self.of(list);
        let mut state = followed.lock();
        (state.is_reading, state.is_due) = (false, false);
        if let (Some(table), Some(changed)) = (table, state.next.take()) {
            (state.table, state.changed) = (Some(table), changed);
        }
        followed.settle(&state);
    }

    /// Has the next one who asks read the table anew.
    #[cfg(test)]
    pub(super) fn read_anew(&self, list: List) {
        self.of(list).lock().is_due = true;
    }

    #[cfg(test)]
    pub(super) fn is_reading(&self, list: List) -> bool {
        self.of(list).lock().is_reading
    }

    /// Gives the tables back of which nobody has asked for since then. True while there are others.
    pub(super) fn tidy(&self, since: Instant) -> bool {
        self.0.iter().fold(false, |is_left, followed| {
            let mut state = followed.lock();
            if state.asked.is_none_or(|asked| asked < since) {
                (state.table, state.changed) = (None, Keys::default());
            }
            followed.settle(&state);
            is_left || state.table.is_some()
        })
    }
}

impl Followed {
    /// A change that panicked has left the state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, state: &State) {
        self.is_on.store(state.table.is_some() || state.next.is_some(), Ordering::Release);
    }
}

impl Known {
    pub(super) fn is(&self, table: &Shared) -> bool {
        Arc::ptr_eq(&self.table, table)
    }
}

/// So many changes, and the table is read anew by whoever asks next.
const MANY_CHANGED: usize = 2_000;

/// So many changes, and it is given up: what reads them one by one would take longer than what reads all.
pub(super) const MAX_CHANGED: usize = 20_000;

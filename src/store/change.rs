//! What can be asked of the store, and what has come of it.

use crate::admission::{Ban, List, Timestamp, Who};

/// One change of a list. A request is several of them, made together or not at all.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds a ban, or changes the one that names the same.
    Put(List, Ban),
    /// Adds a ban that nobody has made yet: one that names the same and has not ended at this moment is an error
    /// ([`ChangeError::Exists`](super::ChangeError::Exists)), one that has ended is replaced.
    Add(List, Ban, Timestamp),
    /// Takes the ban that names this off the list. None there is no error.
    Remove(List, Who),
    /// Empties a list.
    Clear(List),
    /// Takes off what has ended at a moment or before, the oldest first.
    RemoveEnded {
        /// From which list.
        list: List,
        /// The moment.
        by: Timestamp,
        /// The most that are taken off.
        limit: usize,
    },
}

/// What a request has changed on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// Bans that were not there before.
    pub added: usize,
    /// Bans that were there, and were given new terms.
    pub changed: usize,
    /// Bans that are no longer there.
    pub removed: usize,
}

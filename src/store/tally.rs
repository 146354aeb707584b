//! What the writer has done.

use super::lock::beside;
use crate::metrics::{Counter, Gauge};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What the writer counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    commits: Counter,
    changes: Counter,
    errors: Counter,
    last_commit_micros: Gauge,
}

/// What the store has done since it was opened, and how large it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Transactions that are on disk.
    pub commits: u64,
    /// Changes that were asked for and are in one of them.
    pub changes: u64,
    /// Transactions that could not be written.
    pub errors: u64,
    /// How long the last transaction took.
    pub last_commit: Duration,
    /// The size of the file, in bytes; 0 for a store in memory.
    pub file_bytes: u64,
    /// The size of the log beside it, in bytes.
    pub wal_bytes: u64,
}

impl Tally {
    pub(super) fn committed(&self, changes: usize, took: Duration) {
        self.commits.add(1);
        self.changes.add(u64::try_from(changes).unwrap_or(u64::MAX));
        self.last_commit_micros.set(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn failed(&self) {
        self.errors.add(1);
    }

    /// With the sizes of the files at `path`.
    pub(super) fn work(&self, path: Option<&Path>) -> Work {
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        Work {
            commits: self.commits.value(),
            changes: self.changes.value(),
            errors: self.errors.value(),
            last_commit: Duration::from_micros(self.last_commit_micros.value()),
            file_bytes: path.map_or(0, size),
            wal_bytes: path.map_or(0, |path| size(&beside(path, "-wal"))),
        }
    }
}

//! What can be wrong with the file, and with a change.

use super::row::{BadRow, RowError};
use crate::admission::{Ban, TooMany, Until};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A file of bans that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, writes to it.
    #[error("{} is in use{}; expected one writer at a time", path.display(), Holder(*pid))]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that holds it, where it can be told.
        pid: Option<u32>,
    },
    /// A reader finds no file.
    #[error("there is no {}; expected the file that a proxy with this data_dir keeps", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file, its folder or its lock cannot be created or read.
    #[error("cannot {action} {}", path.display())]
    Files {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// SQLite cannot work with the file: permissions, disk full, input or output errors.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// It is something else.
    #[error("{} is not a file of bans: {found}; {}", path.display(), REMEDY)]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// It was one.
    #[error("{} is damaged: {found}; {}", path.display(), REMEDY)]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What shows it.
        found: String,
    },
    /// A newer program has written it.
    #[error("{} has version {found}; this program knows versions up to {known}: use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest one known here.
        known: i64,
    },
    /// An older program has written it, and a reader does not change it.
    #[error("{} has version {found}, expected {known}: start the proxy, which brings it up to date", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The one that is read here.
        known: i64,
    },
    /// It holds rows that are no bans: somebody else has written them, or they are damaged.
    #[error("{} has rows that are no bans: {count}, the first: {first}; correct or delete them with sqlite3, or restore a backup", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Box<BadRow>,
    },
    /// It holds more expensive patterns than a check can bear.
    #[error("{} holds too many patterns; remove some of them", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Of which class, and how many there may be.
        #[source]
        source: TooMany,
    },
}

/// A change that was not made. Nothing of its request is on disk or in force.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// An [`Add`](super::Change::Add) names whom a ban names that has not ended.
    #[error("{} {:?} is on the list already, until {}", .0.who.kind(), Short(&.0.who.to_string()), .0.terms.until)]
    Exists(Box<Ban>),
    /// An amendment of a ban that is not what it was any more ([`Amendment::seen`](super::Amendment::seen)).
    #[error("the ban was changed meanwhile")]
    Changed,
    /// A new end that is none.
    #[error("the ban would have ended already, at {0}; expected an end in the future")]
    Ended(Until),
    /// It would exceed the number of expensive patterns.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// A text is longer than any that is kept.
    #[error("{column} has {len} bytes; expected at most {max}")]
    TooLong {
        /// Which text: `by`, `reason` or `evidence`.
        column: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The most that is kept.
        max: usize,
    },
    /// The row that is in the way is no ban.
    #[error("the row on disk is no ban: {0}")]
    Row(Box<BadRow>),
    /// It could not be written. Neither were the changes that were to be written together with it.
    #[error("cannot write {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// A file of bans that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite cannot read it.
    #[error("cannot read {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A row is no ban.
    #[error("{} has a row that is no ban: {row}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which row, and what is wrong with it.
        row: Box<BadRow>,
    },
    /// A row is no offence.
    #[error("{} has a row that is no offence: {row}", path.display())]
    Offence {
        /// The file.
        path: PathBuf,
        /// Which row, and what is wrong with it.
        row: Box<BadRow>,
    },
    /// It would have taken too long.
    #[error("looks at more than can be read in {} s; narrow it, or export the list", .0.as_secs())]
    TooSlow(Duration),
    /// It cannot be opened any more.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl ReadError {
    pub(super) fn of_disk(path: &Path, source: rusqlite::Error) -> ReadError {
        ReadError::Disk { path: path.into(), source }
    }

    pub(super) fn of_row(path: &Path, error: RowError) -> ReadError {
        match error {
            RowError::Bad(row) => ReadError::Row { path: path.into(), row: Box::new(row) },
            RowError::Disk(source) => ReadError::of_disk(path, source),
        }
    }
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " by process {pid}"),
            None => Ok(()),
        }
    }
}

/// The beginning of a text that may be very long.
pub(super) struct Short<'a>(pub(super) &'a str);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHORT) {
            Some((end, _)) => write!(f, "{:?}…", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// What an operator can do about a file that cannot be used. Never done for them: an empty list would let everybody in.
const REMEDY: &str =
    "restore a backup, or move it away together with its -wal and -shm files to start with an empty list";

/// How many characters of a name an error shows.
const SHORT: usize = 64;

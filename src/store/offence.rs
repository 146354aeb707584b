//! Offences: what is remembered of those who were banned automatically, so that the next ban can be longer, and so that
//! an operator can be told why there was one.

use super::error::{ChangeError, ReadError};
use super::row::{self, BadRow, RowError};
use crate::admission::{As, Timestamp, Who};
use rusqlite::{Connection, Row, Statement};
use std::path::Path;
use std::time::Duration;
use tracing::warn;

/// What is remembered of somebody who was banned automatically.
///
/// A pattern, which no detector bans, comes back as one that matches any part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// Who it was.
    pub who: Who,
    /// How many bans there have been.
    pub count: u32,
    /// When the last of them ends, or ended.
    pub until: Timestamp,
    /// How long the last of them was, in whole milliseconds.
    pub ban_time: Duration,
    /// Why the last of them was made, as JSON; empty where nobody has said. At most [`MAX_EVIDENCE`] bytes.
    pub evidence: String,
}

/// The most that is kept of a ban's evidence, in bytes.
pub const MAX_EVIDENCE: usize = 64 << 10;

/// How many offences are kept. When there are more, those who have been free for longest are forgotten.
pub const MAX_OFFENCES: usize = 100_000;

/// The statements that change the table, inside of the transaction that the writer has begun.
#[derive(Debug)]
pub(super) struct Offences<'c> {
    put: Statement<'c>,
    remove: Statement<'c>,
    remove_banned: Statement<'c>,
    forget: Statement<'c>,
    trim: Statement<'c>,
    count: Statement<'c>,
    /// At least so many can be added before there are more than [`MAX_OFFENCES`].
    room: usize,
}

impl<'c> Offences<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Offences<'c>> {
        Ok(Offences {
            put: conn.prepare(
                r#"INSERT INTO offences ("as", who, count, until, ban_time, evidence) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT ("as", who) DO UPDATE SET
                   count = ?3, until = ?4, ban_time = ?5, evidence = ?6"#,
            )?,
            remove: conn.prepare(r#"DELETE FROM offences WHERE "as" = ?1 AND who = ?2"#)?,
            remove_banned: conn.prepare(REMOVE_BANNED)?,
            forget: conn.prepare(FORGET)?,
            trim: conn.prepare(TRIM)?,
            count: conn.prepare("SELECT count(*) FROM offences")?,
            room: 0,
        })
    }

    pub(super) fn put(&mut self, offence: &Offence) -> rusqlite::Result<()> {
        self.room = self.room.saturating_sub(1);
        let (kind, key) = (offence.who.kind().as_str(), row::key(&offence.who));
        let ban_time = i64::try_from(offence.ban_time.as_millis()).unwrap_or(i64::MAX);
        let until = offence.until.as_millis();
        self.put.execute((kind, &*key, offence.count, until, ban_time, &offence.evidence)).map(drop)
    }

    pub(super) fn remove(&mut self, who: &Who) -> rusqlite::Result<usize> {
        self.remove.execute((who.kind().as_str(), &*row::key(who)))
    }

    /// Removes those whose ban is on the list.
    pub(super) fn remove_banned(&mut self) -> rusqlite::Result<usize> {
        self.remove_banned.execute([])
    }

    pub(super) fn forget(&mut self, by: Timestamp, limit: usize) -> rusqlite::Result<usize> {
        self.forget.execute((by.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)))
    }

    /// Leaves no more than [`MAX_OFFENCES`]. Counting them costs what an fsync costs, so it makes room for a while.
    pub(super) fn trim(&mut self) -> rusqlite::Result<()> {
        if self.room == 0 {
            let count: i64 = self.count.query_row([], |row| row.get(0))?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let excess = count.saturating_sub(MAX_OFFENCES - ROOM);
            if excess > 0 {
                self.trim.execute([i64::try_from(excess).unwrap_or(i64::MAX)])?;
            }
            self.room = MAX_OFFENCES.saturating_sub(count).max(ROOM);
        }
        Ok(())
    }

    /// The transaction was taken back, and what was trimmed in it is there again.
    pub(super) fn roll_back(&mut self) {
        self.room = 0;
    }
}

pub(super) fn check_length(offence: &Offence) -> Result<(), ChangeError> {
    match offence.evidence.len() {
        len if len > MAX_EVIDENCE => Err(ChangeError::TooLong { column: "evidence", len, max: MAX_EVIDENCE }),
        _ => Ok(()),
    }
}

/// What is remembered of `who`.
pub(super) fn find(conn: &Connection, path: &Path, who: &Who) -> Result<Option<Offence>, ReadError> {
    let read = || {
        let mut statement = conn.prepare(
            r#"SELECT "as", who, count, until, ban_time, evidence FROM offences WHERE "as" = ?1 AND who = ?2"#,
        )?;
        let mut rows = statement.query((who.kind().as_str(), &*row::key(who)))?;
        rows.next()?.map(offence).transpose()
    };
    read().map_err(|error| match error {
        RowError::Bad(row) => ReadError::Offence { path: path.into(), row: Box::new(row) },
        RowError::Disk(source) => ReadError::Disk { path: path.into(), source },
    })
}

/// All of them, the latest end first, without their evidence, which may be much.
///
/// Rows that are no offences are passed over: nobody gets in by them, and no proxy should stay down for them.
pub(super) fn load(conn: &Connection, path: &Path) -> rusqlite::Result<Vec<Offence>> {
    let mut statement = conn.prepare(ALL)?;
    let mut rows = statement.query([i64::try_from(MAX_OFFENCES).unwrap_or(i64::MAX)])?;
    let (mut offences, mut bad) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        match offence(row) {
            Ok(offence) => offences.push(offence),
            Err(RowError::Disk(error)) => return Err(error),
            Err(RowError::Bad(row)) => {
                if bad == 0 {
                    warn!(file = %path.display(), %row, "an offence cannot be read and is passed over");
                }
                bad += 1;
            }
        }
    }
    if bad > 1 {
        warn!(file = %path.display(), count = bad, "offences cannot be read and are passed over");
    }
    Ok(offences)
}

/// Whether the table and its index hold as many. Reads all of the index and the keys of the table.
pub(super) fn are_whole(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(WHOLE, [], |row| row.get(0))
}

fn offence(row: &Row<'_>) -> Result<Offence, RowError> {
    parse(row).map_err(|problem| {
        let key = ["offences".to_owned(), row::shown(row, 0), row::shown(row, 1)];
        RowError::Bad(BadRow { key, problem })
    })
}

fn parse(row: &Row<'_>) -> Result<Offence, String> {
    let kind: As = row::text(row, 0, "as")?.parse().map_err(|error| format!("as {error}"))?;
    let millis = row.get::<_, i64>(4).map_err(|error| format!("ban_time: {error}"))?;
    let ban_time = u64::try_from(millis).map_err(|_| format!("ban_time is {millis}; expected 0 or more"))?;
    Ok(Offence {
        who: row::who(kind, row::text(row, 1, "who")?, None)?,
        count: row.get(2).map_err(|error| format!("count: {error}"))?,
        until: Timestamp::from_millis(row.get(3).map_err(|error| format!("until: {error}"))?),
        ban_time: Duration::from_millis(ban_time),
        evidence: row::text(row, 5, "evidence")?.to_owned(),
    })
}

const ALL: &str = r#"
    SELECT "as", who, count, until, ban_time, '' FROM offences INDEXED BY offences_by_end
    ORDER BY until DESC, "as" DESC, who DESC LIMIT ?1"#;

const WHOLE: &str = "
    SELECT (SELECT count(*) FROM offences NOT INDEXED) = (SELECT count(*) FROM offences INDEXED BY offences_by_end)";

/// Costs what there is of offences, not of bans.
const REMOVE_BANNED: &str = r#"
    DELETE FROM offences WHERE EXISTS (
        SELECT 1 FROM bans WHERE list = 'bans' AND bans."as" = offences."as" AND bans.who = offences.who)"#;

/// The oldest first: by the index, which costs what it finds.
pub(super) const FORGET: &str = r#"
    DELETE FROM offences WHERE ("as", who) IN (
        SELECT "as", who FROM offences INDEXED BY offences_by_end
        WHERE until <= ?1 ORDER BY until, "as", who LIMIT ?2)"#;

const TRIM: &str = r#"
    DELETE FROM offences WHERE ("as", who) IN (
        SELECT "as", who FROM offences INDEXED BY offences_by_end
        ORDER BY until, "as", who LIMIT ?1)"#;

/// How much room is made at once.
const ROOM: usize = 1_000;

//! Reads the file at start: every row into the lists, or none of them into service.

use super::Loaded;
use super::crowd::Crowd;
use super::error::OpenError;
use super::offence;
use super::row::{self, BadRow, COLUMNS, RowError, Texts};
use super::schema::failed;
use crate::admission::{Ban, List, TooMany, Until};
use crate::bouncer::Bouncer;
use rusqlite::{Connection, Row};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// Puts every row in force. Rows that are no bans are an error, not a gap.
///
/// Reading a row costs about what putting it in force costs, so each is done by a thread of its own.
pub(super) fn load(conn: &Connection, path: &Path, bouncer: &Bouncer) -> Result<(Loaded, Crowd), OpenError> {
    let mut found = Found { crowd: Crowd::new(Some(bouncer.clone())), ..Found::default() };
    let (read, refused) = thread::scope(|scope| {
        let (bans, arriving) = mpsc::sync_channel(BATCHES);
        let putting = scope.spawn(move || put_all(bouncer, arriving));
        let read = found.read(conn, &bans);
        drop(bans);
        (read, putting.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let indexed = read.and_then(|()| indexed(conn)).map_err(|error| failed(path, "read", error))?;
    let Found { mut loaded, mut crowd, bad, ending } = found;
    complain(path, bad, refused)?;
    let are_whole = offence::are_whole(conn).map_err(|error| failed(path, "read", error))?;
    let all = loaded.bans + loaded.exemptions;
    if indexed != (Indexed { by_author: all, by_start: all, ending }) || !are_whole {
        let found = "its index and its table differ".to_owned();
        return Err(OpenError::Damaged { path: path.into(), found });
    }
    loaded.offences = offence::load(conn, path).map_err(|error| failed(path, "read", error))?;
    crowd.settle();
    Ok((loaded, crowd))
}

/// What was found in the rows.
#[derive(Default)]
struct Found {
    loaded: Loaded,
    crowd: Crowd,
    bad: Vec<BadRow>,
    /// How many are not for ever.
    ending: usize,
}

type Batch = Vec<(List, Ban)>;

impl Found {
    fn read(&mut self, conn: &Connection, bans: &mpsc::SyncSender<Batch>) -> rusqlite::Result<()> {
        let mut texts = Texts::default();
        let mut batch = Batch::new();
        each_row(conn, "", |row| {
            let (list, ban) = match row::ban(row, &mut texts) {
                Ok(read) => read,
                Err(RowError::Bad(row)) => {
                    self.bad.push(row);
                    return Ok(());
                }
                Err(RowError::Disk(error)) => return Err(error),
            };
            match list {
                List::Bans => self.loaded.bans += 1,
                List::Exemptions => self.loaded.exemptions += 1,
            }
            self.crowd.count(list, &ban.who);
            self.ending += usize::from(ban.terms.until != Until::Infinity);
            batch.push((list, ban));
            if batch.len() == BATCH {
                // Fails only when the other thread has panicked, which is told when it is joined.
                let _ = bans.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            }
            Ok(())
        })?;
        let _ = bans.send(batch);
        Ok(())
    }
}

fn put_all(bouncer: &Bouncer, bans: mpsc::Receiver<Batch>) -> Option<TooMany> {
    let mut refused = None;
    for (list, ban) in bans.into_iter().flatten() {
        refused = bouncer.put(list, ban).err().or(refused);
    }
    refused
}

fn complain(path: &Path, bad: Vec<BadRow>, refused: Option<TooMany>) -> Result<(), OpenError> {
    let count = bad.len();
    if let Some(first) = bad.into_iter().next() {
        return Err(OpenError::Rows { path: path.into(), count, first: Box::new(first) });
    }
    match refused {
        Some(source) => Err(OpenError::TooMany { path: path.into(), source }),
        None => Ok(()),
    }
}

/// Counts the rows, and reads the patterns alone: what a writer without lists has to know.
pub(super) fn count(conn: &Connection, path: &Path) -> Result<(Loaded, Crowd), OpenError> {
    let read = || {
        let rows = |list: List| {
            conn.query_row("SELECT count(*) FROM bans WHERE list = ?1", [list.as_str()], |row| {
                row.get::<_, i64>(0).map(|count| usize::try_from(count).unwrap_or(0))
            })
        };
        let loaded =
            Loaded { bans: rows(List::Bans)?, exemptions: rows(List::Exemptions)?, ..Loaded::default() };
        let mut crowd = Crowd::new(None);
        let mut texts = Texts::default();
        for list in List::ALL {
            let patterns =
                format!("WHERE list = '{list}' AND \"as\" IN ('clientid_re', 'username_re', 'peerhost_re')");
            each_row(conn, &patterns, |row| match row::ban(row, &mut texts) {
                Ok((list, ban)) => {
                    crowd.count(list, &ban.who);
                    Ok(())
                }
                // The proxy will say so at its start.
                Err(RowError::Bad(_)) => Ok(()),
                Err(RowError::Disk(error)) => Err(error),
            })?;
        }
        crowd.settle();
        indexed(conn)?;
        offence::are_whole(conn)?;
        Ok((loaded, crowd))
    };
    read().map_err(|error| failed(path, "read", error))
}

/// How many bans each index holds that has all of them, and that of those that end. Reads all of every index: clean-up
/// is not to be the first to find one damaged.
fn indexed(conn: &Connection) -> rusqlite::Result<Indexed> {
    let count = |index: &str, which: &str| {
        let query = format!("SELECT count(*) FROM bans INDEXED BY {index} WHERE {which}");
        conn.query_row(&query, [], |row| row.get::<_, i64>(0))
            .map(|count| usize::try_from(count).unwrap_or(0))
    };
    count("bans_by_hits", "hits > 0")?;
    count("bans_by_last_hit", "last_hit IS NOT NULL")?;
    Ok(Indexed {
        by_author: count("bans_by_author", "1")?,
        by_start: count("bans_by_start", "1")?,
        ending: count("bans_by_end", "until IS NOT NULL")?,
    })
}

/// How many bans are in the indexes, or should be.
#[derive(Debug, PartialEq, Eq)]
struct Indexed {
    by_author: usize,
    by_start: usize,
    ending: usize,
}

fn each_row(
    conn: &Connection,
    which: &str,
    mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(&format!("SELECT {COLUMNS} FROM bans {which}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(row)?;
    }
    Ok(())
}

/// How many bans go from one thread to the other at once, and how often before the first waits.
const BATCH: usize = 512;
const BATCHES: usize = 8;

//! The changes of one request, written inside of the transaction that the writer has begun.

use super::accounts;
use super::change::{Amendment, Change, Changed};
use super::crowd::Crowd;
use super::error::ChangeError;
use super::offence::{self, Offence, Offences};
use super::row::{self, COLUMNS, RowError, Texts};
use super::scan::Watch;
use crate::admission::{As, Ban, List, MAX_WHO, Timestamp, Who};
use crate::bouncer::Hit;
use compact_str::CompactString;
use rusqlite::{Connection, Row, Statement};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The statements that changes are made of.
#[derive(Debug)]
pub(super) struct Ledger<'c> {
    conn: &'c Connection,
    insert: Statement<'c>,
    update: Statement<'c>,
    hit: Statement<'c>,
    forget_hits: Statement<'c>,
    row: Statement<'c>,
    remove: Statement<'c>,
    ended: Statement<'c>,
    all: Statement<'c>,
    clear: Statement<'c>,
    offences: Offences<'c>,
    /// Whether lists in memory follow, so that they have to be told.
    is_followed: bool,
    /// Told of each row before it is changed.
    watch: Arc<Watch>,
}

/// What a request has done, and what the lists in memory have to do once it is on disk.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) changed: Changed,
    pub(super) effects: Vec<Effect>,
}

/// What the lists in memory have to do.
#[derive(Debug)]
pub(super) enum Effect {
    Put(List, Ban),
    Remove(List, Who),
    /// The same; the ban was there, and somebody has lifted it.
    Lift(List, Who),
}

/// Why a request was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// It asks for what cannot be; other requests are not concerned.
    Refused(ChangeError),
    /// The transaction is lost.
    Disk(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Disk(error)
    }
}

/// What becomes of a ban that names the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It is changed.
    Put,
    /// It stays when it ends as late, or later.
    Extend,
    /// It is in the way when it has not ended at this moment.
    Add(Timestamp),
}

impl<'c> Ledger<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        is_followed: bool,
        watch: Arc<Watch>,
    ) -> rusqlite::Result<Ledger<'c>> {
        Ok(Ledger {
            conn,
            insert: conn.prepare(&format!(
                "INSERT INTO bans ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING"
            ))?,
            update: conn.prepare(
                r#"UPDATE bans SET matching = ?4, "by" = ?5, reason = ?6, at = ?7, until = ?8
                   WHERE list = ?1 AND "as" = ?2 AND who = ?3"#,
            )?,
            hit: conn.prepare(
                r#"UPDATE bans SET hits = hits + ?4, last_hit = max(coalesce(last_hit, ?5), ?5)
                   WHERE list = ?1 AND "as" = ?2 AND who = ?3"#,
            )?,
            forget_hits: conn.prepare(
                r#"UPDATE bans SET hits = 0, last_hit = NULL WHERE list = ?1 AND "as" = ?2 AND who = ?3"#,
            )?,
            row: conn.prepare(&format!(
                r#"SELECT {COLUMNS} FROM bans WHERE list = ?1 AND "as" = ?2 AND who = ?3"#
            ))?,
            remove: conn.prepare(r#"DELETE FROM bans WHERE list = ?1 AND "as" = ?2 AND who = ?3"#)?,
            ended: conn.prepare(ENDED)?,
            all: conn.prepare(&format!("SELECT {COLUMNS} FROM bans WHERE list = ?1"))?,
            clear: conn.prepare("DELETE FROM bans WHERE list = ?1")?,
            offences: Offences::new(conn)?,
            is_followed,
            watch,
        })
    }

    /// Writes one request. After a failure the caller takes back what was written of it. `progress` counts the rows.
    pub(super) fn write(
        &mut self,
        mut changes: Vec<Change>,
        crowd: &mut Crowd,
        progress: &AtomicU64,
    ) -> Result<Done, Failure> {
        progress.store(0, Ordering::Relaxed);
        sort(&mut changes);
        let mut done = Done::default();
        for change in changes {
            match change {
                Change::Put(list, ban) => self.put(list, ban, How::Put, crowd, &mut done)?,
                Change::Extend(list, ban) => self.put(list, ban, How::Extend, crowd, &mut done)?,
                Change::Add(list, ban, now) => self.put(list, ban, How::Add(now), crowd, &mut done)?,
                Change::Amend { list, who, amendment, now } => {
                    self.amend(list, &who, *amendment, now, crowd, &mut done)?;
                }
                Change::Hit(hit) => self.hit(&hit)?,
                Change::Remove(list, who) => self.remove(list, &who, crowd, &mut done)?,
                Change::Clear(list) => self.clear(list, crowd, &mut done)?,
                Change::RemoveEnded { list, by, limit } => {
                    self.remove_ended(list, by, limit, crowd, progress, &mut done)?;
                }
                Change::Account(change) => accounts::write(self.conn, &change)?,
                Change::Offend(offence) => self.offend(&offence)?,
                Change::Absolve(who) => done.changed.forgotten += self.offences.remove(&who)?,
                Change::ForgetOffences { by, limit } => {
                    done.changed.forgotten += self.offences.forget(by, limit)?;
                }
            }
            progress.fetch_add(1, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// What a transaction does last.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        self.offences.trim()
    }

    /// The transaction was taken back.
    pub(super) fn roll_back(&mut self) {
        self.offences.roll_back();
    }

    fn put(
        &mut self,
        list: List,
        ban: Ban,
        how: How,
        crowd: &mut Crowd,
        done: &mut Done,
    ) -> Result<(), Failure> {
        check_lengths(&ban).map_err(Failure::Refused)?;
        crowd.admit(list, &ban.who).map_err(|error| Failure::Refused(error.into()))?;
        let (who, terms) = (row::key(&ban.who), &ban.terms);
        self.watch.touch(list, ban.who.kind(), &who);
        let columns = (
            list.as_str(),
            ban.who.kind().as_str(),
            &*who,
            row::matching_of(&ban.who),
            &*terms.by,
            &*terms.reason,
            terms.at.as_millis(),
            row::until_of(terms.until),
        );
        if self.insert.execute(columns)? == 1 {
            done.changed.added += 1;
        } else {
            let before = if how == How::Put { None } else { self.stored(list, &ban.who)? };
            match (how, before) {
                (How::Add(now), Some(before)) if before.terms.is_active(now) => {
                    return Err(Failure::Refused(ChangeError::Exists(Box::new(before))));
                }
                // It is a new ban, which nobody has met.
                (How::Add(_), Some(_)) => {
                    self.forget_hits.execute((list.as_str(), ban.who.kind().as_str(), &*who))?;
                }
                (How::Extend, Some(before)) if before.terms.until >= ban.terms.until => return Ok(()),
                _ => {}
            }
            done.changed.changed += self.update.execute(columns)?;
        }
        drop(who);
        if self.is_followed {
            done.effects.push(Effect::Put(list, ban));
        }
        Ok(())
    }

    fn amend(
        &mut self,
        list: List,
        who: &Who,
        amendment: Amendment,
        now: Timestamp,
        crowd: &mut Crowd,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let Some(before) = self.stored(list, who)? else { return Ok(()) };
        if amendment.seen.as_ref().is_some_and(|seen| **seen != before) {
            return Err(Failure::Refused(ChangeError::Changed));
        }
        let has_new_end = amendment.end.is_some();
        let ban = amendment.apply(before, now);
        if has_new_end && !ban.terms.is_active(now) {
            return Err(Failure::Refused(ChangeError::Ended(ban.terms.until)));
        }
        self.put(list, ban, How::Put, crowd, done)
    }

    fn hit(&mut self, hit: &Hit) -> Result<(), Failure> {
        let (kind, key) = (hit.who.kind().as_str(), row::key(&hit.who));
        self.watch.touch(List::Bans, hit.who.kind(), &key);
        let count = i64::try_from(hit.count).unwrap_or(i64::MAX);
        let row = (List::Bans.as_str(), kind, &*key, count, hit.last.as_millis());
        Ok(self.hit.execute(row).map(drop)?)
    }

    fn remove(&mut self, list: List, who: &Who, crowd: &mut Crowd, done: &mut Done) -> Result<(), Failure> {
        let (kind, key) = (who.kind(), row::key(who));
        self.watch.touch(list, kind, &key);
        let removed = self.remove.execute((list.as_str(), kind.as_str(), &*key))?;
        if removed > 0 && list == List::Bans {
            done.changed.forgotten += self.offences.remove(who)?;
        }
        if self.is_followed {
            let effect = if removed > 0 { Effect::Lift } else { Effect::Remove };
            done.effects.push(effect(list, who.clone()));
        }
        done.changed.removed += removed;
        crowd.forget(list, kind, &key);
        Ok(())
    }

    fn clear(&mut self, list: List, crowd: &mut Crowd, done: &mut Done) -> Result<(), Failure> {
        if self.is_followed {
            let mut texts = Texts::default();
            let mut rows = self.all.query([list.as_str()])?;
            while let Some(row) = rows.next()? {
                done.effects.extend(removed(row, &mut texts)?.map(|who| Effect::Lift(list, who)));
            }
        }
        if list == List::Bans {
            done.changed.forgotten += self.offences.remove_banned()?;
        }
        self.watch.touch_all(list);
        done.changed.removed += self.clear.execute([list.as_str()])?;
        crowd.clear(list);
        Ok(())
    }

    fn remove_ended(
        &mut self,
        list: List,
        by: Timestamp,
        limit: usize,
        crowd: &mut Crowd,
        progress: &AtomicU64,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut texts = Texts::default();
        let mut keys: Vec<(String, String)> = Vec::new();
        let mut rows = self.ended.query((list.as_str(), by.as_millis(), limit))?;
        while let Some(row) = rows.next()? {
            keys.push((row.get(1)?, row.get(2)?));
            if self.is_followed {
                done.effects.extend(removed(row, &mut texts)?.map(|who| Effect::Remove(list, who)));
            }
        }
        drop(rows);
        for (kind, who) in keys {
            let parsed = kind.parse::<As>();
            match parsed {
                Ok(kind) => self.watch.touch(list, kind, &who),
                Err(_) => self.watch.touch_all(list),
            }
            done.changed.removed += self.remove.execute((list.as_str(), &kind, &who))?;
            if let Ok(kind) = parsed {
                crowd.forget(list, kind, &who);
            }
            progress.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn offend(&mut self, offence: &Offence) -> Result<(), Failure> {
        offence::check_length(offence).map_err(Failure::Refused)?;
        Ok(self.offences.put(offence)?)
    }

    fn stored(&mut self, list: List, who: &Who) -> Result<Option<Ban>, Failure> {
        let mut rows = self.row.query((list.as_str(), who.kind().as_str(), &*row::key(who)))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        match row::ban(row, &mut Texts::default()) {
            Ok((_, ban)) => Ok(Some(ban)),
            Err(RowError::Bad(row)) => Err(Failure::Refused(ChangeError::Row(Box::new(row)))),
            Err(RowError::Disk(error)) => Err(Failure::Disk(error)),
        }
    }
}

/// Whom the lists in memory forget when this row goes. A row that is no ban was never in force.
fn removed(row: &Row<'_>, texts: &mut Texts) -> rusqlite::Result<Option<Who>> {
    match row::ban(row, texts) {
        Ok((_, ban)) => Ok(Some(ban.who)),
        Err(RowError::Bad(_)) => Ok(None),
        Err(RowError::Disk(error)) => Err(error),
    }
}

fn check_lengths(ban: &Ban) -> Result<(), ChangeError> {
    for (column, text) in [("by", &ban.terms.by), ("reason", &ban.terms.reason)] {
        if text.len() > MAX_WHO {
            return Err(ChangeError::TooLong { column, len: text.len(), max: MAX_WHO });
        }
    }
    Ok(())
}

/// Brings many bans into the order of the table, which then grows at its end instead of everywhere. Two that name the
/// same keep their order, and so does everything else.
fn sort(changes: &mut [Change]) {
    let are_puts = |a: &Change, b: &Change| matches!((a, b), (Change::Put(..), Change::Put(..)));
    for run in changes.chunk_by_mut(are_puts).filter(|run| run.len() >= MANY) {
        run.sort_by_cached_key(|change| match change {
            Change::Put(list, ban) => {
                Some((list.as_str(), ban.who.kind().as_str(), CompactString::from(row::key(&ban.who))))
            }
            _ => None,
        });
    }
}

/// How many bans are worth sorting.
const MANY: usize = 1_000;

/// What has ended, the oldest first: by the index, which costs what it finds.
pub(super) const ENDED: &str = r#"
    SELECT list, "as", who, matching, "by", reason, at, until FROM bans INDEXED BY bans_by_end
    WHERE list = ?1 AND until <= ?2 ORDER BY until, "as", who LIMIT ?3"#;

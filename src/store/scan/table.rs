//! All bans of a list, column by column, as scans want them: some fifty bytes a ban.

use super::super::row;
use super::names::{Names, NamesBuilder};
use super::texts::{Texts, TextsBuilder};
use crate::admission::{As, Ban, Match, Terms, Timestamp, Until};
use crate::bouncer::FileBan;
use crate::store::entry::{Entry, Source};
use compact_str::CompactString;
use rusqlite::{Connection, Row};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The kind and the text of a ban: its key in a list.
pub(super) type RowKey = (As, CompactString);

/// Bans of a list as they were at one moment, in the order of their kinds and texts, each of which is there once.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Kinds in the order of their names, each with its rows.
    kinds: Vec<(As, Range<usize>)>,
    pub(super) texts: Texts,
    matching: Vec<Option<Match>>,
    pub(super) by: Vec<u32>,
    pub(super) reason: Vec<u32>,
    pub(super) authors: Names,
    pub(super) reasons: Names,
    pub(super) at: Vec<i64>,
    /// [`ENDLESS`] for infinity.
    pub(super) until: Vec<i64>,
    /// Of rows that were hit: how often and when last, in the order of the rows.
    hits: Vec<(usize, u64, Option<i64>)>,
    /// The place of each row in the order of texts and then kinds; empty where that is the order of the rows.
    places: OnceLock<Vec<u32>>,
}

/// Later than every end.
pub(super) const ENDLESS: i64 = i64::MAX;

/// A ban as the columns have it.
#[derive(Debug, Clone, Copy)]
struct Columns<'a> {
    kind: As,
    who: &'a str,
    matching: Option<Match>,
    by: &'a str,
    reason: &'a str,
    at: i64,
    until: i64,
    hits: u64,
    last_hit: Option<i64>,
}

impl Table {
    /// The rows of a list, in a snapshot that the caller has begun. None where scans have no use of them: some are no
    /// bans, or they are too large.
    pub(super) fn read(conn: &Connection, list: &str) -> rusqlite::Result<Option<Table>> {
        let query = format!(r#"SELECT {COLUMNS} FROM main.bans WHERE list = ?1 ORDER BY "as", who"#);
        let mut statement = conn.prepare(&query)?;
        let mut rows = statement.query([list])?;
        let mut builder = Builder::default();
        while let Some(row) = rows.next()? {
            if Columns::of_row(row).and_then(|columns| builder.push(columns)).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(builder.finish()))
    }

    /// Those of these rows that are there.
    pub(super) fn read_some<'k>(
        conn: &Connection,
        list: &str,
        keys: impl Iterator<Item = &'k RowKey>,
    ) -> rusqlite::Result<Option<Table>> {
        let query = format!(r#"SELECT {COLUMNS} FROM main.bans WHERE list = ?1 AND "as" = ?2 AND who = ?3"#);
        let mut statement = conn.prepare(&query)?;
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable_by_key(|(kind, who)| (kind.as_str(), who.as_str()));
        let mut builder = Builder::default();
        for (kind, who) in keys {
            let mut rows = statement.query((list, kind.as_str(), who.as_str()))?;
            if let Some(row) = rows.next()?
                && Columns::of_row(row).and_then(|columns| builder.push(columns)).is_none()
            {
                return Ok(None);
            }
        }
        Ok(Some(builder.finish()))
    }

    /// What the config file says.
    pub(super) fn of_file<'b>(bans: impl Iterator<Item = &'b FileBan>) -> Option<Table> {
        let sorted: BTreeMap<(&str, String), &FileBan> = bans
            .map(|there| ((there.ban.who.kind().as_str(), row::key(&there.ban.who).into_owned()), there))
            .collect();
        let mut builder = Builder::default();
        for ((_, who), FileBan { ban: Ban { who: named, terms }, hits, last_hit, .. }) in &sorted {
            let until = match terms.until {
                Until::Moment(end) => end.as_millis(),
                Until::Infinity => ENDLESS,
            };
            builder.push(Columns {
                kind: named.kind(),
                who,
                matching: named.matching(),
                by: &terms.by,
                reason: &terms.reason,
                at: terms.at.as_millis(),
                until,
                hits: *hits,
                last_hit: last_hit.map(Timestamp::as_millis),
            })?;
        }
        Some(builder.finish())
    }

    /// These rows without those that are `stale`, and with the `fresh` ones, none of which is still there.
    pub(super) fn with(&self, stale: &[usize], fresh: &Table) -> Option<Table> {
        let mut builder = Builder::default();
        let (mut stale, mut new) = (stale.iter().peekable(), 0);
        for old in 0..self.len() {
            if stale.next_if(|stale| **stale == old).is_some() {
                continue;
            }
            while new < fresh.len() && fresh.compare_keys(new, self, old).is_lt() {
                builder.push(fresh.columns(new))?;
                new += 1;
            }
            builder.push(self.columns(old))?;
        }
        for new in new..fresh.len() {
            builder.push(fresh.columns(new))?;
        }
        Some(builder.finish())
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// The row with this key.
    pub(super) fn find(&self, kind: As, who: &str) -> Option<usize> {
        self.place_of(kind, who).ok()
    }

    /// The row with this key, or which one it would be.
    pub(super) fn place_of(&self, kind: As, who: &str) -> Result<usize, usize> {
        match self.kinds.binary_search_by_key(&kind.as_str(), |(kind, _)| kind.as_str()) {
            Ok(at) => {
                let rows = self.kinds.get(at).map_or(0..0, |(_, rows)| rows.clone());
                self.texts.search(rows, who)
            }
            Err(at) => Err(self.kinds.get(at).map_or(self.len(), |(_, rows)| rows.start)),
        }
    }

    pub(super) fn rows_of(&self, kind: As) -> Range<usize> {
        self.kinds.iter().find(|(of, _)| *of == kind).map_or(0..0, |(_, rows)| rows.clone())
    }

    pub(super) fn kind(&self, row: usize) -> As {
        let at = self.kinds.partition_point(|(_, rows)| rows.end <= row);
        self.kinds.get(at).map_or(As::ClientId, |(kind, _)| *kind)
    }

    pub(super) fn author(&self, row: usize) -> &str {
        self.by.get(row).map_or("", |id| self.authors.get(*id))
    }

    pub(super) fn reason_of(&self, row: usize) -> &str {
        self.reason.get(row).map_or("", |id| self.reasons.get(*id))
    }

    pub(super) fn matching(&self, row: usize) -> Option<Match> {
        self.matching.get(row).copied().flatten()
    }

    /// How often a row was hit, and when last.
    pub(super) fn hits(&self, row: usize) -> (u64, Option<i64>) {
        let found = self.hits.binary_search_by_key(&row, |(row, ..)| *row);
        found.ok().and_then(|at| self.hits.get(at)).map_or((0, None), |(_, hits, last)| (*hits, *last))
    }

    pub(super) fn all_hits(&self) -> &[(usize, u64, Option<i64>)] {
        &self.hits
    }

    /// The place of each row in the order of texts and then kinds; none where that is the order of the rows.
    pub(super) fn places(&self) -> Option<&[u32]> {
        let places = self.places.get_or_init(|| {
            if self.kinds.len() < 2 {
                return Vec::new();
            }
            let mut rows: Vec<u32> = (0..self.len()).filter_map(|row| u32::try_from(row).ok()).collect();
            // Runs that are in order already are merged, and equal texts keep the order of their kinds.
            rows.sort_by(|a, b| self.texts.bytes(*a as usize).cmp(self.texts.bytes(*b as usize)));
            let mut places = vec![0; rows.len()];
            for (place, row) in (0..).zip(rows) {
                if let Some(slot) = places.get_mut(row as usize) {
                    *slot = place;
                }
            }
            places
        });
        (!places.is_empty()).then_some(places)
    }

    /// How many rows come before this text of this kind in that order, and whether it is there.
    pub(super) fn place_by_text(&self, kind: As, who: &str) -> (usize, bool) {
        let (mut before, mut is_there) = (0, false);
        for (of, rows) in &self.kinds {
            match self.texts.search(rows.clone(), who) {
                Ok(row) => {
                    before += row - rows.start;
                    before += usize::from(of.as_str() < kind.as_str());
                    is_there |= *of == kind;
                }
                Err(row) => before += row - rows.start,
            }
        }
        (before, is_there)
    }

    pub(super) fn compare_keys(&self, row: usize, other: &Table, at: usize) -> Ordering {
        let kinds = self.kind(row).as_str().cmp(other.kind(at).as_str());
        kinds.then_with(|| self.texts.bytes(row).cmp(other.texts.bytes(at)))
    }

    fn columns(&self, row: usize) -> Columns<'_> {
        let (hits, last_hit) = self.hits(row);
        Columns {
            kind: self.kind(row),
            who: self.texts.get(row),
            matching: self.matching(row),
            by: self.author(row),
            reason: self.reason_of(row),
            at: self.at.get(row).copied().unwrap_or(0),
            until: self.until.get(row).copied().unwrap_or(ENDLESS),
            hits,
            last_hit,
        }
    }

    /// The ban as lists show it.
    pub(super) fn entry(&self, row: usize, source: Source, has_both: bool) -> Entry {
        let Columns { kind, who, matching, at, until, hits, last_hit, .. } = self.columns(row);
        let shared =
            |names: &Names, ids: &[u32]| ids.get(row).map_or_else(|| "".into(), |id| names.shared(*id));
        let terms = Terms {
            by: shared(&self.authors, &self.by),
            reason: shared(&self.reasons, &self.reason),
            at: Timestamp::from_millis(at),
            until: if until == ENDLESS {
                Until::Infinity
            } else {
                Until::Moment(Timestamp::from_millis(until))
            },
        };
        let last_hit = last_hit.map(Timestamp::from_millis);
        Entry { kind, who: who.to_owned(), matching, terms, hits, last_hit, source, has_both }
    }
}

impl<'a> Columns<'a> {
    /// None for a row that is no ban.
    fn of_row(row: &'a Row<'_>) -> Option<Columns<'a>> {
        let until: Option<i64> = row.get(6).ok()?;
        Some(Columns {
            kind: row::text(row, 0, "as").ok()?.parse().ok()?,
            who: row::text(row, 1, "who").ok()?,
            matching: row::matching(row, 2).ok()?,
            by: row::text(row, 3, "by").ok()?,
            reason: row::text(row, 4, "reason").ok()?,
            at: row.get(5).ok()?,
            until: until.map_or(Some(ENDLESS), |until| Some(until).filter(|until| *until != ENDLESS))?,
            hits: row.get::<_, i64>(7).ok()?.try_into().ok()?,
            last_hit: row.get(8).ok()?,
        })
    }
}

#[derive(Debug, Default)]
struct Builder {
    table: Table,
    texts: TextsBuilder,
    authors: NamesBuilder,
    reasons: NamesBuilder,
}

impl Builder {
    /// The next row. None where there is no room for it.
    fn push(&mut self, columns: Columns<'_>) -> Option<()> {
        let Columns { kind, who, matching, by, reason, at, until, hits, last_hit } = columns;
        let table = &mut self.table;
        let row = table.at.len();
        u32::try_from(row).ok()?;
        match table.kinds.last_mut() {
            Some((last, rows)) if *last == kind => rows.end = row + 1,
            _ => table.kinds.push((kind, row..row + 1)),
        }
        self.texts.push(who)?;
        table.matching.push(matching);
        table.by.push(self.authors.id(by)?);
        table.reason.push(self.reasons.id(reason)?);
        table.at.push(at);
        table.until.push(until);
        if hits > 0 || last_hit.is_some() {
            table.hits.push((row, hits, last_hit));
        }
        Some(())
    }

    fn finish(self) -> Table {
        let Builder { mut table, texts, authors, reasons } = self;
        table.texts = texts.finish();
        table.authors = authors.finish(&mut table.by);
        table.reasons = reasons.finish(&mut table.reason);
        table.matching.shrink_to_fit();
        for column in [&mut table.at, &mut table.until] {
            column.shrink_to_fit();
        }
        for column in [&mut table.by, &mut table.reason] {
            column.shrink_to_fit();
        }
        table
    }
}

/// Shared by those who ask at the same time.
pub(super) type Shared = Arc<Table>;

const COLUMNS: &str = r#""as", who, matching, "by", reason, at, until, hits, last_hit"#;

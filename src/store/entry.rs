//! A ban as lists show it: its texts as they are stored, since a pattern that is only shown need not be compiled.

use super::row::{self, BadRow, RowError};
use super::selection::{Key, Place, Selection, Sort};
use crate::admission::{As, Ban, Match, Terms, Timestamp, Until, Who, WhoError};
use rusqlite::Row;

/// A ban as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The kind of the name.
    pub kind: As,
    /// Whom it names.
    pub who: String,
    /// For patterns: what part of a name they match.
    pub matching: Option<Match>,
    /// All the rest.
    pub terms: Terms,
    /// How often it has refused somebody.
    pub hits: u64,
    /// When it has refused somebody last.
    pub last_hit: Option<Timestamp>,
    /// Where it was made.
    pub source: Source,
    /// The other source names the same, and is not in force.
    pub has_both: bool,
}

/// Where a ban was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the config file.
    File,
    /// At run time.
    RunTime,
}

impl Source {
    /// The source's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::File => "file",
            Source::RunTime => "run_time",
        }
    }
}

impl Entry {
    /// The ban.
    ///
    /// # Errors
    /// Somebody else has written the row.
    pub fn ban(self) -> Result<Ban, WhoError> {
        Ok(Ban { who: Who::new(self.kind, &self.who, self.matching)?, terms: self.terms })
    }

    /// Its place in the order of a selection.
    pub fn place(&self, selection: &Selection) -> Place {
        let Terms { by, reason, at, until } = &self.terms;
        let key = match selection.order() {
            Sort::Who | Sort::As => Key::None,
            Sort::By => Key::Text((**by).to_owned()),
            Sort::Reason => Key::Text((**reason).to_owned()),
            Sort::At => Key::Number(at.as_millis()),
            Sort::Until | Sort::Status => match until {
                Until::Moment(end) => Key::Number(end.as_millis()),
                Until::Infinity => Key::None,
            },
            Sort::Hits => {
                i64::try_from(self.hits).ok().filter(|hits| *hits > 0).map_or(Key::None, Key::Number)
            }
            Sort::LastHit => self.last_hit.map_or(Key::None, |last| Key::Number(last.as_millis())),
        };
        Place { key, kind: self.kind, who: self.who.clone() }
    }

    /// Reads a row of a [`Selection`]'s query.
    pub(super) fn read(row: &Row<'_>) -> Result<Entry, RowError> {
        Entry::parse(row).map_err(|problem| {
            let key = [String::new(), row::shown(row, 0), row::shown(row, 1)];
            RowError::Bad(BadRow { key, problem })
        })
    }

    fn parse(row: &Row<'_>) -> Result<Entry, String> {
        let number = |index: usize, column: &str| {
            row.get::<_, Option<i64>>(index).map_err(|error| format!("{column}: {error}"))
        };
        let moment = |index, column| Ok::<_, String>(number(index, column)?.map(Timestamp::from_millis));
        let terms = Terms {
            by: row::text(row, 3, "by")?.into(),
            reason: row::text(row, 4, "reason")?.into(),
            at: moment(5, "at")?.ok_or("at is null")?,
            until: moment(6, "until")?.map_or(Until::Infinity, Until::Moment),
        };
        Ok(Entry {
            kind: row::text(row, 0, "as")?.parse().map_err(|error| format!("as {error}"))?,
            who: row::text(row, 1, "who")?.to_owned(),
            matching: row::matching(row, 2)?,
            terms,
            hits: number(7, "hits")?.and_then(|hits| hits.try_into().ok()).unwrap_or(0),
            last_hit: moment(8, "last_hit")?,
            source: if number(9, "source")? == Some(1) { Source::File } else { Source::RunTime },
            has_both: number(10, "both")? == Some(1),
        })
    }
}

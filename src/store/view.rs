//! Looks at a list, the bans of the config file among the others.

use super::entry::Entry;
use super::error::ReadError;
use super::pool::Desk;
use super::row::{self, RowError};
use super::selection::{Key, Place, Selection};
use crate::admission::{As, List, PatternIndex, Timestamp, Until};
use crate::bouncer::FileBan;
use rusqlite::{Connection, ErrorCode, Row, Statement, ToSql};
use std::ops::ControlFlow;
use std::path::Path;

/// The lists at the moment, on disk and in the config file.
#[derive(Debug, Clone, Copy)]
pub struct View<'c> {
    conn: &'c Connection,
    /// What errors call it.
    path: &'c Path,
    /// Who may break a question off.
    desk: Option<&'c Desk>,
}

/// Some bans of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The bans.
    pub entries: Vec<Entry>,
    /// Others follow.
    pub has_next: bool,
}

impl<'c> View<'c> {
    /// A view through this connection, in which [`prepare`] has been called.
    pub(super) fn new(conn: &'c Connection, path: &'c Path) -> View<'c> {
        View { conn, path, desk: None }
    }

    /// The same, of a connection that asks at this desk whether to go on.
    pub(super) fn watched(conn: &'c Connection, path: &'c Path, desk: &'c Desk) -> View<'c> {
        View { desk: Some(desk), ..View::new(conn, path) }
    }

    /// The wanted bans, when SQLite finds them in a few milliseconds.
    pub(super) fn page_at_once(&self, list: List, selection: &Selection) -> Result<Option<Page>, ReadError> {
        let Some(desk) = self.desk else { return self.page(list, selection).map(Some) };
        match desk.briefly(AT_ONCE, || self.page(list, selection)) {
            Ok(page) => Ok(Some(page)),
            Err(ReadError::Disk { source, .. })
                if source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn conn(&self) -> &'c Connection {
        self.conn
    }

    pub(super) fn path(&self) -> &'c Path {
        self.path
    }

    /// The wanted bans, as many as the selection's limit says.
    pub fn page(&self, list: List, selection: &Selection) -> Result<Page, ReadError> {
        let mut page = Page::default();
        let limit = selection.limit.unwrap_or(usize::MAX);
        let read = self.walk(list, selection, |row| {
            if page.entries.len() == limit {
                page.has_next = true;
                return Ok(ControlFlow::Break(()));
            }
            page.entries.push(Entry::read(row)?);
            Ok(ControlFlow::Continue(()))
        });
        read.map_err(|error| ReadError::of_row(self.path, error)).map(|()| page)
    }

    /// Shows `visit` the wanted bans until it breaks. They are those of one moment, whatever is written meanwhile.
    pub fn for_each(
        &self,
        list: List,
        selection: &Selection,
        mut visit: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut left = selection.limit.unwrap_or(usize::MAX);
        let read = self.walk(list, selection, |row| {
            if left == 0 {
                return Ok(ControlFlow::Break(()));
            }
            left -= 1;
            Ok(visit(Entry::read(row)?))
        });
        read.map_err(|error| ReadError::of_row(self.path, error))
    }

    /// Has `work` look several times at one moment, whatever is written meanwhile.
    pub fn at_one_moment<T>(&self, work: impl FnOnce(&View<'_>) -> T) -> Result<T, ReadError> {
        let moment = self.conn.unchecked_transaction();
        let _moment = moment.map_err(|error| ReadError::of_disk(self.path, error))?;
        Ok(work(self))
    }

    /// The ban with this text, whether it holds or has ended.
    pub fn get(&self, list: List, kind: As, who: &str) -> Result<Option<Entry>, ReadError> {
        let selection = Selection {
            kinds: vec![kind],
            who: Some(who.to_owned()),
            limit: Some(1),
            ..Selection::default()
        };
        Ok(self.page(list, &selection)?.entries.pop())
    }

    /// Steps through the parts of the selection's order.
    fn walk(
        &self,
        list: List,
        selection: &Selection,
        mut visit: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, RowError>,
    ) -> Result<(), RowError> {
        let _moment = if self.conn.is_autocommit() { Some(self.conn.unchecked_transaction()?) } else { None };
        let has_file = !selection.is_stored
            && self.conn.query_row("SELECT EXISTS (SELECT 1 FROM temp.file_bans)", [], |row| row.get(0))?;
        let like = like(selection);
        let mut skip = selection.skip;
        // One more than is shown says whether others follow.
        let mut rows_left = selection.limit.map(|limit| skip.saturating_add(limit).saturating_add(1));
        for part in selection.parts() {
            let Some(query) = selection.query(&part, has_file) else { continue };
            let mut statement = self.conn.prepare(&query)?;
            bind(&mut statement, list, selection, rows_left.filter(|_| like.is_none()))?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                if like.as_ref().is_some_and(|like| !is_like(like, row)) {
                    continue;
                }
                if let Some(left) = &mut rows_left {
                    *left = left.saturating_sub(1);
                }
                if skip > 0 {
                    skip -= 1;
                } else if visit(row)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// How often SQLite asks within a few milliseconds.
const AT_ONCE: u64 = 64;

fn like(selection: &Selection) -> Option<PatternIndex<()>> {
    let pattern = selection.like.clone()?;
    let index = PatternIndex::new();
    // An empty index has room for any.
    let _ = index.insert(pattern, ());
    Some(index)
}

fn is_like(like: &PatternIndex<()>, row: &Row<'_>) -> bool {
    row.get_ref(1).is_ok_and(|who| who.as_bytes().is_ok_and(|who| like.is_match(who)))
}

/// Gives a query the values that it asks for.
fn bind(
    statement: &mut Statement<'_>,
    list: List,
    selection: &Selection,
    rows: Option<usize>,
) -> rusqlite::Result<()> {
    let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_ascii_lowercase());
    let ends_from = match selection.ends.from {
        Some(Until::Moment(from)) => Some(from.as_millis()),
        Some(Until::Infinity) | None => None,
    };
    let millis = |moment: Option<Timestamp>| moment.map(Timestamp::as_millis);
    let rows = rows.map_or(-1, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
    let (text, reason) = (lower(&selection.text), lower(&selection.reason));
    let mut values: Vec<(&str, &dyn ToSql)> = Vec::new();
    let (list, made_from, made_to) = (list.as_str(), millis(selection.made_from), millis(selection.made_to));
    let ends_to = millis(selection.ends.to);
    values.extend::<[(&str, &dyn ToSql); 10]>([
        (":list", &list),
        (":who", &selection.who),
        (":text", &text),
        (":by", &selection.by),
        (":reason", &reason),
        (":made_from", &made_from),
        (":made_to", &made_to),
        (":ends_from", &ends_from),
        (":ends_to", &ends_to),
        (":rows", &rows),
    ]);
    let kind = selection.after.as_ref().map(|after| after.kind.as_str());
    if let Some(Place { key, who, .. }) = &selection.after {
        values.extend::<[(&str, &dyn ToSql); 2]>([(":after_who", who), (":after_as", &kind)]);
        match key {
            Key::None => {}
            Key::Number(number) => values.push((":after_key", number)),
            Key::Text(text) => values.push((":after_key", text)),
        }
    }
    for (name, value) in values {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}

/// Makes the table of the config file's bans, which is this connection's own.
pub(super) fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        r#"CREATE TEMP TABLE IF NOT EXISTS file_bans (
            list TEXT NOT NULL, "as" TEXT NOT NULL, who TEXT NOT NULL, matching TEXT, "by" TEXT NOT NULL,
            reason TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER, hits INTEGER NOT NULL, last_hit INTEGER,
            PRIMARY KEY (list, "as", who)) WITHOUT ROWID"#,
    )
}

/// Fills that table.
pub(super) fn fill(conn: &Connection, bans: &[FileBan]) -> rusqlite::Result<()> {
    let transaction = conn.unchecked_transaction()?;
    conn.execute("DELETE FROM temp.file_bans", [])?;
    let mut insert = conn
        .prepare("INSERT OR REPLACE INTO temp.file_bans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for FileBan { list, ban, hits, last_hit } in bans {
        let terms = &ban.terms;
        insert.execute((
            list.as_str(),
            ban.who.kind().as_str(),
            &*row::key(&ban.who),
            row::matching_of(&ban.who),
            &*terms.by,
            &*terms.reason,
            terms.at.as_millis(),
            row::until_of(terms.until),
            i64::try_from(*hits).unwrap_or(i64::MAX),
            last_hit.map(Timestamp::as_millis),
        ))?;
    }
    drop(insert);
    transaction.commit()
}

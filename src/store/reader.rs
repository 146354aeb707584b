//! Reads the file beside its writer, or without one: what the command line needs.

use super::error::{OpenError, ReadError};
use super::offence::{self, Offence};
use super::row::{self, COLUMNS, RowError, Texts};
use super::schema;
use super::view::{self, View};
use crate::admission::{As, Ban, List, Timestamp, Who};
use crate::bouncer::FileBan;
use rusqlite::Connection;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A view of the file that changes nothing. Writers go on beside it.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    conn: Connection,
}

/// Which bans of a list are wanted. The default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<As>,
    /// Only made by this.
    pub by: Option<String>,
    /// Only those whose `who` contains this text, byte for byte.
    pub text: Option<String>,
    /// Only those that hold at this moment.
    pub active_at: Option<Timestamp>,
    /// Only those that have ended at this moment or before.
    pub ended_at: Option<Timestamp>,
    /// How many of them to pass over first.
    pub skip: usize,
    /// The most to show.
    pub limit: Option<usize>,
}

impl Reader {
    /// Opens the file. It has to be there.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader, OpenError> {
        let path = path.as_ref();
        Ok(Reader { conn: schema::open_to_read(path)?, path: path.into() })
    }

    /// Of nothing, where there is no file.
    pub fn of_nothing() -> Result<Reader, OpenError> {
        let path = Path::new(super::IN_MEMORY);
        Ok(Reader { conn: schema::open_in_memory(path, schema::STEPS)?, path: path.into() })
    }

    /// Shows `visit` the wanted bans, in the order of evaluation of their kinds and then of their names, until it
    /// breaks. They are those of one moment, whatever is written meanwhile.
    pub fn for_each(
        &self,
        list: List,
        filter: &Filter,
        visit: impl FnMut(Ban) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.show(list, filter, visit).map_err(|error| self.failed(error))
    }

    fn show(
        &self,
        list: List,
        filter: &Filter,
        mut visit: impl FnMut(Ban) -> ControlFlow<()>,
    ) -> Result<(), RowError> {
        let moment = self.conn.unchecked_transaction()?;
        let mut statement =
            moment.prepare(&format!("SELECT {COLUMNS} FROM bans WHERE {WANTED} ORDER BY who"))?;
        let mut texts = Texts::default();
        let (mut skip, mut left) = (filter.skip, filter.limit.unwrap_or(usize::MAX));
        for kind in filter.kinds() {
            let mut rows = statement.query(filter.columns(list, kind))?;
            while left > 0
                && let Some(row) = rows.next()?
            {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                left -= 1;
                if visit(row::ban(row, &mut texts)?.1).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The ban that names `who`, whether it holds or has ended.
    pub fn get(&self, list: List, who: &Who) -> Result<Option<Ban>, ReadError> {
        let read = || {
            let query = format!(r#"SELECT {COLUMNS} FROM bans WHERE list = ?1 AND "as" = ?2 AND who = ?3"#);
            let mut statement = self.conn.prepare(&query)?;
            let mut rows = statement.query((list.as_str(), who.kind().as_str(), &*row::key(who)))?;
            let Some(row) = rows.next()? else { return Ok(None) };
            row::ban(row, &mut Texts::default()).map(|(_, ban)| Some(ban))
        };
        read().map_err(|error| self.failed(error))
    }

    /// What is remembered of `who`, its evidence included.
    pub fn offence(&self, who: &Who) -> Result<Option<Offence>, ReadError> {
        offence::find(&self.conn, &self.path, who)
    }

    /// How many bans the filter wants, `skip` and `limit` aside.
    pub fn count(&self, list: List, filter: &Filter) -> Result<usize, ReadError> {
        let read = || {
            let moment = self.conn.unchecked_transaction()?;
            let mut statement = moment.prepare(&format!("SELECT count(*) FROM bans WHERE {WANTED}"))?;
            let mut count = 0;
            for kind in filter.kinds() {
                let found: i64 = statement.query_row(filter.columns(list, kind), |row| row.get(0))?;
                count += usize::try_from(found).unwrap_or(0);
            }
            Ok(count)
        };
        read().map_err(|error: rusqlite::Error| self.failed(error.into()))
    }

    /// The lists, with these bans of the config file among them.
    pub fn view(&self, file: &[FileBan]) -> Result<View<'_>, ReadError> {
        view::prepare(&self.conn)
            .and_then(|()| view::fill(&self.conn, file))
            .map_err(|error| ReadError::of_disk(&self.path, error))?;
        Ok(View::new(&self.conn, &self.path))
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn conn_mut(&mut self) -> &mut Connection {
        &mut self.conn
    }

    fn failed(&self, error: RowError) -> ReadError {
        ReadError::of_row(&self.path, error)
    }
}

type Columns<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>, Option<i64>, Option<i64>);

impl Filter {
    fn kinds(&self) -> impl Iterator<Item = As> {
        let wanted = self.kind;
        As::ALL.into_iter().filter(move |kind| wanted.is_none_or(|wanted| wanted == *kind))
    }

    /// The parameters of [`WANTED`].
    fn columns(&self, list: List, kind: As) -> Columns<'_> {
        (
            list.as_str(),
            kind.as_str(),
            self.by.as_deref(),
            self.text.as_deref(),
            self.active_at.map(Timestamp::as_millis),
            self.ended_at.map(Timestamp::as_millis),
        )
    }
}

/// The rows of one kind that a filter wants; what it does not ask for is null.
const WANTED: &str = r#"list = ?1 AND "as" = ?2
    AND (?3 IS NULL OR "by" = ?3)
    AND (?4 IS NULL OR instr(who, ?4) > 0)
    AND (?5 IS NULL OR until IS NULL OR until > ?5)
    AND (?6 IS NULL OR until <= ?6)"#;

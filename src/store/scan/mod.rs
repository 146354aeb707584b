//! Finds bans by what no index of the file has: a piece of a text, a pattern, several things at once in an order of
//! another. SQLite would step through a million rows for that, which takes most of a second.
//!
//! So where SQLite has not found what is wanted within a few milliseconds, the list is held as a table of columns in
//! memory, and a question is a few passes over them. A table is what one snapshot of the file had. The writer tells
//! which rows it changes from then on, and these are read anew from the snapshot of each question: an answer is what
//! SQLite would say at that moment, row for row. The table is read in the background, when the first such question comes
//! (which SQLite goes on with), and given back when nobody has asked for a while.

mod bits;
mod names;
mod order;
mod search;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod watch;

pub(super) use watch::Watch;

use super::entry::{Entry, Source};
use super::error::ReadError;
use super::reader::Reader;
use super::selection::Selection;
use super::view::Page;
use super::writer::Order;
use super::{IN_MEMORY, Shared, Store};
use crate::admission::{List, Match};
use crate::bouncer::{Bouncer, FileBan};
use bits::Bits;
use rusqlite::{Connection, Transaction};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use table::Table;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::warn;
use watch::{Keys, Known};

/// The lists as scans want them.
#[derive(Debug)]
pub(super) struct Scans {
    pub(super) watch: Arc<Watch>,
    /// The config file's bans of each list, and which version of them.
    file: Mutex<[Option<FileTable>; List::ALL.len()]>,
    /// Whether somebody looks whether tables are still asked for.
    is_tidied: AtomicBool,
}

/// The config file's bans of a list, and which version of them.
type FileTable = (u64, Arc<Table>);

impl Scans {
    pub(super) fn new(watch: Arc<Watch>) -> Scans {
        Scans { watch, file: Mutex::default(), is_tidied: AtomicBool::new(false) }
    }

    /// Waits until nobody has asked for a while, and gives the tables back.
    async fn give_back_in_time(&self) {
        if self.is_tidied.swap(true, Relaxed) {
            return;
        }
        loop {
            sleep(IDLE / 10).await;
            let is_left = Instant::now().checked_sub(IDLE).is_none_or(|since| self.watch.tidy(since));
            if !is_left {
                break;
            }
        }
        self.is_tidied.store(false, Relaxed);
    }

    /// The page that a selection wants, at the moment at which it is asked; none where there is no table yet.
    fn page(
        &self,
        conn: &Connection,
        list: List,
        selection: &Selection,
        bouncer: &Bouncer,
    ) -> rusqlite::Result<Option<Page>> {
        let Some(table) = self.watch.table(list) else { return Ok(None) };
        // The snapshot is of later than the table, and what it shows of later than that has been told.
        let moment = begin(conn)?;
        let Some(known) = self.watch.known(list).filter(|known| known.is(&table)) else { return Ok(None) };
        let fresh = Table::read_some(conn, list.as_str(), known.changed.iter())?;
        drop(moment);
        let file = self.file(list, bouncer);
        Ok(fresh.zip(file).map(|(fresh, file)| Found::new(&known, &fresh, &file).page(selection)))
    }

    /// The config file's bans.
    fn file(&self, list: List, bouncer: &Bouncer) -> Option<Arc<Table>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let [bans, exemptions] = &mut *file;
        let known = if list == List::Bans { bans } else { exemptions };
        if let Some((version, table)) = known
            && *version == bouncer.file_version()
        {
            return Some(Arc::clone(table));
        }
        let (version, all) = bouncer.file_bans();
        let table = Arc::new(Table::of_file(all.iter().filter(|there: &&FileBan| there.list == list))?);
        *known = Some((version, Arc::clone(&table)));
        Some(table)
    }

    /// Reads a table from a snapshot that begins now; [`Watch::begin`] has been called.
    fn read(&self, conn: &Connection, list: List) -> rusqlite::Result<Option<Table>> {
        let _moment = begin(conn)?;
        let Some(known) = self.watch.known(list) else { return Table::read(conn, list.as_str()) };
        // Cheaper than to read all rows again.
        let stale = known.stale();
        let fresh = Table::read_some(conn, list.as_str(), known.changed.iter())?;
        Ok(fresh.and_then(|fresh| known.table.with(&stale, &fresh)))
    }
}

/// Begins a snapshot: it is of the moment at which something is read first.
fn begin(conn: &Connection) -> rusqlite::Result<Transaction<'_>> {
    let moment = conn.unchecked_transaction()?;
    moment.query_row("SELECT EXISTS (SELECT 1 FROM main.bans)", [], |_| Ok(()))?;
    Ok(moment)
}

impl Store {
    /// The wanted bans, as many as the selection's limit says.
    ///
    /// # Errors
    /// They cannot be read, or it took too long.
    pub async fn page(&self, list: List, selection: &Selection) -> Result<Page, ReadError> {
        let (shared, selection) = (Arc::clone(&self.0), selection.clone());
        let runtime = Handle::current();
        self.look(move |view| {
            let at_once = view.page_at_once(list, &selection)?;
            let (None, Some(bouncer)) = (&at_once, &shared.pool.bouncer) else {
                return at_once.map_or_else(|| view.page(list, &selection), Ok);
            };
            // Names are found at once; that of an export is all of the list.
            if selection.who.is_some() || selection.is_stored {
                return view.page(list, &selection);
            }
            if shared.scans.watch.ask(list, Instant::now()) {
                runtime.spawn(Arc::clone(&shared).read_table(list));
            }
            match shared.scans.page(view.conn(), list, &selection, bouncer) {
                Ok(Some(page)) => Ok(page),
                Ok(None) => view.page(list, &selection),
                Err(error) => Err(ReadError::of_disk(view.path(), error)),
            }
        })
        .await
    }
}

impl Shared {
    /// Reads the table of a list, in the background.
    async fn read_table(self: Arc<Shared>, list: List) {
        let reading = Reading { scans: Arc::clone(&self.scans), list, table: None };
        let (reply, answer) = oneshot::channel();
        let is_in_memory = self.path.is_none();
        // The writer looks between two transactions.
        let begin = move |conn: &Connection| {
            let mut reading = reading;
            reading.scans.watch.begin(list);
            if is_in_memory {
                reading.read(conn, Path::new(IN_MEMORY));
            }
            // Refused only when the runtime has ended.
            let _ = reply.send(reading);
        };
        if self.orders.send(Order::Look(Box::new(begin))).await.is_err() {
            return;
        }
        let Ok(mut reading) = answer.await else { return };
        if let Some(path) = self.path.clone() {
            let Ok(place) = Arc::clone(&self.pool.long_places).acquire_owned().await else { return };
            let read = move || {
                let _place = place;
                match Reader::open(&path) {
                    Ok(reader) => reading.read(reader.conn(), &path),
                    Err(error) => warn!(error = %error, "a list cannot be read for its filters"),
                }
                drop(reading);
            };
            if spawn_blocking(read).await.is_err() {
                return;
            }
        } else {
            drop(reading);
        }
        let scans = Arc::clone(&self.scans);
        drop(self);
        scans.give_back_in_time().await;
    }
}

/// A table that is being read; however that ends, it is told.
struct Reading {
    scans: Arc<Scans>,
    list: List,
    table: Option<Arc<Table>>,
}

impl Reading {
    fn read(&mut self, conn: &Connection, path: &Path) {
        match self.scans.read(conn, self.list) {
            Ok(table) => self.table = table.map(Arc::new),
            Err(error) => warn!(file = %path.display(), %error, "a list cannot be read for its filters"),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.scans.watch.end(self.list, self.table.take());
    }
}

impl Known {
    /// The rows of the table that are not to be trusted any more, in their order.
    fn stale(&self) -> Vec<usize> {
        let mut rows: Vec<_> =
            self.changed.iter().filter_map(|(kind, who)| self.table.find(*kind, who)).collect();
        rows.sort_unstable();
        rows
    }
}

/// The three places in which bans are.
struct Found<'t> {
    tables: [&'t Table; 3],
    changed: &'t Keys,
    /// The rows of each that are not shown: changed since, or not in force because the other source names the same.
    gone: [Vec<usize>; 3],
}

const OLD: usize = 0;
const FRESH: usize = 1;
const FILE: usize = 2;

/// A row, and in which of the tables.
type At = (usize, usize);

impl<'t> Found<'t> {
    fn new(known: &'t Known, fresh: &'t Table, file: &'t Table) -> Found<'t> {
        let tables = [&*known.table, fresh, file];
        let mut found = Found { tables, changed: &known.changed, gone: Default::default() };
        let [mut old, mut new, mut of_file] = [known.stale(), Vec::new(), Vec::new()];
        for row in 0..file.len() {
            match found.at_run_time(row) {
                None => {}
                Some(run_time) if !file_wins((file, row), (found.table(run_time), run_time.1)) => {
                    of_file.push(row);
                }
                Some((OLD, row)) => old.push(row),
                Some((_, row)) => new.push(row),
            }
        }
        found.gone = [old, new, of_file];
        found
    }

    fn table(&self, (which, _): At) -> &'t Table {
        let [old, fresh, file] = self.tables;
        match which {
            OLD => old,
            FRESH => fresh,
            _ => file,
        }
    }

    /// Where the ban is that was made at run time and names the same as this one of the file.
    fn at_run_time(&self, row: usize) -> Option<At> {
        let [old, fresh, file] = self.tables;
        let (kind, who) = (file.kind(row), file.texts.get(row));
        if let Some(row) = fresh.find(kind, who) {
            return Some((FRESH, row));
        }
        let row = old.find(kind, who)?;
        let is_old = self.changed.is_empty() || !self.changed.contains(&(kind, who.into()));
        is_old.then_some((OLD, row))
    }

    fn page(&self, selection: &Selection) -> Page {
        let [old, fresh, file] = self.tables;
        let [old_gone, fresh_gone, file_gone] = &self.gone;
        let is_run_time = selection.source != Some(Source::File);
        let is_file = selection.source != Some(Source::RunTime);
        let rows =
            [(old, old_gone, is_run_time), (fresh, fresh_gone, is_run_time), (file, file_gone, is_file)].map(
                |(table, gone, is_wanted)| {
                    if is_wanted { search::wanted(table, selection, gone) } else { Bits::none(0) }
                },
            );
        let limit = selection.limit.unwrap_or(usize::MAX);
        let others: usize = rows.iter().skip(1).map(Bits::count).sum();
        // What is passed over are old ones, but for as many as there are others.
        let passed = selection.skip.saturating_sub(others);
        let left = selection.skip - passed;
        let most = left.saturating_add(limit).saturating_add(1);
        let mut merged: Vec<At> = Vec::new();
        for (which, (table, rows)) in self.tables.into_iter().zip(&rows).enumerate() {
            let skip = if which == OLD { passed } else { 0 };
            let first = order::first(table, rows, selection, skip, most);
            merged.extend(first.into_iter().map(|row| (which, row)));
        }
        if others > 0 {
            merged.sort_by(|a, b| order::compare((self.table(*a), a.1), (self.table(*b), b.1), selection));
        }
        let has_next = merged.len() > left.saturating_add(limit);
        let entries = merged.into_iter().skip(left).take(limit).map(|at| self.entry(at)).collect();
        Page { entries, has_next }
    }

    fn entry(&self, at: At) -> Entry {
        let (table, (which, row)) = (self.table(at), at);
        let [_, _, file] = self.tables;
        if which == FILE {
            return table.entry(row, Source::File, self.at_run_time(row).is_some());
        }
        let has_both = file.find(table.kind(row), table.texts.get(row)).is_some();
        table.entry(row, Source::RunTime, has_both)
    }
}

/// Of two bans of one name the one that ends later is in force, the file's if they end alike; of two patterns that match
/// differently, the one that matches any part (`bouncer` has the rule).
fn file_wins((file, row): (&Table, usize), (run_time, at): (&Table, usize)) -> bool {
    let matching = file.matching(row);
    if matching == run_time.matching(at) {
        file.until.get(row) >= run_time.until.get(at)
    } else {
        matching == Some(Match::Search)
    }
}

/// How long a table is kept after the last question.
const IDLE: Duration = Duration::from_mins(10);

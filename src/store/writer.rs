//! The thread that owns the database. It takes what waits, writes it as one transaction, and when that is on disk, puts
//! it in force and answers. One fsync serves them all.

use super::change::{Change, Changed};
use super::crowd::Crowd;
use super::error::{ChangeError, ReadError};
use super::ledger::{Done, Effect, Failure, Ledger};
use super::lift::OnLift;
use super::lock::Lock;
use super::offence::{self, Offence};
use super::scan::Watch;
use super::schema;
use super::tally::Tally;
use crate::admission::{List, TooMany, Who};
use crate::bouncer::Bouncer;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

/// What the handles send.
pub(super) enum Order {
    Change(Request),
    /// Tell what is remembered of somebody, once the changes that came before are made.
    Tell(Who, oneshot::Sender<Result<Option<Offence>, ReadError>>),
    /// Have somebody look at the lists, once the changes that came before are made.
    Look(Look),
    /// Do what waits, then end.
    Close,
}

pub(super) type Look = Box<dyn FnOnce(&Connection) + Send>;

/// Changes to be made together or not at all, and whom to tell.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) changes: Vec<Change>,
    pub(super) reply: Reply,
}

pub(super) type Reply = oneshot::Sender<Result<Changed, ChangeError>>;

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) conn: Connection,
    pub(super) bouncer: Option<Bouncer>,
    pub(super) crowd: Crowd,
    pub(super) progress: Arc<AtomicU64>,
    pub(super) tally: Arc<Tally>,
    pub(super) on_lift: OnLift,
    pub(super) watch: Arc<Watch>,
    /// Let go of last: when the connection is closed. None where there is no file.
    pub(super) lock: Option<Lock>,
}

impl Writer {
    /// Serves until every handle is gone, or one of them says so.
    pub(super) fn run(self, orders: mpsc::Receiver<Order>) {
        let Writer { path, conn, bouncer, crowd, progress, tally, on_lift, watch, lock } = self;
        match Ledger::new(&conn, bouncer.is_some(), watch) {
            Ok(ledger) => {
                let is_failing = false;
                let (path, conn) = (&path, &conn);
                Desk { path, conn, ledger, bouncer, crowd, progress, tally, on_lift, is_failing }
                    .serve(orders);
            }
            // The file was opened with these very statements; somebody has changed its tables since.
            Err(error) => error!(file = %path.display(), %error, "the store cannot be written"),
        }
        if let Err(error) = checkpoint(&conn).and_then(|()| conn.close().map_err(|(_, error)| error)) {
            // Nothing is lost: the next one to open the file finds it in the log beside it.
            warn!(file = %path.display(), %error, "the store was not closed well");
        }
        drop(lock);
    }
}

/// The writer at work.
struct Desk<'c> {
    path: &'c PathBuf,
    conn: &'c Connection,
    ledger: Ledger<'c>,
    bouncer: Option<Bouncer>,
    crowd: Crowd,
    progress: Arc<AtomicU64>,
    tally: Arc<Tally>,
    on_lift: OnLift,
    /// The last transaction could not be written. Said once, not for each of them.
    is_failing: bool,
}

impl Desk<'_> {
    fn serve(&mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(first) = orders.blocking_recv() {
            let (mut group, mut asked, mut looks) = (Vec::new(), Vec::new(), Vec::new());
            let mut size = 0;
            let mut next = Some(first);
            while let Some(order) = next {
                match order {
                    Order::Change(request) => {
                        size += weight(&request.changes);
                        group.push(request);
                    }
                    Order::Tell(who, reply) => asked.push((who, reply)),
                    Order::Look(look) => looks.push(look),
                    Order::Close => orders.close(),
                }
                next = if size < GROUP { orders.try_recv().ok() } else { None };
            }
            if !group.is_empty() {
                self.commit(group, size);
            }
            for (who, reply) in asked {
                let _ = reply.send(offence::find(self.conn, self.path, &who));
            }
            for look in looks {
                look(self.conn);
            }
        }
    }

    /// Writes a group, puts it in force, and answers everybody in it.
    fn commit(&mut self, group: Vec<Request>, size: usize) {
        let is_large = size >= LARGE;
        let (replies, requests): (Vec<_>, Vec<_>) =
            group.into_iter().map(|request| (request.reply, request.changes)).unzip();
        if is_large {
            self.tune("cache_size", LARGE_CACHE);
        }
        let changes: Vec<usize> = requests.iter().map(Vec::len).collect();
        let began = Instant::now();
        match self.write(requests, size) {
            Ok(outcomes) => {
                let made = outcomes.iter().zip(changes).filter(|(outcome, _)| outcome.is_ok());
                self.tally.committed(made.map(|(_, changes)| changes).sum(), began.elapsed());
                if std::mem::take(&mut self.is_failing) {
                    info!(file = %self.path.display(), "the store can be written again");
                }
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let answer = outcome.and_then(|done| self.put_in_force(done));
                    // Whoever asked may have gone; the change is made.
                    let _ = reply.send(answer);
                }
                self.crowd.settle();
            }
            Err(error) => self.give_up(replies, error),
        }
        if is_large {
            self.tune("cache_size", USUAL_CACHE);
            self.shrink();
        }
    }

    /// One transaction. Requests that cannot be are left out of it.
    fn write(
        &mut self,
        requests: Vec<Vec<Change>>,
        size: usize,
    ) -> rusqlite::Result<Vec<Result<Done, ChangeError>>> {
        let is_alone = requests.len() == 1;
        let mut outcomes = Vec::with_capacity(requests.len());
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let makes_orders = size >= HUGE && self.has_fewer_than(size)?;
        if makes_orders {
            self.conn.execute_batch(schema::DROP_ORDERS)?;
        }
        for changes in requests {
            let mark = self.crowd.mark();
            if !is_alone {
                self.conn.execute_batch("SAVEPOINT request")?;
            }
            let outcome = match self.ledger.write(changes, &mut self.crowd, &self.progress) {
                Ok(done) => Ok(done),
                Err(Failure::Disk(error)) => return Err(error),
                Err(Failure::Refused(error)) => {
                    self.crowd.roll_back(mark);
                    self.conn.execute_batch(if is_alone { "ROLLBACK" } else { "ROLLBACK TO request" })?;
                    Err(error)
                }
            };
            if !is_alone {
                self.conn.execute_batch("RELEASE request")?;
            }
            outcomes.push(outcome);
        }
        if !self.conn.is_autocommit() {
            self.ledger.finish()?;
            if makes_orders {
                self.conn.execute_batch(schema::MAKE_ORDERS)?;
            }
            self.conn.execute_batch("COMMIT")?;
        }
        Ok(outcomes)
    }

    fn has_fewer_than(&self, count: usize) -> rusqlite::Result<bool> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let there: i64 =
            self.conn
                .query_row("SELECT count(*) FROM (SELECT 1 FROM bans LIMIT ?1)", [count], |row| row.get(0))?;
        Ok(there < count)
    }

    fn put_in_force(&self, done: Done) -> Result<Changed, ChangeError> {
        let Some(bouncer) = &self.bouncer else { return Ok(done.changed) };
        let mut refused: Option<TooMany> = None;
        let on_lift = self.on_lift.hook();
        for effect in done.effects {
            match effect {
                Effect::Put(list, ban) => refused = bouncer.put(list, ban).err().or(refused),
                Effect::Remove(list, who) => bouncer.remove(list, &who),
                Effect::Lift(list, who) => {
                    bouncer.remove(list, &who);
                    if let Some(on_lift) = on_lift.as_ref().filter(|_| list == List::Bans) {
                        on_lift(&who);
                    }
                }
            }
        }
        match refused {
            None => Ok(done.changed),
            // Only when others have filled the list since we counted.
            Some(error) => {
                error!(file = %self.path.display(), %error, "a pattern was stored and is not in force");
                Err(error.into())
            }
        }
    }

    /// Takes the transaction back and tells everybody in it.
    fn give_up(&mut self, replies: Vec<Reply>, error: rusqlite::Error) {
        self.tally.failed();
        if !std::mem::replace(&mut self.is_failing, true) {
            error!(file = %self.path.display(), %error, "the store cannot be written");
        }
        self.crowd.roll_back(0);
        self.ledger.roll_back();
        // SQLite may have done it already.
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            error!(file = %self.path.display(), %error, "the store cannot take a change back");
        }
        let source = Arc::new(error);
        for reply in replies {
            let source = Arc::clone(&source);
            let _ = reply.send(Err(ChangeError::Disk { path: self.path.clone(), source }));
        }
    }

    fn tune(&self, pragma: &str, value: i64) {
        if let Err(error) = self.conn.pragma_update(None, pragma, value) {
            warn!(file = %self.path.display(), %error, pragma, "the store cannot be tuned");
        }
    }

    /// Gives back the memory that a large change has taken.
    fn shrink(&self) {
        if let Err(error) = self.conn.execute_batch("PRAGMA shrink_memory") {
            warn!(file = %self.path.display(), %error, "the store cannot be tuned");
        }
    }
}

/// About how many rows a request changes. Emptying a list may be all of them.
fn weight(changes: &[Change]) -> usize {
    let clears = changes.iter().filter(|change| matches!(change, Change::Clear(_))).count();
    changes.len() + clears * LARGE
}

/// Moves what is in the log into the file, as far as no reader needs it there. Waits for nobody.
fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// How many changes one transaction takes before it leaves the others for the next.
const GROUP: usize = 4_096;

/// From how many changes on a transaction is given memory.
const LARGE: usize = 10_000;

/// From how many changes on, where there are fewer bans, indexes are made anew.
const HUGE: usize = 50_000;

/// Page caches, in SQLite's units: negative numbers are KiB. The usual one is SQLite's default.
const LARGE_CACHE: i64 = -131_072;
const USUAL_CACHE: i64 = -2_000;

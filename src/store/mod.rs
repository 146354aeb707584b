//! Keeps bans and exemptions on disk. A change that was acknowledged is there after `kill -9` and after a power cut, and
//! it is in force.
//!
//! One SQLite file, because an operator can read it with `sqlite3`, and because others may read while we write. One
//! thread owns it: it gathers the requests that wait, writes them in one transaction, and when that is on disk, puts
//! them in force and answers. So a request costs its share of one fsync, and the disk is never behind the lists.
//!
//! The lists in memory ([`Bouncer`]) may hold more than the file does: bans of the config file. What the store takes off
//! the lists is only what it has put there.
//!
//! # The file
//! Table `bans`: `list` (`bans` or `exemptions`), `"as"`, `who`, `matching` (`search` or `full`, for patterns), `"by"`,
//! `reason`, `at` and `until` in milliseconds since 1970, `until` null for infinity. A row that is no ban keeps the
//! proxy from starting: a gap in the list would let somebody in.
//!
//! `hits` and `last_hit` say how often a ban has refused somebody, and when last; they are written a few seconds later,
//! or a minute where thousands of bans are met at once.
//!
//! Table `offences`: what is remembered of those who were banned automatically: `"as"`, `who`, `count`, `until`,
//! `ban_time` in milliseconds, and `evidence`, JSON that explains the last of their bans.
//!
//! Tables `users` and `api_keys`: who may use the API. Passwords and secrets are kept as hashes.

mod accounts;
mod change;
mod crowd;
mod entry;
mod error;
mod ledger;
mod lift;
mod load;
mod lock;
mod offence;
mod pool;
mod query;
mod reader;
mod row;
mod scan;
mod schema;
mod selection;
mod tally;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use accounts::Accounts;
pub use change::{Amendment, Change, Changed, NewEnd};
pub use entry::{Entry, Source};
pub use error::{ChangeError, OpenError, ReadError};
pub use offence::{MAX_EVIDENCE, MAX_OFFENCES, Offence};
pub use pool::PATIENCE;
pub use reader::{Filter, Reader};
pub use row::BadRow;
pub use selection::{Ends, Key, Place, Selection, Sort};
pub use tally::Work;
pub use view::{Page, View};

pub use crate::bouncer::FileBan;

use crate::admission::Who;
use crate::bouncer::Bouncer;
use crate::process;
use ledger::Ledger;
use lift::OnLift;
use lock::Lock;
use pool::Pool;
use rusqlite::Connection;
use scan::{Scans, Watch};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tally::Tally;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::{debug, error};
use writer::{Order, Request, Writer};

/// A handle to the store. Clones share it; when the last one goes, the writer ends by itself.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: mpsc::Sender<Order>,
    progress: Arc<AtomicU64>,
    tally: Arc<Tally>,
    on_lift: OnLift,
    pool: Pool,
    scans: Arc<Scans>,
    /// None where there is no file.
    path: Option<PathBuf>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What was found in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// There was no file; there is one now.
    pub is_new: bool,
    /// How many bans it holds, ended ones included.
    pub bans: usize,
    /// How many exemptions it holds.
    pub exemptions: usize,
    /// What is remembered of those who were banned automatically, the latest end first, without their evidence. At most
    /// [`MAX_OFFENCES`], and none when no lists follow the store.
    pub offences: Vec<Offence>,
    /// Those who may use the API.
    pub accounts: Accounts,
}

impl Store {
    /// Opens the file for writing, makes it and its folder if there is none, and puts everything in it into `bouncer`,
    /// which from then on follows every change. Without one, as beside a stopped proxy, only the disk is changed.
    ///
    /// # Errors
    /// Somebody else writes to it; it cannot be read or made; it is damaged, or something else. It is never taken for
    /// empty.
    pub fn open(path: impl AsRef<Path>, bouncer: Option<Bouncer>) -> Result<(Store, Loaded), OpenError> {
        let path = path.as_ref();
        schema::create_folder(path)?;
        let lock = Lock::take(path)?;
        let (conn, is_new) = schema::open_to_write(path, schema::STEPS)?;
        Store::start(path, Some(lock), conn, bouncer)
            .map(|(store, loaded)| (store, Loaded { is_new, ..loaded }))
    }

    /// A store without a file: `bouncer` follows every change as it does otherwise, and nothing outlives the store.
    ///
    /// # Errors
    /// There is no memory, or no thread.
    pub fn in_memory(bouncer: Bouncer) -> Result<Store, OpenError> {
        let path = Path::new(IN_MEMORY);
        let conn = schema::open_in_memory(path, schema::STEPS)?;
        Store::start(path, None, conn, Some(bouncer)).map(|(store, _)| store)
    }

    /// Without a lock there is no file, and `path` is only what errors call it.
    fn start(
        path: &Path,
        lock: Option<Lock>,
        mut conn: Connection,
        bouncer: Option<Bouncer>,
    ) -> Result<(Store, Loaded), OpenError> {
        let (mut loaded, crowd) = match &bouncer {
            Some(bouncer) => load::load(&conn, path, bouncer)?,
            None => load::count(&conn, path)?,
        };
        loaded.accounts = accounts::load(&conn, path).map_err(|error| schema::failed(path, "read", error))?;
        // Tables that are not as we know them show here, not at the first change.
        let watch = Arc::<Watch>::default();
        Ledger::new(&conn, bouncer.is_some(), Arc::clone(&watch))
            .map_err(|error| schema::failed(path, "use", error))?;
        let (progress, on_lift) = (Arc::<AtomicU64>::default(), OnLift::default());
        let tally = Arc::<Tally>::default();
        let file = lock.is_some().then(|| path.to_owned());
        let pool = Pool::new(bouncer.clone());
        if lock.is_none() {
            // Lists are then read through the writer's connection.
            pool.desk.watch(&mut conn).map_err(|error| schema::failed(path, "use", error))?;
        }
        let writer = Writer {
            path: path.into(),
            conn,
            bouncer,
            crowd,
            progress: Arc::clone(&progress),
            tally: Arc::clone(&tally),
            on_lift: on_lift.clone(),
            watch: Arc::clone(&watch),
            lock,
        };
        let (orders, waiting) = mpsc::channel(WAITING);
        let write = move || {
            // Beside connections, none of which waits for it: a ban of ours is in force before it is written.
            if writer.bouncer.is_some()
                && let Err(error) = process::step_back()
            {
                debug!(%error, "the writer of the store keeps its priority");
            }
            writer.run(waiting);
        };
        let writer = thread::Builder::new().name("store".to_owned()).spawn(write).map_err(|source| {
            OpenError::Files { action: "start the writer of", path: path.into(), source }
        })?;
        let scans = Arc::new(Scans::new(watch));
        let writer = Mutex::new(Some(writer));
        let shared = Shared { orders, progress, tally, on_lift, pool, scans, path: file, writer };
        Ok((Store(Arc::new(shared)), loaded))
    }

    /// Makes these changes, in their order, all of them or none. When this returns, they are on disk and in force. They
    /// are made even if the caller stops waiting.
    ///
    /// # Errors
    /// None of them was made.
    pub async fn change(&self, changes: Vec<Change>) -> Result<Changed, ChangeError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Change(Request { changes, reply });
        self.0.orders.send(order).await.map_err(|_| ChangeError::Closed)?;
        answer.await.map_err(|_| ChangeError::Closed)?
    }

    /// [`change`](Store::change) for threads that may block; it must not be called from async code.
    pub fn change_blocking(&self, changes: Vec<Change>) -> Result<Changed, ChangeError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Change(Request { changes, reply });
        self.0.orders.blocking_send(order).map_err(|_| ChangeError::Closed)?;
        answer.blocking_recv().map_err(|_| ChangeError::Closed)?
    }

    /// What is remembered of `who`, its evidence included. Where there is a file it is read beside the writer, so that
    /// nobody waits here for a long import.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn offence(&self, who: Who) -> Result<Option<Offence>, ReadError> {
        let Some(path) = self.0.path.clone() else { return self.offence_in_memory(who).await };
        let read = move || {
            let reader = Reader::open(path).map_err(|error| ReadError::Open(Box::new(error)))?;
            reader.offence(&who)
        };
        // Not served only when the runtime ends.
        spawn_blocking(read).await.map_err(|_| ReadError::Closed)?
    }

    async fn offence_in_memory(&self, who: Who) -> Result<Option<Offence>, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.0.orders.send(Order::Tell(who, reply)).await.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }

    /// Has `hook` called for each ban that a [`Change::Remove`] or [`Change::Clear`] takes off the bans, when that is on
    /// disk and in force and before it is acknowledged. Bans that are forgotten because they have ended are not told,
    /// nor is anything when no lists follow the store. It takes the place of the hook before.
    ///
    /// The writer calls it and waits for it: it has to be quick, and must not ask the store.
    pub fn on_lift(&self, hook: impl Fn(&Who) + Send + Sync + 'static) {
        self.0.on_lift.set(Arc::new(hook));
    }

    /// The file; `None` for a store in memory.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What it has done so far, and how large it is.
    pub fn work(&self) -> Work {
        self.0.tally.work(self.path())
    }

    /// How many rows the request in hand has written so far.
    pub fn progress(&self) -> u64 {
        self.0.progress.load(Ordering::Relaxed)
    }

    /// Does what waits, tidies the file and lets go of it. Changes that other handles ask for afterwards are refused.
    /// Blocks; it must not be called from async code.
    pub fn close(self) {
        // Refused only when it is closed already.
        let _ = self.0.orders.blocking_send(Order::Close);
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            error!("the store's writer has failed");
        }
    }
}

/// What errors call a store without a file.
const IN_MEMORY: &str = ":memory:";

/// How many requests may wait for the writer before those who ask have to wait.
const WAITING: usize = 1_024;

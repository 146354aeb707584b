//! A few connections that read beside the writer, so that nobody who asks waits for a long import, and nobody's question
//! holds a thread for long.

use super::error::ReadError;
use super::reader::Reader;
use super::view::{self, View};
use super::writer::Order;
use super::{IN_MEMORY, Shared, Store};
use crate::bouncer::Bouncer;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The connections that are idle, and how many may be in use.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Pooled>>,
    places: Arc<Semaphore>,
    /// How many may read all of a list.
    pub(super) long_places: Arc<Semaphore>,
    /// What the config file says, where a proxy runs.
    pub(super) bouncer: Option<Bouncer>,
    /// Which version of that the writer's connection has, where lists are read through it.
    in_memory: Mutex<Option<u64>>,
    /// What that connection is at work on.
    pub(super) desk: Desk,
}

#[derive(Debug)]
struct Pooled {
    reader: Reader,
    desk: Desk,
    /// Which version of the config file's bans it has.
    version: Option<u64>,
}

/// Whether a question is still waited for.
#[derive(Debug, Clone, Default)]
struct Question(Arc<AtomicBool>);

/// Breaks the question off when whoever asked has gone.
struct Asking(Question);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What a connection is at work on. SQLite asks every thousand steps or so whether to go on; an interrupt from outside
/// would be lost between two statements, or meet the next question.
#[derive(Debug, Clone, Default)]
pub(super) struct Desk(Arc<At>);

#[derive(Debug)]
struct At {
    question: Mutex<Question>,
    /// How often SQLite may still ask.
    left: AtomicU64,
}

impl Default for At {
    fn default() -> At {
        At { question: Mutex::default(), left: AtomicU64::new(u64::MAX) }
    }
}

impl Desk {
    /// Has this connection ask.
    pub(super) fn watch(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        let desk = self.clone();
        conn.progress_handler(
            STEPS,
            Some(move || desk.lock().is_over() || desk.0.left.fetch_sub(1, Ordering::Relaxed) == 0),
        )
    }

    /// Does the work, and breaks it off when SQLite has to ask so often.
    pub(super) fn briefly<T>(&self, times: u64, work: impl FnOnce() -> T) -> T {
        self.0.left.store(times, Ordering::Relaxed);
        let done = work();
        self.0.left.store(u64::MAX, Ordering::Relaxed);
        done
    }

    /// Does the work, unless nobody waits for it any more.
    fn work<T>(&self, question: &Question, work: impl FnOnce() -> T) -> Option<T> {
        if question.is_over() {
            return None;
        }
        *self.lock() = question.clone();
        let done = work();
        *self.lock() = Question::default();
        Some(done)
    }

    fn lock(&self) -> MutexGuard<'_, Question> {
        self.0.question.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Pool {
    pub(super) fn new(bouncer: Option<Bouncer>) -> Pool {
        let [places, long_places] = [READERS, LONG_READERS].map(|count| Arc::new(Semaphore::new(count)));
        Pool {
            idle: Mutex::default(),
            places,
            long_places,
            bouncer,
            in_memory: Mutex::default(),
            desk: Desk::default(),
        }
    }

    /// Brings the config file's bans of a connection up to date.
    fn refresh(&self, conn: &Connection, version: &mut Option<u64>) -> rusqlite::Result<()> {
        let now = self.bouncer.as_ref().map_or(0, Bouncer::file_version);
        if *version != Some(now) {
            view::prepare(conn)?;
            let (now, bans) = self.bouncer.as_ref().map_or_else(Default::default, Bouncer::file_bans);
            view::fill(conn, &bans)?;
            *version = Some(now);
        }
        Ok(())
    }

    fn take(&self, path: &Path) -> Result<Pooled, ReadError> {
        if let Some(idle) = self.lock().pop() {
            return Ok(idle);
        }
        let mut reader = Reader::open(path).map_err(|error| ReadError::Open(Box::new(error)))?;
        let desk = Desk::default();
        desk.watch(reader.conn_mut()).map_err(|error| ReadError::of_disk(path, error))?;
        Ok(Pooled { reader, desk, version: None })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pooled>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Has `work` look at the lists, in a thread that may block. When it takes longer than [`PATIENCE`], or whoever
    /// waits for this goes away, it is broken off.
    ///
    /// # Errors
    /// What `work` says, or that it took too long.
    pub async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let question = Question::default();
        let asking = Asking(question.clone());
        let answered = timeout(PATIENCE, self.look_at(question, work)).await;
        drop(asking);
        answered.unwrap_or(Err(ReadError::TooSlow(PATIENCE)))
    }

    /// The same for work that takes as long as it takes, and ends by itself: it does not take the place of a question.
    pub async fn look_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(&self.0);
        let Some(path) = self.0.path.clone() else {
            return self.look_in_memory(Question::default(), work).await;
        };
        let places = Arc::clone(&self.0.pool.long_places);
        let place = places.acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let work = move || {
            let _place = place;
            let reader = Reader::open(&path).map_err(|error| ReadError::Open(Box::new(error)))?;
            let conn = reader.conn();
            shared.pool.refresh(conn, &mut None).map_err(|error| ReadError::of_disk(&path, error))?;
            work(View::new(conn, &path))
        };
        spawn_blocking(work).await.map_err(|_| ReadError::Closed)?
    }

    async fn look_at<T: Send + 'static>(
        &self,
        question: Question,
        work: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let Some(path) = self.0.path.clone() else { return self.look_in_memory(question, work).await };
        let place = Arc::clone(&self.0.pool.places).acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let shared = Arc::clone(&self.0);
        let work = move || {
            let _place = place;
            let pool = &shared.pool;
            let mut pooled = pool.take(&path)?;
            let Pooled { reader, desk, version } = &mut pooled;
            let conn = reader.conn();
            pool.refresh(conn, version).map_err(|error| ReadError::of_disk(&path, error))?;
            let answer = desk.work(&question, || work(View::watched(conn, &path, desk)));
            // One that was broken off is as good as before.
            pool.lock().push(pooled);
            answer.unwrap_or(Err(ReadError::TooSlow(PATIENCE)))
        };
        spawn_blocking(work).await.map_err(|_| ReadError::Closed)?
    }

    /// Without a file the writer's connection is the only one; its thread does the work.
    async fn look_in_memory<T: Send + 'static>(
        &self,
        question: Question,
        work: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let shared: Arc<Shared> = Arc::clone(&self.0);
        let work = move |conn: &Connection| {
            let path = Path::new(IN_MEMORY);
            let pool = &shared.pool;
            let mut version = pool.in_memory.lock().unwrap_or_else(PoisonError::into_inner);
            let done = pool
                .refresh(conn, &mut version)
                .map_err(|error| ReadError::of_disk(path, error))
                .and_then(|()| {
                    let done = pool.desk.work(&question, || work(View::watched(conn, path, &pool.desk)));
                    done.unwrap_or(Err(ReadError::TooSlow(PATIENCE)))
                });
            // Whoever asked may have gone.
            let _ = reply.send(done);
        };
        self.0.orders.send(Order::Look(Box::new(work))).await.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }
}

/// How many of SQLite's steps are made before it asks.
const STEPS: i32 = 1_000;

/// How many questions are answered at once.
const READERS: usize = 4;

/// How many lists are read as a whole at once.
const LONG_READERS: usize = 4;

/// How long a question may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

//! The bans in a data directory, whoever has it open: nobody, then this command does; or a running proxy, then it is
//! asked.

use super::site::{Place, runtime};
use crate::admin::{CallError, Caller, Changes, Mode};
use crate::admission::{Ban, List, Timestamp, Who};
use crate::app::{SOCKET_FILE, STORE_FILE};
use crate::store::{Amendment, Change, ChangeError, Changed, NewEnd, OpenError, ReadError, Reader, Store};
use serde_json::Value;
use std::fmt;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;

/// What keeps the bans.
#[derive(Debug)]
pub(super) enum Book {
    /// No proxy is running.
    Stopped(Store),
    /// A proxy is running, and answers here.
    Running { caller: Caller, runtime: Runtime, holder: Holder },
}

/// Who is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    /// A proxy elsewhere.
    Elsewhere,
    /// Whoever has the store: its process, where it can be told.
    Here(Option<u32>),
}

/// The bans could not be changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store does not take the change.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The running proxy does not take the change.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Somebody has the store and does not answer: a proxy that starts or stops, or another command.
    #[error("the store is in use{}, which does not answer yet; try again in a moment", By(*pid))]
    Busy {
        /// The process, where it can be told.
        pid: Option<u32>,
        /// What came of the call.
        #[source]
        source: CallError,
    },
    /// The system gives this command no means to speak to the proxy.
    #[error("cannot call the running proxy")]
    Runtime(#[source] io::Error),
}

struct By(Option<u32>);

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " by process {pid}"),
            None => f.write_str(" by another process"),
        }
    }
}

impl BookError {
    /// What came of a call to whoever has the store.
    fn of(error: CallError, holder: Holder) -> BookError {
        match (&error, holder) {
            (CallError::Unreachable { .. }, Holder::Here(pid)) => BookError::Busy { pid, source: error },
            _ => BookError::Call(error),
        }
    }

    /// True when the list has one of that name already.
    pub(super) fn is_taken(&self) -> bool {
        match self {
            BookError::Change(ChangeError::Exists(_)) => true,
            BookError::Call(CallError::Refused { code, .. }) => code == "ALREADY_EXISTS",
            _ => false,
        }
    }
}

impl Book {
    /// Opens the book in a data directory, where it makes the store if there is none, or at a proxy elsewhere.
    pub(super) fn open(place: &Place) -> Result<Book, BookError> {
        let data_dir = match place {
            Place::Folder(folder) => folder,
            Place::Elsewhere(caller) => {
                let (caller, runtime) = (caller.clone(), runtime().map_err(BookError::Runtime)?);
                return Ok(Book::Running { caller, runtime, holder: Holder::Elsewhere });
            }
        };
        match Store::open(data_dir.join(STORE_FILE), None) {
            Ok((store, _)) => Ok(Book::Stopped(store)),
            Err(OpenError::InUse { pid, .. }) => {
                let caller = Caller::new(data_dir.join(SOCKET_FILE));
                let runtime = runtime().map_err(BookError::Runtime)?;
                Ok(Book::Running { caller, runtime, holder: Holder::Here(pid) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// True when a proxy has the store, and is asked.
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Book::Running { .. })
    }

    /// Takes in all of these or none; `seen` is told how many are on their way.
    pub(super) fn import(
        &self,
        list: List,
        mode: Mode,
        bans: Vec<Ban>,
        now: Timestamp,
        seen: impl Fn(usize),
    ) -> Result<Changes, BookError> {
        match self {
            Book::Stopped(store) => {
                let change = |ban| match mode {
                    Mode::Put => Change::Put(list, ban),
                    Mode::Add => Change::Add(list, ban, now),
                };
                let done = write(store, bans.into_iter().map(change).collect(), seen)?;
                Ok(Changes { added: done.added, changed: done.changed })
            }
            Book::Running { caller, runtime, holder } => {
                let done = runtime.block_on(caller.import(list, mode, &bans, seen));
                done.map_err(|error| BookError::of(error, *holder))
            }
        }
    }

    /// Lifts the one that names `who`; false when there is none.
    pub(super) fn remove(&self, list: List, who: &Who) -> Result<bool, BookError> {
        match self {
            Book::Stopped(store) => {
                let done = store.change_blocking(vec![Change::Remove(list, who.clone())])?;
                Ok(done.removed > 0)
            }
            Book::Running { caller, runtime, holder } => {
                let done = runtime.block_on(caller.remove(list, who));
                done.map_err(|error| BookError::of(error, *holder))
            }
        }
    }

    /// Makes the one that names `who` hold for longer; returns its end, or nothing when there is none.
    pub(super) fn extend(
        &self,
        list: List,
        who: &Who,
        time: Duration,
        now: Timestamp,
    ) -> Result<Option<String>, BookError> {
        match self {
            Book::Stopped(store) => {
                let end = Some(NewEnd::Later(time));
                let amendment = Box::new(Amendment { end, ..Amendment::default() });
                let amend = Change::Amend { list, who: who.clone(), amendment, now };
                if store.change_blocking(vec![amend])?.changed == 0 {
                    return Ok(None);
                }
                let reader = store.path().map(Reader::open).transpose()?;
                let ban = reader.map(|reader| reader.get(list, who)).transpose()?.flatten();
                Ok(ban.map(|ban| ban.terms.until.to_string()))
            }
            Book::Running { caller, runtime, holder } => {
                let done = runtime.block_on(caller.extend(list, who, time));
                let until =
                    |ban: Value| ban.get("until").and_then(Value::as_str).unwrap_or_default().to_owned();
                done.map(|ban| ban.map(until)).map_err(|error| BookError::of(error, *holder))
            }
        }
    }

    /// Lifts all.
    pub(super) fn clear(&self, list: List) -> Result<(), BookError> {
        match self {
            Book::Stopped(store) => Ok(store.change_blocking(vec![Change::Clear(list)]).map(drop)?),
            Book::Running { caller, runtime, holder } => {
                let done = runtime.block_on(caller.clear(list));
                done.map_err(|error| BookError::of(error, *holder))
            }
        }
    }
}

/// Writes in another thread, and tells meanwhile how far it has come.
fn write(store: &Store, changes: Vec<Change>, seen: impl Fn(usize)) -> Result<Changed, ChangeError> {
    thread::scope(|scope| {
        let (ended, wait) = mpsc::channel::<()>();
        let writing = scope.spawn(move || {
            let done = store.change_blocking(changes);
            drop(ended);
            done
        });
        while wait.recv_timeout(A_MOMENT) == Err(RecvTimeoutError::Timeout) {
            seen(usize::try_from(store.progress()).unwrap_or(usize::MAX));
        }
        writing.join().unwrap_or(Err(ChangeError::Closed))
    })
}

/// How often progress is shown.
const A_MOMENT: Duration = Duration::from_millis(100);

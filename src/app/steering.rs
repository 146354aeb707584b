//! The API of a running process: its socket, its listener, and those who may use it.

use super::backroom::Backroom;
use super::keeping::SOCKET_FILE;
use crate::accounts::{self, ApiKey, FileError, FirstUser};
use crate::admin::{
    Accounts, AccountsError, Admin, Ask, Board, Gate, GateSettings, Limits, ListenSettings, Socket,
    SocketError, Steering, Turns, Watch,
};
use crate::admission::Timestamp;
use crate::cleanup::CleanupSettings;
use crate::config::Config;
use crate::findings::Findings;
use crate::net::listener::{ListenOptions, Listener};
use crate::net::options::TcpOptions;
use crate::net::stop::Stop;
use crate::net::tls::TlsFileError;
use crate::proxy::Proxy;
use crate::store::{self, Store};
use crate::telemetry::Telemetry;
use crate::webhook;
use arc_swap::ArcSwap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

/// The API, at work.
#[derive(Debug)]
pub(super) struct Desk {
    admin: Admin,
    open: Option<Open>,
    asks: mpsc::Receiver<Ask>,
    /// They run in the backroom.
    tasks: JoinSet<()>,
    stop: Stop,
    backroom: Backroom,
}

/// What callers are told of.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) started_at: Timestamp,
    pub(super) proxy: Arc<Proxy>,
    pub(super) findings: Findings,
    pub(super) telemetry: Telemetry,
    pub(super) webhook: webhook::Current,
    pub(super) cleanup: watch::Receiver<CleanupSettings>,
}

/// A listener that is open, and what closes it.
#[derive(Debug)]
struct Open {
    bind: SocketAddr,
    listener: Arc<Listener>,
    gate: Arc<Gate>,
    close: Stop,
}

/// The API cannot be opened, or not be changed as the config asks.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Its threads.
    #[error("cannot start the threads of the API")]
    Threads(#[source] io::Error),
    /// The socket of the command line.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The listener.
    #[error("cannot listen on {addr} ([admin])")]
    Listen {
        /// Where it was to listen.
        addr: SocketAddr,
        /// Why it cannot.
        #[source]
        source: io::Error,
    },
    /// The certificate.
    #[error("[admin.tls]")]
    Tls(#[from] TlsFileError),
    /// A file of accounts cannot be read.
    #[error("[admin] {option}: cannot read {}", path.display())]
    Unreadable {
        /// Which one.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of accounts is wrong.
    #[error("[admin] {option}: {}", path.display())]
    File {
        /// Which one.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FileError,
    },
    /// The first user cannot be made.
    #[error("cannot make the first user")]
    First(#[source] AccountsError),
}

/// What a config asks of the API, with all that can fail done: files are read and sockets bound.
#[derive(Debug)]
pub(super) struct Prepared {
    limits: Limits,
    listen: Option<PreparedListener>,
}

#[derive(Debug)]
struct PreparedListener {
    bind: SocketAddr,
    gate: GateSettings,
    token_ttl: Duration,
    file_keys: Vec<ApiKey>,
    /// A new socket, where the one that is open does not listen there.
    socket: Option<Arc<Listener>>,
}

/// Reads the files of `[admin]` and throws them away: whether a config can be used.
pub fn check_admin_files(config: &Config, now: Timestamp) -> Result<(), AdminError> {
    let Some(listen) = &config.admin.listen else { return Ok(()) };
    GateSettings::read(listen)?;
    file_keys(listen, now)?;
    first_user(listen).map(drop)
}

impl Prepared {
    /// Reads and binds what `config` asks for, beside what is open.
    pub(super) fn new(config: &Config, desk: Option<&Desk>, now: Timestamp) -> Result<Prepared, AdminError> {
        let limits = config.admin.limits.clone();
        let Some(listen) = &config.admin.listen else { return Ok(Prepared { limits, listen: None }) };
        let (gate, file_keys) = (GateSettings::read(listen)?, file_keys(listen, now)?);
        let open = desk.and_then(|desk| desk.open.as_ref());
        let socket = match open {
            Some(open) if open.bind == listen.bind => None,
            _ => Some(bind(listen.bind, open.map(|open| &*open.listener))?),
        };
        let (bind, token_ttl) = (listen.bind, listen.token_ttl);
        Ok(Prepared { limits, listen: Some(PreparedListener { bind, gate, token_ttl, file_keys, socket }) })
    }
}

fn bind(addr: SocketAddr, neighbour: Option<&Listener>) -> Result<Arc<Listener>, AdminError> {
    let neighbour = neighbour.filter(|open| open.local_addr().is_some_and(|own| own.port() == addr.port()));
    let bound = match (Listener::bind(addr), neighbour) {
        (Err(error), Some(neighbour)) if error.kind() == io::ErrorKind::AddrInUse => {
            Listener::bind_beside(addr, neighbour, &ListenOptions::default(), &TcpOptions::default())
        }
        (bound, _) => bound,
    };
    bound.map(Arc::new).map_err(|source| AdminError::Listen { addr, source })
}

fn file_keys(listen: &ListenSettings, now: Timestamp) -> Result<Vec<ApiKey>, AdminError> {
    let Some(path) = &listen.api_key_file else { return Ok(Vec::new()) };
    let option = "api_key_file";
    let wrong = |source| AdminError::File { option, path: path.clone(), source };
    accounts::read_api_keys(&read(option, path)?, now).map_err(wrong)
}

fn first_user(listen: &ListenSettings) -> Result<Option<FirstUser>, AdminError> {
    let Some(path) = &listen.password_file else { return Ok(None) };
    let option = "password_file";
    let wrong = |source| AdminError::File { option, path: path.clone(), source };
    accounts::read_first_user(&read(option, path)?).map(Some).map_err(wrong)
}

fn read(option: &'static str, path: &Path) -> Result<String, AdminError> {
    fs::read_to_string(path).map_err(|source| AdminError::Unreadable {
        option,
        path: path.to_owned(),
        source,
    })
}

impl Desk {
    /// Opens the socket in the data directory, where there is one, and the listener, where the config asks for it. The
    /// first time that there is a listener, its first user is made. Must be called inside a tokio runtime.
    pub(super) fn start(
        config: &Config,
        prepared: Prepared,
        watched: Watched,
        (store, kept): (Store, store::Accounts),
    ) -> Result<Desk, AdminError> {
        let (steering, asks) = Steering::new();
        let Watched { started_at, proxy, findings, telemetry, webhook, cleanup } = watched;
        let admin = Admin {
            node: config.name.as_str().into(),
            started_at,
            bouncer: proxy.bouncer.clone(),
            findings,
            proxy,
            telemetry,
            webhook,
            cleanup,
            readiness: Watch::default(),
            board: Board::default(),
            turns: Turns::beside(Handle::current()),
            accounts: Accounts::new(store.clone(), kept),
            limits: Arc::new(ArcSwap::from_pointee(prepared.limits.clone())),
            store,
            steering,
        };
        let backroom = Backroom::open().map_err(AdminError::Threads)?;
        let (mut tasks, stop) = (JoinSet::new(), Stop::default());
        let inside = backroom.enter();
        tasks.spawn(admin.clone().watch(stop.clone()));
        if let Some(folder) = &config.data_dir {
            let socket = Socket::bind(&folder.join(SOCKET_FILE))?;
            tasks.spawn(admin.clone().serve_socket(socket, stop.clone()));
        }
        drop(inside);
        let mut desk = Desk { admin, open: None, asks, tasks, stop, backroom };
        if let Some(listen) = &config.admin.listen {
            desk.make_first_user(listen)?;
        }
        desk.take(prepared);
        Ok(desk)
    }

    /// Makes the first user, if there is none. A password that was made up is said here, once.
    pub(super) fn make_first_user(&self, listen: &ListenSettings) -> Result<(), AdminError> {
        let accounts = &self.admin.accounts;
        if accounts.book().users().next().is_some() {
            return Ok(());
        }
        let (first, now) = (first_user(listen)?, self.admin.bouncer.clock().now());
        // Waiting for the store on this thread would stop the runtime.
        let made = thread::scope(|scope| scope.spawn(|| accounts.begin(first, now)).join());
        let made = made.unwrap_or(Err(AccountsError::Random)).map_err(AdminError::First)?;
        if let Some(password) = made {
            let password = password.expose();
            // Said whatever the log's level is: it is said once.
            if tracing::enabled!(tracing::Level::WARN) {
                warn!(username = "admin", password, "{FIRST_START}");
            } else {
                error!(username = "admin", password, "{FIRST_START}");
            }
        }
        Ok(())
    }

    /// Changes over to what was prepared.
    pub(super) fn take(&mut self, prepared: Prepared) {
        let Prepared { limits, listen } = prepared;
        self.admin.limits.store(Arc::new(limits));
        let Some(listen) = listen else {
            self.close();
            return;
        };
        let PreparedListener { bind, gate, token_ttl, file_keys, socket } = listen;
        self.admin.accounts.adjust(token_ttl, &file_keys);
        match (socket, &self.open) {
            (None, Some(open)) => open.gate.adjust(gate),
            (None, None) => debug_assert!(false, "what is not open was bound"),
            (Some(listener), _) => {
                self.close();
                info!(address = %listener.local(), "API is listening");
                let (gate, close) = (Arc::new(Gate::new(gate)), Stop::default());
                let serving = self.admin.clone().serve_listener(
                    Arc::clone(&listener),
                    Arc::clone(&gate),
                    close.clone(),
                );
                let _inside = self.backroom.enter();
                self.tasks.spawn(serving);
                self.open = Some(Open { bind, listener, gate, close });
            }
        }
    }

    fn close(&mut self) {
        if let Some(Open { listener, close, .. }) = self.open.take() {
            // Whoever accepts there has the socket to itself then, and says when it is closed.
            drop(listener);
            close.raise();
        }
    }

    /// Where the listener listens.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.open.as_ref().and_then(|open| open.listener.local_addr())
    }

    /// The next question.
    pub(super) async fn asked(&mut self) -> Ask {
        match self.asks.recv().await {
            Some(ask) => ask,
            // Never: the admin in our hand can ask.
            None => std::future::pending().await,
        }
    }

    /// Answers whoever is asking, and ends.
    pub(super) async fn end(mut self) {
        self.stop.raise();
        self.close();
        // Whoever has asked is told that nobody answers any more.
        drop(self.asks);
        let mut tasks = self.tasks;
        // Dropped when it is empty.
        let _backroom = self.backroom;
        if timeout(LAST_PATIENCE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tasks.shutdown().await;
        }
    }
}

const FIRST_START: &str = "first start: log in with this password, which is not shown again, and change it";

/// How long callers may take to be served to their end.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

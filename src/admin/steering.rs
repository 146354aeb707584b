//! What only the one who runs the process can do or tell: questions to it, and its answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

/// Asks the one who runs the process.
#[derive(Debug, Clone)]
pub struct Steering(mpsc::Sender<Ask>);

/// A question, and whom to tell the answer.
#[derive(Debug)]
pub enum Ask {
    /// Read the config file again.
    Reload(oneshot::Sender<Result<Reloaded, NotReloaded>>),
    /// Tell what reading the config file again would do.
    Diff(oneshot::Sender<Result<Reloaded, NotReloaded>>),
    /// Tell the config that runs.
    Config(oneshot::Sender<RunningConfig>),
    /// Tell how it is.
    Status(oneshot::Sender<Status>),
}

/// What a reload has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What changed, one line each: `listener.mqtt.connect_timeout: "10s" -> "5s"`.
    pub changes: Vec<String>,
    /// Options that changed and take effect at the next start only.
    pub after_restart: Vec<String>,
    /// Listeners that were opened or moved.
    pub opened: Vec<String>,
    /// Listeners that were closed or moved.
    pub closed: Vec<String>,
    /// How many bans and exemptions of the file were made or changed.
    pub put: usize,
    /// How many are gone from the file.
    pub removed: usize,
}

/// Why a reload has done nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotReloaded {
    /// In one sentence.
    pub message: String,
    /// Each mistake of the file: `FILE:LINE: OPTION: FOUND; EXPECTED`.
    #[serde(default)]
    pub mistakes: Vec<String>,
}

/// The config that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunningConfig {
    /// The file that it was read from.
    pub file: String,
    /// Every option but the bans, by its name: `listener.mqtt.bind`. Secrets are shown as `…`.
    pub options: BTreeMap<String, OptionBody>,
    /// How many bans the file has.
    pub bans: usize,
    /// How many exemptions the file has.
    pub exemptions: usize,
}

/// An option that holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OptionBody {
    /// Its value, of the type that it has in the file.
    pub value: Value,
    /// `file`, or `default` where the file says nothing.
    pub source: Source,
}

/// Where an option's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The file.
    File,
    /// The file says nothing of it.
    Default,
}

/// How the process is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// `[node] name`.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started_at: String,
    /// How long ago that is.
    pub uptime_seconds: u64,
    /// Whether it admits nobody any more and waits for sessions to end.
    pub draining: bool,
    /// The listeners, by name.
    pub listeners: Vec<ListenerStatus>,
    /// How many connections live, those of listeners that are gone included.
    pub connections: u64,
    /// How many clients are inside.
    pub sessions: u64,
    /// How many bans there are of each kind, ended ones included.
    pub bans: BTreeMap<String, usize>,
    /// How many exemptions there are of each kind, ended ones included.
    pub exemptions: BTreeMap<String, usize>,
    /// The brokers, by group; the first is `default`.
    pub upstreams: Vec<UpstreamStatus>,
    /// Where the API listens beside its socket.
    pub admin: Option<String>,
    /// Where bans are kept; none is nowhere.
    pub data_dir: Option<String>,
    /// The config file.
    pub config: String,
    /// What came of the last reload; none when there was none.
    pub last_reload: Option<LastReload>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens; with ", " between several addresses.
    pub address: String,
    /// Where it listens: `IP:PORT` and `unix:/PATH`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// How many connections it has.
    pub connections: usize,
    /// How many it may have; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How many of its clients wait for their turn, because all come too fast together.
    #[serde(default)]
    pub waiting: usize,
}

/// One group of brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// The brokers.
    pub servers: Vec<String>,
    /// How each of them is: `up`, `starting`, `ejected`, `trying`, `down` or `drained`.
    #[serde(default)]
    pub health: Vec<String>,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastReload {
    /// When.
    pub at: String,
    /// Whether the file is in use.
    pub ok: bool,
    /// What was done, or what is wrong.
    pub message: String,
}

/// Nobody answers: the process is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy is about to stop")]
pub(super) struct Stopping;

impl Steering {
    /// A way to ask, and where the questions arrive.
    pub fn new() -> (Steering, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Steering(sender), receiver)
    }

    pub(super) async fn reload(&self) -> Result<Result<Reloaded, NotReloaded>, Stopping> {
        self.ask(Ask::Reload).await
    }

    pub(super) async fn diff(&self) -> Result<Result<Reloaded, NotReloaded>, Stopping> {
        self.ask(Ask::Diff).await
    }

    pub(super) async fn config(&self) -> Result<RunningConfig, Stopping> {
        self.ask(Ask::Config).await
    }

    pub(super) async fn status(&self) -> Result<Status, Stopping> {
        self.ask(Ask::Status).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.0.send(ask(reply)).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}

/// How many questions may wait before those who ask have to.
const WAITING: usize = 16;

//! The shape of the numbers.

use crate::metrics::Measured;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The numbers of a running proxy. What only grows counts from its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// `[node] name`.
    pub node: String,
    /// Of the program.
    pub version: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it started, in seconds since 1970.
    pub started_at_seconds: f64,
    /// How long it has been running.
    pub uptime_seconds: f64,
    /// What it is doing.
    pub state: State,
    /// By listener.
    pub listeners: BTreeMap<String, Listener>,
    /// Clients that a ban has refused, by its kind.
    pub refused: BTreeMap<String, u64>,
    /// Bans, by kind.
    pub bans: BTreeMap<String, StatusCounts>,
    /// Exemptions, by kind.
    pub exemptions: BTreeMap<String, StatusCounts>,
    /// Patterns among the bans.
    pub ban_patterns: Patterns,
    /// Patterns among the exemptions.
    pub exemption_patterns: Patterns,
    /// Questions to the lists.
    pub checks: Checks,
    /// What was found out, by detector.
    pub detections: BTreeMap<String, Detections>,
    /// What detection remembers.
    pub tables: Tables,
    /// Bans on disk.
    pub store: Store,
    /// Events that a URL is told.
    pub webhook: Webhook,
    /// The log.
    pub log: Log,
    /// By broker.
    pub upstream: BTreeMap<String, Server>,
    /// The brokers, by group.
    pub upstreams: Vec<UpstreamServer>,
    /// When the certificate that we show to the brokers of a group ends, in seconds since 1970, by group. Groups that are
    /// shown none are not there.
    #[serde(default)]
    pub upstream_certificates: BTreeMap<String, i64>,
    /// The config file, read again.
    pub reloads: Reloads,
    /// Calls of this API.
    pub requests: Vec<Requests>,
    /// What the process uses.
    pub process: Process,
}

/// What the proxy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not every listener accepts yet.
    Starting,
    /// It serves clients.
    Running,
    /// It admits nobody any more.
    Draining,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that live now.
    pub live_connections: u64,
    /// How many may live at once.
    pub max_connections: u64,
    /// Sessions that live now.
    pub live_sessions: u64,
    /// Clients that wait for their turn, because all come too fast together.
    #[serde(default)]
    pub waiting: u64,
    /// How long whoever of them came first has waited; 0 where nobody waits.
    #[serde(default)]
    pub longest_wait_seconds: f64,
    /// How the connections' way to the broker ended; each has one outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// TLS handshakes by what came of them; empty where the listener speaks no TLS.
    #[serde(default)]
    pub tls_handshakes: BTreeMap<String, u64>,
    /// When the first of its certificates ends, in seconds since 1970; null where it shows none.
    #[serde(default)]
    pub certificate_ends_at_seconds: Option<u64>,
    /// Bytes from clients to brokers, after CONNECT.
    pub bytes_to_broker: u64,
    /// Bytes from brokers to clients.
    pub bytes_to_client: u64,
}

/// How many bans or exemptions have each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusCounts {
    /// They hold.
    pub active: u64,
    /// They have ended.
    pub expired: u64,
    /// They have ended, and half of the time that they are kept after that is over.
    pub deleting_soon: u64,
}

/// Regular expressions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Patterns {
    /// How many of each class there are. Those that are unfilterable or have lookaround are tried for every client.
    pub classes: BTreeMap<String, u64>,
    /// How often one could not be decided within its limits, and counted as a match.
    pub undecided: u64,
}

/// Questions to the lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checks {
    /// All of them.
    pub count: u64,
    /// One of 256 is timed.
    pub sampled: Took,
}

/// How long things took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Took {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub sum_seconds: f64,
    /// How many took how long; each is in one bucket.
    pub buckets: Vec<Bucket>,
}

/// Those that took so long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// At most this; null for no limit.
    pub to_seconds: Option<f64>,
    /// How many, those of the buckets before not among them.
    pub count: u64,
}

/// What one detector has found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Detections {
    /// Bans.
    pub bans: u64,
    /// What would have been bans, and warnings.
    pub shadow: u64,
}

/// What detection remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tables {
    /// Keys, as they were counted within the last minute or so.
    pub keys: u64,
    /// Bytes of their tables.
    pub bytes: u64,
    /// About how many bytes the automatic bans in the lists take.
    pub automatic_ban_bytes: u64,
    /// Findings that came to nothing because there were too many.
    pub lost: u64,
}

/// Bans on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Store {
    /// Transactions that are on disk.
    pub commits: u64,
    /// Changes that are in them.
    pub changes: u64,
    /// Transactions that could not be written.
    pub errors: u64,
    /// How long the last one took.
    pub last_commit_seconds: f64,
    /// The size of the file; 0 without a data directory.
    pub file_bytes: u64,
    /// The size of the write-ahead log beside it.
    pub wal_bytes: u64,
}

/// Events that a URL is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The receiver took them.
    pub delivered: u64,
    /// The receiver refused them, or all attempts failed.
    pub failed: u64,
    /// There was no place for them.
    pub dropped: u64,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// Lines that `[log] max_connection_lines` has held back.
    pub suppressed_lines: u64,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Server {
    /// It stands in the config file that is in use.
    pub is_configured: bool,
    /// What came of the last attempt to reach it; null when there was none.
    pub is_reachable: Option<bool>,
    /// Connections that were made to it.
    pub connected: u64,
    /// Connections that could not be made to it.
    pub failed: u64,
    /// How long those that were made took to make.
    pub connecting: Took,
    /// Sessions that live now.
    pub live_sessions: u64,
}

/// A broker in one of its groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamServer {
    /// The group; `default` for `[upstream]`.
    pub upstream: String,
    /// The server, as the config file writes it.
    pub server: String,
    /// `up`, `starting`, `ejected`, `trying` or `down`.
    pub health: String,
    /// It takes no new clients.
    pub is_drained: bool,
    /// Clients are taken there now.
    pub is_usable: bool,
    /// Connections that live, those that are being made included.
    pub live_connections: u64,
    /// How often it was left alone because it could not be reached.
    pub ejections: u64,
    /// Checks that found it well.
    pub checks_succeeded: u64,
    /// Checks that did not.
    pub checks_failed: u64,
}

/// The config file, read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reloads {
    /// It is in use.
    pub succeeded: u64,
    /// It could not be used, and nothing has changed.
    pub failed: u64,
    /// When one came into use last, in seconds since 1970; null for never.
    pub last_success_seconds: Option<f64>,
}

/// Calls of a route of this API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requests {
    /// The method.
    pub method: String,
    /// The route, as the OpenAPI document writes it; `other` where there is none.
    pub route: String,
    /// `2xx`, `4xx` and so on.
    pub status: String,
    /// How many.
    pub count: u64,
}

/// What the process uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Processor time.
    pub cpu_seconds: f64,
    /// Memory.
    pub resident_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// How many may be open; 0 where that is not known.
    pub max_files: u64,
    /// Threads.
    pub threads: u64,
}

impl From<Measured> for Took {
    fn from(measured: Measured) -> Took {
        let Measured { count, sum_seconds, buckets } = measured;
        let bucket =
            |(to, count): (f64, u64)| Bucket { to_seconds: Some(to).filter(|to| to.is_finite()), count };
        Took { count, sum_seconds, buckets: buckets.into_iter().map(bucket).collect() }
    }
}

//! What can be set for a group of brokers.

use super::balance::Balance;
use super::check::CheckSettings;
use super::health::Ejection;
use super::server::Server;
use super::tls::TlsSettings;
use crate::net::options::TcpOptions;
use crate::wire::proxy_protocol::Version;
use std::time::Duration;

/// How to reach a group of brokers, and how they share the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// The brokers; at least one, no two alike.
    pub servers: Vec<ServerSettings>,
    /// The group that takes the clients while none of these can.
    pub backup: Option<String>,
    /// How they share the clients.
    pub balance: Balance,
    /// How long one attempt may take, name look-up included.
    pub connect_timeout: Duration,
    /// How many servers are tried for one client.
    pub max_tries: usize,
    /// How long all attempts for one client may take together.
    pub total_timeout: Duration,
    /// When a server that cannot be reached is left alone.
    pub ejection: Ejection,
    /// How long the share of a server that is back grows; zero gives it all at once.
    pub slow_start: Duration,
    /// How TLS is spoken with them; `None` speaks plainly.
    pub tls: Option<TlsSettings>,
    /// The path of their WebSockets, where they are spoken to that way.
    pub websocket: Option<String>,
    /// How they are asked how they are; `None` asks nothing.
    pub check: Option<CheckSettings>,
    /// How often names are looked up again.
    pub resolve_interval: Duration,
    /// Options of the connections to them.
    pub tcp: TcpOptions,
    /// Tell them of each client with a PROXY header of this version, in front of everything else, TLS included.
    pub proxy_protocol: Option<Version>,
}

/// One broker of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it is.
    pub server: Server,
    /// How many clients it takes, compared with the others: 1 to 256.
    pub weight: u32,
    /// It takes clients only while none of the others can.
    pub is_backup: bool,
    /// It takes no new clients.
    pub is_drained: bool,
}

impl From<Server> for ServerSettings {
    fn from(server: Server) -> ServerSettings {
        ServerSettings { server, weight: 1, is_backup: false, is_drained: false }
    }
}

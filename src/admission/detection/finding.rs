//! What detection finds: the bans it asks for, and what it has to tell.

use super::evidence::Evidence;
use crate::admission::{Ban, Who};
use compact_str::CompactString;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Who finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detector {
    /// A client identifier's sessions end too often.
    ByClientId,
    /// Churn under one user name.
    ByUsername,
    /// Churn from one address.
    ByPeerHost,
    /// Churn from one network.
    ByNetwork,
    /// Churn under one TLS fingerprint.
    ByJa4,
    /// Password guessing.
    AuthFailures,
    /// What is no CONNECT.
    Malformed,
    /// CONNECTs that do not come.
    ConnectTimeouts,
    /// Too many connections that come to nothing.
    ConnectionRate,
    /// Banned clients that never give up.
    Hammering,
    /// Clients with the same identifier.
    Duplicates,
}

impl Detector {
    /// Every detector.
    pub const ALL: [Detector; 11] = [
        Detector::ByClientId,
        Detector::ByUsername,
        Detector::ByPeerHost,
        Detector::ByNetwork,
        Detector::ByJa4,
        Detector::AuthFailures,
        Detector::Malformed,
        Detector::ConnectTimeouts,
        Detector::ConnectionRate,
        Detector::Hammering,
        Detector::Duplicates,
    ];

    /// Its name in the config file, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Detector::ByClientId => "by_clientid",
            Detector::ByUsername => "by_username",
            Detector::ByPeerHost => "by_peerhost",
            Detector::ByNetwork => "by_network",
            Detector::ByJa4 => "by_ja4",
            Detector::AuthFailures => "auth_failures",
            Detector::Malformed => "malformed",
            Detector::ConnectTimeouts => "connect_timeouts",
            Detector::ConnectionRate => "connection_rate",
            Detector::Hammering => "hammering",
            Detector::Duplicates => "duplicates",
        }
    }

    /// Who makes its bans: `by`. The flapping detectors have EMQX's name.
    pub fn by(self) -> &'static str {
        match self {
            Detector::ByClientId
            | Detector::ByUsername
            | Detector::ByPeerHost
            | Detector::ByNetwork
            | Detector::ByJa4 => "flapping detector",
            Detector::AuthFailures => "authentication failure detector",
            Detector::Malformed => "malformed packet detector",
            Detector::ConnectTimeouts => "connect timeout detector",
            Detector::ConnectionRate => "connection rate detector",
            Detector::Hammering => "hammering detector",
            Detector::Duplicates => "duplicate client identifier detector",
        }
    }

    /// True when a detector makes bans under this name.
    pub fn is_author(by: &str) -> bool {
        Detector::ALL.into_iter().any(|detector| detector.by() == by)
    }

    /// Why it bans: `reason`. That of duplicates goes on with their addresses.
    pub fn reason(self) -> &'static str {
        match self {
            Detector::ByClientId
            | Detector::ByUsername
            | Detector::ByPeerHost
            | Detector::ByNetwork
            | Detector::ByJa4 => "flapping is detected",
            Detector::AuthFailures => "too many different credentials were refused",
            Detector::Malformed => "too many malformed packets",
            Detector::ConnectTimeouts => "too many connections without CONNECT",
            Detector::ConnectionRate => "too many connections",
            Detector::Hammering => "goes on in spite of its ban",
            Detector::Duplicates => "client identifier is used by several clients",
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Somebody is to be banned, or would be.
    Detected(Box<Detected>),
    /// Clients fight over a client identifier, and nobody is banned for it.
    Duplicates(Box<DuplicateClients>),
    /// A banned client goes on, and is not answered any more, or would not be.
    Hushed(Box<Hushed>),
}

/// Somebody is to be banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The ban: to be put on the list in the place of whatever ban of the same `who` is there and ends sooner.
    pub ban: Ban,
    /// True when the ban is only to be told of: in shadow mode, or when it would last no time.
    pub is_shadow: bool,
    /// Which detector.
    pub detector: Detector,
    /// Of which zone.
    pub zone: Arc<str>,
    /// How long the ban is.
    pub ban_time: Duration,
    /// The how-manieth ban of the same `who` this is, from 1.
    pub offence: u32,
    /// Why.
    pub evidence: Evidence,
}

/// Clients fight over a client identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateClients {
    /// The client identifier.
    pub who: Who,
    /// Of which zone.
    pub zone: Arc<str>,
    /// Where its clients are.
    pub addresses: Vec<IpAddr>,
    /// How often a displaced client came back within the window.
    pub returns: u32,
}

/// A banned client goes on in spite of its ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hushed {
    /// Whom the ban names.
    pub who: Who,
    /// Of which zone.
    pub zone: Arc<str>,
    /// Where the client is; `None` where it came by a Unix socket.
    pub address: Option<IpAddr>,
    /// What it calls itself.
    pub client_id: Option<CompactString>,
    /// For how long it is not answered.
    pub time: Duration,
    /// True when it is answered all the same.
    pub is_shadow: bool,
}

/// How a banned client is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As configured.
    Connack,
    /// Not at all: it knows, and does not give up. `just_now` is true the first time.
    Silence {
        /// For how long.
        time: Duration,
        /// True when this is the attempt that was one too many.
        just_now: bool,
        /// True when it is to be answered all the same.
        is_shadow: bool,
    },
}

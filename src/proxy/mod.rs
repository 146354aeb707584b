//! One connection, from accept to end: the only place where sockets, MQTT and the ban list meet.

mod announced;
mod connection;
mod door;
mod gate;
mod limits;
mod lines;
mod parting;
mod rationed;
mod refusal;
mod route;
mod secure;
mod turned_away;
mod upkeep;
mod websocket;
mod witness;

pub use announced::{ProxyMode, ProxyProtocol};
pub use door::{Door, DoorSettings, OnBannedPeer, PeerCertAs};
pub use limits::{
    Excess, Known, LimitSettings, Limits, OnRateLimited, Pacer, Pacing, Rate, RateError, Seat, Throttle,
    ThrottleSettings,
};
pub use parting::Partings;
pub use refusal::Answers;
pub use route::{Choice, Conditions, HostPattern, HostPatternError, Patterns, Routes, Rule, Rules, Traits};
pub use upkeep::Upkeep;
pub use websocket::WebSocketSettings;

use crate::bouncer::Bouncer;
use crate::metrics::Metrics;
use crate::net::stop::Stop;
use crate::refused::Refused;
use crate::sessions::Sessions;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// What all connections share.
#[derive(Debug)]
pub struct Proxy {
    /// Who may enter.
    pub bouncer: Bouncer,
    /// Where the admitted go.
    pub routes: ArcSwap<Routes>,
    /// How refusals are worded.
    pub answers: ArcSwap<Answers>,
    /// How sessions that are ended from here take their leave.
    pub partings: ArcSwap<Partings>,
    /// How many may come.
    pub limits: Limits,
    /// Who was turned away lately.
    pub refused: Refused,
    /// Who is inside.
    pub sessions: Sessions,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Raised when every listener accepts connections.
    pub open: Stop,
    /// Raised when nobody is to be admitted any more.
    pub draining: Stop,
    /// Raised when those inside are to leave.
    pub stop: Stop,
    /// Every live connection is a task of this one.
    pub connections: TaskTracker,
}

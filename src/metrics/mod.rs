//! Every number that the door counts, declared once.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a connection's way to the broker ended: each connection has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was let in.
    Admitted,
    /// It closed without a byte: a health check.
    Probe,
    /// It closed in the middle of its CONNECT.
    ClosedEarly,
    /// It sent no CONNECT in time.
    ConnectTimeout,
    /// It is banned.
    Banned,
    /// No broker could be reached.
    UpstreamUnavailable,
    /// The door was about to close.
    Draining,
    /// It speaks an MQTT version that does not exist.
    UnsupportedVersion,
    /// It speaks no MQTT.
    NotMqtt,
    /// Its CONNECT breaks the format.
    Malformed,
    /// Its CONNECT says what it may not.
    ProtocolError,
    /// Its CONNECT is too large.
    TooLarge,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 12] = [
        Outcome::Admitted,
        Outcome::Probe,
        Outcome::ClosedEarly,
        Outcome::ConnectTimeout,
        Outcome::Banned,
        Outcome::UpstreamUnavailable,
        Outcome::Draining,
        Outcome::UnsupportedVersion,
        Outcome::NotMqtt,
        Outcome::Malformed,
        Outcome::ProtocolError,
        Outcome::TooLarge,
    ];

    /// The outcome's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Admitted => "admitted",
            Outcome::Probe => "probe",
            Outcome::ClosedEarly => "closed_early",
            Outcome::ConnectTimeout => "connect_timeout",
            Outcome::Banned => "banned",
            Outcome::UpstreamUnavailable => "upstream_unavailable",
            Outcome::Draining => "draining",
            Outcome::UnsupportedVersion => "unsupported_version",
            Outcome::NotMqtt => "not_mqtt",
            Outcome::Malformed => "malformed",
            Outcome::ProtocolError => "protocol_error",
            Outcome::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All the numbers. They count from the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that have ended.
    pub connections_ended: Counter,
    /// Sessions that have ended.
    pub sessions_ended: Counter,
    /// Bytes that ended sessions passed on to brokers after CONNECT.
    pub bytes_to_broker: Counter,
    /// Bytes that ended sessions passed on to clients.
    pub bytes_to_client: Counter,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl Metrics {
    /// Counts a connection that was accepted, until the guard is dropped.
    pub fn connection(&self) -> Connected<'_> {
        self.connections.add(1);
        Connected(self)
    }

    /// Counts a client that was let in, until its session ends.
    pub fn session(&self) -> SessionGuard<'_> {
        self.count(Outcome::Admitted);
        SessionGuard { metrics: self, to_broker: 0, to_client: 0 }
    }

    /// Counts how a connection's way in ended.
    pub fn count(&self, outcome: Outcome) {
        self.outcome(outcome).add(1);
    }

    /// How many connections had this outcome.
    pub fn outcome(&self, outcome: Outcome) -> &Counter {
        let index = Outcome::ALL.iter().position(|&other| other == outcome).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "the index is a position in an array of the same length")]
        &self.outcomes[index]
    }

    /// How many connections live now.
    pub fn live_connections(&self) -> u64 {
        self.connections.value().saturating_sub(self.connections_ended.value())
    }

    /// How many sessions live now.
    pub fn live_sessions(&self) -> u64 {
        self.outcome(Outcome::Admitted).value().saturating_sub(self.sessions_ended.value())
    }

    /// The outcomes that have occurred, as `name=count`, separated by spaces.
    pub fn outcomes(&self) -> String {
        let mut text = String::new();
        for outcome in Outcome::ALL {
            let count = self.outcome(outcome).value();
            if count > 0 {
                let space = if text.is_empty() { "" } else { " " };
                // Writing to a String does not fail.
                let _ = write!(text, "{space}{outcome}={count}");
            }
        }
        text
    }
}

/// Counts one live connection.
#[derive(Debug)]
pub struct Connected<'a>(&'a Metrics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections_ended.add(1);
    }
}

/// Counts one live session.
#[derive(Debug)]
pub struct SessionGuard<'a> {
    metrics: &'a Metrics,
    to_broker: u64,
    to_client: u64,
}

impl SessionGuard<'_> {
    /// Ends the session, and counts what it moved.
    pub fn ended(mut self, to_broker: u64, to_client: u64) {
        (self.to_broker, self.to_client) = (to_broker, to_client);
    }
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.metrics.sessions_ended.add(1);
        self.metrics.bytes_to_broker.add(self.to_broker);
        self.metrics.bytes_to_client.add(self.to_client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_those_who_came_and_have_not_gone() {
        let metrics = Metrics::default();
        let (here, gone) = (metrics.connection(), metrics.connection());
        let session = metrics.session();
        drop(gone);
        assert_eq!((metrics.live_connections(), metrics.live_sessions()), (1, 1));
        session.ended(10, 20);
        drop(here);
        assert_eq!((metrics.live_connections(), metrics.live_sessions()), (0, 0));
        assert_eq!((metrics.bytes_to_broker.value(), metrics.bytes_to_client.value()), (10, 20));
        metrics.count(Outcome::Banned);
        assert_eq!(metrics.outcomes(), "admitted=1 banned=1");
    }

    #[test]
    fn outcomes_have_different_names() {
        let names: std::collections::BTreeSet<_> =
            Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        assert_eq!(names.len(), Outcome::ALL.len());
    }
}

//! What is counted for one listener.

use super::number::{Counter, Gauge};
use super::outcome::Outcome;
use super::waiting::Waiting;

/// The numbers of one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    /// Connections that were accepted.
    pub connections: Counter,
    /// How many connections may live at once.
    pub max_connections: Gauge,
    /// Bytes that came from clients for their brokers, after CONNECT.
    pub bytes_to_broker: Counter,
    /// Bytes that came from brokers for their clients.
    pub bytes_to_client: Counter,
    /// Clients that wait for their turn, because all come too fast together.
    pub waiting: Waiting,
    /// Handshakes and certificates.
    pub tls: TlsMetrics,
    ended: Counter,
    sessions_ended: Counter,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl ListenerMetrics {
    /// Counts a connection that was accepted, until the guard is dropped.
    pub fn connection(&self) -> Connected<'_> {
        self.connections.add(1);
        Connected(self)
    }

    /// Counts a client that was let in, until its session ends.
    pub fn session(&self) -> SessionGuard<'_> {
        self.count(Outcome::Admitted);
        SessionGuard(self)
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
        // Who comes meanwhile must not make it negative.
        let ended = self.ended.value();
        self.connections.value().saturating_sub(ended)
    }

    /// How many sessions live now.
    pub fn live_sessions(&self) -> u64 {
        let ended = self.sessions_ended.value();
        self.outcome(Outcome::Admitted).value().saturating_sub(ended)
    }
}

/// The numbers of a listener that speaks TLS.
#[derive(Debug, Default)]
pub struct TlsMetrics {
    /// When the first of its certificates ends, in seconds since 1970; 0 where it shows none.
    pub certificate_ends: Gauge,
    handshakes: [Counter; TlsMetrics::RESULTS.len()],
}

impl TlsMetrics {
    /// How a handshake can end: well, with or without an earlier session; too late; broken off; or refused.
    pub const RESULTS: [&str; 13] = [
        "full",
        "resumed",
        "timeout",
        "closed",
        "not_tls",
        "malformed",
        "unknown_name",
        "no_protocol",
        "no_version",
        "no_cipher",
        "no_certificate",
        "bad_certificate",
        "refused_by_client",
    ];

    /// Counts a handshake that ended so: one of [`RESULTS`](TlsMetrics::RESULTS).
    pub fn count(&self, result: &str) {
        let counted = TlsMetrics::RESULTS.iter().zip(&self.handshakes).find(|(name, _)| **name == result);
        if let Some((_, counter)) = counted {
            counter.add(1);
        }
    }

    /// How many handshakes ended in each way.
    pub fn handshakes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TlsMetrics::RESULTS.into_iter().zip(self.handshakes.iter().map(Counter::value))
    }
}

/// Counts one live connection.
#[derive(Debug)]
pub struct Connected<'a>(&'a ListenerMetrics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.ended.add(1);
    }
}

/// Counts one live session.
#[derive(Debug)]
pub struct SessionGuard<'a>(&'a ListenerMetrics);

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.0.sessions_ended.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_those_who_came_and_have_not_gone() {
        let listener = ListenerMetrics::default();
        let (here, gone) = (listener.connection(), listener.connection());
        let session = listener.session();
        drop(gone);
        assert_eq!((listener.live_connections(), listener.live_sessions()), (1, 1));
        drop(session);
        drop(here);
        assert_eq!((listener.live_connections(), listener.live_sessions()), (0, 0));
        assert_eq!(listener.outcome(Outcome::Admitted).value(), 1);
    }
}

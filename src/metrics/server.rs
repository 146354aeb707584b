//! What is counted for one broker.

use super::histogram::Histogram;
use super::number::{Counter, Gauge};
use std::sync::Arc;
use std::time::Duration;

/// The numbers of one broker.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Connections to it that were made.
    pub connected: Counter,
    /// Connections to it that could not be made.
    pub failed: Counter,
    /// How long those that were made took to make.
    pub connecting: Histogram<CONNECT_BUCKETS>,
    /// Sessions with it that have begun.
    sessions: Counter,
    sessions_ended: Counter,
    /// When it was tried last and what came of it: see [`ServerMetrics::latest`].
    latest: Gauge,
}

const CONNECT_BUCKETS: usize = 9;

/// What came of the last attempt to reach a broker, and when it was, in microseconds of a clock that nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// It could be reached.
    pub is_reachable: bool,
    /// When.
    pub at_micros: u64,
}

impl Default for ServerMetrics {
    fn default() -> ServerMetrics {
        ServerMetrics {
            connected: Counter::default(),
            failed: Counter::default(),
            connecting: Histogram::new(Duration::from_micros(100)),
            sessions: Counter::default(),
            sessions_ended: Counter::default(),
            latest: Gauge::default(),
        }
    }
}

impl ServerMetrics {
    /// Counts a connection that was made for a client, or could not be made.
    pub fn dialled(&self, took: Duration, reached: Reached) {
        if reached.is_reachable {
            self.connected.add(1);
            self.connecting.observe(took);
        } else {
            self.failed.add(1);
        }
        self.tried(reached);
    }

    /// Remembers what came of an attempt to reach it, whoever made it.
    pub fn tried(&self, reached: Reached) {
        // Zero is never: a moment of zero is rounded up.
        self.latest.set(reached.at_micros.max(1) << 1 | u64::from(reached.is_reachable));
    }

    /// What came of the last attempt to reach it; `None` when there was none.
    pub fn latest(&self) -> Option<Reached> {
        let latest = self.latest.value();
        (latest != 0).then_some(Reached { is_reachable: latest & 1 == 1, at_micros: latest >> 1 })
    }

    /// Counts a session, until the guard is dropped.
    pub fn session(self: &Arc<Self>) -> ServerSession {
        self.sessions.add(1);
        ServerSession(Arc::clone(self))
    }

    /// How many sessions live now.
    pub fn live_sessions(&self) -> u64 {
        let ended = self.sessions_ended.value();
        self.sessions.value().saturating_sub(ended)
    }
}

/// Counts one live session of a broker.
#[derive(Debug)]
pub struct ServerSession(Arc<ServerMetrics>);

impl Drop for ServerSession {
    fn drop(&mut self) {
        self.0.sessions_ended.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_is_remembered_with_its_time() {
        let server = Arc::new(ServerMetrics::default());
        assert_eq!(server.latest(), None);
        for reached in
            [Reached { is_reachable: true, at_micros: 7 }, Reached { is_reachable: false, at_micros: 8 }]
        {
            server.dialled(Duration::from_millis(1), reached);
            assert_eq!(server.latest(), Some(reached));
        }
        let session = server.session();
        assert_eq!((server.connected.value(), server.failed.value(), server.live_sessions()), (1, 1, 1));
        drop(session);
        assert_eq!((server.connecting.measured().count, server.live_sessions()), (1, 0));
    }
}

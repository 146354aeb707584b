//! Every number that the process counts while it works, declared once. They count from the start of the process.
//!
//! To count is one relaxed addition. What is labelled by a name is looked up when a connection begins, and only names
//! that stand in the config file are labels: how many there are is not for strangers to decide.

mod api;
mod histogram;
mod listener;
mod number;
mod outcome;
mod registry;
mod server;
mod waiting;

pub use api::{Api, Calls};
pub use histogram::{Histogram, Measured};
pub use listener::{Connected, ListenerMetrics, SessionGuard, TlsMetrics};
pub use number::{Counter, Gauge};
pub use outcome::Outcome;
pub use registry::Registry;
pub use server::{Reached, ServerMetrics, ServerSession};
pub use waiting::{Waiting, Waits};

use crate::admission::As;
use std::fmt::Write;
use std::sync::Arc;

/// All the numbers that no room keeps for itself.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By listener.
    pub listeners: Registry<ListenerMetrics>,
    /// By broker, as the config file writes it.
    pub servers: Registry<ServerMetrics>,
    /// Config files that were read again.
    pub reloads: Reloads,
    /// Calls of the API.
    pub api: Api,
    refused: [Counter; As::ALL.len()],
}

/// How it went when the config file was read again.
#[derive(Debug, Default)]
pub struct Reloads {
    /// It is in use.
    pub succeeded: Counter,
    /// It could not be used, and nothing has changed.
    pub failed: Counter,
    /// When one came into use last, in milliseconds since 1970; 0 for never.
    pub last_success_millis: Gauge,
}

/// How often the lists were asked.
///
/// Every connection writes here: it keeps cache lines to itself, or all processors would wait for whatever stands beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Checks {
    /// All of them.
    pub count: Counter,
    /// How long one of [`Checks::SAMPLE`] took.
    pub sampled: Histogram<CHECK_BUCKETS>,
}

const CHECK_BUCKETS: usize = 12;

impl Checks {
    /// One check in so many is timed.
    pub const SAMPLE: u64 = 256;
}

impl Metrics {
    /// Counts a client that a ban of this kind has refused.
    pub fn count_refused(&self, kind: As) {
        if let Some(counter) = self.refused_by(kind) {
            counter.add(1);
        }
    }

    /// How many clients bans of this kind have refused.
    pub fn refused(&self, kind: As) -> u64 {
        self.refused_by(kind).map_or(0, Counter::value)
    }

    fn refused_by(&self, kind: As) -> Option<&Counter> {
        self.refused.get(As::ALL.iter().position(|other| *other == kind)?)
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.sum(|listener| listener.connections.value())
    }

    /// How many connections had this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.sum(|listener| listener.outcome(outcome).value())
    }

    /// How many connections live now.
    pub fn live_connections(&self) -> u64 {
        self.sum(ListenerMetrics::live_connections)
    }

    /// How many sessions live now.
    pub fn live_sessions(&self) -> u64 {
        self.sum(ListenerMetrics::live_sessions)
    }

    /// Bytes that came from clients for their brokers, after CONNECT.
    pub fn bytes_to_broker(&self) -> u64 {
        self.sum(|listener| listener.bytes_to_broker.value())
    }

    /// Bytes that came from brokers for their clients.
    pub fn bytes_to_client(&self) -> u64 {
        self.sum(|listener| listener.bytes_to_client.value())
    }

    /// The outcomes that have occurred, as `name=count`, separated by spaces.
    pub fn outcomes(&self) -> String {
        let mut text = String::new();
        for outcome in Outcome::ALL {
            let count = self.outcome(outcome);
            if count > 0 {
                let space = if text.is_empty() { "" } else { " " };
                // Writing to a String does not fail.
                let _ = write!(text, "{space}{outcome}={count}");
            }
        }
        text
    }

    fn sum(&self, of: impl Fn(&ListenerMetrics) -> u64) -> u64 {
        self.listeners.all().iter().map(|(_, listener): &(Arc<str>, Arc<ListenerMetrics>)| of(listener)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sums_of_the_listeners() {
        let metrics = Metrics::default();
        for name in ["a", "b"] {
            let listener = metrics.listeners.of(name);
            listener.count(Outcome::Banned);
            drop(listener.connection());
        }
        metrics.listeners.of("a").count(Outcome::Admitted);
        assert_eq!((metrics.connections(), metrics.live_connections()), (2, 0));
        assert_eq!(metrics.outcomes(), "admitted=1 banned=2");
    }

    #[test]
    fn refusals_are_counted_by_kind() {
        let metrics = Metrics::default();
        metrics.count_refused(As::PeerHostNet);
        metrics.count_refused(As::PeerHostNet);
        assert_eq!(As::ALL.map(|kind| metrics.refused(kind)).iter().sum::<u64>(), 2);
        assert_eq!(metrics.refused(As::PeerHostNet), 2);
    }
}

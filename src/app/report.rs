//! What the process says of itself: at its start, after a reload, and from time to time.

use super::App;
use crate::admission::{As, List};
use crate::config::Orders;
use crate::findings::Findings;
use crate::metrics::Metrics;
use crate::telemetry::Telemetry;
use std::time::Duration;
use tokio::time::{Instant, interval, sleep_until};
use tracing::{info, warn};

/// Logs what the process starts with.
pub fn log_start(app: &App) {
    let count = |list| As::ALL.map(|kind| app.bouncer().count(list, kind)).iter().sum::<usize>();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        bans = count(List::Bans),
        exemptions = count(List::Exemptions),
        "mqtt-bouncer has started"
    );
}

pub(super) fn log_reload(orders: &Orders) {
    for change in &orders.changes {
        info!(change, "config changed");
    }
    for option in &orders.after_restart {
        warn!(option, "takes effect at the next start");
    }
    info!(
        options = orders.changes.len(),
        put = orders.put.len(),
        removed = orders.remove.len(),
        "config file is in use"
    );
}

/// Writes the totals from time to time, and how many lines were held back.
pub(super) struct Report {
    stats: Option<Duration>,
    next_stats: Option<Instant>,
    suppressed: tokio::time::Interval,
}

impl Report {
    pub(super) fn new(stats: Option<Duration>) -> Report {
        let next_stats = stats.map(|period| Instant::now() + period);
        Report { stats, next_stats, suppressed: interval(Duration::from_secs(10)) }
    }

    pub(super) async fn due(&mut self) {
        let stats = async {
            match self.next_stats {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stats => {}
            _ = self.suppressed.tick() => {}
        }
    }

    pub(super) fn write(&mut self, metrics: &Metrics, findings: &Findings, telemetry: &Telemetry) {
        let lines = telemetry.take_suppressed();
        if lines > 0 {
            warn!(lines, "log lines about single connections were held back");
        }
        if self.next_stats.is_some_and(|at| at <= Instant::now()) {
            write_totals(metrics, findings);
            self.next_stats = self.stats.map(|period| Instant::now() + period);
        }
    }
}

pub(super) fn write_totals(metrics: &Metrics, findings: &Findings) {
    info!(
        connections = metrics.connections(),
        live_connections = metrics.live_connections(),
        live_sessions = metrics.live_sessions(),
        outcomes = metrics.outcomes(),
        detections = findings.counts(),
        bytes_to_broker = metrics.bytes_to_broker(),
        bytes_to_client = metrics.bytes_to_client(),
        "totals"
    );
}

//! How it is at one moment, as the page is told each second.

use crate::admin::api::Admin;
use crate::admin::stats::{Detections, State, Stats, StatusCounts, UpstreamServer};
use crate::admission::detection::Detector;
use crate::admission::{List, Timestamp};
use crate::dashboard::Sample;
use crate::metrics::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;

/// How it is.
#[derive(Debug, Serialize)]
pub(super) struct Pulse {
    /// Now, in milliseconds since 1970.
    now: i64,
    started_at: String,
    uptime_seconds: f64,
    state: State,
    /// What was counted since the start.
    counted: Counted,
    connections: u64,
    bans: BTreeMap<String, StatusCounts>,
    detections: BTreeMap<String, Detections>,
    listeners: BTreeMap<String, Door>,
    upstreams: Vec<UpstreamServer>,
    /// Findings that came to nothing, log lines that were held back, changes that could not be written.
    lost_findings: u64,
    suppressed_lines: u64,
    store_errors: u64,
    resident_bytes: u64,
    cpu_seconds: f64,
}

/// As [`Sample`] has it.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    admitted: u64,
    banned: u64,
    rate_limited: u64,
    malformed: u64,
    upstream_down: u64,
    other: u64,
    detections: u64,
    sessions: u64,
    bans: u64,
}

/// A listener.
#[derive(Debug, Serialize)]
struct Door {
    live_connections: u64,
    max_connections: u64,
    live_sessions: u64,
    /// When its first certificate ends, in seconds since 1970.
    certificate_ends_at: Option<u64>,
}

impl From<Sample> for Counted {
    fn from(sample: Sample) -> Counted {
        let Sample {
            admitted,
            banned,
            rate_limited,
            malformed,
            upstream_down,
            other,
            detections,
            sessions,
            bans,
        } = sample;
        Counted {
            admitted,
            banned,
            rate_limited,
            malformed,
            upstream_down,
            other,
            detections,
            sessions,
            bans,
        }
    }
}

impl Pulse {
    pub(super) fn of(admin: &Admin) -> Pulse {
        let now = admin.bouncer.clock().now();
        let stats = Stats::of(admin);
        let door = |(name, one): (String, crate::admin::stats::Listener)| {
            let door = Door {
                live_connections: one.live_connections,
                max_connections: one.max_connections,
                live_sessions: one.live_sessions,
                certificate_ends_at: one.certificate_ends_at_seconds,
            };
            (name, door)
        };
        Pulse {
            now: now.as_millis(),
            started_at: stats.started_at,
            uptime_seconds: stats.uptime_seconds,
            state: stats.state,
            counted: sample(admin, now).into(),
            connections: admin.proxy.metrics.live_connections(),
            bans: stats.bans,
            detections: stats.detections,
            listeners: stats.listeners.into_iter().map(door).collect(),
            upstreams: stats.upstreams,
            lost_findings: stats.tables.lost,
            suppressed_lines: stats.log.suppressed_lines,
            store_errors: stats.store.errors,
            resident_bytes: stats.process.resident_bytes,
            cpu_seconds: stats.process.cpu_seconds,
        }
    }
}

/// What the charts remember of this moment.
pub(super) fn sample(admin: &Admin, now: Timestamp) -> Sample {
    let metrics = &admin.proxy.metrics;
    let mut sample = Sample { sessions: metrics.live_sessions(), ..Sample::default() };
    for (_, listener) in metrics.listeners.all() {
        for outcome in Outcome::ALL {
            *count_of(&mut sample, outcome) += listener.outcome(outcome).value();
        }
    }
    for detector in Detector::ALL {
        let (bans, shadow) = admin.findings.count(detector);
        sample.detections += bans + shadow;
    }
    let ttl = admin.cleanup.borrow().ttl;
    for counts in admin.bouncer.admission().list(List::Bans).statuses(now, ttl) {
        sample.bans += u64::try_from(counts.active).unwrap_or(u64::MAX);
    }
    sample
}

/// The page tells five reasons apart; the rest never was a client.
fn count_of(sample: &mut Sample, outcome: Outcome) -> &mut u64 {
    match outcome {
        Outcome::Admitted => &mut sample.admitted,
        Outcome::Banned => &mut sample.banned,
        Outcome::RateLimited => &mut sample.rate_limited,
        Outcome::UpstreamUnavailable => &mut sample.upstream_down,
        Outcome::UnsupportedVersion
        | Outcome::NotMqtt
        | Outcome::Malformed
        | Outcome::ProtocolError
        | Outcome::TooLarge
        | Outcome::UntrustedProxy
        | Outcome::BadProxyHeader
        | Outcome::TlsFailed
        | Outcome::WebSocketFailed => &mut sample.malformed,
        Outcome::Probe | Outcome::ClosedEarly | Outcome::ConnectTimeout | Outcome::Draining => {
            &mut sample.other
        }
    }
}

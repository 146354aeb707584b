//! Gathers the numbers from where they are counted.

use super::shape::{
    Checks, Detections, Listener, Log, Patterns, Process, Reloads, Requests, Server, State, Stats,
    StatusCounts, Store, Tables, UpstreamServer, Webhook,
};
use crate::admin::Admin;
use crate::admission::detection::Detector;
use crate::admission::{As, Class, List, Timestamp};
use crate::metrics::{Calls, ListenerMetrics, Outcome, ServerMetrics};
use crate::net::upstream::{Member, Upstream};
use crate::process::Usage;
use crate::store::Work;
use crate::webhook::Counts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Stats {
    /// The numbers now.
    pub(in crate::admin) fn of(admin: &Admin) -> Stats {
        let metrics = &admin.proxy.metrics;
        let clock = admin.bouncer.clock();
        let (now, micros) = (clock.now(), clock.moment().as_micros());
        Stats {
            node: admin.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: admin.started_at.to_string(),
            started_at_seconds: seconds(admin.started_at),
            uptime_seconds: seconds(now) - seconds(admin.started_at),
            state: State::of(admin),
            listeners: metrics
                .listeners
                .all()
                .iter()
                .map(|(name, one)| (name.to_string(), listener(one, micros)))
                .collect(),
            refused: As::ALL.map(|kind| (kind.to_string(), metrics.refused(kind))).into(),
            bans: statuses(admin, List::Bans, now),
            exemptions: statuses(admin, List::Exemptions, now),
            ban_patterns: patterns(admin, List::Bans),
            exemption_patterns: patterns(admin, List::Exemptions),
            checks: checks(admin),
            detections: Detector::ALL
                .map(|detector| (detector.to_string(), detections(admin, detector)))
                .into(),
            tables: tables(admin),
            store: store(admin.store.work()),
            webhook: webhook(admin.webhook.counts()),
            log: Log { suppressed_lines: admin.telemetry.suppressed() },
            upstream: upstream(admin),
            upstreams: members(admin),
            upstream_certificates: certificates(admin),
            reloads: reloads(admin),
            requests: metrics.api.calls().into_iter().map(requests).collect(),
            process: process(Usage::now()),
        }
    }
}

impl State {
    pub(in crate::admin) fn of(admin: &Admin) -> State {
        if admin.proxy.draining.is_raised() {
            State::Draining
        } else if admin.proxy.open.is_raised() {
            State::Running
        } else {
            State::Starting
        }
    }
}

fn listener(listener: &ListenerMetrics, now_micros: u64) -> Listener {
    let waited = listener.waiting.since_micros().map(|since| now_micros.saturating_sub(since));
    let ends = Some(listener.tls.certificate_ends.value()).filter(|ends| *ends > 0);
    let handshakes = listener.tls.handshakes().map(|(result, count)| (result.to_owned(), count));
    let outcome = |outcome: Outcome| (outcome.to_string(), listener.outcome(outcome).value());
    Listener {
        connections: listener.connections.value(),
        live_connections: listener.live_connections(),
        max_connections: listener.max_connections.value(),
        live_sessions: listener.live_sessions(),
        waiting: wide(listener.waiting.count()),
        longest_wait_seconds: Duration::from_micros(waited.unwrap_or_default()).as_secs_f64(),
        outcomes: Outcome::ALL.map(outcome).into(),
        tls_handshakes: if ends.is_some() { handshakes.collect() } else { BTreeMap::new() },
        certificate_ends_at_seconds: ends,
        bytes_to_broker: listener.bytes_to_broker.value(),
        bytes_to_client: listener.bytes_to_client.value(),
    }
}

fn statuses(admin: &Admin, list: List, now: Timestamp) -> BTreeMap<String, StatusCounts> {
    let ttl = admin.cleanup.borrow().ttl;
    let counted = admin.bouncer.admission().list(list).statuses(now, ttl);
    let told = counted.map(|one| {
        let counts = StatusCounts {
            active: wide(one.active),
            expired: wide(one.expired),
            deleting_soon: wide(one.deleting_soon),
        };
        (one.kind.to_string(), counts)
    });
    told.into()
}

fn patterns(admin: &Admin, list: List) -> Patterns {
    let list = admin.bouncer.admission().list(list);
    let classes = Class::ALL.map(|class| (class.to_string(), wide(list.count_class(class))));
    Patterns { classes: classes.into(), undecided: list.undecided() }
}

fn checks(admin: &Admin) -> Checks {
    let checks = admin.bouncer.checks();
    Checks { count: checks.count.value(), sampled: checks.sampled.measured().into() }
}

fn detections(admin: &Admin, detector: Detector) -> Detections {
    let (bans, shadow) = admin.findings.count(detector);
    Detections { bans, shadow }
}

fn tables(admin: &Admin) -> Tables {
    let (keys, bytes) = admin.bouncer.detection_usage();
    Tables {
        keys: wide(keys),
        bytes: wide(bytes),
        automatic_ban_bytes: wide(admin.bouncer.automatic_bytes()),
        lost: admin.bouncer.lost_findings(),
    }
}

fn store(work: Work) -> Store {
    let Work { commits, changes, errors, last_commit, file_bytes, wal_bytes } = work;
    let last_commit_seconds = last_commit.as_secs_f64();
    Store { commits, changes, errors, last_commit_seconds, file_bytes, wal_bytes }
}

fn webhook(counts: Counts) -> Webhook {
    let Counts { delivered, failed, dropped } = counts;
    Webhook { delivered, failed, dropped }
}

fn upstream(admin: &Admin) -> BTreeMap<String, Server> {
    let routes = admin.proxy.routes.load();
    let members = routes.groups.all().flat_map(|group| group.members());
    let configured: BTreeSet<String> = members.map(|member| member.server().to_string()).collect();
    let registry = &admin.proxy.metrics.servers;
    // One that nobody was taken to yet is there, too.
    for name in &configured {
        drop(registry.of(name));
    }
    let told = |server: &ServerMetrics, is_configured| Server {
        is_configured,
        is_reachable: server.latest().map(|latest| latest.is_reachable),
        connected: server.connected.value(),
        failed: server.failed.value(),
        connecting: server.connecting.measured().into(),
        live_sessions: server.live_sessions(),
    };
    let all = registry.all();
    all.iter().map(|(name, one)| (name.to_string(), told(one, configured.contains(&**name)))).collect()
}

fn members(admin: &Admin) -> Vec<UpstreamServer> {
    let (routes, now) = (admin.proxy.routes.load(), Instant::now());
    let all = routes.groups.all().flat_map(|group| group.members().iter().map(move |member| (group, member)));
    let told = |(group, member): (&Arc<Upstream>, &Member)| {
        let (checks_succeeded, checks_failed) = member.checks();
        UpstreamServer {
            upstream: group.name().to_string(),
            server: member.server().to_string(),
            health: member.condition(now, group.settings().slow_start).as_str().to_owned(),
            is_drained: member.is_drained(),
            is_usable: member.is_usable(now),
            live_connections: wide(member.live()),
            ejections: member.ejections(),
            checks_succeeded,
            checks_failed,
        }
    };
    all.map(told).collect()
}

fn certificates(admin: &Admin) -> BTreeMap<String, i64> {
    let routes = admin.proxy.routes.load();
    let shown = |group: &Arc<Upstream>| Some((group.name().to_string(), group.shown()?.not_after));
    routes.groups.all().filter_map(shown).collect()
}

fn reloads(admin: &Admin) -> Reloads {
    let reloads = &admin.proxy.metrics.reloads;
    let last = i64::try_from(reloads.last_success_millis.value()).unwrap_or(0);
    Reloads {
        succeeded: reloads.succeeded.value(),
        failed: reloads.failed.value(),
        last_success_seconds: (last > 0).then(|| seconds(Timestamp::from_millis(last))),
    }
}

fn requests(calls: Calls) -> Requests {
    let Calls { method, route, class, count } = calls;
    Requests { method: method.to_owned(), route, status: format!("{class}xx"), count }
}

fn process(usage: Usage) -> Process {
    let Usage { cpu_seconds, resident_bytes, open_files, max_files, threads } = usage;
    Process { cpu_seconds, resident_bytes, open_files, max_files, threads }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn seconds(at: Timestamp) -> f64 {
    // Exact for the next quarter of a million years.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of our age fit in 53 bits")]
    let millis = at.as_millis() as f64;
    millis / 1000.0
}

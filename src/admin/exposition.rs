//! The numbers as Prometheus reads them.

use super::stats::{Patterns, State, Stats, StatusCounts, Took};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// A way to write the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text format, version 0.0.4.
    Classic,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The form that an `Accept` header prefers: OpenMetrics, unless it asks for plain text more.
    pub(super) fn accepted(accept: &str) -> Form {
        let mut wanted = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            match kind.as_str() {
                "application/openmetrics-text" => wanted.0 = f64::max(wanted.0, weight),
                "text/plain" | "text/*" => wanted.1 = f64::max(wanted.1, weight),
                _ => {}
            }
        }
        if wanted.1 > wanted.0 { Form::Classic } else { Form::OpenMetrics }
    }
}

/// Every name begins with this.
const PREFIX: &str = "mqtt_bouncer";

/// The numbers in this form.
pub(super) fn exposition(stats: Stats, form: Form) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Exposed(stats)));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    match form {
        Form::OpenMetrics => text,
        Form::Classic => classic(&text),
    }
}

/// In the classic form a counter's family is named like its samples, there are no infos, and comments have no meaning.
fn classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        // Writing to a string does not fail.
        let _ = if line.starts_with("# HELP ") {
            help = line;
            Ok(())
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            let meaning = help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name));
            writeln!(classic, "# HELP {name}{suffix}{}", meaning.unwrap_or_default())
                .and_then(|()| writeln!(classic, "# TYPE {name}{suffix} {kind}"))
        } else if line.starts_with('#') {
            Ok(())
        } else {
            writeln!(classic, "{line}")
        };
    }
    classic
}

#[derive(Debug)]
struct Exposed(Stats);

/// What is being written.
struct Page<'a>(DescriptorEncoder<'a>);

type Label<'l> = (&'static str, &'l str);

impl Page<'_> {
    fn counter<'l, V: EncodeCounterValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            if N == 0 {
                family.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            } else {
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauge<'l, V: EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            if N == 0 {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn histogram<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], &'l Took)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, took) in samples {
            let buckets: Vec<(f64, u64)> = took
                .buckets
                .iter()
                .map(|bucket| (bucket.to_seconds.unwrap_or(f64::INFINITY), bucket.count))
                .collect();
            if N == 0 {
                family.encode_histogram::<NoLabelSet>(took.sum_seconds, took.count, &buckets, None)?;
            } else {
                let mut one = family.encode_family(&labels)?;
                one.encode_histogram::<NoLabelSet>(took.sum_seconds, took.count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

impl Collector for Exposed {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let (page, stats) = (&mut Page(encoder), &self.0);
        process(page, stats)?;
        connections(page, stats)?;
        bans(page, stats)?;
        detection(page, stats)?;
        upstream(page, stats)?;
        keeping(page, stats)?;
        calls(page, stats)
    }
}

fn connections(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let listeners = || stats.listeners.iter().map(|(name, one)| (("listener", name.as_str()), one));
    let outcomes = listeners().flat_map(|(listener, one)| {
        one.outcomes.iter().map(move |(outcome, count)| ([listener, ("outcome", outcome)], *count))
    });
    page.counter(
        "accepted",
        "Connections that were accepted.",
        listeners().map(|(l, one)| ([l], one.connections)),
    )?;
    page.counter(
        "connections",
        "Connections by how their way to the broker ended. Each has one outcome.",
        outcomes,
    )?;
    page.counter(
        "refused",
        "Clients that a ban has refused, by the kind of the ban.",
        stats.refused.iter().map(|(kind, count)| ([("as", kind.as_str())], *count)),
    )?;
    page.gauge(
        "live_connections",
        "Connections that live now.",
        listeners().map(|(l, one)| ([l], one.live_connections)),
    )?;
    page.gauge(
        "max_connections",
        "How many connections may live at once; more wait.",
        listeners().map(|(l, one)| ([l], one.max_connections)),
    )?;
    page.gauge(
        "live_sessions",
        "Sessions between a client and its broker that live now.",
        listeners().map(|(l, one)| ([l], one.live_sessions)),
    )?;
    page.gauge(
        "waiting_clients",
        "Clients that wait for their turn, because all come too fast together.",
        listeners().map(|(l, one)| ([l], one.waiting)),
    )?;
    page.gauge(
        "longest_wait_seconds",
        "How long whoever of them came first has waited; 0 where nobody waits.",
        listeners().map(|(l, one)| ([l], one.longest_wait_seconds)),
    )?;
    let handshakes = listeners().flat_map(|(listener, one)| {
        one.tls_handshakes.iter().map(move |(result, count)| ([listener, ("result", result)], *count))
    });
    page.counter("tls_handshakes", "TLS handshakes with clients by what came of them.", handshakes)?;
    page.gauge(
        "tls_certificate_ends_timestamp_seconds",
        "When the first certificate that a listener shows ends, in seconds since 1970.",
        listeners().filter_map(|(l, one)| Some(([l], one.certificate_ends_at_seconds?))),
    )?;
    let bytes = listeners().flat_map(|(listener, one)| {
        [("to_broker", one.bytes_to_broker), ("to_client", one.bytes_to_client)]
            .map(|(direction, bytes)| ([listener, ("direction", direction)], bytes))
    });
    page.counter("relayed_bytes", "Bytes of sessions, after the CONNECT.", bytes)
}

fn bans(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    page.gauge("bans", "Bans by kind and status.", by_status(&stats.bans))?;
    page.gauge("exemptions", "Exemptions by kind and status.", by_status(&stats.exemptions))?;
    let lists = [("bans", &stats.ban_patterns), ("exemptions", &stats.exemption_patterns)];
    let classes = lists.into_iter().flat_map(|(list, patterns): (_, &Patterns)| {
        patterns.classes.iter().map(move |(class, count)| ([("list", list), ("class", class)], *count))
    });
    page.gauge("patterns", "Regular expressions by class. Those that are unfilterable or have lookaround are tried for every client.", classes)?;
    page.counter(
        "undecided_patterns",
        "How often a pattern could not be decided within its limits, and counted as a match.",
        lists.map(|(list, patterns)| ([("list", list)], patterns.undecided)),
    )?;
    page.counter("checks", "Questions to the lists.", [([], stats.checks.count)])?;
    page.histogram("check_seconds", "How long one check of 256 took.", [([], &stats.checks.sampled)])
}

fn by_status(counts: &BTreeMap<String, StatusCounts>) -> impl Iterator<Item = ([Label<'_>; 2], u64)> {
    counts.iter().flat_map(|(kind, counts)| {
        let StatusCounts { active, expired, deleting_soon } = *counts;
        [("active", active), ("expired", expired), ("deleting_soon", deleting_soon)]
            .map(|(status, count)| ([("as", kind.as_str()), ("status", status)], count))
    })
}

fn detection(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let detections = stats.detections.iter().flat_map(|(detector, found)| {
        [("false", found.bans), ("true", found.shadow)]
            .map(|(shadow, count)| ([("detector", detector.as_str()), ("shadow", shadow)], count))
    });
    let tables = &stats.tables;
    page.counter(
        "detections",
        "What was found out, by detector: bans, and in shadow what would have been bans, and warnings.",
        detections,
    )?;
    page.counter(
        "lost_findings",
        "Findings that came to nothing because there were too many.",
        [([], tables.lost)],
    )?;
    page.gauge(
        "detection_keys",
        "Keys that detection holds, as they were counted within the last minute or so.",
        [([], tables.keys)],
    )?;
    page.gauge("detection_bytes", "Memory of the tables of detection.", [([], tables.bytes)])?;
    page.gauge(
        "automatic_ban_bytes",
        "About how much memory automatic bans take.",
        [([], tables.automatic_ban_bytes)],
    )
}

fn upstream(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let servers = || stats.upstream.iter().map(|(name, one)| (("server", name.as_str()), one));
    let connects = servers().flat_map(|(server, one)| {
        [("connected", one.connected), ("failed", one.failed)]
            .map(|(outcome, count)| ([server, ("outcome", outcome)], count))
    });
    let configured = || servers().filter(|(_, one)| one.is_configured);
    page.counter(
        "upstream_connects",
        "Connections to brokers for clients that were made, and that could not be.",
        connects,
    )?;
    page.histogram(
        "upstream_connect_seconds",
        "How long connections to brokers took to make.",
        servers().map(|(s, one)| ([s], &one.connecting)),
    )?;
    page.gauge(
        "upstream_sessions",
        "Sessions with each broker that live now.",
        servers().map(|(s, one)| ([s], one.live_sessions)),
    )?;
    page.gauge(
        "upstream_up",
        "1 when the last attempt to reach the broker succeeded, 0 when it failed. Absent before the first one.",
        configured().filter_map(|(s, one)| Some(([s], u64::from(one.is_reachable?)))),
    )?;
    page.gauge(
        "upstream_certificate_ends_timestamp_seconds",
        "When the certificate that we show to the brokers of a group ends, in seconds since 1970.",
        stats.upstream_certificates.iter().map(|(name, ends)| ([("upstream", name.as_str())], *ends)),
    )?;
    members(page, stats)
}

fn members(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let all = || {
        stats
            .upstreams
            .iter()
            .map(|one| ([("upstream", one.upstream.as_str()), ("server", one.server.as_str())], one))
    };
    page.gauge(
        "upstream_usable",
        "1 while clients are taken to the broker, 0 while it is drained, left alone or down.",
        all().map(|(labels, one)| (labels, u64::from(one.is_usable))),
    )?;
    page.gauge(
        "upstream_drained",
        "1 while the broker takes no new clients because somebody said so.",
        all().map(|(labels, one)| (labels, u64::from(one.is_drained))),
    )?;
    page.gauge(
        "upstream_connections",
        "Connections to each broker that live now, those that are being made included.",
        all().map(|(labels, one)| (labels, one.live_connections)),
    )?;
    page.counter(
        "upstream_ejections",
        "How often the broker was left alone because it could not be reached.",
        all().map(|(labels, one)| (labels, one.ejections)),
    )?;
    let checks = all().flat_map(|([upstream, server], one)| {
        [("succeeded", one.checks_succeeded), ("failed", one.checks_failed)]
            .map(|(outcome, count)| ([upstream, server, ("outcome", outcome)], count))
    });
    page.counter("upstream_checks", "Health checks of brokers, by what came of them.", checks)
}

fn keeping(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let (store, webhook, reloads) = (&stats.store, &stats.webhook, &stats.reloads);
    page.counter("store_commits", "Transactions of the store that are on disk.", [([], store.commits)])?;
    page.counter(
        "store_changes",
        "Changes of bans, exemptions and what belongs to them that are on disk.",
        [([], store.changes)],
    )?;
    page.counter("store_errors", "Transactions that could not be written.", [([], store.errors)])?;
    page.gauge(
        "store_last_commit_seconds",
        "How long the last transaction took.",
        [([], store.last_commit_seconds)],
    )?;
    page.gauge(
        "store_file_bytes",
        "Size of the store's file; 0 without a data directory.",
        [([], store.file_bytes)],
    )?;
    page.gauge("store_wal_bytes", "Size of the write-ahead log beside it.", [([], store.wal_bytes)])?;
    let events = [("delivered", webhook.delivered), ("failed", webhook.failed), ("dropped", webhook.dropped)];
    page.counter(
        "webhook_events",
        "Events for the webhook, by what became of them.",
        events.map(|(outcome, count)| ([("outcome", outcome)], count)),
    )?;
    page.counter(
        "suppressed_log_lines",
        "Log lines about single connections that were held back.",
        [([], stats.log.suppressed_lines)],
    )?;
    let results = [("succeeded", reloads.succeeded), ("failed", reloads.failed)];
    page.counter(
        "reloads",
        "Config files that were read again.",
        results.map(|(result, count)| ([("result", result)], count)),
    )?;
    page.gauge(
        "last_reload_timestamp_seconds",
        "When a config file was read again and came into use last, in seconds since 1970; 0 for never.",
        [([], reloads.last_success_seconds.unwrap_or_default())],
    )
}

fn calls(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let requests = stats.requests.iter().map(|one| {
        (
            [("method", one.method.as_str()), ("route", one.route.as_str()), ("status", one.status.as_str())],
            one.count,
        )
    });
    page.counter("api_requests", "Calls of the API by route and class of status.", requests)
}

fn process(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let process = &stats.process;
    page.0
        .encode_descriptor("build", "The program.", None, MetricType::Info)?
        .encode_info(&[("version", stats.version.as_str())])?;
    let all = [("starting", State::Starting), ("running", State::Running), ("draining", State::Draining)];
    page.gauge(
        "state",
        "1 for what the proxy is doing, 0 for what it is not.",
        all.map(|(name, state)| ([("state", name)], u64::from(state == stats.state))),
    )?;
    page.counter("process_cpu_seconds", "Processor time.", [([], process.cpu_seconds)])?;
    page.gauge(
        "process_resident_memory_bytes",
        "Memory that the process occupies.",
        [([], process.resident_bytes)],
    )?;
    page.gauge("process_open_fds", "Open files and sockets.", [([], process.open_files)])?;
    page.gauge("process_max_fds", "How many files and sockets may be open.", [([], process.max_files)])?;
    page.gauge("process_threads", "Threads.", [([], process.threads)])?;
    page.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        [([], stats.started_at_seconds)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for_most() {
        for (accept, form) in [
            ("", Form::OpenMetrics),
            ("*/*", Form::OpenMetrics),
            ("text/plain", Form::Classic),
            ("text/plain; version=0.0.4", Form::Classic),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Form::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0.1, Text/Plain;q=0.9", Form::Classic),
            (";;q=,,q=x;q=y", Form::OpenMetrics),
        ] {
            assert_eq!(Form::accepted(accept), form, "{accept}");
        }
    }

    #[test]
    fn counters_and_infos_change_their_names_in_the_classic_form() {
        let open = "# HELP a_b Things, all.\n# TYPE a_b counter\na_b_total{x=\"#\"} 1\n\
                    # HELP build It.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
                    # HELP c Now.\n# TYPE c gauge\nc 2\n# EOF\n";
        let expected = "# HELP a_b_total Things, all.\n# TYPE a_b_total counter\na_b_total{x=\"#\"} 1\n\
                        # HELP build_info It.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
                        # HELP c Now.\n# TYPE c gauge\nc 2\n";
        assert_eq!(classic(open), expected);
    }
}

//! What the running proxy tells those who watch it.

use crate::harness::{BANNED, Running, Site, UNAVAILABLE};
use crate::http::Answer;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// A metric as it is served.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// What is served, by the name under which it is asked for.
fn metrics(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut helps = BTreeMap::new();
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => drop(helps.insert(name.to_owned(), help.to_owned())),
            ["#", "TYPE", name, kind] => {
                let shown = match kind {
                    "counter" => format!("{name}_total"),
                    "info" => format!("{name}_info"),
                    _ => name.to_owned(),
                };
                let (kind, help) = (kind.to_owned(), helps[name].clone());
                names.insert(name.to_owned(), shown.clone());
                metrics.insert(shown, Metric { kind, help, labels: BTreeSet::new() });
            }
            ["#", ..] => {}
            _ => {
                let (name, labels) = match line.split_once('{') {
                    Some((name, rest)) => (name, rest.split_once('}').expect("closed").0),
                    None => (line.split_once(' ').expect("a value").0, ""),
                };
                let shown = [
                    name,
                    name.trim_end_matches("_sum"),
                    name.trim_end_matches("_count"),
                    name.trim_end_matches("_bucket"),
                ]
                .into_iter()
                .find(|name| metrics.contains_key(*name))
                .unwrap_or_else(|| panic!("{name} is not declared"))
                .to_owned();
                let labels = labels
                    .split("\",")
                    .filter_map(|label| label.split_once('='))
                    .map(|(label, _)| label.to_owned());
                metrics.get_mut(&shown).expect("found").labels.extend(labels.filter(|label| label != "le"));
            }
        }
    }
    metrics
}

/// The metrics of a proxy of which everything was asked that makes a metric.
fn served() -> BTreeMap<String, Metric> {
    let listener = "[[listener]]\nname = \"mqtts\"\ntype = \"tls\"\nbind = \"127.0.0.1:0\"\n";
    let tls = "tls = { cert = \"server.pem\", key = \"server.key\" }";
    let group = format!("[upstreams.secured]\nservers = [\"127.0.0.1:1\"]\n{tls}");
    let site = Site::new(&format!("{listener}{tls}\n{group}"));
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    site.write("server.pem", own.cert.pem());
    site.write("server.key", own.signing_key.serialize_pem());
    let _proxy = site.serve();
    assert_eq!(once_started(&site).status, 503);
    let text = site.get("/metrics").body;
    assert!(text.ends_with("# EOF\n"), "{text}");
    metrics(&text)
}

fn document(name: &str) -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = fs::read_to_string(&path).expect(name);
    (path, text)
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_served() {
    let (path, document) = document("metrics.md");
    let (before, rest) = document.split_once(BEGIN).expect("the table's begin");
    let (_, after) = rest.split_once(FINISH).expect("the table's end");
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (name, Metric { kind, help, labels }) in served() {
        assert!(name.starts_with("mqtt_bouncer_"), "{name}");
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(" ")).expect("a string");
    }
    let written = format!("{before}{BEGIN}\n{table}{FINISH}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, written).expect("writable");
        return;
    }
    assert!(written == document, "docs/metrics.md is out of date; UPDATE_DOCS=1 writes it anew:\n{table}");
}

const BEGIN: &str = "<!-- metrics: begin -->";
const FINISH: &str = "<!-- metrics: end -->";

#[test]
fn what_clients_did_is_counted_where_it_happened() {
    let site = Site::new(
        "[[ban]]\nas = \"clientid\"\nwho = \"bot\"\n[[ban]]\nas = \"username\"\nwho = \"x\"\nuntil = 1000000000\n",
    );
    let proxy = site.serve();
    assert_eq!(proxy.knock("bot"), BANNED);
    assert_eq!(proxy.knock("bot"), BANNED);
    assert_eq!(proxy.knock("sensor"), UNAVAILABLE);
    let text = site.get("/metrics").body;
    for line in [
        r#"mqtt_bouncer_accepted_total{listener="mqtt"} 3"#,
        r#"mqtt_bouncer_connections_total{listener="mqtt",outcome="banned"} 2"#,
        r#"mqtt_bouncer_connections_total{listener="mqtt",outcome="upstream_unavailable"} 1"#,
        r#"mqtt_bouncer_refused_total{as="clientid"} 2"#,
        r#"mqtt_bouncer_bans{as="clientid",status="active"} 1"#,
        r#"mqtt_bouncer_bans{as="username",status="active"} 0"#,
        r#"mqtt_bouncer_bans{as="username",status="deleting_soon"} 1"#,
        r#"mqtt_bouncer_upstream_connects_total{server="127.0.0.1:1",outcome="failed"} 1"#,
        r#"mqtt_bouncer_upstream_up{server="127.0.0.1:1"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let stats = site.get("/api/v5/stats").json();
    assert_eq!(stats["listeners"]["mqtt"]["outcomes"]["banned"], 2);
    assert_eq!(stats["refused"]["clientid"], 2);
    assert_eq!(stats["state"], "running");
    // The scrape before, by its template.
    let requests = stats["requests"].as_array().expect("a list");
    assert!(
        requests.iter().any(|one| one["route"] == "/metrics" && one["status"] == "2xx" && one["count"] == 1)
    );
}

#[test]
fn a_reload_is_counted_by_its_result() {
    let site = Site::new("");
    let proxy = site.serve();
    proxy.signal("HUP");
    let counted =
        |line: &str| (0..1000).any(|_| site.get("/metrics").body.lines().any(|found| found == line));
    assert!(counted(r#"mqtt_bouncer_reloads_total{result="succeeded"} 1"#));
    site.configure("nonsense");
    proxy.signal("HUP");
    assert!(counted(r#"mqtt_bouncer_reloads_total{result="failed"} 1"#));
}

#[test]
fn prometheus_gets_the_form_that_it_asks_for() {
    let site = Site::new("");
    let _proxy = site.serve();
    let open = site.get("/metrics");
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let classic = site.call("GET", "/metrics", &[("accept", "text/plain")], "");
    assert_eq!(classic.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    // The first scrape was counted before the second.
    assert_eq!(samples(&classic.body), samples(&open.body) + 1);
    assert!(classic.body.contains("# TYPE mqtt_bouncer_checks_total counter\n"));
}

#[test]
fn the_proxy_is_ready_while_a_broker_can_be_reached() {
    let broker = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let site = Site::with_broker(broker.local_addr().expect("bound"), "");
    let proxy = site.serve();
    let ready = once_started(&site);
    assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"status":"ok"}"#));
    // It has asked once, and believes it for a while.
    broker.accept().expect("one question");
    broker.set_nonblocking(true).expect("open");
    assert_eq!(site.get("/readyz").status, 200);
    assert!(broker.accept().is_err(), "it asked again");

    broker.set_nonblocking(false).expect("open");
    let mut session = TcpStream::connect(proxy.addr).expect("it listens");
    session.write_all(&Running::connect("sensor")).expect("connected");
    let inside = broker.accept().expect("a session");
    proxy.signal("TERM");
    let draining = (0..1000).map(|_| site.get("/readyz")).find(|answer| answer.status == 503);
    let draining = draining.expect("it drains").json();
    assert_eq!(draining["reason"], "draining");
    assert_eq!(site.get("/livez").status, 200);
    drop((session, inside));
    assert!(proxy.wait().success());
}

#[test]
fn without_a_broker_it_says_why_it_is_not_ready() {
    let site = Site::new("");
    let _proxy = site.serve();
    let answer = once_started(&site);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["reason"], "no_upstream");
}

/// Whether it is ready, once every listener accepts.
fn once_started(site: &Site) -> Answer {
    let mut answers = (0..1000).map(|_| site.get("/readyz"));
    answers.find(|answer| !answer.body.contains("starting")).expect("it starts")
}

/// Every name that stands in a query of the dashboard.
fn names_in(queries: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    queries
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("mqtt_bouncer_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_dashboard_asks_for_metrics_that_are_there() {
    let (_, text) = document("grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() > 20, "the queries were not found");
    let served = served();
    let names = names_in(&queries.join("\n"));
    for name in &names {
        let histogram =
            name.strip_suffix("_bucket").or(name.strip_suffix("_sum")).or(name.strip_suffix("_count"));
        let is_there = served.contains_key(name)
            || histogram.and_then(|name| served.get(name)).is_some_and(|metric| metric.kind == "histogram");
        assert!(is_there, "{name} is not served");
    }
    for query in &queries {
        for label in
            query.split(['{', ',']).filter_map(|part| part.split_once("=~\"")).map(|(label, _)| label.trim())
        {
            let known = label == "instance" || served.values().any(|metric| metric.labels.contains(label));
            assert!(known, "{label} is no label: {query}");
        }
    }
}

fn collect_queries(value: &serde_json::Value, queries: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            queries.extend(fields.get("expr").and_then(|expr| expr.as_str()).map(ToOwned::to_owned));
            fields.values().for_each(|value| collect_queries(value, queries));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_queries(item, queries)),
        _ => {}
    }
}

#[test]
fn the_viewer_asks_no_other_host_for_anything() {
    let site = Site::new("");
    let _proxy = site.serve();
    for file in ["", "index.css", "swagger-initializer.js"] {
        let answer = site.get(&format!("/api-docs/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.body.contains("://"), "{}", answer.body);
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'self'"));
    }
    let start = site.get("/api-docs/swagger-initializer.js").body;
    assert!(start.contains(r#""validatorUrl": "none""#), "{start}");
    assert!(start.contains(r#""url": "/api/v5/openapi.json""#), "{start}");
    assert_eq!(site.get("/api-docs").headers["location"], "/api-docs/");
    // Of its style, only the names of XML are addresses.
    let style = site.get("/api-docs/swagger-ui.css").body;
    let addresses = style.split("://").skip(1);
    assert!(addresses.into_iter().all(|address| address.starts_with("www.w3.org/2000/svg")));
}

#[test]
fn top_prints_what_happens_once_for_people_and_for_programs() {
    let site = Site::new("");
    let proxy = site.serve();
    assert_eq!(proxy.knock("sensor"), UNAVAILABLE);
    let screen = site.succeed(&["top", "--once", "--interval", "100ms"]);
    let lines: Vec<_> = screen.lines().collect();
    assert!(lines[0].starts_with("mqtt-bouncer ") && lines[0].contains("running"), "{screen}");
    assert!(screen.contains("upstream_unavailable") && screen.contains("127.0.0.1:1 "), "{screen}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
    let stats: serde_json::Value =
        serde_json::from_str(&site.succeed(&["top", "--once", "--json"])).expect("JSON");
    assert_eq!(stats["listeners"]["mqtt"]["outcomes"]["upstream_unavailable"], 1);
    drop(proxy);
    assert!(site.fail(&["top", "--once"]).contains("cannot reach the running proxy"));
}

#[test]
fn changes_are_told_to_programs_as_json() {
    let site = Site::new("");
    let _proxy = site.serve();
    for (arguments, expected) in [
        (&["bans", "add", "clientid", "a", "--json"][..], r#"{"added":1,"changed":0}"#),
        (&["bans", "remove", "clientid", "a", "--json"], r#"{"is_in_config_file":false,"lifted":true}"#),
        (&["bans", "clear", "--yes", "--json"], r#"{"cleared":true}"#),
        (
            &["bans", "import", &site.write("list.txt", "x\ny\n"), "--json"],
            r#"{"added":2,"changed":0,"dry_run":false,"left_out":0}"#,
        ),
    ] {
        assert_eq!(site.succeed(arguments).trim(), expected, "{arguments:?}");
    }
}

//! The suites beside this file, which drive public client libraries. Each tells all that its client can see; what it
//! tells through the proxy must be what it tells of the broker alone.

use crate::haproxy::{BALANCER, HaProxy};
use crate::harness::{Broker, Proxy, ban, config, free_port};
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

#[test]
fn paho_cannot_tell_the_proxy_from_the_broker() {
    assert_indistinguishable(|addr| at_port(python("paho_suite.py"), addr));
}

#[test]
fn mqttjs_cannot_tell_the_proxy_from_the_broker() {
    assert_indistinguishable(|addr| at_port(node("mqttjs_suite.mjs"), addr));
}

/// How clients reach the proxy.
const WAYS: [(&str, &str); 5] = [
    ("tcp", ""),
    ("tls", "type = \"tls\"\ntls = { cert = \"server.pem\", key = \"server.key\" }"),
    (
        "mtls",
        "type = \"tls\"\n\
         tls = { cert = \"server.pem\", key = \"server.key\", client_auth = \"required\", client_ca = \"ca.pem\" }",
    ),
    ("ws", "type = \"ws\""),
    ("wss", "type = \"wss\"\ntls = { cert = \"server.pem\", key = \"server.key\" }"),
];
/// A client in Python takes too long to mask so much.
const TOO_LARGE_TO_MASK: &str = "payload_of_64_mib";

#[test]
fn paho_cannot_tell_the_proxy_from_the_broker_over_tls_or_websockets() {
    assert_same_by_every_way(&WAYS[1..], None, || python("paho_suite.py"));
}

#[test]
fn paho_cannot_tell_the_proxy_behind_haproxy_from_the_broker_by_any_way() {
    assert_same_by_every_way(&WAYS, Some("send-proxy-v2"), || python("paho_suite.py"));
}

#[test]
fn mqttjs_cannot_tell_a_broker_that_is_reached_by_websocket() {
    let web = free_port();
    let options = format!("allow_anonymous true\nlistener {web} 127.0.0.1\nprotocol websockets");
    let (alone, behind) = (Broker::start(), Broker::start_with(&options));
    let text = config(behind.addr, "", "").replace(
        &format!("servers = [\"{}\"]", behind.addr),
        &format!("servers = [\"127.0.0.1:{web}\"]\nwebsocket = \"/mqtt\""),
    );
    let proxy = Proxy::start(&text);
    // Of messages larger than a megabyte mosquitto's WebSocket listener loses the end, whoever its client is.
    let suite = |addr| {
        let mut suite = at_port(node("mqttjs_suite.mjs"), addr);
        suite.args(["--skip", "payloadOf16Mib"]);
        transcript(&mut suite)
    };
    if let Some(difference) = first_difference(&suite(alone.addr), &suite(proxy.addr)) {
        panic!("the client can tell the proxy from the broker:\n{difference}");
    }
}

#[test]
fn mqttjs_cannot_tell_the_proxy_from_the_broker_over_tls_or_websockets() {
    assert_same_by_every_way(&WAYS[1..], None, || node("mqttjs_suite.mjs"));
}

#[test]
fn mqttjs_cannot_tell_the_proxy_behind_haproxy_from_the_broker_by_any_way() {
    assert_same_by_every_way(&WAYS, Some("send-proxy-v2"), || node("mqttjs_suite.mjs"));
}

/// Runs a suite against a broker alone, and by these ways against a proxy before another; behind an HAProxy that sends
/// such a header, where it is given.
fn assert_same_by_every_way(ways: &[(&str, &str)], header: Option<&str>, suite: impl Fn() -> Command) {
    let pki = Pki::make();
    let alone = Broker::start();
    let direct = transcript(&mut at_port(suite(), alone.addr));
    for (way, options) in ways {
        let behind = Broker::start();
        let trusting = format!("proxy_protocol = \"required\"\ntrusted = [\"{BALANCER}\"]\n");
        let options = format!("{}{}", if header.is_some() { &trusting } else { "" }, pki.absolute(options));
        let proxy = Proxy::start(&config(behind.addr, &options, ""));
        let front =
            header.map(|header| HaProxy::start("", proxy.addr, &format!("source {BALANCER} {header}")));
        let mut proxied =
            at_name(suite(), "localhost", front.as_ref().map_or(proxy.addr, |front| front.addr));
        proxied.args(["--transport", if *way == "mtls" { "tls" } else { way }]);
        for (option, file) in [("--ca", "ca.pem"), ("--cert", "client.pem"), ("--key", "client.key")] {
            proxied.arg(option).arg(pki.path(file));
        }
        let is_masked = way.starts_with("ws");
        if is_masked {
            proxied.args(["--skip", TOO_LARGE_TO_MASK]);
        }
        let was_played = |line: &&str| !(is_masked && line.contains(TOO_LARGE_TO_MASK));
        let direct: String = direct.lines().filter(was_played).flat_map(|line| [line, "\n"]).collect();
        if let Some(difference) = first_difference(&direct, &transcript(&mut proxied)) {
            panic!("the client can tell the proxy from the broker over {way}:\n{difference}");
        }
    }
}

#[test]
fn mosquitto_clients_cannot_tell_the_proxy_from_the_broker() {
    assert_indistinguishable(|addr| {
        let mut command = Command::new("bash");
        command.arg(folder().join("mosquitto_clients.sh"));
        command.args([addr.ip().to_string(), addr.port().to_string()]);
        command
    });
}

#[test]
fn two_thousand_clients_at_once_lose_nothing() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let mut swarm = at_port(python("swarm.py"), proxy.addr);
    let sums = transcript(swarm.args(["--clients", "2000"]));
    assert_eq!(sums.trim(), r#"{"clients": 2000, "received": 6000, "acknowledged": 6000}"#);

    let log = proxy.stop();
    let totals = log.iter().rfind(|line| line.contains(" totals ")).expect("totals at the end");
    assert!(totals.contains("live_connections=0"), "{totals}");
    assert!(totals.contains(r#"outcomes="admitted=2000""#), "{totals}");
}

#[test]
fn banned_clients_are_told_by_every_client_library() {
    let broker = Broker::start();
    let bans = ban("clientid", "real-bad-device") + &ban("username", "real-bad-user");
    let proxy = Proxy::start(&config(broker.addr, "", &bans));
    for suite in [python("banned.py"), node("banned.mjs")] {
        let mut suite = at_port(suite, proxy.addr);
        transcript(suite.args(["--banned-id", "real-bad-device", "--banned-user", "real-bad-user"]));
    }
    let met = broker.kill().join("\n");
    assert!(met.contains("real-welcome") && !met.contains("real-bad"), "{met}");
}

/// Runs a suite against a broker and against a proxy before another, equal one.
fn assert_indistinguishable(suite: impl Fn(SocketAddr) -> Command) {
    let (alone, behind) = (Broker::start(), Broker::start());
    let proxy = Proxy::start(&config(behind.addr, "", ""));
    let (mut direct, mut proxied) = (suite(alone.addr), suite(proxy.addr));
    let (direct, proxied) = thread::scope(|scope| {
        let direct = scope.spawn(|| transcript(&mut direct));
        let proxied = transcript(&mut proxied);
        (direct.join().expect("the suite against the broker alone"), proxied)
    });
    if let Some(difference) = first_difference(&direct, &proxied) {
        panic!("the client can tell the proxy from the broker:\n{difference}");
    }
}

/// What a suite tells, if it is content.
pub(crate) fn transcript(suite: &mut Command) -> String {
    let output = suite.output().unwrap_or_else(|error| panic!("{suite:?}: {error}; tests/run installs it"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{suite:?} ended with {}:\n{told}{errors}", output.status);
    assert!(!told.is_empty(), "{suite:?} told nothing");
    told
}

/// The first line that differs, cut to what surrounds its first difference.
fn first_difference(direct: &str, proxied: &str) -> Option<String> {
    let (mut direct, mut proxied) = (direct.lines(), proxied.lines());
    for number in 1.. {
        let (broker, proxy) = (direct.next(), proxied.next());
        if broker.is_none() && proxy.is_none() {
            break;
        }
        if broker != proxy {
            let (broker, proxy) = (broker.unwrap_or("(nothing)"), proxy.unwrap_or("(nothing)"));
            let same = broker.chars().zip(proxy.chars()).take_while(|(one, other)| one == other).count();
            let heading: String = broker.chars().take(80).collect();
            let part =
                |line: &str| -> String { line.chars().skip(same.saturating_sub(80)).take(240).collect() };
            return Some(format!(
                "line {number}, {heading}…, from character {same} on\nbroker: …{}\nproxy:  …{}",
                part(broker),
                part(proxy)
            ));
        }
    }
    None
}

pub(crate) fn at_port(mut suite: Command, addr: SocketAddr) -> Command {
    suite.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
    suite
}

fn at_name(mut suite: Command, name: &str, addr: SocketAddr) -> Command {
    suite.args(["--host", name, "--port", &addr.port().to_string()]);
    suite
}

/// An authority, a server and a client, for a day's test.
struct Pki(tempfile::TempDir);

impl Pki {
    fn make() -> Pki {
        let folder = tempfile::tempdir().expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make-dev-certs.sh");
        let made = Command::new(script).arg(folder.path()).output().expect("bash and openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Pki(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// These options of a listener, with its files where they are.
    fn absolute(&self, options: &str) -> String {
        ["server.pem", "server.key", "ca.pem"].iter().fold(options.to_owned(), |options, file| {
            options.replace(&format!("\"{file}\""), &format!("\"{}\"", self.path(file).display()))
        })
    }
}

pub(crate) fn python(script: &str) -> Command {
    let python = env::var_os("PYTHON").map_or_else(|| folder().join(".venv/bin/python"), PathBuf::from);
    let mut command = Command::new(python);
    command.arg(folder().join(script));
    command
}

fn node(script: &str) -> Command {
    let folder = folder().join("js");
    assert!(folder.join("node_modules/mqtt").exists(), "MQTT.js is not installed; tests/run installs it");
    let mut command = Command::new(env::var_os("NODE").unwrap_or_else(|| "node".into()));
    command.arg(folder.join(script));
    command
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real")
}

#[test]
fn the_first_difference_of_two_transcripts_is_shown() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    let longer = first_difference("a\n", "a\nb\n").expect("different");
    assert!(longer.contains("line 2"), "{longer}");
    let long = "ä".repeat(1000);
    let shown = first_difference(&format!("{long}1"), &format!("{long}2")).expect("different");
    assert!(shown.contains("character 1000") && shown.ends_with("ä2"), "{shown}");
}

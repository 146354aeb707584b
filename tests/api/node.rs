//! The process itself: its state, its config, and reading that again.

use crate::harness::{Running, Site, basic};
use serde_json::Value;

fn reload(proxy: &Running) -> (u16, Value) {
    let answer = proxy.call("POST", "/api/v5/reload", &basic("file-key", "file-secret"), "");
    (answer.status, answer.json())
}

#[test]
fn status_tells_how_it_is() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"x\"\n");
    let proxy = site.serve();
    let status = proxy.get("/api/v5/status").json();
    assert_eq!((status["node"].as_str(), status["draining"].as_bool()), (Some("mqtt-bouncer"), Some(false)));
    let listener = &status["listeners"][0];
    assert_eq!((listener["name"].as_str(), listener["connections"].as_u64()), (Some("mqtt"), Some(0)));
    assert_eq!(listener["max_connections"], 100_000);
    assert_eq!((&status["bans"]["clientid"], &status["exemptions"]["clientid"]), (&1.into(), &0.into()));
    assert_eq!(status["upstreams"][0]["servers"][0], "127.0.0.1:1");
    assert_eq!(status["admin"], proxy.api.to_string());
    assert_eq!(status["last_reload"], Value::Null);
    let idle =
        std::net::TcpStream::connect(listener["address"].as_str().expect("an address")).expect("it listens");
    for _ in 0..1000 {
        if proxy.get("/api/v5/status").json()["listeners"][0]["connections"] == 1 {
            break;
        }
    }
    assert_eq!(proxy.get("/api/v5/status").json()["listeners"][0]["connections"], 1);
    drop(idle);
}

#[test]
fn config_tells_every_option_where_it_is_from_and_no_secret() {
    let site =
        Site::new("[webhook]\nurl = \"http://127.0.0.1:9/hunter2\"\nsecret = \"hunter2-hunter2-hunter2\"\n");
    let proxy = site.serve();
    let answer = proxy.get("/api/v5/config");
    assert!(!answer.body.contains("hunter2"), "{answer:?}");
    let options = &answer.json()["options"];
    for (option, value, source) in [
        ("listener.mqtt.max_connections", Value::from(100_000), "default"),
        ("listener.mqtt.bind", "127.0.0.1:0".into(), "file"),
        ("upstream.servers", vec!["127.0.0.1:1"].into(), "file"),
        ("admin.allow_plaintext", false.into(), "default"),
        ("admin.password_file", "password".into(), "file"),
        ("webhook.secret", "…".into(), "file"),
        ("webhook.url", "http://127.0.0.1:9/…".into(), "file"),
    ] {
        assert_eq!(
            (&options[option]["value"], options[option]["source"].as_str()),
            (&value, Some(source)),
            "{option}"
        );
    }
}

#[test]
fn reload_says_what_it_has_done() {
    let site = Site::new("");
    let proxy = site.serve();
    let (status, done) = reload(&proxy);
    assert_eq!((status, &done["changes"]), (200, &Value::Array(Vec::new())));
    site.configure("[node2]\n");
    let (status, wrong) = reload(&proxy);
    assert_eq!((status, wrong["code"].as_str()), (400, Some("BAD_CONFIG")));
    site.configure("[[ban]]\nas = \"clientid\"\nwho = \"x\"\n[log]\nlevel = \"debug\"\n");
    let (status, done) = reload(&proxy);
    assert_eq!(
        (status, &done["put"], &done["changes"][0]),
        (200, &1.into(), &"log.level: \"info\" -> \"debug\"".into())
    );
    let last = proxy.get("/api/v5/status").json()["last_reload"].clone();
    assert_eq!((&last["ok"], last["message"].as_str()), (&true.into(), Some("1 options changed")));
}

#[test]
fn reload_with_a_bad_file_answers_every_mistake_and_changes_nothing() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"x\"\n");
    let proxy = site.serve();
    site.configure("[log]\nlevel = \"loud\"\nnonsense = 1\n");
    let (status, wrong) = reload(&proxy);
    let file = site.path("bouncer.toml").display().to_string();
    assert_eq!(
        (status, wrong["message"].as_str()),
        (400, Some("the config file has 2 mistakes, nothing has changed"))
    );
    assert_eq!(
        wrong["mistakes"],
        serde_json::json!([
            format!(
                "{file}:14: log.level: \"loud\" is unknown; expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\""
            ),
            format!(
                "{file}:15: log.nonsense: is not an option; expected one of level, format, max_connection_lines, stats_interval"
            ),
        ])
    );
    let status = proxy.get("/api/v5/status").json();
    assert_eq!((&status["bans"]["clientid"], &status["last_reload"]["ok"]), (&1.into(), &false.into()));
    let (code, _, stderr) = site.run(&["reload"], "");
    assert_eq!((code, stderr.lines().count()), (Some(1), 3), "{stderr}");
}

#[test]
fn a_bad_key_file_changes_nothing_and_a_good_one_holds_at_once() {
    let site = Site::new("");
    let proxy = site.serve();
    site.write("keys", "file-key:file-secret\nnew:secret:publisher\n");
    let (status, wrong) = reload(&proxy);
    assert!(
        status == 400
            && wrong["message"]
                .as_str()
                .expect("a text")
                .contains("line 2: the role is a role for publishing"),
        "{wrong}"
    );
    assert_eq!(proxy.call("GET", "/api/v5/status", &basic("file-viewer", "viewer-secret"), "").status, 200);
    site.write("keys", "file-key:file-secret\nnew:secret\n");
    assert_eq!(reload(&proxy).0, 200);
    assert_eq!(proxy.call("GET", "/api/v5/status", &basic("new", "secret"), "").status, 200);
    assert_eq!(proxy.call("GET", "/api/v5/status", &basic("file-viewer", "viewer-secret"), "").status, 401);
}

#[test]
fn the_listener_moves_closes_and_opens_at_a_reload() {
    let site = Site::new("");
    let proxy = site.serve();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let moved = format!("[admin]\nbind = \"{free}\"\napi_key_file = \"keys\"\n");
    site.configure(&moved);
    assert_eq!(reload(&proxy).0, 200, "the call that moves it is answered");
    let text = proxy.log.wait_for(&format!("API is listening address={free}"));
    assert!(text.contains("API is listening"));
    proxy.log.wait_for("API is no longer listening");
    assert!(std::net::TcpStream::connect(free).is_ok());
    assert!(std::net::TcpStream::connect(proxy.api).is_err());
    // The table is gone; the socket is there.
    let text = std::fs::read_to_string(site.path("bouncer.toml")).expect("readable").replace(&moved, "");
    site.write("bouncer.toml", text);
    assert_eq!(site.run(&["reload"], "").0, Some(0));
    proxy.log.wait_for(&format!("API is no longer listening address={free}"));
    assert!(std::net::TcpStream::connect(free).is_err());
    assert_eq!(site.run(&["status"], "").0, Some(0));
}

#[test]
fn check_refuses_a_public_bind_without_tls_and_files_that_cannot_be_used() {
    let site = Site::new("[admin]\nbind = \"0.0.0.0:18083\"\n");
    let (code, _, stderr) = site.run(&["check"], "");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("SITE/bouncer.toml:10: admin.bind: \"0.0.0.0:18083\" would send passwords through the network in the clear; expected [admin.tls]"), "{stderr}");
    assert_eq!(site.run(&["serve"], "").0, Some(1));
    for (section, says) in [
        ("[admin]\nbind = \"0.0.0.0:0\"\nallow_plaintext = true", None),
        (
            "[admin]\napi_key_file = \"gone\"",
            Some("[admin] api_key_file: cannot read SITE/gone: No such file"),
        ),
        (
            "[admin]\npassword_file = \"short\"",
            Some(
                "[admin] password_file: SITE/short: line 1: the password has 5 characters; expected 8 to 256",
            ),
        ),
        (
            "[admin.tls]\ncert = \"gone\"\nkey = \"gone\"\n[admin]",
            Some("[admin.tls]: cannot read certificates from SITE/gone"),
        ),
        (
            "[admin.tls]\ncert = \"short\"\nkey = \"short\"\n[admin]",
            Some("[admin.tls]: SITE/short has no certificate"),
        ),
    ] {
        site.write("short", "short");
        site.configure(section);
        let (code, _, stderr) = site.run(&["check"], "");
        assert_eq!(code, Some(i32::from(says.is_some())), "{section}: {stderr}");
        assert!(stderr.contains(says.unwrap_or_default()), "{stderr}");
    }
}

#[test]
fn while_it_drains_it_says_so_and_reloads_nothing() {
    let site = Site::new("");
    let text = std::fs::read_to_string(site.path("bouncer.toml")).expect("readable");
    site.write("bouncer.toml", text.replace("drain_timeout = \"1s\"", "drain_timeout = \"30s\""));
    let mut proxy = site.serve();
    let mqtt = proxy.get("/api/v5/status").json()["listeners"][0]["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    // A connection that keeps it from ending.
    let stays = std::net::TcpStream::connect(mqtt).expect("it listens");
    while proxy.get("/api/v5/status").json()["connections"] == 0 {}
    proxy.signal("TERM");
    proxy.log.wait_for("draining");
    assert_eq!(proxy.get("/api/v5/status").json()["draining"], true);
    assert_eq!(reload(&proxy).0, 400);
    drop(stays);
    assert!(proxy.wait().expect("a child").success());
}
